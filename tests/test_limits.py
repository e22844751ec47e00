"""Labels that are limits, trained on as what they are: the loss, who leaves them out, and how they are judged."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from chemsieve.data import quality
from chemsieve.data.measured import Repeats
from chemsieve.data.molecules import Rules
from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone, regressor
from chemsieve.models.prediction import predict_smiles
from chemsieve.statistics.evaluation import evaluate_limits
from chemsieve.study import configuration
from chemsieve.training.batches import RegressionCollator
from chemsieve.training.limits import bounds_of, marked, with_limits
from chemsieve.training.loop import Conditions
from chemsieve.training.regression import Labelled, fine_tune, squared_error
from helpers.configurations import changed
from helpers.inputs import TABLE, nothing, partition
from helpers.settings import Settings
from helpers.tiny import SMILES
from helpers.workflow import overlay, snakemake

CPU = torch.device("cpu")


class Says(nn.Module):
    """A model whose predictions are its parameters."""

    def __init__(self, values):
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values))

    def forward(self, input_ids, attention_mask):
        return self.values


def test_an_error_counts_on_the_wrong_side_of_a_limit_alone():
    examples = [{"input_ids": [5], "label": 1.0} for _ in range(5)]
    bounds = bounds_of(pd.DataFrame({"relation": ["=", "<", "<", ">", ">"]}))
    model = Says([3.0, -2.0, 2.5, 4.0, -1.0])
    batch = RegressionCollator(0)(marked(examples, bounds))
    loss = squared_error(model, batch)
    # Measured: 2. Below 1: -2 is right, 2.5 is 1.5 too high. Above 1: 4 is right, -1 is 2 too low.
    assert loss.item() == pytest.approx((4 + 2.25 + 4) / 5)
    loss.backward()
    assert model.values.grad.tolist() == pytest.approx([2 * 2 / 5, 0, 2 * 1.5 / 5, 0, 2 * -2 / 5])


def test_measured_labels_have_the_batches_that_they_had():
    examples = [{"input_ids": [5], "label": 1.0}]
    assert marked(examples, [0]) is examples
    assert "bounds" not in RegressionCollator(0)(examples)
    assert bounds_of(pd.DataFrame({"label": [1.0, 2.0]})) == [0, 0]
    train = pd.DataFrame({"label": [1.0]})
    assert with_limits(train, None) is train


@pytest.mark.parametrize("head_epochs", [0, 3])
def test_predictions_leave_a_limit_on_its_right_side_alone(encoder_folder, head_epochs):
    """All limits say: above. As measured labels they hold predictions down, as limits they do not."""
    labels = np.array([3.0 if i % 2 else 0.0 for i in range(20)])
    bounds = [0 if i % 2 else 1 for i in range(20)]
    held = Labelled(SMILES[20:24], np.full(4, 3.0))
    means = []
    for given in (bounds, None):
        torch.manual_seed(0)
        model = regressor.build(encoder_folder, "molformer", {"hidden": 0.0, "embedding": 0.0, "head": 0.0})
        settings = Settings(epochs=6, batch_size=5, learning_rate=0.02, head_epochs=head_epochs)
        train = Labelled(SMILES[:20], labels, given)
        fine_tune(model, backbone.load_tokenizer(encoder_folder), train, held, settings, Conditions(0, CPU))
        means.append(predict_smiles(model, backbone.load_tokenizer(encoder_folder), SMILES[:20], 1, 1, CPU).mean())
    assert means[0] > means[1] + 0.3


def test_predictions_are_held_against_limits_by_hand():
    labels = pd.Series({"a": 1.0, "b": 2.0, "c": 0.0, "v": 5.0})
    relations = pd.Series({"a": "=", "b": "<", "c": ">", "v": None})
    rows = [("r", "a", "test", 1.5), ("r", "b", "test", 1.0), ("r", "c", "test", -2.0), ("r", "v", "validation", 0.0)]
    predictions = pd.DataFrame(rows, columns=["run_id", "molecule_id", "fold", "prediction"])
    (found,) = evaluate_limits(predictions, labels, relations).to_dict("records")
    assert (found["limits"], found["met"], found["measured"]) == (2, 1, 1)
    assert found["censored_rmse"] == pytest.approx(np.sqrt((0.25 + 0 + 4) / 3))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target.binarise": "mean", "split.seeds": [0]}, "target.censored: labels that are cut at their mean"),
        ({"finetune.head.kernel": True}, "target.censored: finetune.head.kernel is solved for"),
    ],
)
def test_what_knows_no_limits_is_one_sentence(change, said):
    with pytest.raises(ChemsieveError, match=f"^configuration: {said}"):
        configuration.validate(changed(change | {"target.censored": "censored"}))


def test_the_audit_says_what_becomes_of_limits():
    frame = pd.DataFrame({"smiles": ["C" * n for n in range(1, 13)], "label_text": [f"{n / 7}" for n in range(12)]})
    frame.loc[3, "label_text"] = "<0.5"
    frame = frame.assign(row=range(12))
    rules = {"target": Rules.of(TABLE | {"censored": "censored"})}
    molecules, rejected = partition(frame, nothing(), rules=rules)
    assert molecules["relation"].tolist().count("<") == 1
    said = [words for _, (_, words, *_) in quality.sentences(molecules, rejected, {"target": Repeats()}, True)]
    assert any("1 of 12 labels are limits (<, >). Fine-tuning has no loss on their right side" in text for text in said)


def test_the_noise_of_test_labels_is_that_of_their_means():
    molecules = pd.DataFrame({"repeats": [1, 4], "relation": "=", "repeats_sd": [np.nan, 0.5], "spread": [0.0, 1.0]})
    found = quality.noise(molecules)
    assert found.deviation == pytest.approx(0.5)
    assert quality.floor(found, molecules, "first") == pytest.approx(0.5)
    assert quality.floor(found, molecules, "mean") == pytest.approx(0.5 * np.sqrt((1 + 1 / 4) / 2))


@pytest.mark.slow
def test_limits_reach_fine_tuning_and_the_table_of_limits_and_nothing_else(fresh):
    rng = np.random.default_rng(0)
    folds = ["train", "train", "validation", "train", "test", "train"] * 4
    smiles = [text for text in SMILES if "." not in text][:24]
    labels = [f"{value:.2f}" for value in rng.normal(size=len(smiles))]
    for row in (0, 2, 4, 10):  # training, validation and two test molecules
        labels[row] = ">" + labels[row]
    table = pd.DataFrame({"smiles": smiles, "y": labels, "set": folds[: len(smiles)]})
    table.to_csv(fresh / "target.csv", index=False)
    pool = pd.DataFrame({"smiles": ["CCCCCCCl", "CCCCCCBr", "CCCCCCCCF"], "y": [0.1, 0.2, 0.3]})
    pool.to_csv(fresh / "pool.csv", index=False)
    change = {
        "study": "limits",
        "split": {"splitters": ["column"]},
        "selection": {"run": ["none", "random"], "strategies": {"random": {"budget": {"count": 2}}}},
        "influence": {"run": []},
        "grid": {"run": [], "selections": []},
        "baselines": {"run": ["svr"], "selections": []},
        "target": {"source": "file", "path": "target.csv", "label": "y", "fold": "set", "censored": "censored"},
        "pool": {"source": "file", "path": "pool.csv", "label": "y"},
    }
    done = snakemake(fresh, "all", *overlay(fresh, change))
    assert done.returncode == 0, done.stdout
    results = fresh / "results" / "limits"
    split = results / "splits" / "column" / "0"
    known = {name: set(pd.read_parquet(split / f"{name}.parquet")["molecule_id"]) for name in
             ("train", "validation", "limits", "test")}  # fmt: skip
    assert known["limits"] == {"target-0"}
    assert not {"target-0", "target-2"} & (known["train"] | known["validation"])
    assert {"target-4", "target-10"} <= known["test"]
    facts = json.loads((results / "runs/column/0/0/finetune/adapted/run.json").read_text(encoding="utf-8"))
    assert facts["n_train"] == len(known["train"]) + 1
    described = json.loads((results / "runs/column/0/0/descriptors/svr/run.json").read_text(encoding="utf-8"))
    assert described["n_train"] == len(known["train"])
    predictions = pd.read_parquet(results / "tables" / "predictions.parquet")
    assert not predictions["molecule_id"].isin(["target-2", "target-4", "target-10"]).any()
    limits = pd.read_parquet(results / "tables" / "limits.parquet")
    assert set(limits["limits"]) == {2}
    assert set(limits["measured"]) == {2}
    assert len(limits) == predictions["run_id"].nunique()
    assert "Predictions and limits" in (results / "report.html").read_text(encoding="utf-8")
