"""What a run leaves behind: whose predictions they are, how they are averaged, and what retraining reads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.svm import SVR

from chemsieve.data.descriptors import descriptors
from chemsieve.data.morgan import morgan
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import load_strictly, trained_names
from chemsieve.models.prediction import predict, predict_smiles
from chemsieve.study.runs import Identity, predictions_table
from chemsieve.tables import read_table, write_table
from chemsieve.training.loop import Conditions
from chemsieve.training.regression import Labelled, fine_tune
from chemsieve.training.run import Folds, train_and_write, validation_loss
from helpers.settings import PLAIN, Settings
from helpers.tiny import SMILES

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
IDENTITY = Identity("scaffold", 0, 3, "baseline", "full", "none")
LABELS = np.random.default_rng(0).normal(2.0, 3.0, size=len(SMILES))
TRAIN, VALIDATION, TEST = slice(0, 16), slice(16, 20), slice(20, 24)  # as many to validate as to test


def molecules(part, label=True):
    frame = pd.DataFrame({"molecule_id": [f"target-{i}" for i in range(24)[part]], "encoder_smiles": SMILES[part]})
    return frame.assign(label=LABELS[part]) if label else frame


def test_predictions_stand_beside_their_own_molecules():
    validation, test = molecules(VALIDATION), molecules(TEST, label=False)
    table = predictions_table(IDENTITY, validation, test, (np.arange(4.0), np.arange(10.0, 14.0)))
    expected = {f"target-{16 + i}": ("validation", float(i)) for i in range(4)}
    expected |= {f"target-{20 + i}": ("test", 10.0 + i) for i in range(4)}
    found = zip(table["molecule_id"], zip(table["fold"], table["prediction"], strict=True), strict=True)
    assert dict(found) == expected
    assert set(table["run_id"]) == {"scaffold/0/3/baseline/full/none"}
    with pytest.raises(ValueError, match="length"):
        predictions_table(IDENTITY, validation, test.iloc[:3], (np.arange(4.0), np.arange(4.0)))


SPEC = {"method": "full", "options": {}, "family": "molformer", "dropout": {}, "head": None, "compute": {"threads": 1}}
SETTINGS = PLAIN | {"epochs": 2, "batch_size": 4, "learning_rate": 0.003}


@pytest.mark.parametrize("several", [(1, 1), (2, 3)], ids=["alone", "averaged"])
def test_a_run_writes_what_its_model_predicts_of_each_molecule(encoder_folder, tmp_path, several):
    """Read back and asked molecule by molecule: validation, test, their order, and what is averaged over."""
    writings, draws = several
    output = SimpleNamespace(**{name: tmp_path / name for name in ("model", "curve", "predictions", "run")})
    spec = SPEC | {"training": SETTINGS | {"writings": writings, "draws": draws}}
    folds = Folds(molecules(TRAIN), molecules(VALIDATION), molecules(TEST, label=False), molecules(slice(0, 0)))
    train_and_write(IDENTITY, encoder_folder, folds, spec, CPU, output)
    model = regressor.restore(encoder_folder, "molformer", "full", {}, output.model)
    tokenizer = backbone.load_tokenizer(encoder_folder)
    table = read_table(output.predictions).set_index("molecule_id")
    assert len(table) == 8
    for fold, part in (("validation", VALIDATION), ("test", TEST)):
        values = predict_smiles(model, tokenizer, SMILES[part], writings, draws, CPU)
        rows = table.loc[[f"target-{i}" for i in range(24)[part]]]
        assert set(rows["fold"]) == {fold}
        np.testing.assert_allclose(rows["prediction"], values, rtol=1e-5)
    error = table.loc[table["fold"] == "validation", "prediction"].to_numpy() - LABELS[VALIDATION]
    curve = read_table(output.curve)["validation_rmse"]
    assert curve.min() == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)


@pytest.mark.parametrize("draws", [1, 4])
def test_validation_is_of_as_many_draws_as_predictions_are(encoder_folder, draws):
    """The epoch that is kept is judged by what will be predicted with it, not by one draw of its features."""
    torch.manual_seed(0)
    model, tokenizer = regressor.build(encoder_folder, "molformer", {}), backbone.load_tokenizer(encoder_folder)
    torch.nn.init.normal_(model.head.weight)
    settings = Settings(epochs=1, batch_size=4, learning_rate=1e-6, draws=draws)
    given = Labelled(SMILES[TRAIN], LABELS[TRAIN]), Labelled(SMILES[VALIDATION], LABELS[VALIDATION])
    outcome = fine_tune(model, tokenizer, *given, settings, Conditions(0, CPU))

    def rmse(values):
        return np.sqrt(np.mean((values - LABELS[VALIDATION]) ** 2))

    by_count = {n: rmse(predict_smiles(model, tokenizer, SMILES[VALIDATION], 1, n, CPU)) for n in (1, 4)}
    assert abs(by_count[1] - by_count[4]) > 1e-4
    assert outcome.curve[0]["validation_rmse"] == pytest.approx(by_count[draws], rel=1e-6)


RETRAINING = SPEC | {"noise": True, "training": PLAIN | {"epochs": 6, "batch_size": 4, "learning_rate": 0.003}}


def test_retraining_is_read_at_its_end_and_not_where_it_was_best(encoder_folder):
    """The validation molecules are training molecules with the opposite label: the better the fit, the worse."""
    train = molecules(TRAIN)
    opposite = train.assign(label=2 * train["label"].mean() - train["label"])
    found = validation_loss(encoder_folder, train, opposite, RETRAINING, Conditions(5, CPU))
    torch.manual_seed(5)
    model = regressor.build(encoder_folder, "molformer", {})
    given = Labelled(SMILES[TRAIN], LABELS[TRAIN]), Labelled(SMILES[TRAIN], opposite["label"].to_numpy())
    settings = Settings(**RETRAINING["training"], checkpoints=(6,))
    outcome = fine_tune(model, backbone.load_tokenizer(encoder_folder), *given, settings, Conditions(5, CPU))
    losses = [row["validation_rmse"] ** 2 for row in outcome.curve]
    assert min(losses) < 0.98 * losses[-1], "or it shows nothing"
    load_strictly(model, outcome.kept[6], trained_names(model))
    ids = tokenization.encode(backbone.load_tokenizer(encoder_folder), SMILES[TRAIN])
    at_the_end = np.mean((predict(model, ids, 2, CPU) - opposite["label"].to_numpy()) ** 2)
    assert losses[-1] == pytest.approx(at_the_end, rel=1e-5)
    assert found == pytest.approx(at_the_end, rel=1e-5)


def test_retraining_without_noise_has_none(encoder_folder):
    """Neither dropout nor randomised SMILES nor draws; with noise, each of them matters."""
    noisy = RETRAINING | {"dropout": {"hidden": 0.4, "embedding": 0.4, "head": 0.4}}
    noisy["training"] = RETRAINING["training"] | {"epochs": 2, "randomise": True, "draws": 3}
    plain = RETRAINING | {"training": RETRAINING["training"] | {"epochs": 2}}
    still = {"hidden": 0.0, "embedding": 0.0, "head": 0.0}

    def loss(spec, noise, **changed):
        spec = spec | {"noise": noise} | changed
        return validation_loss(encoder_folder, molecules(TRAIN), molecules(VALIDATION), spec, Conditions(1, CPU))

    quiet = loss(noisy, False)
    assert quiet == loss(plain, False, dropout=still)
    for name, value in (("randomise", True), ("draws", 3)):
        assert quiet == loss(plain, False, dropout=still, training=plain["training"] | {name: value})
        assert quiet != loss(plain, True, dropout=still, training=plain["training"] | {name: value})
    assert len({quiet, loss(noisy, True), loss(plain, True, dropout=noisy["dropout"])}) == 3


# The script as Snakemake would run it, on files of our own.
SCRIPT = """
import json, runpy, sys
from types import SimpleNamespace
class Named(SimpleNamespace):
    def __getitem__(self, name):
        return getattr(self, name)
    def __iter__(self):
        return iter(vars(self).values())
    def get(self, name, default=None):
        return getattr(self, name, default)
    def keys(self):
        return vars(self).keys()
