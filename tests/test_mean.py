"""The mean of a language model and a descriptor model as one model folder: what it predicts, and what it refuses."""

import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from rdkit import Chem

from chemsieve import predict as command
from chemsieve.deployment import conformal, folder
from chemsieve.deployment.card import card
from chemsieve.deployment.choice import choose_mean
from chemsieve.deployment.export import export_mean
from chemsieve.errors import ChemsieveError
from chemsieve.study import plan
from helpers.inputs import write
from helpers.models import DATA, LABELS, described_run, exported, language_run, molecules
from helpers.tiny import SMILES
from helpers.workflow import RESULTS, ROOT, edit, snakemake, study

CPU = torch.device("cpu")
# Writings of molecules that the study has not, and one that stands in its training as another writing.
NEW = ["CCCO", "c1ccccc1CCl", "OC(=O)CCN", "N#CC", "CC(C)(C)c1ccncc1"]


def made_at(target, encoder, spoil=0.0, kinds=("descriptors",), **choices):
    """A folder of a mean; the two runs that it is made of."""
    language, spec = language_run(encoder, model="mean", **choices)
    fitted = described_run(encoder, kinds)
    language.predictions["prediction"] += spoil
    export_mean(target, language, fitted, molecules(encoder), spec, DATA, CPU)
    return language.predictions, fitted.predictions


@pytest.fixture(scope="module")
def made(encoder_folder, tmp_path_factory):
    """A folder of a mean. Read it only."""
    target = tmp_path_factory.mktemp("mean")
    made_at(target, encoder_folder)
    return target


@pytest.fixture
def config():
    """The configuration of the embedded study."""
    return yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def copied(made, tmp_path):
    """A copy of it, to damage."""
    return shutil.copytree(made, tmp_path / "elsewhere")


def facts_of(made):
    return json.loads((made / "chemsieve.json").read_text(encoding="utf-8"))


def values(predictor, smiles, name="exp"):
    return predictor.predict(smiles)[name].to_numpy(float)


# -- what it predicts --------------------------------------------------------------------------------------------------


def test_a_prediction_is_the_mean_of_what_its_members_predict_alone(copied):
    whole = folder.load(copied)
    alone = [values(folder.load(copied / name), NEW) for name in ("language", "descriptors")]
    np.testing.assert_allclose(values(whole, NEW), (alone[0] + alone[1]) / 2, rtol=1e-6)
    # Two values deviate from their mean by half their distance each; the sum of squares is divided by one.
    np.testing.assert_allclose(values(whole, NEW, "exp_unc"), abs(alone[0] - alone[1]) / math.sqrt(2), rtol=1e-5)
    assert abs(alone[0] - alone[1]).min() > 1e-3
    assert folder.uses_torch(copied)


@pytest.mark.parametrize(("kinds", "writings"), [(["descriptors", "embeddings"], 1), (["descriptors"], 3)])
def test_each_member_reads_molecules_in_its_own_way(encoder_folder, tmp_path, kinds, writings):
    made_at(tmp_path, encoder_folder, kinds=kinds, writings=writings)
    alone = [values(folder.load(tmp_path / name), NEW) for name in ("language", "descriptors")]
    np.testing.assert_allclose(values(folder.load(tmp_path), NEW), np.mean(alone, axis=0), rtol=1e-6)
    said = "* Predictions of the language model are averaged over 3 SMILES of each molecule."
    assert (said in (tmp_path / "README.md").read_text(encoding="utf-8")) == (writings == 3)


def test_it_predicts_as_the_two_runs_did(encoder_folder, tmp_path):
    language, fitted = made_at(tmp_path, encoder_folder)
    wanted = (language["prediction"].to_numpy() + fitted["prediction"].to_numpy()) / 2
    given = [Chem.MolToSmiles(Chem.MolFromSmiles(s), canonical=False, rootedAtAtom=1) for s in SMILES[20:24]]
    for smiles in (SMILES[20:24], given):
        np.testing.assert_allclose(values(folder.load(tmp_path), smiles), wanted, rtol=1e-5)
    facts = facts_of(tmp_path)
    for fold, rows in (("validation", slice(0, 2)), ("test", slice(2, 4))):
        errors = wanted[rows] - LABELS[20:24][rows]
        assert facts["metrics"][fold]["rmse"] == pytest.approx(math.sqrt((errors**2).mean()), rel=1e-9)
        assert facts["metrics"][fold]["mae"] == pytest.approx(abs(errors).mean(), rel=1e-9)


