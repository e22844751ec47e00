"""Descriptor models as model folders: the same numbers as scikit-learn's, without it, and nothing else is loaded."""

import json
import math
import re
import subprocess
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from rdkit import Chem
from safetensors.numpy import load_file, save_file

from chemsieve import baselines, registry
from chemsieve import predict as command
from chemsieve.baselines import _pipeline, _run
from chemsieve.data.descriptors import descriptors
from chemsieve.data.features import Features
from chemsieve.data.morgan import morgan
from chemsieve.deployment import folder
from chemsieve.deployment.choice import choose
from chemsieve.deployment.export import DescribedRun, export_described
from chemsieve.deployment.restoring import refitted
from chemsieve.errors import ChemsieveError
from chemsieve.models.frozen import of_folder
from chemsieve.study.runs import Identity, predictions_table
from chemsieve.tables import write_table
from helpers import processes
from helpers.inputs import read, write
from helpers.models import FOLDS, LABELS, molecules
from helpers.tiny import SMILES
from helpers.workflow import ROOT

CPU = torch.device("cpu")
QUICK = {
    "gradient_boosting": {"max_iter": 40, "min_samples_leaf": 3},
    "random_forest": {"n_estimators": 20},
    "svr": {"C": 5, "epsilon": 0.1, "gamma": 0.01},
    "gaussian_process": {"gamma": 0.01, "noise": 0.1},
}
KINDS = {
    "svr": ["descriptors", "morgan"],
    "random_forest": ["descriptors"],
    "gradient_boosting": ["morgan", "embeddings"],
}


SPEC = {
    "study": "own",
    "target": {"label": "exp", "name": "lipophilicity", "unit": "log units"},
    "family": "molformer",
    "max_tokens": 50,
    "stereo": False,
    "unknown_tokens": "refuse",
    "predict": {"model": "best", "coverage": 0.5, "uncertainty": "auto", "passes": 4, "seed": 0},
}


def known(encoder, names):
    """Features of all molecules, and the number of columns of each kind."""
    of = {
        "descriptors": lambda: descriptors(SMILES),
        "morgan": lambda: morgan(SMILES),
        "embeddings": lambda: of_folder(encoder, "molformer", CPU).features(
            [Chem.MolToSmiles(Chem.MolFromSmiles(text), isomericSmiles=False) for text in SMILES]
        ),
    }
    made = {name: of[name]() for name in names}
    return np.hstack(list(made.values())).astype(float), {name: part.shape[1] for name, part in made.items()}


def exported(target, encoder, model, names, spoil=0.0):
    """A model folder of a descriptor model; what the model itself predicts for all molecules."""
    features, columns = known(encoder, names)
    parts = {fold: list(rows) for fold, rows in FOLDS.items()}
    data = [part for fold in ("train", "validation") for part in (features[parts[fold]], LABELS[parts[fold]])]
    fitted = baselines.load(model).fit(*data, 0, list(columns.values()), **QUICK[model])
    table = molecules(encoder)
    held = [table.iloc[parts[fold]] for fold in ("validation", "test")]
    identity = Identity("random", 0, 0, "descriptors", "mine", "none")
    values = tuple(fitted.predict(features[parts[fold]]) + spoil for fold in ("validation", "test"))
    predictions = predictions_table(identity, *held, values).assign(label=LABELS[20:24])
    errors = {"rmse": 1.0, "mae": 0.5, "r2": math.nan, "spearman": 0.25}
    chosen = {"run_id": identity.run_id, "n_selected": 0, "test": {**errors, "rmse": 1.25}, "surpassed": None} | errors
    chosen["choice"] = {"configuration": "descriptors/svr/none", "rmse": 1.0, "splits": 1, "configurations": 3}
    chosen["choice"]["passed_over"] = None
    training = list(table["molecule_id"].iloc[parts["train"]])
    run = DescribedRun(chosen, model, fitted, columns, encoder, training, predictions)
    export_described(target, run, table, SPEC, {"target": {"file": "t.csv", "sha256": "0" * 64}}, CPU)
    return fitted.predict(features)


@pytest.fixture(scope="module")
def made(encoder_folder, tmp_path_factory):
    """A model folder that needs no torch. Read it only."""
    target = tmp_path_factory.mktemp("described")
    exported(target, encoder_folder, "svr", KINDS["svr"])
    return target


