"""The user's own molecules, run through the workflow."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from rdkit import Chem
from sklearn.neighbors import KNeighborsRegressor

from chemsieve.audit.fingerprints import bits_of
from chemsieve.data.embedded import make
from chemsieve.tables import TABLES
from helpers.workflow import CONTRACT, TINY, overlay, snakemake

pytestmark = pytest.mark.slow


AMPHETAMINE, RACEMIC_SALT, MIRRORED = "C[C@H](N)Cc1ccccc1", "CC(N)Cc1ccccc1.Cl", "C[C@@H](N)Cc1ccccc1"
TARGET = [
    *("CCO", "c1ccccc1", "CC(=O)O", "CCN(CC)CC", "c1ccncc1", "CC(C)C", "OCCO", "ClCCl", "CC#N", "c1ccc2ccccc2c1"),
    *("CNC(=O)c1ccccc1", "COc1ccccc1", "Cc1ccccc1N", "O=C1CCCN1", "CCCCCC", "C1CCOC1", "CS(C)=O", "Brc1ccccc1"),
    *("FC(F)(F)c1ccccc1", "NCCc1ccccc1", "CC(=O)Nc1ccccc1", "O=C(O)c1ccccc1", "c1ccsc1", AMPHETAMINE),
]
POOL = ["CCCO", RACEMIC_SALT, "CCCCO", "c1ccccc1", "C1CC", "CCOCC", "OC(=O)c1ccncc1", MIRRORED, "CCCCCCN"]


def test_own_files_run_to_the_report(fresh):
    folds = ["train", "train", "validation", "train", "test", "train"] * 4
    target = pd.DataFrame({"no": range(24), "structure": TARGET, "activity": np.linspace(-1, 2, 24), "set": folds})
    pool = pd.DataFrame({"Smiles": POOL, "pIC50": np.linspace(-1, 1, len(POOL))})
    target.to_csv(fresh / "my target.csv", index=False)
    pool.to_csv(fresh / "pool.tsv", index=False, sep="\t")
    change = {
        "study": "own",
        "split": {"splitters": ["column"]},
        "selection": {"run": ["none", "random"], "strategies": {"random": {"budget": {"count": 2}}}},
        "influence": {"run": []},
        "grid": {"run": [], "selections": []},
        "baselines": {"run": []},
    }
    columns = [
        "target={source: file, path: my target.csv, smiles: structure, label: activity, fold: set}",
        'pool={source: file, path: pool.tsv, smiles: Smiles, label: pIC50, delimiter: "\\t"}',
    ]
    done = snakemake(fresh, "all", *overlay(fresh, change), "--config", *columns)
    assert done.returncode == 0, done.stdout
    results = fresh / "results" / "own"
    assert (results / "report.html").stat().st_size > 0
    assert not (results / "tables" / "pool_control.parquet").exists()
    found = {name: pd.read_parquet(results / "tables" / f"{name}.parquet") for name in CONTRACT}
    rejected = found["rejected"].set_index("row")
    assert set(rejected["source"]) == {"pool"}
    assert dict(rejected["reason"]) == {1: "in_target", 3: "in_target", 4: "unparsable", 7: "in_target"}
    assert list(rejected["smiles"]) == [RACEMIC_SALT, "c1ccccc1", "C1CC", MIRRORED]
    assert rejected.loc[1, "detail"] == "same parent molecule as target-23"
    assert rejected.loc[7, "detail"] == "same InChIKey first block as target-23"
    assert list(found["splits"].sort_values("molecule_id", key=lambda ids: ids.str[7:].astype(int))["fold"]) == folds
    assert set(found["metrics"]["run_id"]) == {
        f"column/0/0/{run}" for run in ("baseline/full/none", "adapted/full/none", "adapted/full/random")
    }
    assert set(found["molecules"].query("source == 'pool'")["smiles"]) == set(POOL) - set(rejected["smiles"])
    assert found["influence"].empty
    assert list(found["influence"].columns) == list(TABLES["influence"])


def test_a_pool_without_labels_is_ordered_and_nothing_trains_on_it(fresh):
    pd.DataFrame({"smiles": POOL}).to_csv(fresh / "candidates.csv", index=False)
    change = {"study": "unlabelled", "baselines": {"run": []}, "grid": {"run": []}}
    (fresh / "more.yaml").write_text(yaml.safe_dump(change), encoding="utf-8")
    two = "{budget: {count: 2}}"
    strategies = f"selection={{strategies: {{random: {two}, uncertainty: {two}, v_optimal: {two}}}, "
    arguments = ["--configfile", TINY, "studies/unlabelled.yaml", "more.yaml", "--config"]
    arguments += ["pool={source: file, path: candidates.csv}", strategies + "run: [all, random, uncertainty]}"]
    done = snakemake(fresh, "all", "measure_next", *arguments)
    assert done.returncode == 0, done.stdout
    assert "left out: influence.run (" in done.stdout
    listed = pd.read_csv(fresh / "results" / "unlabelled" / "measure_next.csv")
    assert list(listed["rank"]) == [1, 2]
    assert set(listed["smiles"]) <= set(POOL)
    assert (listed[["sd_fall", "own_sd", "tanimoto"]] >= 0).all(axis=None)
    tables = fresh / "results" / "unlabelled" / "tables"
    molecules = pd.read_parquet(tables / "molecules.parquet")
    assert molecules.loc[molecules["source"] == "pool", "label"].isna().all()
    selections = pd.read_parquet(tables / "selections.parquet")
    assert selections.groupby("strategy")["selected"].sum().to_dict() == {"none": 0, "random": 2, "uncertainty": 2}
    metrics = pd.read_parquet(tables / "metrics.parquet")
    assert set(metrics["selection"]) == {"none"}
    assert not (tables / "audit_labels.parquet").exists()


def test_labels_computed_from_the_target_are_found_and_what_leaks_is_left_out(fresh):
    """A pool whose labels are the means of the five nearest target molecules, test molecules among them."""
    target, pool, _ = make(120, 60, 0.3, 2)
    known, asked = (
        bits_of([Chem.MolFromSmiles(text) for text in frame["smiles"]], "ECFP4", 2048) for frame in (target, pool)
    )
    labels = target["crippen_logp_with_noise"]
    pool["made"] = KNeighborsRegressor(5).fit(known, labels).predict(asked).round(3)
    target.to_csv(fresh / "target.csv", index=False)
    pool.to_csv(fresh / "pool.csv", index=False)
    change = {
        "study": "leaking",
        "split": {"splitters": ["random"]},
        "target": {"source": "file", "path": "target.csv"},
        "pool": {"source": "file", "path": "pool.csv", "label": "made", "leaks": "drop"},
        "selection": {"strategies": {name: {"budget": {"count": 3}} for name in ("random", "influence")}},
    }
    tables = Path("results/leaking/tables")
    wanted = [str(tables / "audit.parquet"), "results/leaking/splits/random/0/pool.parquet"]
    done = snakemake(fresh, *wanted, *overlay(fresh, change))
    assert done.returncode == 0, done.stdout
    sources = pd.read_parquet(fresh / tables / "label_sources.parquet")
    assert set(sources["match"]) <= {"exact", "within ties"}
    audit = pd.read_parquet(fresh / tables / "audit.parquet")
    said = audit.loc[audit["severity"] == "leak", "finding"].str.cat()
    assert "the mean of the 5 nearest (ECFP4, 2,048 bits, euclidean)" in said
    split = pd.read_parquet(fresh / "results/leaking/splits/random/0/split.parquet")
    held_out = {int(m.removeprefix("target-")) for m in split.loc[split["fold"] != "train", "molecule_id"]}
    left = pd.read_parquet(fresh / wanted[1])["molecule_id"]
    clean = sources[sources["tied"].map(len).eq(0) & ~sources["used"].map(lambda rows: bool(held_out & set(rows)))]
    assert {f"pool-{row}" for row in clean["row"]} <= set(left)
    kept = sources[("pool-" + sources["row"].astype(str)).isin(left)]
    assert not kept["nearer"].map(lambda rows: bool(held_out & set(rows))).any()
    (treatment,) = pd.read_parquet(fresh / tables / "pool_treatment.parquet").to_dict("records")
    assert (treatment["accepted"], treatment["kept"]) == (60, len(left))
    assert treatment["dropped"] == 60 - len(left) > 0


@pytest.mark.slow
def test_files_in_any_dress_go_through_the_data_step(fresh):
    """Braces in a column's name, a line that names the delimiter, no header; no labels on top of the template."""
    target = "sep=;\nStruktur;logP {exp}\n" + "".join(f"{smiles};{number},5\n" for number, smiles in enumerate(TARGET))
    (fresh / "target.csv").write_text(target, encoding="utf-8")
    (fresh / "pool.smi").write_text(
        "# from a supplier\n" + "".join(f"{text} my name\n" for text in POOL), encoding="utf-8"
    )
    given = [
        'target={path: target.csv, smiles: Struktur, label: "logP {exp}", decimal: ",", delimiter: ";"}',
        'pool={path: pool.smi, smiles: "1"}',
    ]
    layers = ["--configfile", "studies/template.yaml", "studies/unlabelled.yaml", "--config"]
    done = snakemake(fresh, "results/unlabelled/tables/molecules.parquet", *layers, *given)
    assert done.returncode == 0, done.stdout
    molecules = pd.read_parquet(fresh / "results" / "unlabelled" / "tables" / "molecules.parquet")
    labels = molecules.loc[molecules["source"] == "target", "label"]
    assert list(labels) == [number + 0.5 for number in range(len(TARGET))]
    assert (molecules["source"] == "pool").any()