def test_the_interval_is_that_of_the_means_own_errors_on_test_molecules(made):
    found = folder.load(made).predict(SMILES[20:24])
    errors = np.abs(found["exp"].to_numpy(float) - LABELS[20:24])
    widths = (found["exp_high"] - found["exp_low"]).to_numpy(float) / 2
    own = conformal.calibrating(["target-22", "target-23"], 0.5)
    ((calibrates,), (checks,)) = errors[2:][own], errors[2:][~own]
    np.testing.assert_allclose(widths, calibrates, rtol=1e-6)
    interval = facts_of(made)["interval"]
    assert interval["test_covered"] == (checks <= calibrates)
    assert (interval["molecules"], interval["test_molecules"], interval["coverage"]) == (1, 1, 0.5)


def test_it_knows_all_molecules_that_either_was_trained_on(made):
    predictor = folder.load(made)
    assert sorted(predictor.neighbours.ids) == sorted([*(f"target-{row}" for row in range(20)), "pool-0"])
    found = predictor.predict(["CCSCC", "OCC", "?", "C" * 60])
    assert list(found["same_molecule"].iloc[:2]) == ["pool-0", "target-0"]
    assert list(found["similarity"].iloc[:2]) == [1.0, 1.0]
    assert list(found["reason"]) == ["", "", "unparsable", "too_long"]
    assert facts_of(made)["training"] == {"molecules": 21, "of_the_pool": 1}


def test_an_answer_of_a_member_that_is_no_number_has_a_reason(made):
    predictor = folder.load(made)
    answer = predictor.members[1]._values
    predictor.members[1]._values = lambda rows: (answer(rows)[0] * [1, np.nan, 1], answer(rows)[1])
    found = predictor.predict(["CCO", "CCN", "CCC"])
    assert list(found["reason"]) == ["", "not_finite", ""]


def test_the_plain_command_predicts_with_a_folder_that_was_moved(copied, tmp_path):
    source = write(tmp_path / "in.csv", [["smiles"], *([text] for text in NEW)])
    assert command.main([str(copied), str(source), str(tmp_path / "out.csv"), "--device", "cpu"]) == 0
    found = pd.read_csv(tmp_path / "out.csv")
    digits = 0.51 * 10.0 ** -max(0, 2 - math.floor(math.log10(facts_of(copied)["interval"]["half_width"])))
    np.testing.assert_allclose(found["exp"], values(folder.load(copied), NEW), atol=digits)
    assert found["exp_unc"].notna().all()


def test_the_card_says_what_it_is_and_whether_it_is_better(made):
    said, facts = (made / "README.md").read_text(encoding="utf-8"), facts_of(made)
    own = facts["metrics"]["validation"]["rmse"]
    for text in (
        "* `language/`, weight 0.5: run `random/0/0/adapted/full/random`",
        "* `descriptors/`, weight 0.5: run `random/0/1/descriptors/svr/none`, the descriptor model svr",
        "Validation RMSE 1.000 log units.",
        "Validation RMSE 1.500 log units.",
        f"The mean has a validation RMSE of {own:.3f} log units: ",
        "Trained on 21 molecules (`language/training.parquet` and `descriptors/training.parquet`), 1 of them",
        "`exp_unc`: the standard deviation between the two models",
        "It is no error bar",
        "the language model's epoch and the descriptor model's options and these configurations among others",
    ):
        assert text in said, text
    facts["metrics"]["validation"]["rmse"] = 0.9
    assert "0.900 log units: lower than both." in card(facts)
    facts["metrics"]["validation"]["rmse"] = 1.1
    assert "1.100 log units: **not lower than `language/` alone**" in card(facts)
    for name in ("language", "descriptors"):
        member = (made / name / "README.md").read_text(encoding="utf-8")
        assert "It is one of the two models of which `predict.model: mean` makes one." in member


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_folder_that_would_predict_otherwise_is_not_made(encoder_folder, tmp_path):
    with pytest.raises(ChemsieveError, match=r"^export: the model folder's predictions differ from the run's by up to"):
        made_at(tmp_path, encoder_folder, spoil=0.01)
    with pytest.raises(ChemsieveError, match=r"chemsieve.json: there is no such file"):
        folder.load(tmp_path)


def test_runs_on_other_molecules_have_no_mean(encoder_folder, tmp_path):
    language, spec = language_run(encoder_folder, model="mean")
    fitted = described_run(encoder_folder)
    fitted.predictions["molecule_id"] = fitted.predictions["molecule_id"].to_numpy()[[0, 2, 1, 3]]
    with pytest.raises(ChemsieveError, match="did not predict the same molecules"):
        export_mean(tmp_path, language, fitted, molecules(encoder_folder), spec, DATA, CPU)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def said_otherwise(name, value):
    """A damage that changes what ``chemsieve.json`` says."""

    def damage(made):
        facts = facts_of(made) | {name: value}
        (made / "chemsieve.json").write_text(json.dumps(facts), encoding="utf-8")

    return damage


