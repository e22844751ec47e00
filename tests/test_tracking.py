"""Run tracking: what the trackers show is the learning curve, and no number depends on them."""

import importlib.util
import json
import math
import random

import numpy as np
import pandas as pd
import pytest
import torch

from chemsieve.data.corpus import prepare
from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone, regressor
from chemsieve.models.checkpoints import trained_state
from chemsieve.runtime import tracking
from chemsieve.study import configuration
from chemsieve.training.loop import Conditions
from chemsieve.training.mlm import Masking, Structures, adapt
from chemsieve.training.objectives import Objectives
from chemsieve.training.pretrained import pretrain
from chemsieve.training.regression import Labelled, fine_tune
from helpers.configurations import changed
from helpers.pretraining import TOKENIZER, written
from helpers.settings import PRETRAINING, Settings
from helpers.tiny import SMILES, TINY
from helpers.workflow import plan, snakemake, study

CPU = torch.device("cpu")
LABELS = np.random.default_rng(0).normal(2.0, 3.0, size=len(SMILES))
SETTINGS = Settings(epochs=3, batch_size=4, learning_rate=0.003)
# What a reader must find under the names of transformers' Trainer, by column of the curve.
SHOWN = {
    "train_loss": "train/loss",
    "learning_rate": "train/learning_rate",
    "gradient_norm": "train/grad_norm",
    "validation_loss": "eval/loss",
    "validation_rmse": "eval/rmse",
    "masked_accuracy": "eval/masked_accuracy",
    "properties_r2": "eval/properties_r2",
}
needs_tensorboard = pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs tensorboard")


@pytest.fixture
def tracked(tmp_path, monkeypatch):
    """The environment of a study that is tracked, below the folder that this gives."""
    for name, value in tracking.environment("own", ["tensorboard"], tmp_path / "tracking").items():
        monkeypatch.setenv(name, value)
    return tmp_path / "tracking"


def adapted(folder, target, tracker=None):
    conditions = Conditions(0, CPU, tracker=tracker)
    masking, learned = Masking(0.15, 0.25, 0.0), Objectives({"mlm": 1.0})
    return adapt(folder, "molformer", Structures(SMILES), target, SETTINGS, masking, learned, conditions)


def tuned(folder, tracker=None, settings=SETTINGS):
    torch.manual_seed(0)
    model = regressor.build(folder, "molformer", {"hidden": 0.1, "embedding": 0.1, "head": 0.2})
    data = Labelled(SMILES[:16], LABELS[:16]), Labelled(SMILES[16:], LABELS[16:])
    conditions = Conditions(0, CPU, tracker=tracker)
    outcome = fine_tune(model, backbone.load_tokenizer(folder), *data, settings, conditions)
    return outcome, trained_state(model)