given = json.loads(sys.argv[2])
parts = {name: Named(**given[name]) for name in ("input", "output", "wildcards")}
snakemake = SimpleNamespace(
    **parts, rule="baseline", log=["results/s/log"], params=Named(spec=json.dumps(given["spec"])),
    config={"study": "s", "on_failure": "stop"},
)
runpy.run_path(sys.argv[1], {"snakemake": snakemake}, run_name="__main__")
"""


@pytest.mark.parametrize("names", [["descriptors"], ["morgan", "descriptors"]], ids=str)
def test_a_descriptor_model_predicts_each_fold_by_itself(tmp_path, names):
    """Against scikit-learn's own machine on features prepared by hand."""
    known = {"descriptors": descriptors(SMILES), "morgan": morgan(SMILES)}
    declared = {"descriptors": "descriptors", "morgan": "features"}
    for shuffled, name in enumerate(names):
        values = pd.DataFrame({"molecule_id": [f"target-{i}" for i in range(24)], "values": list(known[name])})
        write_table(values.sample(frac=1, random_state=shuffled), tmp_path / name, declared[name])
    write_table(molecules(TRAIN), tmp_path / "train", "labelled")
    write_table(molecules(VALIDATION), tmp_path / "validation", "labelled")
    write_table(molecules(TEST, label=False), tmp_path / "test", "unlabelled")
    folds = ("train", "validation", "test")
    given = {
        "input": {name: str(tmp_path / name) for name in folds}
        | {"features": [str(tmp_path / name) for name in names]},
        "output": {name: str(tmp_path / name) for name in ("predictions", "run")},
        "wildcards": {"splitter": "scaffold", "split_seed": "0", "seed": "3", "baseline": "mine"},
        "spec": {"model": "svr", "features": names, "options": {"C": 5, "epsilon": 0.1, "gamma": 0.003}},
    }
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow_scripts")}
    script = str(ROOT / "workflow_scripts/baseline.py")
    command = [sys.executable, "-c", SCRIPT, script, json.dumps(given)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    blocks = []
    for name in names:
        features = known[name].astype(float)
        filled = np.where(np.isnan(features), np.nan_to_num(np.nanmedian(features[TRAIN], axis=0)), features)
        filled = filled[:, filled[TRAIN].std(axis=0) > 1e-12]
        block = np.clip((filled - filled[TRAIN].mean(axis=0)) / filled[TRAIN].std(axis=0), -5, 5)
        blocks.append(block * min(1, np.sqrt(256 / block.shape[1])))  # as 256 columns in a squared distance
    rows = np.hstack(blocks)
    mean, scale = LABELS[TRAIN].mean(), LABELS[TRAIN].std()
    machine = SVR(C=5, epsilon=0.1, gamma=0.003).fit(rows[TRAIN], (LABELS[TRAIN] - mean) / scale)
    table = read_table(tmp_path / "predictions").set_index("molecule_id")
    for fold, part in (("validation", VALIDATION), ("test", TEST)):
        found = table.loc[[f"target-{i}" for i in range(24)[part]]]
        assert set(found["fold"]) == {fold}
        # On many columns the kernel is made by matrix products, and the solver ends elsewhere within its tolerance.
        close = {"rtol": 1e-6} if names == ["descriptors"] else {"atol": 0.005 * scale}
        np.testing.assert_allclose(found["prediction"], machine.predict(rows[part]) * scale + mean, **close)


@pytest.fixture(scope="module")
def fitted(encoder_folder, tmp_path_factory):
    """A fine-tuned regressor, of an encoder that has dropout and draws features."""
    return ran(encoder_folder, tmp_path_factory.mktemp("fitted"), molecules(slice(0, 0)), None).model


def ran(encoder_folder, folder, added, start, quiet=True):
    """The files of a run on eight molecules and ``added``, from the encoder or continued quietly from ``start``."""
    output = SimpleNamespace(**{name: folder / name for name in ("model", "curve", "predictions", "run")})
    folds = Folds(molecules(slice(0, 8)), molecules(VALIDATION), molecules(TEST, label=False), added)
    training = SETTINGS | {"randomise": True} | ({"learning_rate": 0.001} if start else {})
    spec = SPEC | {"training": training, "dropout": {"hidden": 0.3, "embedding": 0.3, "head": 0.3}, "quiet": False}
    identity = Identity("draws", 0, 3, "continued" if start else "adapted", "full", "some")
    train_and_write(identity, encoder_folder, folds, spec | {"quiet": bool(start) and quiet}, CPU, output, start)
    return output


def test_continued_runs_differ_in_nothing_but_the_added_molecules(encoder_folder, fitted, tmp_path):
    def predicted(name, added, quiet=True):
        folder = tmp_path / name
        folder.mkdir()
        return read_table(ran(encoder_folder, folder, added, fitted, quiet).predictions)["prediction"].to_numpy()

    nothing, some = molecules(slice(0, 0)), molecules(slice(8, 14))
    none = predicted("none", nothing)
    np.testing.assert_array_equal(predicted("none_again", nothing), none)
    with_some = predicted("some", some)
    np.testing.assert_array_equal(predicted("some_again", some), with_some)
    assert np.abs(with_some - none).max() > 1e-6
    # Molecules come in an order of their own, whatever that of their file.
    np.testing.assert_allclose(predicted("reversed", some[::-1]), with_some, rtol=1e-6)