def of_members(**changes):
    """A damage that changes what it says of the first member."""

    def damage(made):
        first, second = facts_of(made)["members"]
        said_otherwise("members", [first | changes, second])(made)

    return damage


def without_interval(made):
    facts = facts_of(made)
    del facts["interval"]
    (made / "chemsieve.json").write_text(json.dumps(facts), encoding="utf-8")


def exchanged(made):
    """Each member in the other's place, with the hash of what now stands there."""
    for old, new in (("language", "third"), ("descriptors", "language"), ("third", "descriptors")):
        (made / old).rename(made / new)
    members = facts_of(made)["members"]
    for member in members:
        member["sha256"] = folder.sha256(made / member["folder"] / "chemsieve.json")
    said_otherwise("members", members)(made)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda made: cut(made / "language" / "model.safetensors"), r"language/model.safetensors: it is damaged or of"),
        (lambda made: cut(made / "descriptors" / "training.parquet"), r"s/training.parquet: it is damaged or of"),
        (
            lambda made: edit(made / "language" / "chemsieve.json", '"seed": 0', '"seed": 1'),
            r"e/chemsieve.json: it is da",
        ),
        (lambda made: shutil.rmtree(made / "descriptors"), r"descriptors/chemsieve.json: there is no such file; the"),
        (lambda made: (made / "descriptors" / "config.json").unlink(), r"descriptors/config.json: there is no such"),
        (lambda made: cut(made / "chemsieve.json"), r"chemsieve.json: not readable JSON"),
        (without_interval, r"chemsieve.json: it says nothing of 'interval'"),
        (exchanged, r"language/chemsieve.json: format: 1 is wanted in this place"),
        (said_otherwise("members", None), r"members: the folders language and descriptors are wanted, in this order"),
        (of_members(folder="../language"), r"members: the folders language and descriptors are wanted"),
        (of_members(weight=0.7), r"members: weights above 0 are wanted, of the sum 1"),
        (of_members(weight="0.5"), r"members: weights above 0 are wanted, of the sum 1"),
        (of_members(sha256="0"), r"language/chemsieve.json: it is damaged or of another model"),
        (
            said_otherwise("input", {"max_tokens": 9, "stereo": False}),
            r"chemsieve.json: input: it differs from that of",
        ),
    ],
)
def test_what_is_damaged_or_does_not_fit_is_one_sentence(copied, damage, said):
    damage(copied)
    with pytest.raises(ChemsieveError, match=said) as caught:
        folder.load(copied)
    assert "\n" not in str(caught.value)


def test_nothing_of_another_kind_of_folder_is_left(encoder_folder, tmp_path):
    exported(tmp_path, encoder_folder)
    single = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    made_at(tmp_path, encoder_folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["README.md", "chemsieve.json", "descriptors", "language", "mine.txt"]
    )
    exported(tmp_path, encoder_folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*single, "mine.txt"])


# -- which two ---------------------------------------------------------------------------------------------------------


def metrics(*runs):
    """The table of runs given as run_id, validation and test RMSE."""
    return pd.DataFrame(
        {"run_id": run_id, "origin": run_id.split("/")[3], "fold": fold, "rmse": rmse}
        for run_id, *errors in runs
        for fold, rmse in zip(("validation", "test"), errors, strict=True)
    )


LANGUAGE = [
    ("random/1/0/adapted/full/none", 1.0, 0.1),
    ("random/10/0/adapted/full/none", 1.0, 0.1),
    ("random/1/0/adapted/lora/none", 0.9, 3.0),
    ("random/10/0/adapted/lora/none", 0.9, 4.0),
]
DESCRIBED = [
    ("random/1/0/descriptors/svr/none", 0.5, 0.1),
    ("random/10/0/descriptors/svr/none", 0.9, 0.1),
    ("random/1/0/descriptors/forest/none", 0.65, 0.1),
    ("random/1/1/descriptors/forest/none", 0.6, 2.0),
    ("random/10/0/descriptors/forest/none", 0.6, 0.1),
    ("random/1/0/descriptors/svr/influence", 0.55, 0.1),
    ("random/10/0/descriptors/svr/influence", 0.55, 0.1),
]