@pytest.fixture
def copied(made, tmp_path):
    """A copy of it, to damage."""
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def problem(columns=300):
    """Molecules with gaps, a constant column and outliers; the latter half is not trained on."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(240, columns)) * np.logspace(-3, 3, columns)
    features[:, 5] = 7.0
    features[::9, 6] = np.nan
    features[200:, 8] = 1e9
    return features, 100 + 20 * np.tanh(features[:, 0] / 1e-3) + 10 * features[:, -1] / 1e3


@pytest.mark.parametrize("name", registry.choices("baselines"))
@pytest.mark.parametrize("blocks", [(), [10, 290]], ids=str)
def test_stored_numbers_predict_as_scikit_learn_does(name, blocks):
    features, labels = problem()
    module = baselines.load(name)
    data = features[:120], labels[:120], features[120:160], labels[120:160]
    fitted = module.fit(*data, 0, blocks, **QUICK[name])
    numbers = fitted.stored(module.stored)
    regressor = {key.removeprefix("model."): part for key, part in numbers.items() if key.startswith("model.")}
    assert tuple(regressor) == module.NUMBERS
    prepared = _pipeline.prepare(numbers, features)
    assert module.mistake(regressor, prepared.shape[1]) == ""
    found = module.evaluate(regressor, prepared) * numbers["label.scale"] + numbers["label.mean"]
    np.testing.assert_allclose(found, fitted.predict(features), rtol=1e-10, atol=1e-9)


def test_gamma_by_scale_is_stored_as_a_number():
    features, labels = problem(40)
    module = baselines.load("svr")
    fitted = module.fit(features[:90], labels[:90], features[90:], labels[90:], 0, C=5, epsilon=0.1, gamma="scale")
    numbers = fitted.stored(module.stored)
    assert numbers["model.gamma"] == pytest.approx(1 / _pipeline.prepare(numbers, features[:90]).var() / 39)


@pytest.mark.parametrize("model", KINDS)
def test_a_loaded_folder_predicts_as_its_model_did(encoder_folder, tmp_path, model):
    wanted = exported(tmp_path, encoder_folder, model, KINDS[model])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(folder.FILES)
    predictor = folder.load(tmp_path)
    given = [Chem.MolToSmiles(Chem.MolFromSmiles(s), canonical=False, rootedAtAtom=1) for s in SMILES[2:]]
    for rows, smiles in ((slice(None), SMILES), (slice(2, None), given)):
        found = predictor.predict(smiles)
        np.testing.assert_allclose(found["exp"].to_numpy(float), wanted[rows], rtol=1e-5)
    assert np.ptp(wanted) > 0.1
    found = predictor.predict(["CCO", "?", "C" * 60])
    assert list(found["reason"]) == ["", "unparsable", "too_long"]
    assert found["exp_unc"].isna().all()
    assert found["same_molecule"].iloc[0] == "target-0"
    assert found.drop(columns="exp_unc").iloc[0].notna().all()
    # One of the two test molecules calibrates an interval of one half: its own error is half the width.
    half = (found["exp_high"] - found["exp_low"]).iloc[0] / 2
    assert np.isclose(half, np.abs(wanted[22:24] - LABELS[22:24]), rtol=1e-5).any()
    assert folder.uses_torch(tmp_path) == ("embeddings" in KINDS[model])


def test_a_run_on_a_selection_is_exported_with_what_it_was_trained_on(encoder_folder, tmp_path):
    """Fitted anew from the run's files, those of the pool among them, and held against its predictions."""
    table = molecules(encoder_folder).assign(label=lambda rows: rows["label"].astype(float))
    columns = ["molecule_id", "encoder_smiles", "label"]
    folds = {name: table.iloc[list(rows)][columns] for name, rows in FOLDS.items()}
    for name, fold in (*folds.items(), ("pool", table.iloc[24:][columns])):
        write_table(fold, tmp_path / f"{name}.parquet", "labelled")
    for name, rows in (("features", table.iloc[:24]), ("pool_features", table.iloc[24:])):
        values = list(descriptors(list(rows["canonical_smiles"])))
        write_table(rows[["molecule_id"]].assign(values=values), tmp_path / f"{name}.parquet", "descriptors")
    selection = {"strategy": "all", "splitter": "random", "split_seed": 0, "seed": 0, "molecule_id": "pool-0"}
    selection |= {"score": None, "rank": 1, "selected": True, "set_aside": False}
    write_table(pd.DataFrame([selection]), tmp_path / "selection.parquet", "selections")
    place = {path.stem: str(path) for path in tmp_path.glob("*.parquet")}
    spec = {"model": "svr", "options": QUICK["svr"], "largest": 21}
    identity = Identity("random", 0, 0, "descriptors", "mine", "all")
    output = SimpleNamespace(predictions=tmp_path / "own.parquet", run=tmp_path / "run.json")
    more = _run.added(place["selection"], place["pool"], Features([place["pool_features"]]))
    _run.fit_and_write(identity, spec, Features([place["features"]]), list(folds.values()), output, more)
    predictions = pd.read_parquet(output.predictions).assign(label=LABELS[20:24])

    added = {"selection": place["selection"], "pool": place["pool"], "tables": [place["pool_features"]]}
    cell = {"model": "svr", "options": QUICK["svr"], "features": ["descriptors"], "tables": [place["features"]]}
    cell |= {"validation": place["validation"], "encoder": str(encoder_folder), "added": added}
    errors = {"rmse": 1.0, "mae": 0.5, "r2": math.nan, "spearman": 0.25}
    chosen = vars(identity) | {"run_id": identity.run_id, "n_selected": 1, "test": errors, "surpassed": None} | errors
    run = refitted(chosen, {"descriptors/mine/all": cell}, place["train"], predictions)
    assert run.training == [*folds["train"]["molecule_id"], "pool-0"]
    target = tmp_path / "model"
    facts = export_described(target, run, table, SPEC, {"target": {"file": "t.csv", "sha256": "0" * 64}}, CPU)
    found = folder.load(target).predict(SMILES[20:24])["exp"].to_numpy(float)
    np.testing.assert_allclose(found, predictions["prediction"], rtol=1e-6)
    assert facts["training"] == {"molecules": 21, "of_the_pool": 1}
    assert set(pd.read_parquet(target / "training.parquet")["molecule_id"]) == set(run.training)
    del cell["added"]
    alone = refitted(chosen, {"descriptors/mine/all": cell}, place["train"], predictions)
    with pytest.raises(ChemsieveError, match="predictions differ from the run's"):
        export_described(tmp_path / "other", alone, table, SPEC, {}, CPU)


