"""Tuning of learning rates: successive halving against a table made by hand, its trials, and what a kill leaves."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from chemsieve.errors import ChemsieveError
from chemsieve.study import configuration
from chemsieve.study.plan import Plan
from chemsieve.tables import read_table, write_table
from chemsieve.training import tuning
from chemsieve.training.halving import Measured, learning_rates, rungs, successive_halving
from chemsieve.training.run import Folds, train_and_write
from chemsieve.training.saves import Saves
from chemsieve.training.tuned import with_tuned_rate
from helpers.configurations import changed
from helpers.settings import PLAIN
from helpers.tiny import SMILES

CPU = torch.device("cpu")
LABELS = np.random.default_rng(0).normal(2.0, 3.0, size=len(SMILES))
SPEC = {
    "method": "bitfit",
    "options": {},
    "family": "molformer",
    "dropout": {},
    "head": None,
    "compute": {"threads": 1},
    "training": PLAIN | {"epochs": 4, "batch_size": 4, "learning_rate": 0.01},
    "trials": 4,
    "factor": 4.0,
}


def test_rates_are_evenly_spaced_on_a_logarithmic_scale_and_hold_the_method_s_own():
    assert learning_rates(0.008, 4, 2.0) == [0.002, 0.004, 0.008, 0.016]
    assert learning_rates(1.0, 5, 10.0) == [0.01, 0.1, 1.0, 10.0, 100.0]
    assert len(learning_rates(0.0003, 8, 2.0)) == 8


@pytest.mark.parametrize(
    ("trials", "epochs", "expected"),
    [
        (8, 10, [(8, 3), (4, 5), (2, 10)]),
        (8, 8, [(8, 2), (4, 4), (2, 8)]),
        (5, 4, [(5, 1), (3, 2), (2, 4)]),
        (2, 7, [(2, 7)]),
        (8, 1, [(8, 1), (4, 1), (2, 1)]),
    ],
)
def test_each_rung_has_half_the_trials_and_twice_the_epochs(trials, epochs, expected):
    assert rungs(trials, epochs) == expected


# Errors by epochs and value, made by hand. After one epoch 3 and 5 lead, with 2 and 4 behind; after two 4 and 5; and at
# the end 4 wins, though 5 led both times before. The value 6 diverges.
LOSSES = {
    1: {1: 0.99, 2: 0.70, 3: 0.50, 4: 0.60, 5: 0.40, 6: math.inf, 7: 0.80, 8: 0.90},
    2: {2: 0.66, 3: 0.55, 4: 0.45, 5: 0.35},
    4: {4: 0.20, 5: 0.30},
}


def test_halving_follows_a_table_of_losses_made_by_hand():
    asked = []

    def measure(rung, number, value, epochs):
        asked.append((rung, number, value, epochs))
        return Measured(LOSSES[epochs][value], epochs, 1.0)

    trials, best = successive_halving(list(range(1, 9)), 4, measure)
    assert [(value, epochs) for _, _, value, epochs in asked] == [
        *((value, 1) for value in range(1, 9)),
        *((value, 2) for value in (5, 3, 4, 2)),
        *((value, 4) for value in (5, 4)),
    ]
    assert (best.value, best.rung, best.measured.error) == (4, 2, 0.20)
    assert len(trials) == len(asked) == 14
    assert sum(trial.measured.epochs for trial in trials) == 8 * 1 + 4 * 2 + 2 * 4


def test_of_equal_errors_the_lower_value_goes_on():
    _, best = successive_halving([1.0, 2.0, 4.0, 8.0], 2, lambda *_: Measured(0.5, 1, 0.0))
    assert best.value == 1.0


def test_what_diverges_late_loses_to_the_rung_before_and_where_all_do_it_is_said():
    def late(rung, number, value, epochs):
        return Measured(value if rung == 0 else math.inf, epochs, 1.0, "it diverged" if rung else "")

    trials, best = successive_halving([3.0, 1.0, 2.0, 4.0], 4, late)
    assert (best.value, best.rung) == (1.0, 0)
    assert len(trials) == 4 + 2
    with pytest.raises(ChemsieveError, match="no learning rate could be tried: it diverged"):
        successive_halving([1.0, 2.0], 2, lambda *_: Measured(math.inf, 0, 0.0, "it diverged"))


# -- with trainings ----------------------------------------------------------------------------------------------------


def molecules(part):
    frame = pd.DataFrame({"molecule_id": [f"target-{i}" for i in range(24)[part]], "encoder_smiles": SMILES[part]})
    return frame.assign(label=LABELS[part])


TRAIN, VALIDATION = molecules(slice(0, 16)), molecules(slice(16, 20))
IDENTITY = tuning.Identity("draws", 2, 7, "adapted", "bitfit", "none")


def tuned(folder, encoder_folder, spec=SPEC):
    saves = Saves(folder / "bitfit.state.safetensors", "this one", 30)
    return tuning.tune(IDENTITY, encoder_folder, TRAIN, VALIDATION, spec, CPU, saves), saves


def test_the_chosen_rate_is_what_a_run_trains_with_and_gives_the_error_of_its_trial(encoder_folder, tmp_path):
    table, saves = tuned(tmp_path, encoder_folder)
    write_table(table, tmp_path / "bitfit.parquet", "tuning")
    assert set(table["split_seed"]) == {2}
    assert (table["configured"] == np.isclose(table["learning_rate"], 0.01)).all()
    assert list(table["epochs"]) == [2, 2, 2, 2, 4, 4]
    assert (table["seconds"] > 0).all()
    last = table[table["rung"] == 2]
    chosen = table[table["chosen"]].iloc[0]
    assert chosen["validation_rmse"] == last["validation_rmse"].min()
    # The first rung's two best went on.
    first = table[table["rung"] == 1].nsmallest(2, "validation_rmse")
    assert set(last["learning_rate"]) == set(first["learning_rate"])
    # A run with the rate that the table gives is the trial again.
    training = with_tuned_rate(SPEC["training"], str(tmp_path / "bitfit.parquet"))
    assert training == SPEC["training"] | {"learning_rate": chosen["learning_rate"]}
    output = SimpleNamespace(**{name: tmp_path / name for name in ("model", "curve", "predictions", "run")})
    folds = Folds(TRAIN, VALIDATION, VALIDATION.iloc[:0], TRAIN.iloc[:0])
    train_and_write(IDENTITY, encoder_folder, folds, SPEC | {"training": training}, CPU, output)
    assert read_table(output.curve)["validation_rmse"].min() == pytest.approx(chosen["validation_rmse"], rel=1e-6)
    tuning.forget(saves)
    assert [path.name for path in tmp_path.glob("bitfit.state*")] == []


def test_without_a_table_a_run_trains_as_configured():
    assert with_tuned_rate({"learning_rate": 0.5}, None) == {"learning_rate": 0.5}


def test_a_killed_tuning_goes_on_after_the_last_trial_that_ended(encoder_folder, tmp_path, monkeypatch):
    whole, _ = tuned(tmp_path / "whole", encoder_folder)
    trained, train = [], tuning.train_and_write

    def killed_in_the_fourth(identity, *rest):
        trained.append(identity.use)
        if len(trained) == 4:
            raise KeyboardInterrupt
        train(identity, *rest)

    monkeypatch.setattr(tuning, "train_and_write", killed_in_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "killed", encoder_folder)
    resumed, _ = tuned(tmp_path / "killed", encoder_folder)
    assert trained[3:5] == ["tuning_1-4", "tuning_1-4"]
    assert len(trained) == len(set(trained)) + 1  # no trial that had ended was made again
    pd.testing.assert_frame_equal(whole.drop(columns="seconds"), resumed.drop(columns="seconds"))
    # Trials of another tuning do not count, nor a file that cannot be read.
    ledger = tmp_path / "killed" / "bitfit.state.trials.json"
    assert len(tuning.Ledger(ledger, "this one").read()) == 6
    assert tuning.Ledger(ledger, "another").read() == {}
    ledger.write_text("{", encoding="utf-8")
    assert tuning.Ledger(ledger, "this one").read() == {}


def test_a_rate_that_diverges_has_no_error_and_says_why(encoder_folder, tmp_path):
    spec = SPEC | {"trials": 2, "factor": 1e30}
    spec["training"] = spec["training"] | {"learning_rate": 1e28, "epochs": 1}
    table, _ = tuned(tmp_path, encoder_folder, spec)
    write_table(table, tmp_path / "tuning.parquet", "tuning")
    assert table["validation_rmse"].isna().tolist() == [False, True]
    assert "diverged" in table["failure"][1]
    assert table["chosen"].tolist() == [True, False]
    kept = json.loads((tmp_path / "bitfit.state.trials.json").read_text(encoding="utf-8"))
    assert kept["trials"]["1-2"]["error"] is None


# -- in a study --------------------------------------------------------------------------------------------------------


def at(**axes):
    return SimpleNamespace(splitter="draws", split_seed="1", seed="0", **axes)


def test_nothing_is_tuned_unless_asked():
    plan = Plan(changed({}))
    assert (plan.tuned, plan.tunings) == ([], [])
    assert plan.tuned_rate(at(origin="adapted")) == plan.tuned_rate(at(method="lora", strategy="none")) == []
    assert "tuning" not in plan.tables


def test_each_run_reads_the_rate_of_its_method_encoder_and_split():
    changes = {"tuning.run": None, "split.seeds": [0, 1], "seeds": [3, 4], "grid.run": ["lora"]}
    plan = Plan(changed(changes | {"selection.start": "encoder"}))
    below = "results/embedded/runs/draws/{}/3/tuning/{}/{}.parquet"
    cells = [("baseline", "full"), ("adapted", "full"), ("adapted", "lora")]
    assert plan.tunings == [below.format(split, *cell) for split in (0, 1) for cell in cells]
    assert plan.tuned_rate(at(origin="baseline")) == [below.format(1, "baseline", "full")]
    assert plan.tuned_rate(at(method="lora", strategy="none")) == [below.format(1, "adapted", "lora")]
    assert plan.tuned_rate(at(method="full", strategy="random")) == [below.format(1, "adapted", "full")]
    assert "tuning" in plan.tables
    first = Plan(changed(changes | {"tuning.splits": "first"}))
    assert first.tunings == [below.format(0, *cell) for cell in cells]
    assert first.tuned_rate(at(method="lora", strategy="none")) == [below.format(0, "adapted", "lora")]
    # A selection that continues a regressor has a rate of its own (selection.training).
    assert first.tuned_rate(at(method="full", strategy="random")) == []


def test_what_only_follows_full_fine_tuning_has_its_rate():
    changes = {"tuning.run": None, "grid.run": ["lora", "wise_ft"]}
    assert Plan(changed(changes)).tuned == ["full", "lora"]
    changes["grid.methods.wise_ft.training"] = {"epochs": 9}  # a training of its own
    assert Plan(changed(changes)).tuned == ["full", "lora", "wise_ft"]


def test_a_method_is_tuned_from_what_its_runs_start_from():
    plan = Plan(changed({"tuning.run": ["full", "lora"], "grid.start": "regressor"}))
    place = at(origin="adapted", method="lora")
    assert plan.tuned == ["full", "lora"]
    assert plan.tuned_regressor(place) == ["results/embedded/runs/draws/1/0/finetune/adapted/model.safetensors"]
    assert plan.tuned_regressor(at(origin="adapted", method="full")) == []


def test_a_method_that_does_not_train_cannot_be_tuned():
    with pytest.raises(ChemsieveError, match=r"tuning\.run: unknown name 'lorra'; did you mean 'lora'"):
        configuration.validate(changed({"tuning.run": ["lorra"]}))