def test_the_two_are_the_best_configurations_of_validation_on_one_split():
    language, fitted = choose_mean(metrics(*LANGUAGE, *DESCRIBED), ["descriptors/svr/influence"])
    assert (language["run_id"], fitted["run_id"]) == (LANGUAGE[2][0], DESCRIBED[3][0])
    assert (language["test"]["rmse"], fitted["test"]["rmse"]) == (3.0, 2.0)


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        (DESCRIBED, "the study has no language model to take it of"),
        (LANGUAGE, "the split of random/1/0/adapted/lora/none has no descriptor model to take it of"),
        ([*LANGUAGE, DESCRIBED[1]], "the split of random/1/0/adapted/lora/none has no descriptor model"),
    ],
)
def test_a_study_without_both_is_one_sentence(runs, said):
    with pytest.raises(ChemsieveError, match=f"^configuration: predict.model: mean: {re.escape(said)}"):
        choose_mean(metrics(*runs))


def test_the_plan_names_the_files_of_the_folder(config, made):
    single = plan.Plan(config)
    assert single.model_files == list(plan.MODEL_FILES)
    best = single.exported_files(), single.exported_candidates()
    config["predict"]["model"] = "mean"
    both = plan.Plan(config)
    there = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    assert set(both.model_files) == there
    assert len(both.model_files) == len(there)
    assert both.model_files[0] == "chemsieve.json"
    assert (both.exported_files(), both.exported_candidates()) == best
    config["baselines"]["run"] = []
    with pytest.raises(ChemsieveError, match=r"predict.model: mean: the study has no descriptor model; see baselines"):
        plan.Plan(config).exported_files()


# -- the workflow ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_workflow_exports_the_mean_and_predicts_with_it(workspace):
    results, label = workspace / RESULTS, "crippen_logp_with_noise"
    wanted = str(RESULTS / "predictions.csv")
    (workspace / "new.csv").write_bytes((results / "embedded" / "target.csv").read_bytes())

    def run(model):
        given = f"predict={{input: new.csv, model: {model}}}"
        done = snakemake(workspace, wanted, *study(workspace), "--config", given)
        assert done.returncode == 0, done.stdout
        return done.stdout

    said = run("mean")
    facts = facts_of(results / "model")
    errors = pd.read_parquet(results / "tables" / "metrics.parquet").query("fold == 'validation'")
    errors = errors.set_index("run_id")["rmse"]
    counts = errors.where(~errors.index.str.contains("/influence"), errors * 1.5)
    described = errors.index.str.contains("/descriptors/")
    two = [counts[~described].idxmin(), counts[described].idxmin()]
    assert [member["run_id"] for member in facts["members"]] == two
    known = pd.read_parquet(results / "tables" / "predictions.parquet")
    known = known[known["run_id"].isin(two)].groupby(["fold", "molecule_id"], sort=False)
    known = known[["label", "prediction"]].mean().reset_index()
    found = pd.read_csv(results / "predictions.csv", keep_default_na=False)
    rows = known["molecule_id"].str.removeprefix("target-").astype(int)
    digits = 0.51 * 10.0 ** -max(0, 2 - math.floor(math.log10(facts["interval"]["half_width"])))
    np.testing.assert_allclose(found[f"{label}_predicted"].iloc[rows], known["prediction"], atol=digits, rtol=0)
    distances = {fold: abs(rows["label"] - rows["prediction"]) for fold, rows in known.groupby("fold")}
    test = known[known["fold"] == "test"]
    calibrating = sorted(distances["test"][conformal.calibrating(list(test["molecule_id"]), 0.8)])
    rank = math.ceil((len(calibrating) + 1) * 0.8)
    assert facts["interval"]["half_width"] == pytest.approx(calibrating[rank - 1], abs=1e-5)
    distances = distances["validation"]
    rmse = math.sqrt(np.mean(np.square(distances)))
    assert f"validation RMSE: {rmse:.3f}, of the language model alone {errors[two[0]]:.3f}" in said
    assert ("one of the two alone is as good" in said) == (rmse >= errors[two].min())

    # Moved elsewhere, the folder predicts the same.
    shutil.move(results / "model", workspace / "moved")
    arguments = [workspace / "moved", workspace / "new.csv", workspace / "out.csv", "--device", "cpu"]
    assert command.main(list(map(str, arguments))) == 0
    again = pd.read_csv(workspace / "out.csv", keep_default_na=False)
    np.testing.assert_allclose(again[f"{label}_predicted"], found[f"{label}_predicted"], atol=1e-5)

    # From a mean to one model and back, with what the other left in the place of the folder.
    shutil.move(workspace / "moved", results / "model")
    run("best")
    assert sorted(path.name for path in (results / "model").iterdir()) == sorted(plan.MODEL_FILES)
    assert "the model is the mean of the runs" in run("mean")
    assert facts_of(results / "model") == facts