def test_a_molecule_alone_is_predicted_as_among_others(made):
    predictor = folder.load(made)
    together = predictor.predict(SMILES)["exp"].to_numpy(float)
    alone = [predictor.predict([text])["exp"].iloc[0] for text in SMILES[:5]]
    np.testing.assert_allclose(np.array(alone, float), together[:5], rtol=1e-12)


def test_a_folder_that_would_predict_otherwise_is_not_made(encoder_folder, tmp_path):
    with pytest.raises(ChemsieveError, match=r"^export: the model folder's predictions differ from the run's by up to"):
        exported(tmp_path, encoder_folder, "svr", ["descriptors"], spoil=0.01)
    with pytest.raises(ChemsieveError, match=r"chemsieve.json: there is no such file"):
        folder.load(tmp_path)


def test_the_command_predicts_without_torch_and_scikit_learn(made, tmp_path):
    write(tmp_path / "in.csv", [["smiles"], ["CCO"], ["c1ccccc1C"]])
    environment = {"PYTHONPATH": ROOT / "workflow_scripts", "OMP_NUM_THREADS": "1"}
    arguments = ["-X", "importtime", "-m", "chemsieve.predict", made, "in.csv", "out.csv"]
    with processes.start(*arguments, cwd=tmp_path, environment=environment, stderr=subprocess.PIPE) as process:
        _, said = process.communicate()
    assert process.returncode == 0, said
    assert "2 rows: 2 predicted" in said
    assert not re.search(r"\| +(torch|transformers|sklearn)$", said, re.MULTILINE)
    wanted = folder.load(made).predict(["CCO", "c1ccccc1C"])["exp"].to_numpy(float)
    found = pd.read_csv(tmp_path / "out.csv", dtype={"exp": str})
    places = len(found["exp"].iloc[0].partition(".")[2])
    np.testing.assert_allclose(found["exp"].astype(float), wanted, rtol=0, atol=0.5001 * 10**-places)
    assert found["exp_unc"].isna().all()


def test_a_device_that_the_model_does_not_need_is_not_asked_for(made, tmp_path):
    source = write(tmp_path / "in.csv", [["smiles"], ["CCO"]])
    options = ["--device", "cuda", "--threads", "1"]
    assert command.main([str(made), str(source), str(tmp_path / "out.csv"), *options]) == 0
    assert len(read(tmp_path / "out.csv")) == 2


def test_the_card_says_what_it_is(made):
    card = (made / "README.md").read_text(encoding="utf-8")
    for text in (
        "random/0/0/descriptors/mine/none",
        "the descriptor model svr",
        "RDKit descriptors and log counts of Morgan fingerprints (radius 2, 2,048 columns)",
        "It was chosen by validation: of 3 configurations `descriptors/svr/none` is the best by its validation",
        "`exp_unc`: empty",
        "Trained on 20 molecules",
        "which neither training, ",
    ):
        assert text in card, text
    for text in ("epoch", "fine-tuned", "dropout"):
        assert text not in card, text


