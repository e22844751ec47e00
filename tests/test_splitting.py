"""Splitters against what DeepChem 2.8.0 itself returns.

``fixtures/deepchem_small.json`` was written by running the splitters of DeepChem 2.8.0 (its wheel's
``deepchem/splits/splitters.py``, unchanged; only its imports of data set classes were stubbed) on sixty SMILES chosen
by hand: equal weights, acyclic molecules, repeated scaffolds, stereoisomers, salts, molecules written in two ways.
Sixty, since 0.7 + 0.2 of it is 53.99 in binary arithmetic. ``fixtures/deepchem_lipophilicity.json`` holds hashes of
DeepChem's splits of MoleculeNet Lipophilicity, which is not shipped: name its file in CHEMSIEVE_LIPOPHILICITY.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chemsieve import registry
from chemsieve.errors import ChemsieveError
from chemsieve.splitting import FOLDS, divide

ROOT = Path(__file__).parents[1]
SMALL = json.loads((ROOT / "tests/fixtures/deepchem_small.json").read_text())
LIPOPHILICITY = json.loads((ROOT / "tests/fixtures/deepchem_lipophilicity.json").read_text())
SMILES_SPLITTERS = ["butina", "fingerprint", "maxmin", "random", "scaffold", "weight"]
FRACTIONS = (0.8, 0.1, 0.1)


def run_name(run):
    return "-".join(str(run[key]) for key in ("splitter", "fractions", "seed", "options"))


def test_all_splitters_are_found():
    assert registry.choices("splitting") == sorted([*SMILES_SPLITTERS, "column", "cross_validation", "draws"])
    assert {run["splitter"] for run in SMALL["runs"]} == set(SMILES_SPLITTERS)


@pytest.mark.parametrize("run", SMALL["runs"], ids=run_name)
def test_rows_and_their_order_are_deepchems(run):
    splitter = registry.load("splitting", run["splitter"])
    parts = splitter.split(SMALL["smiles"], tuple(run["fractions"]), run["seed"], **run["options"])
    expected = tuple(run[fold] for fold in FOLDS)
    if run["splitter"] == "weight":  # the order of equal weights differs between processors, in DeepChem too
        parts, expected = tuple(map(sorted, parts)), tuple(map(sorted, expected))
    assert parts == expected


@pytest.mark.parametrize("run", SMALL["runs"], ids=run_name)
def test_divide_names_each_molecules_fold(run):
    folds = divide(run["splitter"], SMALL["smiles"], tuple(run["fractions"]), run["seed"], **run["options"])
    for fold in FOLDS:
        assert np.flatnonzero(folds == fold).tolist() == sorted(run[fold])


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in LIPOPHILICITY if key not in ("source", "hash")])
def test_hashes_on_lipophilicity(key):
    path = Path(os.environ.get("CHEMSIEVE_LIPOPHILICITY", ROOT / "../shared/data/lipophilicity.csv"))
    if not path.is_file():
        pytest.skip("no Lipophilicity file; set CHEMSIEVE_LIPOPHILICITY to it")
    splitter, _, seed = key.partition("_seed")
    folds = divide(splitter, pd.read_csv(path)["smiles"].tolist(), FRACTIONS, int(seed or 0))
    for fold, theirs in zip(FOLDS, ("train", "valid", "test"), strict=True):
        rows = np.flatnonzero(folds == fold).tolist()
        assert len(rows) == LIPOPHILICITY[key][theirs]["n"]
        assert rows[:5] == LIPOPHILICITY[key][theirs]["first5"]
        assert hashlib.sha256(",".join(map(str, rows)).encode()).hexdigest() == LIPOPHILICITY[key][theirs]["sha256"]


@pytest.mark.parametrize("splitter", [*SMILES_SPLITTERS, "cross_validation"])
def test_numpys_global_generator_is_left_alone(splitter):
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    divide(splitter, SMALL["smiles"], FRACTIONS, 3)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_butina_cutoff_is_a_distance():
    # At distance 1 everything is similar to everything: a single cluster, which fits nowhere but into test.
    _, _, test = registry.load("splitting", "butina").split(SMALL["smiles"], FRACTIONS, 0, cutoff=1)
    assert sorted(test) == list(range(60))


@pytest.mark.parametrize(
    ("fractions", "seed", "message"),
    [
        ((0.8, 0.1), 0, "fractions"),
        ((0.8, 0.3, -0.1), 0, "fractions"),
        ((0.8, 0.1, 0.2), 0, "fractions"),
        ((0.5, 0.1, 0.1), 0, "fractions"),
        ((0.8, 0.1, float("nan")), 0, "fractions"),
        (FRACTIONS, -1, "seed"),
        (FRACTIONS, 2**31, "seed"),
    ],
)
def test_bad_fractions_and_seeds(fractions, seed, message):
    with pytest.raises(ChemsieveError, match=message):
        divide("random", SMALL["smiles"], fractions, seed)


@pytest.mark.parametrize("splitter", SMILES_SPLITTERS)
@pytest.mark.parametrize(("n", "fractions"), [(0, FRACTIONS), (1, FRACTIONS), (3, FRACTIONS), (60, (0.9, 0.1, 0.0))])
def test_empty_folds_are_refused(splitter, n, fractions):
    if splitter == "maxmin" and fractions[2] == 0:
        pytest.skip("asked for no molecule, RDKit's picker and so DeepChem's MaxMin splitter take one")
    with pytest.raises(ChemsieveError, match=r"fold of \d+ molecules is empty|no molecules"):
        divide(splitter, SMALL["smiles"][:n], fractions, 0)


@pytest.mark.parametrize("splitter", ["fingerprint", "maxmin", "random", "weight"])
@pytest.mark.parametrize("sizes", [(1, 10, 1), (10, 1, 1), (1, 1, 10), (4, 4, 4)])
def test_folds_of_one_molecule_are_folds(splitter, sizes):
    folds = divide(splitter, SMALL["smiles"][:12], tuple(size / 12 for size in sizes), 0)
    assert tuple((folds == fold).sum() for fold in FOLDS) == sizes


@pytest.mark.parametrize(
    ("splitter", "n", "fractions", "fold"),
    [
        ("fingerprint", 10, (0.05, 0.5, 0.45), "train"),
        ("fingerprint", 13, (0.5, 0.5, 0.0), "test"),  # rounding leaves a molecule, which DeepChem leaves out too
        ("fingerprint", 13, (0.95, 0.05, 0.0), "validation"),
        ("cross_validation", 10, (0.0, 0.0, 1.0), "validation"),
    ],
)
def test_a_fold_that_is_not_asked_for_is_empty(splitter, n, fractions, fold):
    with pytest.raises(ChemsieveError, match=f"the {fold} fold of {n} molecules is empty"):
        divide(splitter, SMALL["smiles"][:n], fractions, 0)


def test_the_empty_fold_is_named():
    with pytest.raises(ChemsieveError, match="the validation fold of 4 molecules is empty"):
        divide("random", ["C", "CC", "CCC", "CCCC"], (0.5, 0.1, 0.4), 0)


@pytest.mark.parametrize("splitter", sorted({*SMILES_SPLITTERS} - {"random"}))
def test_an_unreadable_smiles_is_named(splitter):
    with pytest.raises(ChemsieveError, match=r"'C\(' of molecule 2"):
        divide(splitter, ["C", "CC", "C(", *SMALL["smiles"]], FRACTIONS, 0)


def test_unknown_choices_are_refused():
    with pytest.raises(ChemsieveError, match="unknown choice 'scafold'"):
        divide("scafold", SMALL["smiles"], FRACTIONS, 0)
    with pytest.raises(ChemsieveError, match="unknown option 'cutoff'"):
        divide("scaffold", SMALL["smiles"], FRACTIONS, 0, cutoff=0.5)


@pytest.mark.parametrize(
    ("parts", "message"),
    [(([0], [1], [2]), "molecule 3 is in 0 folds"), (([0, 1], [1, 2], [3]), "molecule 1 is in 2 folds")],
)
def test_every_molecule_is_in_one_fold(monkeypatch, parts, message):
    monkeypatch.setattr(registry.load("splitting", "random"), "split", lambda *_: parts)
    with pytest.raises(ChemsieveError, match=message):
        divide("random", ["C", "CC", "CCC", "CCCC"], FRACTIONS, 0)


@pytest.mark.parametrize("folds", [3, 5])
@pytest.mark.parametrize("n", [23, 60])
def test_cross_validation_tests_each_molecule_once_in_a_repeat(n, folds):
    smiles = (SMALL["smiles"] * 2)[:n]
    names = [divide("cross_validation", smiles, FRACTIONS, seed, folds=folds) for seed in range(2 * folds)]
    tests = [np.flatnonzero(name == "test").tolist() for name in names]
    for repeat in (tests[:folds], tests[folds:]):
        assert sorted(position for test in repeat for position in test) == list(
            range(n)
        )  # disjoint, and together everything
        assert max(map(len, repeat)) - min(map(len, repeat)) <= 1
    assert sorted(tests[:folds]) != sorted(tests[folds:])  # another repeat, another shuffling
    for name in names:
        rest = n - (name == "test").sum()
        assert (name == "validation").sum() == round(rest / 9)  # 0.1 of 0.8 + 0.1
    assert len({tuple(np.flatnonzero(name == "validation")) for name in names}) == 2 * folds


def test_cross_validation_gives_the_same_fold_again():
    again = [divide("cross_validation", SMALL["smiles"], FRACTIONS, 7).tolist() for _ in range(2)]
    assert again[0] == again[1]


def test_column_reads_the_users_folds():
    given = ["Train", "VAL", "test ", "valid", "validation", "train"]
    folds = divide("column", ["C"] * 6, FRACTIONS, 0, given=given)
    assert folds.tolist() == ["train", "validation", "test", "validation", "validation", "train"]


@pytest.mark.parametrize("value", ["holdout", "", None, float("nan"), 1])
def test_column_names_row_and_value(value):
    with pytest.raises(ChemsieveError, match=f"row 1 holds {value!r}"):
        divide("column", ["C", "CC", "CCC"], FRACTIONS, 0, given=["train", value, "test"])
    with pytest.raises(ChemsieveError, match="row 17 "):
        divide("column", ["C", "CC", "CCC"], FRACTIONS, 0, given=["train", value, "test"], rows=[5, 17, 18])


@pytest.mark.parametrize("given", [None, ["train"]])
def test_column_needs_a_fold_for_each_molecule(given):
    with pytest.raises(ChemsieveError, match="fold of each of the 2 molecules"):
        divide("column", ["C", "CC"], FRACTIONS, 0, given=given)


def test_listing_and_importing_the_package_does_not_load_rdkit():
    code = "import sys, chemsieve.splitting; sys.exit('rdkit' in sys.modules)"
    path = {"PYTHONPATH": str(ROOT / "workflow_scripts")}
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **path})