def events(folder):
    """Scalars of TensorBoard's files as its own reader finds them: {tag: {step: value}}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder)).Reload()
    return {tag: {event.step: event.value for event in reader.Scalars(tag)} for tag in reader.Tags()["scalars"]}


def compare(shown, curve, index="epoch"):
    """Each value of a curve is shown at its epoch, and nothing else is."""
    for column, tag in SHOWN.items():
        known = {
            row[index]: row[column]
            for row in curve
            if row.get(column) is not None and not (isinstance(row[column], float) and math.isnan(row[column]))
        }
        assert shown.get(tag, {}) == pytest.approx(known, rel=1e-6), column  # TensorBoard stores single precision


@needs_tensorboard
def test_event_files_hold_the_curves(encoder_folder, tracked, tmp_path):
    outcome = adapted(encoder_folder, tmp_path / "mlm", tracking.of("a/mlm"))
    assert [row["epoch"] for row in outcome.curve] == [0, 1, 2, 3]
    compare(events(tracked / "tensorboard" / "a" / "mlm"), outcome.curve)
    tuning, _ = tuned(encoder_folder, tracking.of("a/full"))
    shown = events(tracked / "tensorboard" / "a" / "full")
    compare(shown, tuning.curve)
    assert {"train/loss", "train/learning_rate", "train/grad_norm", "eval/loss", "eval/rmse"} <= shown.keys()
    # Once more: it replaces what was there.
    tuned(encoder_folder, tracking.of("a/full"))
    assert len(list((tracked / "tensorboard" / "a" / "full").iterdir())) == 1


@needs_tensorboard
def test_pretraining_is_followed_by_its_steps(tracked, tmp_path):
    table, refused = prepare(written(tmp_path, SMILES), TOKENIZER, 202, 0.2, 1)
    training = PRETRAINING | {
        "seed": 0, "half": False, "data": "two dozen", "licence": "MIT", "properties": [], "masking": 0.15, "steps": 6,
        "batch_size": 4, "learning_rate": 1e-3, "evaluate_every": 2, "evaluated": 4, "save_every": 3,
    }  # fmt: skip
    spec = {"pretrain": training, "architecture": TINY, "family": "molformer"}
    given = table, refused["reason"], None, spec, CPU
    curve, _ = pretrain(*given, tmp_path / "state", tmp_path / "encoder", tracking.of("pretrain"))
    assert [row["step"] for row in curve] == [0, 2, 4, 6]
    compare(events(tracked / "tensorboard" / "pretrain"), curve, "step")
    # Its state is whole, so that this resumes at the end: the files hold the whole curve nevertheless.
    again, _ = pretrain(*given, tmp_path / "state", tmp_path / "encoder", tracking.of("pretrain"))
    assert again == curve
    compare(events(tracked / "tensorboard" / "pretrain"), curve, "step")


@pytest.fixture
def greedy(monkeypatch):
    """A tracker that draws from every generator there is, and says what it was told."""
    told = []

    class Greedy:
        def __init__(self, name, folder, hyperparameters):
            self.name = name
            self.draw(("begin", hyperparameters))

        def draw(self, event):
            told.append(event)
            return random.random(), np.random.random(), torch.rand(1)  # noqa: NPY002

        def log(self, figures, step):
            self.draw((step, self.name, sorted(figures)))

        def end(self):
            self.draw("end")

    monkeypatch.setitem(tracking.TRACKERS, "tensorboard", Greedy)
    return told


def test_no_number_depends_on_a_tracker(encoder_folder, tracked, tmp_path, greedy):
    plain, weights = tuned(encoder_folder)
    followed, same = tuned(encoder_folder, tracking.of("a/full"))
    event, hyperparameters = greedy[0]
    assert event == "begin"
    assert hyperparameters["learning_rate"] == SETTINGS.learning_rate
    assert hyperparameters["seed"] == 0
    assert greedy[-1] == "end"
    assert [event[:2] for event in greedy[1:-1]] == [(1, "a/full"), (2, "a/full"), (3, "a/full")]
    for name, tensor in weights.items():
        assert torch.equal(same[name], tensor), name
    times = ("seconds", "evaluation_seconds")
    for one, other in zip(plain.curve, followed.curve, strict=True):
        assert {k: v for k, v in one.items() if k not in times} == {k: v for k, v in other.items() if k not in times}
    adapted(encoder_folder, tmp_path / "plain")
    adapted(encoder_folder, tmp_path / "followed", tracking.of("a/mlm"))
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("plain", "followed")]
    assert files[0] == files[1]


SELDOM = [pytest.param(event, marks=pytest.mark.slow) for event in ("__init__", "end")]


@pytest.mark.parametrize("event", ["log", *SELDOM])
def test_a_tracker_that_fails_is_left_out_and_training_goes_on(
    encoder_folder, tracked, caplog, greedy, event, monkeypatch
):
    def full(*_, **__):
        raise OSError("No space left on device")

    setattr(tracking.TRACKERS["tensorboard"], event, full)
    outcome, _ = tuned(encoder_folder, tracking.of("a/full"))
    assert len(outcome.curve) == 3
    said = [record.getMessage() for record in caplog.records if "tracking" in record.getMessage()]
    assert said == ["tracking: tensorboard is left out of a/full (OSError: No space left on device)"]
    (failure,) = tracking.failed()
    assert failure.step == "tracking a/full/tensorboard"
    assert failure.reason == "OSError: No space left on device"
    # Where it does not fail another time, nothing is said of it any more.
    monkeypatch.undo()
    monkeypatch.setenv(tracking.PLACE, json.dumps({"run": ["tensorboard"], "folder": str(tracked)}))
    tuned(encoder_folder, tracking.of("a/full"))
    assert tracking.failed() == []


def test_a_tracker_that_fails_is_an_error_where_the_study_is_to_stop(encoder_folder, tracked, monkeypatch, greedy):
    monkeypatch.setattr(tracking.TRACKERS["tensorboard"], "log", lambda *_, **__: 1 / 0)
    given = tracking.environment("own", ["tensorboard"], tracked, stop=True)
    monkeypatch.setenv(tracking.PLACE, given[tracking.PLACE])
    with pytest.raises(ChemsieveError, match=r"tracking\.run: tensorboard failed for the run a/full \(ZeroDivision"):
        tuned(encoder_folder, tracking.of("a/full"))


def test_a_run_that_diverges_ends_its_tracker(encoder_folder, tracked, greedy):
    settings = Settings(epochs=1, batch_size=4, learning_rate=1e30)
    with pytest.raises(ChemsieveError, match="diverged"):
        tuned(encoder_folder, tracking.of("a"), settings)
    assert greedy[-1] == "end"


def test_trackers_write_nothing_to_a_network_unless_told():
    given = tracking.environment("own", ["wandb", "mlflow"], "results/own/tracking")
    assert given["WANDB_MODE"] == "offline"
    assert given["MLFLOW_TRACKING_URI"].startswith("file:///")
    assert given["MLFLOW_TRACKING_URI"].endswith("/results/own/tracking/mlflow")
    assert json.loads(given[tracking.PLACE])["run"] == ["wandb", "mlflow"]
    assert tracking.environment("own", [], "anywhere") == {}


def test_nothing_is_tracked_by_default(monkeypatch):
    monkeypatch.delenv(tracking.PLACE, raising=False)
    assert tracking.of("a") is None
    assert changed({})["tracking"] == {"run": []}


def test_an_unknown_tracker_or_one_that_is_missing_is_one_sentence(monkeypatch):
    said = r"tracking\.run\.0: unknown value 'tensorbord'; did you mean 'tensorboard'"
    with pytest.raises(ChemsieveError, match=said):
        configuration.validate(changed({"tracking.run": ["tensorbord"]}))
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "mlflow" else real(name, *rest)
    )
    with pytest.raises(ChemsieveError) as caught:
        configuration.validate(changed({"tracking.run": ["mlflow"]}))
    assert str(caught.value) == (
        "configuration: tracking.run: mlflow is not installed; run pip install mlflow, or leave it out"
    )


@pytest.mark.slow
@needs_tensorboard
def test_a_study_is_tracked_and_switching_it_off_reruns_nothing(workspace):
    run = "results/small/runs/scaffold/0/0"
    wanted = [f"{run}/finetune/adapted/curve.parquet", "results/small/config.yaml"]
    trained = ["--forcerun", "mlm", "finetune"]
    done = snakemake(workspace, *wanted, *study(workspace), "--config", "tracking={run: [tensorboard]}", *trained)
    assert done.returncode == 0, done.stdout
    for name, place in (("mlm/none", "mlm"), ("full/none", "finetune/adapted")):
        curve = pd.read_parquet(workspace / run / place / "curve.parquet").to_dict("records")
        compare(events(workspace / "results/small/tracking/tensorboard/scaffold/0/0/adapted" / name), curve)
    assert plan(workspace, *wanted, *study(workspace)) == []