def numbers(change):
    """A damage that changes the tensors."""

    def damage(made):
        tensors = load_file(made / "model.safetensors")
        change(tensors)
        save_file({name: np.ascontiguousarray(part) for name, part in tensors.items()}, made / "model.safetensors")

    return damage


def described(**values):
    """A damage that changes what ``config.json`` says."""

    def damage(made):
        config = json.loads((made / "config.json").read_text(encoding="utf-8"))
        (made / "config.json").write_text(json.dumps(config | values), encoding="utf-8")

    return damage


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (numbers(lambda t: t.pop("model.gamma")), "model.gamma is missing or one too many"),
        (numbers(lambda t: t.update(more=np.zeros(1))), "more is missing or one too many"),
        (numbers(lambda t: t.update({"encoder.more": np.zeros(1)})), "it holds an encoder"),
        (numbers(lambda t: t["model.support"].fill(np.nan)), "model.support holds a value that is not finite"),
        (numbers(lambda t: t.update({"prepare.kept": t["prepare.kept"] + 5000})), "it keeps columns that there are"),
        (numbers(lambda t: t.update({"prepare.mean": t["prepare.mean"][1:]})), "not as many as its columns"),
        (numbers(lambda t: t.update({"model.support": t["model.support"][:, 1:]})), "its support vectors are"),
        (numbers(lambda t: t.update({"model.support": t["model.support"][1:]})), "not one coefficient for each"),
        (described(columns={"descriptors": 3, "morgan": 2048}), "it was prepared for"),
        (described(features=["descriptors", "maccs"]), "features: a list of"),
        (described(descriptors=["MolWt"]), "computes other descriptors than the one"),
        (described(morgan={"radius": 3, "size": 2048}), "that this release does not compute"),
        (described(clip=4.0), "clip: it is not 5.0"),
        (described(model="..predict"), "unknown choice '..predict'"),
        (described(model_type="molformer"), "it describes no descriptor model"),
        (lambda made: (made / "config.json").write_text("[", encoding="utf-8"), "not readable JSON"),
        (lambda made: (made / "model.safetensors").write_bytes(b"\x80\x04N."), "not a readable safetensors file"),
    ],
)
def test_what_does_not_fit_is_one_sentence_though_its_hash_is_right(copied, damage, said):
    damage(copied)
    with pytest.raises(ChemsieveError, match="damaged or of another model"):
        folder.load(copied)
    facts = json.loads((copied / "chemsieve.json").read_text(encoding="utf-8"))
    facts["files"] = {name: folder.sha256(copied / name) for name in folder.HASHED}
    (copied / "chemsieve.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(ChemsieveError, match=re.escape(said)) as caught:
        folder.load(copied)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "place", "value", "said"),
    [
        ("left", 0, 0, "has no such child"),  # a ring of nodes would never end
        ("right", 0, 10_000, "has no such child"),
        ("feature", 0, 39, "asks for a feature"),
        ("sizes", 0, 1, "not of as many nodes"),
    ],
)
def test_trees_that_lead_nowhere_are_seen(name, place, value, said):
    features, labels = problem(40)
    module = baselines.load("random_forest")
    fitted = module.fit(features[:90], labels[:90], features[90:], labels[90:], 0, n_estimators=2)
    numbers = {key.removeprefix("model."): part for key, part in fitted.stored(module.stored).items()}
    numbers[name][place] = value
    assert said in module.mistake(numbers, 39)


def test_the_best_may_be_kept_to_language_models():
    runs = [("adapted", "full", 1.0), ("descriptors", "svr", 0.5), ("adapted", "lora", 0.9)]
    table = pd.DataFrame(
        {"run_id": f"random/0/0/{origin}/{method}/none", "origin": origin, "method": method, "fold": fold, "rmse": rmse}
        for origin, method, rmse in runs
        for fold in ("validation", "test")
    )
    best, language = choose(table, "best"), choose(table, "best_language_model")
    assert (best["run_id"], best["surpassed"]) == ("random/0/0/descriptors/svr/none", None)
    assert (language["run_id"], language["surpassed"]["rmse"]) == ("random/0/0/adapted/lora/none", 0.5)
    assert choose(table, "random/0/0/descriptors/svr/none")["run_id"] == best["run_id"]
    with pytest.raises(ChemsieveError, match="did you mean 'best_language_model'"):
        choose(table, "best_languagemodel")
