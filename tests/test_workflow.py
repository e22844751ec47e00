"""The real graph on a small study: what it makes, what a change reruns, what a mistake says, what a kill costs.

One run of every strategy, estimator, method and control is shared; each test works on its own copy of the folder that
it left (with the times of its files), so that no change outlives its test.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from rdkit import Chem
from scipy import stats
from sklearn import metrics as sklearn_metrics

from chemsieve.models import backbone, regressor, tokenization
from chemsieve.tables import TABLES
from conftest import rounding

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "workflow_scripts" / "chemsieve"
CONTRACT = [
    "molecules",
    "rejected",
    "splits",
    "learning_curves",
    "metrics",
    "predictions",
    "influence",
    "influence_diagnostics",
    "selections",
]
STUDY = "studies/tiny.yaml"
# The tiny study with fewer columns in its grid.
OVERLAY = {
    "study": "small",
    "grid": {"selections": ["none", "diversity", "influence"]},
    "selection": {"rank": []},
}
RESULTS = Path("results/small")
TABLES_OF_RUNS = {
    **{"metrics_table": 1, "comparisons_table": 1, "learning_curves_table": 1, "failures_table": 1},
    **{"report": 1, "all": 1},
}


def copy_workflow(folder, source=ROOT):
    """Copy what the workflow needs, and nothing that a run left behind, to a folder."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("rules", "workflow_scripts", "studies", "profiles", "envs", "resources"):
        shutil.copytree(source / name, folder / name, ignore=ignored)
    for name in ("Snakefile", "config.yaml", "requirements.lock"):
        shutil.copy2(source / name, folder / name)


def snakemake(folder, *arguments):
    """Run Snakemake in a folder; the completed process with both streams in ``stdout``."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def overlay(folder, content, name="overlay.yaml"):
    """Write an overlay and give the arguments that run the small study with it on top."""
    (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return ["--configfile", STUDY, "small.yaml", name]


def study(folder):
    """The arguments that run the small study."""
    (folder / "small.yaml").write_text(yaml.safe_dump(OVERLAY), encoding="utf-8")
    return ["--configfile", STUDY, "small.yaml"]


@dataclass
class Job:
    """A job of a plan as a dry run prints it."""

    rule: str
    input: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    wildcards: dict[str, str] = field(default_factory=dict)
    resources: dict[str, str] = field(default_factory=dict)


def plan(folder, *arguments):
    """The jobs that a dry run plans."""
    done = snakemake(folder, "-n", *arguments)
    assert done.returncode == 0, done.stdout
    jobs = []
    for line in done.stdout.splitlines():
        if match := re.fullmatch(r" *(?:local)?rule (\w+):", line):
            jobs.append(Job(match[1]))
        elif jobs and (match := re.fullmatch(r" {4,}(input|output): (.*)", line)):
            setattr(jobs[-1], match[1], match[2].split(", "))
        elif jobs and (match := re.fullmatch(r" {4,}(wildcards|resources): (.*)", line)):
            setattr(jobs[-1], match[1], dict(pair.split("=") for pair in match[2].split(", ")))
    # The same jobs are counted by Snakemake itself; if the two disagree, this reading of its output is wrong.
    stats_table = re.search(r"^Job stats:\n.*\n[- ]+\n((?:\w+ +\d+\n)+)", done.stdout, re.MULTILINE)
    if stats_table:
        counted = {name: int(count) for name, count in (row.split() for row in stats_table[1].splitlines())}
        counted.pop("total")
        assert counted == Counter(job.rule for job in jobs)
    else:
        assert "Nothing to be done" in done.stdout, done.stdout
    return jobs


def planned(folder, *arguments):
    """How many jobs of each rule a dry run plans."""
    return dict(Counter(job.rule for job in plan(folder, *arguments)))


def edit(path, old, new):
    """Replace a text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def append(path, text):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The workflow as it is now, so that all tests see the same one though somebody edits theirs meanwhile."""
    folder = tmp_path_factory.mktemp("sources")
    copy_workflow(folder)
    return folder


@pytest.fixture(scope="module")
def finished(sources, tmp_path_factory):
    """A folder in which the small study ran to its report. Read it only; `workspace` is a copy to change."""
    folder = tmp_path_factory.mktemp("finished")
    copy_workflow(folder, sources)
    done = snakemake(folder, "all", *study(folder))
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def workspace(finished, tmp_path):
    """A copy of the finished folder, times of its files included."""
    folder = tmp_path / "workspace"
    shutil.copytree(finished, folder)
    return folder


@pytest.fixture
def fresh(sources, tmp_path):
    """A folder in which nothing ran yet."""
    folder = tmp_path / "fresh"
    folder.mkdir()
    copy_workflow(folder, sources)
    study(folder)
    return folder


@pytest.fixture(scope="module")
def tables(finished):
    """The result tables by name."""
    return {name: pd.read_parquet(finished / RESULTS / "tables" / f"{name}.parquet") for name in CONTRACT}


@pytest.fixture(scope="module")
def given(finished):
    """The effective configuration."""
    return yaml.safe_load((finished / RESULTS / "config.yaml").read_text(encoding="utf-8"))


# What a run leaves.


def test_no_result_is_another_name_of_a_file_elsewhere(finished):
    files = [path for path in (finished / "results").rglob("*") if not path.is_dir()]
    assert len(files) > 100
    assert [path for path in files if path.is_symlink() or path.stat().st_nlink > 1] == []


@pytest.mark.parametrize("name", CONTRACT)
def test_tables_explain_themselves(finished, name):
    schema = pq.read_schema(finished / RESULTS / "tables" / f"{name}.parquet")
    assert set(TABLES[name]) <= set(schema.names)
    for column, declared in TABLES[name].items():
        stored = schema.field(column)
        assert stored.type == declared.type
        assert stored.metadata[b"description"].decode() == declared.description
        assert stored.metadata[b"unit"].decode() == declared.unit


def test_tables_have_rows(tables):
    # The embedded data are made so that a row or two of the pool may be refused; all else cannot be empty.
    assert [name for name in CONTRACT if tables[name].empty and name != "rejected"] == []


def test_report_is_whole_and_names_what_was_compared(finished, given):
    page = (finished / RESULTS / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    wanted = [given["target"]["name"], "influence_bottom", "bitfit", "lora", "ia3", "lissa"]
    assert [text for text in wanted if text not in page] == []


def test_effective_config_has_every_overlay_on_top(given):
    assert given["study"] == "small"  # the test's
    assert given["embedded"]["targets"] == 80  # the tiny study's
    assert given["grid"]["methods"]["lora"]["alpha"] == 16  # the default, beside the tiny study's
    assert given["grid"]["methods"]["lora"]["rank"] == 2


def test_runs_are_those_configured_and_the_same_in_every_table(tables, given):
    runs = tables["metrics"]
    neural = {("baseline", "full", "none"), ("adapted", "full", "none")}
    neural |= {("adapted", "full", strategy) for strategy in given["selection"]["run"]}
    neural |= {("adapted", m, s) for m in given["grid"]["run"] for s in given["grid"]["selections"]}
    descriptors = {("descriptors", name, "none") for name in given["baselines"]["run"]}
    assert set(zip(runs["origin"], runs["method"], runs["selection"], strict=True)) == neural | descriptors
    assert not runs.duplicated(["run_id", "fold"]).any()
    assert set(runs.groupby("run_id")["fold"].agg(lambda folds: tuple(sorted(folds)))) == {("test", "validation")}
    parts = ["splitter", "split_seed", "seed", "origin", "method", "selection"]
    assert list(runs["run_id"]) == list(runs[parts].astype(str).agg("/".join, axis=1))
    assert set(tables["predictions"]["run_id"]) == set(runs["run_id"])
    curves = tables["learning_curves"]
    assert set(curves.loc[curves["stage"] == "regression", "run_id"]) == {
        run for run in runs["run_id"] if "/descriptors/" not in run
    }
    assert set(curves.loc[curves["stage"] == "mlm", "run_id"]) == {"scaffold/0/0/adapted/mlm/none"}
    assert "scaffold/0/0/adapted/full/none" in set(runs["run_id"])


def test_metrics_are_those_of_the_predictions(tables):
    for (run, fold), rows in tables["predictions"].groupby(["run_id", "fold"]):
        stored = tables["metrics"].query("run_id == @run and fold == @fold").iloc[0]
        label, prediction = rows["label"], rows["prediction"]
        expected = {
            "mse": sklearn_metrics.mean_squared_error(label, prediction),
            "rmse": sklearn_metrics.root_mean_squared_error(label, prediction),
            "mae": sklearn_metrics.mean_absolute_error(label, prediction),
            "r2": sklearn_metrics.r2_score(label, prediction),
            "spearman": stats.spearmanr(label, prediction).statistic,
        }
        for name, value in expected.items():
            assert stored[name] == pytest.approx(value, rel=1e-9, nan_ok=True), (run, fold, name)


def test_every_row_of_both_files_is_a_molecule_or_refused(finished, tables):
    for source, count in (("target", 80), ("pool", 30)):
        rows = pd.read_csv(finished / RESULTS / "embedded" / f"{source}.csv")
        assert len(rows) == count
        accepted = tables["molecules"].query("source == @source")
        refused = tables["rejected"].query("source == @source")
        assert sorted([*accepted["row"], *refused["row"]]) == list(range(count))
        assert list(accepted["smiles"]) == list(rows["smiles"].iloc[accepted["row"]])
        assert list(accepted["molecule_id"]) == [f"{source}-{row}" for row in accepted["row"]]


def test_split_divides_the_target_and_predictions_are_of_validation_and_test(tables):
    molecules, splits = tables["molecules"], tables["splits"]
    target = molecules.loc[molecules["source"] == "target"].set_index("molecule_id")["label"]
    assert sorted(splits["molecule_id"]) == sorted(target.index)
    assert set(splits["fold"]) == {"train", "validation", "test"}
    held_out = splits[splits["fold"] != "train"].set_index("molecule_id")["fold"]
    for run, rows in tables["predictions"].groupby("run_id"):
        assert rows.set_index("molecule_id")["fold"].sort_index().equals(held_out.sort_index()), run
        assert np.array_equal(rows["label"], target.loc[rows["molecule_id"]])


def test_test_molecules_travel_without_labels_and_train_nowhere(finished, tables, given):
    splits = tables["splits"]
    test = set(splits.loc[splits["fold"] == "test", "molecule_id"])
    folder = finished / RESULTS / "splits" / "scaffold" / "0"
    folds = {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("train", "validation", "test")}
    assert "label" not in folds["test"]
    assert set(folds["test"]["molecule_id"]) == test
    assert test
    assert not test & {*folds["train"]["molecule_id"], *folds["validation"]["molecule_id"]}
    assert not test & set(tables["selections"]["molecule_id"])
    # Counts of training molecules leave no room for others.
    metrics = tables["metrics"]
    assert (metrics["n_train"] == len(folds["train"]) + metrics["n_selected"]).all()
    chosen = tables["selections"].groupby("strategy")["selected"].sum()
    neural = metrics[metrics["origin"] != "descriptors"]
    assert list(neural["n_selected"]) == [0 if s == "none" else chosen[s] for s in neural["selection"]]
    assert {*given["selection"]["run"]} == set(chosen.index)


def test_aggregated_influence_is_the_mean_over_checkpoints(tables, given):
    scores = tables["influence"]
    assert set(scores["checkpoint"]) == {-1, *given["finetune"]["checkpoints"]}
    assert set(zip(scores["origin"], scores["estimator"], strict=True)) == {
        (origin, estimator) for origin in ("baseline", "adapted") for estimator in given["influence"]["run"]
    }
    model = ["splitter", "split_seed", "seed", "origin", "estimator", "molecule_id"]
    aggregate = scores[scores["checkpoint"] == -1].set_index(model)["influence"]
    means = scores[scores["checkpoint"] != -1].groupby(model)["influence"].mean()
    pool = tables["molecules"].query("source == 'pool'")
    assert len(aggregate) == 2 * 4 * len(pool)
    assert len(scores) == 3 * len(aggregate)
    np.testing.assert_allclose(aggregate.sort_index(), means.sort_index(), rtol=1e-12)
    assert (scores["expected_gain"] == -scores["influence"]).all()
    diagnostics = tables["influence_diagnostics"]
    axes = ["origin", "checkpoint", "estimator"]
    assert len(diagnostics) == len(diagnostics.drop_duplicates(axes)) == 2 * 2 * 4


def test_selections_rank_the_pool_and_cut_it_by_the_budget(tables, given):
    pool = list(tables["molecules"].query("source == 'pool'")["molecule_id"])
    for strategy, rows in tables["selections"].groupby("strategy"):
        assert sorted(rows["molecule_id"]) == sorted(pool)
        rows = rows.sort_values("rank")
        assert list(rows["rank"]) == list(range(1, len(pool) + 1))
        count = {"none": 0, "all": len(pool)}.get(strategy)
        if count is None:
            count = given["selection"]["strategies"][strategy]["budget"]["count"]
            assert rows["score"].is_monotonic_decreasing, strategy
        assert list(rows["selected"]) == [True] * count + [False] * (len(pool) - count)


def test_influence_strategies_follow_the_configured_scores(tables, given):
    gain = tables["influence"].query("checkpoint == -1 and origin == 'adapted' and estimator == 'shapley'")
    gain = gain.set_index("molecule_id")["expected_gain"]
    assert given["selection"]["estimator"] == "shapley"
    assert gain.is_unique
    order = list(gain.sort_values(ascending=False).index)
    by_rank = {s: list(r.sort_values("rank")["molecule_id"]) for s, r in tables["selections"].groupby("strategy")}
    assert by_rank["influence"] == order
    assert by_rank["influence_bottom"] == order[::-1]


def test_scores_are_held_against_retraining(tables, finished):
    found = pd.read_parquet(finished / RESULTS / "tables" / "influence_validation.parquet")
    retraining = pd.read_parquet(finished / RESULTS / "tables" / "retraining.parquet")
    assert len(retraining) == 3 * 2
    assert (retraining["members"].map(len) == round(len(tables["molecules"].query("source == 'pool'")) / 2)).all()
    strategies, found = (found[found["kind"] == kind] for kind in ("strategy", "estimator"))
    models = tables["influence"].drop_duplicates(["origin", "checkpoint", "estimator"])
    assert len(found) == len(models) == 2 * 3 * 4
    scored = tables["selections"].groupby("strategy")["score"].apply(lambda scores: scores.notna().all())
    assert set(strategies["estimator"]) == set(scored.index[scored])
    assert {"influence", "diversity"} <= set(strategies["estimator"])
    # The strategy `influence` has the scores of the estimator that it is configured with.
    (same,) = found.query("origin == 'adapted' and checkpoint == -1 and estimator == 'shapley'")["datamodelling_score"]
    (own,) = strategies.query("estimator == 'influence'")["datamodelling_score"]
    assert own == same
    # By hand for one model: the rank correlation over subsets of summed gains and the fall of the mean loss.
    for _, row in found.query("origin == 'adapted' and checkpoint == -1").iterrows():
        gain = tables["influence"].query("origin == 'adapted' and checkpoint == -1 and estimator == @row.estimator")
        gain = gain.set_index("molecule_id")["expected_gain"]
        groups = retraining.groupby("subset")
        predicted = groups["members"].first().map(lambda names, g=gain: g.loc[list(names)].sum())
        measured = -groups["validation_mse"].mean()
        assert row["datamodelling_score"] == pytest.approx(stats.spearmanr(predicted, measured).statistic)


# What reads what.


# Every option that brings a rule or an input of its own, and everything that is made on demand.
EVERYTHING = {
    "influence": {"run": ["exact", "shapley", "greedy", "lissa", "cg"], "test_molecules": 2},
    "pool": {"labels": "relabel_from_training", "leaks": "drop"},
    "target": {"binarise": "mean"},
    "tracking": {"run": ["tensorboard"]},
    "validation": {"run": True},
    "pretrain": {"corpus": "corpus.smi", "targets": {"teacher": {"path": "vectors.parquet"}}},
    "predict": {"input": "new.csv"},
    "baselines": {"run": ["svr", "gradient_boosting", "random_forest"], "methods": {"random_forest": {}}},
    "grid": {"run": ["bitfit", "lora", "ia3", "ia3_pooled"], "methods": {"ia3_pooled": {}}},
}
ON_DEMAND = ["all", "figures", "export_model", "predict", "pretrain"]
ON_DEMAND += [f"{RESULTS}/runs/scaffold/0/0/influence/adapted/2/per_query.parquet"]
ON_DEMAND += [f"{RESULTS}/runs/scaffold/0/0/selected/lora/influence/influence.parquet"]
# What trains, scores or chooses. (Of test molecules some of these read the structures, to predict them.)
CHOOSING = {
    "encoder",
    "pretrain_corpus",
    "pretrain_targets",
    "pretrain",
    "mlm",
    "finetune",
    "finetune_on_selection",
    "retrain",
    "gram",
}
CHOOSING |= {"influence", "influence_per_query", "cell_influence", "aggregate_influence", "selection", "baseline"}
CHOOSING |= {"validate_influence"}


def test_labels_of_test_molecules_and_the_truth_about_the_pool_reach_no_step_that_trains_or_chooses(fresh):
    strategies = {path.stem for path in (PACKAGE / "selection").glob("[a-z]*.py")}
    configured = yaml.safe_load((fresh / "config.yaml").read_text(encoding="utf-8"))["selection"]["strategies"]
    more = {name: {"budget": {"count": 5}} for name in strategies - set(configured)}
    everything = EVERYTHING | {"selection": {"run": sorted(strategies), "strategies": more}}
    for name in ("corpus.smi", "new.csv"):
        (fresh / name).write_text("smiles\nCCO\n", encoding="utf-8")
    pd.DataFrame({"smiles": ["CCO"], "vector": [[0.0, 1.0]]}).to_parquet(fresh / "vectors.parquet")
    jobs = plan(fresh, *ON_DEMAND, *overlay(fresh, everything))
    planned = {job.rule for job in jobs}
    defined = set(
        re.findall(r"^ *rule (\w+):", "\n".join(p.read_text() for p in (fresh / "rules").glob("*.smk")), re.M)
    )
    assert planned >= defined - {"download_target"}, "a rule is in no plan, so that nothing here guards it"
    estimators = {path.stem for path in (PACKAGE / "influence" / "estimators").glob("[a-z]*.py")}
    assert {job.wildcards["estimator"] for job in jobs if job.rule == "influence"} == estimators
    readers: dict[str, set[str]] = {}
    for job in jobs:
        if job.rule != "all":  # it reads nothing; it lists what is wanted
            for path in job.input:
                readers.setdefault(path.removeprefix(f"{RESULTS}/"), set()).add(job.rule)
    split, run = "splits/scaffold/0", "runs/scaffold/0/0"
    # With the labels of test molecules in them: the file of these alone,
    allowed = {f"{split}/test_labels.parquet": {"metrics_table", "influence_on_test"}}
    # the data as given, all molecules, and the predictions with their labels,
    given = {"data", "audit_labels", "export_model"}
    allowed |= {"embedded/target.csv": given, "embedded/pool.csv": given}
    everywhere = {"split", "descriptors", "audit", "audit_shift", "treat_pool", "report", "export_model"}
    allowed |= {"tables/molecules.parquet": everywhere}
    allowed |= {"tables/predictions.parquet": {"report", "export_model"}}
    # and made from these: errors, explanations of errors, and what the audit finds.
    allowed |= {"tables/metrics.parquet": {"comparisons_table", "report", "export_model"}}
    allowed |= {"tables/comparisons.parquet": {"failures_table", "report"}}
    allowed |= {f"{run}/influence/adapted/2/on_test.parquet": {"influence_on_test_table"}}
    allowed |= {"tables/influence_on_test.parquet": {"failures_table", "report"}}
    allowed |= {"tables/audit_labels.parquet": {"audit", "report"}}
    allowed |= {"tables/label_sources.parquet": {"treat_pool", "audit", "report"}}
    allowed |= {"data/label_facts.json": {"treat_pool", "audit"}}
    allowed |= {f"{split}/pool_treatment.parquet": {"audit"}}
    allowed |= {f"tables/{name}.parquet": {"report"} for name in ("audit", "audit_identity", "nearest_training")}
    allowed |= {"tables/pool_treatment.parquet": {"report"}, "report.html": {"figures"}}
    allowed |= {"tables/audit_shift.parquet": {"audit", "failures_table", "report"}}
    # What kind each pool molecule is.
    allowed |= {"tables/pool_control.parquet": {"report"}}
    assert {path: readers.get(path) for path in allowed} == allowed
    assert not CHOOSING & set().union(*allowed.values())
    # Whatever else a step that trains or chooses reads from the tables would be one that this test does not know.
    assert {path for path, rules in readers.items() if rules & CHOOSING and path.startswith("tables/")} == set()
    assert readers[f"{split}/test.parquet"] == {"finetune", "finetune_on_selection", "baseline", "influence_on_test"}


def test_files_for_training_hold_no_label_of_a_test_molecule(finished):
    for name in ("splits/scaffold/0/test.parquet", "data/descriptors.parquet"):
        assert "label" not in pq.read_schema(finished / RESULTS / name).names


@pytest.mark.parametrize("pool", [{"labels": "relabel_from_training"}, {"leaks": "drop"}])
def test_a_treated_pool_is_one_of_each_split_and_all_read_it(workspace, pool):
    jobs = plan(workspace, "all", *overlay(workspace, {"pool": pool}))
    readers = {job.rule for job in jobs if f"{RESULTS}/splits/scaffold/0/pool.parquet" in job.input}
    assert readers == {"gram", "influence", "selection", "finetune_on_selection", "retrain"}
    untreated = {job.rule for job in jobs if f"{RESULTS}/data/pool.parquet" in job.input}
    assert not untreated


@pytest.mark.parametrize(
    ("strategy", "folds"), [("ts_dshapley", {"train", "validation"}), ("s2l", {"train"}), ("curriculum_loss", set())]
)
def test_strategies_read_the_folds_that_they_need(workspace, strategy, folds):
    change = {"selection": {"run": [strategy], "strategies": {strategy: {"budget": {"count": 5}}}}}
    target = f"{RESULTS}/runs/scaffold/0/0/selection/{strategy}.parquet"
    jobs = plan(workspace, target, *overlay(workspace, change))
    (job,) = (job for job in jobs if job.rule == "selection")
    assert {Path(path).stem for path in job.input if "/splits/" in path} == folds


def test_jobs_ask_for_more_than_they_take_and_for_nothing_silly(workspace):
    took = {}
    for path in (workspace / RESULTS / "logs").rglob("*.log"):
        seconds, memory = re.search(
            r"done in ([\d.]+) s, peak memory (\d+) MB", path.read_text(encoding="utf-8")
        ).groups()
        rule = path.relative_to(workspace / RESULTS / "logs").parts[0].removesuffix(".log")
        took.setdefault(rule, []).append((float(seconds), int(memory)))
    jobs = [job for job in plan(workspace, "all", "--forceall", *study(workspace)) if job.rule != "all"]
    assert {job.rule for job in jobs} == set(took)
    for job in jobs:
        seconds, memory = (max(values) for values in zip(*took[job.rule], strict=True))
        assert memory < int(job.resources["mem_mb"]) < 4000, job.rule
        assert seconds < 60 * int(job.resources["runtime"]) <= 1800, job.rule


def test_jobs_have_a_gpu_each(workspace, monkeypatch):
    """A pretended nvidia-smi lists three GPUs, of which the profile shares two; training finds none behind it."""
    program = workspace / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{workspace}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(workspace))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    targets = [str(RESULTS / f"runs/scaffold/0/0/finetune/{origin}/run.json") for origin in ("baseline", "adapted")]
    arguments = ["--profile", "profiles/multi_gpu", "--forcerun", "finetune", *study(workspace)]
    done = snakemake(workspace, *targets, *arguments)
    assert done.returncode == 0, done.stdout
    taken = re.findall(r"\[finetune scaffold 0 0 (\w+)\] GPU (\S+)", done.stdout)
    assert sorted(origin for origin, _ in taken) == ["adapted", "baseline"]
    assert {gpu for _, gpu in taken} <= {"0", "1"}
    # More than there are is refused before a job starts.
    done = snakemake(workspace, *targets, "--profile", "profiles/multi_gpu", "--resources", "gpu=4", *arguments[2:])
    assert done.returncode != 0
    assert "gpu=4 jobs are to have a GPU each, but this machine shows 3" in done.stdout
    assert "Traceback" not in done.stdout


# What a change reruns.


def test_second_run_has_nothing_to_do(workspace):
    done = snakemake(workspace, "all", *study(workspace))
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in done.stdout


def test_touched_files_rerun_nothing(workspace):
    for path in workspace.rglob("*"):
        if path.is_file() and path.relative_to(workspace).parts[0] not in ("results", ".snakemake"):
            path.touch()
    assert planned(workspace, "all", *study(workspace)) == {}


def test_comments_and_docstrings_rerun_nothing(workspace):
    package = workspace / "workflow_scripts" / "chemsieve"
    append(workspace / "config.yaml", "\n# A remark.\n")
    append(workspace / "Snakefile", "\n# A remark.\n")
    append(workspace / "rules" / "finetune.smk", "\n# A remark.\n")
    append(workspace / "workflow_scripts" / "finetune.py", "\n# A remark.\n")
    append(package / "training" / "loop.py", "\n# A remark.\n")
    edit(package / "influence" / "estimators" / "lissa.py", '"""LiSSA', '"""A remark on LiSSA')
    assert planned(workspace, "all", *study(workspace)) == {}


# Two values that change places are a change too, though Snakemake compares parameters as a set.
@pytest.mark.parametrize("options", [{"rank": 3}, {"rank": 16, "alpha": 2}])
def test_option_of_a_method_reruns_its_cells(workspace, options):
    jobs = plan(workspace, "all", *overlay(workspace, {"grid": {"methods": {"lora": options}}}))
    assert Counter(job.rule for job in jobs) == {"finetune_on_selection": 3, "effective_config": 1} | TABLES_OF_RUNS
    cells = {(j.wildcards["method"], j.wildcards["strategy"]) for j in jobs if j.rule == "finetune_on_selection"}
    assert cells == {("lora", strategy) for strategy in OVERLAY["grid"]["selections"]}


def test_budget_reruns_its_selection_and_what_trains_on_it(workspace):
    change = {"selection": {"strategies": {"diversity": {"budget": {"count": 12}}}}}
    jobs = plan(workspace, "all", *overlay(workspace, change))
    expected = {"selection": 1, "finetune_on_selection": 4, "selections_table": 1, "validate_influence": 1}
    assert Counter(job.rule for job in jobs) == expected | {"effective_config": 1} | TABLES_OF_RUNS
    assert {j.wildcards["strategy"] for j in jobs if "strategy" in j.wildcards} == {"diversity"}
    assert {j.wildcards["method"] for j in jobs if "method" in j.wildcards} == {"full", "bitfit", "lora", "ia3"}


SCORED_AGAIN = {"influence": 4, "aggregate_influence": 2, "influence_tables": 1, "validate_influence": 1}
SCORED_AGAIN |= {"failures_table": 1}
CHOSEN_AGAIN = {
    "selection": 2,
    "selections_table": 1,
    "validate_influence": 1,
    "finetune_on_selection": 5,
} | TABLES_OF_RUNS


@pytest.mark.parametrize(
    ("estimator", "options", "expected"),
    [
        ("lissa", {"depth": 7}, SCORED_AGAIN | {"report": 1, "all": 1}),
        ("shapley", {"permutations": 22}, SCORED_AGAIN | CHOSEN_AGAIN),  # selections read its scores
    ],
)
def test_option_of_an_estimator_reruns_its_scores_and_who_reads_them(workspace, estimator, options, expected):
    change = {"influence": {"estimators": {estimator: options}}}
    jobs = plan(workspace, "all", *overlay(workspace, change))
    assert Counter(job.rule for job in jobs) == expected | {"effective_config": 1}
    assert {j.wildcards["estimator"] for j in jobs if "estimator" in j.wildcards} == {estimator}
    strategies = {j.wildcards["strategy"] for j in jobs if "strategy" in j.wildcards}
    assert strategies == ({"influence", "influence_bottom"} if estimator == "shapley" else set())


def test_the_gram_matrix_reruns_who_works_on_it(workspace):
    jobs = plan(workspace, "all", *overlay(workspace, {"influence": {"gram": {"tolerance": 0.02}}}))
    scored = {"gram": 4, "influence": 8, "aggregate_influence": 4, "influence_tables": 1, "validate_influence": 1}
    assert Counter(job.rule for job in jobs) == scored | CHOSEN_AGAIN | {"effective_config": 1}
    assert {j.wildcards["estimator"] for j in jobs if "estimator" in j.wildcards} == {"exact", "shapley"}


def test_other_scores_for_selection_choose_again_and_score_nothing(workspace):
    change = {"selection": {"estimator": "lissa"}}
    assert planned(workspace, "all", *overlay(workspace, change)) == CHOSEN_AGAIN | {"effective_config": 1}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("influence/estimators/lissa", SCORED_AGAIN | {"report": 1, "all": 1}),
        ("influence/estimators/shapley", SCORED_AGAIN | CHOSEN_AGAIN),
        (
            "selection/diversity",
            {"selection": 1, "selections_table": 1, "validate_influence": 1, "finetune_on_selection": 4}
            | TABLES_OF_RUNS,
        ),
        ("methods/ia3", {"finetune_on_selection": 3} | TABLES_OF_RUNS),
        ("report/tradeoff", {"report": 1, "all": 1}),
    ],
)
def test_code_reruns_what_uses_it(workspace, module, expected):
    append(workspace / "workflow_scripts" / "chemsieve" / f"{module}.py", "\nANOTHER_CONSTANT = 1\n")
    assert planned(workspace, "all", *study(workspace)) == expected


def test_another_seed_keeps_every_finished_run(workspace):
    jobs = plan(workspace, "all", *overlay(workspace, {"seeds": [0, 1]}))
    below_seed = Counter(job.rule for job in jobs if "seed" in job.wildcards)
    assert {job.wildcards["seed"] for job in jobs if "seed" in job.wildcards} == {"1"}
    assert below_seed == {
        "mlm": 1,
        "finetune": 2,
        "gram": 4,
        "influence": 16,
        "aggregate_influence": 8,
        "selection": 7,
        "finetune_on_selection": 6 + 9,
        "baseline": 2,
    }
    others = {job.rule for job in jobs if "seed" not in job.wildcards}
    assert others == {"selections_table", "influence_tables", "effective_config", *TABLES_OF_RUNS}


def test_smaller_grid_trains_nothing(workspace):
    change = {"grid": {"run": ["lora"], "selections": ["none"]}}
    assert planned(workspace, "all", *overlay(workspace, change)) == {"effective_config": 1} | TABLES_OF_RUNS


def test_deleted_table_is_rebuilt_by_name_and_alone(workspace):
    folder = workspace / RESULTS / "tables"
    target = folder / "splits.parquet"
    content = target.read_bytes()
    others = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path != target}
    target.unlink()
    done = snakemake(workspace, str(target.relative_to(workspace)), *study(workspace))
    assert done.returncode == 0, done.stdout
    assert "1 of 1 steps" in done.stdout
    assert target.read_bytes() == content
    assert {path: path.stat().st_mtime_ns for path in others} == others
    # It has the bytes that the report was made from.
    assert planned(workspace, "all", *study(workspace)) == {}


# What a mistake says.

MISTAKES = {
    "unknown key": (
        {"grid": {"mthods": {}}},
        "configuration: unknown key 'grid.mthods'; did you mean 'methods'?",
    ),
    "mistyped strategy": (
        {"selection": {"run": ["none", "divrsity"]}},
        "configuration: selection.run: unknown name 'divrsity'; did you mean 'diversity'?",
    ),
    "wrong column": (
        {"pool": {"source": "file", "path": "mine.csv", "smiles": "structur", "label": "logp"}},
        "pool file mine.csv: there is no column 'structur' among 'structure', 'logp'; did you mean 'structure'?",
    ),
    "no file": (
        {"target": {"source": "file", "path": "other.csv", "smiles": "structure", "label": "logp"}},
        "target file other.csv: there is no such file",
    ),
    "unreadable file": (
        {"target": {"source": "file", "path": "rules", "smiles": "structure", "label": "logp"}},
        "target file rules: the file cannot be read (Is a directory)",
    ),
}


@pytest.mark.parametrize("place", ["command line", "file"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_one_sentence_before_anything_runs(fresh, mistake, place):
    content, sentence = MISTAKES[mistake]
    (fresh / "mine.csv").write_text("structure,logp\nCCO,1\n", encoding="utf-8")
    if place == "file":
        arguments = overlay(fresh, content)
    else:
        given = [
            f"{key}={yaml.safe_dump(value, default_flow_style=True, width=1000)}" for key, value in content.items()
        ]
        arguments = [*study(fresh), "--config", *(text.strip() for text in given)]
    done = snakemake(fresh, "all", *arguments)
    assert done.returncode != 0
    assert [line for line in done.stdout.splitlines() if sentence in line] == [sentence]
    assert "Traceback" not in done.stdout
    assert not (fresh / "results").exists()


def test_numbers_on_the_command_line_are_numbers(fresh):
    arguments = [*study(fresh), "--config", "seeds=[5, 6]", "grid={methods: {lora: {rank: 3}}}", "mlm={patience: null}"]
    jobs = plan(fresh, "all", *arguments)
    assert {job.wildcards["seed"] for job in jobs if "seed" in job.wildcards} == {"5", "6"}


def test_budget_above_the_pool_stops_before_anything_trains(fresh):
    change = {"selection": {"strategies": {"random": {"budget": {"count": 31}}}}}
    done = snakemake(fresh, "all", *overlay(fresh, change))
    assert done.returncode != 0
    sentence = r"selection\.strategies\.random\.budget: count 31 is more than the \d+ molecules of the pool"
    said = [line for line in done.stdout.splitlines() if re.search(sentence, line)]
    assert len(said) == 1, done.stdout
    assert "Traceback" not in done.stdout
    models = ("mlm", "finetune", "selected", "influence")
    assert [
        path for name in models for path in (fresh / RESULTS).glob(f"runs/*/*/*/{name}/**/*") if path.is_file()
    ] == []


def test_budget_above_a_pool_that_stands_stops_before_any_job(workspace):
    change = {"selection": {"strategies": {"random": {"budget": {"count": 31}}}}, "finetune": {"learning_rate": 0.1}}
    done = snakemake(workspace, "all", *overlay(workspace, change))
    assert done.returncode != 0
    assert done.stdout.count("selection.strategies.random.budget: count 31 is more than the") == 1, done.stdout
    assert "Execute" not in done.stdout
    assert "Traceback" not in done.stdout


def test_budget_and_training_changed_together_rerun_all_that_either_changes(workspace):
    change = {"selection": {"strategies": {"random": {"budget": {"count": 12}}}}, "mlm": {"learning_rate": 0.1}}
    jobs = Counter(job.rule for job in plan(workspace, "all", *overlay(workspace, change)))
    everything = Counter(job.rule for job in plan(workspace, "all", *study(workspace), "--forceall"))
    assert [jobs[rule] for rule in ("mlm", "finetune_on_selection")] == [
        everything[rule] for rule in ("mlm", "finetune_on_selection")
    ]


def test_full_fine_tuning_by_a_curriculum_is_a_method_of_the_grid(workspace):
    easy = {"method": "full", "training": {"curriculum": "length", "epochs": 2}}
    cell = RESULTS / "runs/scaffold/0/0/selected/easy/none"
    arguments = overlay(workspace, {"grid": {"run": ["easy"], "methods": {"easy": easy}}})
    done = snakemake(workspace, str(cell / "run.json"), *arguments)
    assert done.returncode == 0, done.stdout
    facts = yaml.safe_load((workspace / cell / "run.json").read_text(encoding="utf-8"))
    assert (facts["method"], facts["n_selected"], facts["epochs"]) == ("easy", 0, 2)
    assert facts["trainable_parameters"] == facts["total_parameters"] > 0
    lengths = pd.read_parquet(workspace / RESULTS / "splits/scaffold/0/train.parquet")["encoder_smiles"].str.len()
    short = (lengths <= (lengths.min() + lengths.max()) / 2).sum()
    assert 0 < short < len(lengths)
    log = next((workspace / RESULTS / "logs/finetune_on_selection").rglob("easy/none.log")).read_text(encoding="utf-8")
    assert f"curriculum: {short}, {len(lengths)} molecules in the epochs" in log


def test_influence_on_single_test_molecules_is_for_the_report_alone(workspace):
    """With a damping that drowns the curvature, I(z) is the product of two explicit gradients, divided by it."""
    damping = 1e7
    change = {
        "influence": {"test_molecules": 3, "gram": {"tolerance": 0}, "estimators": {"exact": {"damping": damping}}}
    }
    arguments = overlay(workspace, change)
    readers = {}
    for job in plan(workspace, "all", *arguments):
        for path in job.input if job.rule != "all" else []:
            readers.setdefault(path.removeprefix(f"{RESULTS}/"), set()).add(job.rule)
    assert readers["tables/influence_on_test.parquet"] == {"report", "failures_table"}, "nothing else"
    table = str(RESULTS / "tables/influence_on_test.parquet")
    done = snakemake(workspace, table, str(RESULTS / "report.html"), *arguments)
    assert done.returncode == 0, done.stdout
    found = pd.read_parquet(workspace / table)
    split, seed = workspace / RESULTS / "splits/scaffold/0", workspace / RESULTS / "runs/scaffold/0/0"
    test, pool = pd.read_parquet(split / "test.parquet"), pd.read_parquet(workspace / RESULTS / "data/pool.parquet")
    labels = pd.read_parquet(split / "test_labels.parquet").set_index("molecule_id")["label"]
    first = found[found["seed"] == 0]
    assert first["test_id"].nunique() == 3
    assert set(first["test_id"]) <= set(test["molecule_id"])
    assert (first.groupby("test_id")["molecule_id"].apply(set) == set(pool["molecule_id"])).all()

    checkpoint = seed / f"finetune/adapted/checkpoint-{found['checkpoint'].iloc[0]}.safetensors"
    model = regressor.restore(seed / "mlm", "molformer", "full", {}, checkpoint)
    tokenizer = backbone.load_tokenizer(seed / "mlm")
    mean, scale = float(model.label_mean), float(model.label_scale)

    def gradient(smiles, label):
        tokens = torch.tensor(tokenization.encode(tokenizer, [smiles]))
        error = model(tokens, torch.ones_like(tokens)).squeeze() - (label - mean) / scale
        parts = torch.autograd.grad(error**2, [part for part in model.parameters() if part.requires_grad])
        return torch.cat([part.flatten() for part in parts]), error.item() * scale

    smiles = test.set_index("molecule_id")["encoder_smiles"]
    of_pool = pool.set_index("molecule_id")
    rows = first.groupby("test_id").sample(4, random_state=0)
    for row in rows.itertuples():
        of_test, error = gradient(smiles[row.test_id], labels[row.test_id])
        other, _ = gradient(of_pool.at[row.molecule_id, "encoder_smiles"], of_pool.at[row.molecule_id, "label"])
        assert row.error == pytest.approx(error, abs=10 * rounding(width=32, products=15) * scale)
        # A product of gradients may be far smaller than they are: its error is not.
        size = float(of_test.norm() * other.norm()) / damping
        assert row.influence == pytest.approx(
            -float(of_test @ other) / damping, abs=2 * rounding(width=32, products=30) * size
        )
    page = (workspace / RESULTS / "report.html").read_text(encoding="utf-8")
    assert all(f"<summary>{name}: error" in page for name in first["test_id"].unique())


def test_cut_labels_are_those_of_the_training_mean_wherever_labels_are_read(workspace):
    arguments = overlay(workspace, {"target": {"binarise": "mean"}})
    split = RESULTS / "splits/scaffold/0"
    before = {name: pd.read_parquet(workspace / split / f"{name}.parquet") for name in ("train", "validation")}
    before |= {"test_labels": pd.read_parquet(workspace / split / "test_labels.parquet")}
    before |= {"pool": pd.read_parquet(workspace / RESULTS / "data/pool.parquet")}
    done = snakemake(workspace, str(split / "pool.parquet"), *arguments)
    assert done.returncode == 0, done.stdout
    mean = np.mean(before["train"]["label"].to_numpy())
    for name, table in before.items():
        cut = pd.read_parquet(workspace / split / f"{name}.parquet")
        assert list(cut["molecule_id"]) == list(table["molecule_id"])
        assert cut["label"].tolist() == [float(label > mean) for label in table["label"]]
        assert set(cut["label"]) == {0.0, 1.0}, name
    wanted = {"gram", "influence", "selection", "finetune_on_selection", "retrain"}
    readers = {job.rule for job in plan(workspace, "all", *arguments) if str(split / "pool.parquet") in job.input}
    assert readers == wanted
    plain = plan(workspace, "all", "--forceall", *study(workspace))
    assert not [job.rule for job in plain if str(split / "pool.parquet") in job.input + job.output]


# The user's own molecules.

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


# What a kill costs.


def jobs_of(process):
    """The scripts that a run of Snakemake has running."""
    try:
        children = psutil.Process(process.pid).children()
        return [child for child in children if any(".snakemake/scripts/" in part for part in child.cmdline())]
    except psutil.NoSuchProcess:
        return []


def interrupted(folder, arguments, victim, ready):
    """Start a run, and when ``ready`` is there and a job runs, SIGKILL a job, Snakemake alone, or the whole group."""
    with open(folder / "killed.txt", "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 300
        while not (ready.exists() and jobs_of(process)) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(1)  # into the steps that follow
        while not (jobs := jobs_of(process)) and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None, (folder / "killed.txt").read_text(encoding="utf-8")
        if victim == "job":
            jobs[0].kill()
        elif victim == "snakemake":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(timeout=120) != 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


MEASURED = ["seconds", "evaluation_seconds", "train_seconds", "peak_memory_mb"]


def test_killed_study_resumes_to_the_same_results(fresh, tables):
    # A part of the study, so that its runs are among those of the undisturbed one.
    part = {
        "selection": {"run": ["none", "influence"]},
        "influence": {"run": ["shapley"], "origins": ["adapted"]},
        "validation": {"run": False},
        "grid": {"run": ["lora"], "selections": ["influence"]},
        "baselines": {"run": ["svr"]},
    }
    arguments = ["all", *overlay(fresh, part)]
    replicate = fresh / RESULTS / "runs" / "scaffold" / "0" / "0"
    last = replicate / "finetune" / "adapted" / "run.json"
    interrupted(fresh, arguments, "group", last)
    assert last.exists()
    assert not (fresh / RESULTS / "report.html").exists()
    finished_before = {
        p: p.stat().st_mtime_ns for p in [*replicate.glob("mlm/*"), *replicate.glob("finetune/adapted/*")]
    }

    # The same command goes on, at once, with nothing to remove or unlock.
    for victim in ("snakemake", "job"):
        interrupted(fresh, arguments, victim, last)
    # Every job by itself this time: a job that is forked with its libraries imported computes the same.
    resumed = snakemake(fresh, "all", *overlay(fresh, part | {"compute": {"warm_start": False}}, "resumed.yaml"))
    assert resumed.returncode == 0, resumed.stdout

    assert len(finished_before) >= 4 + 6
    assert {path: path.stat().st_mtime_ns for path in finished_before} == finished_before
    assert not [path for name in ("*.partial", "*state.safetensors") for path in (fresh / RESULTS).rglob(name)]
    for name in CONTRACT:
        found = pd.read_parquet(fresh / RESULTS / "tables" / f"{name}.parquet")
        expected = tables[name]
        if "run_id" in expected:
            runs = {"baseline/full/none", "adapted/full/none", "adapted/full/influence", "adapted/lora/influence"}
            runs |= set() if name == "learning_curves" else {"descriptors/svr/none"}
            runs |= {"adapted/mlm/none"} if name == "learning_curves" else set()
            assert set(found["run_id"]) == {f"scaffold/0/0/{run}" for run in runs}
            expected = expected[expected["run_id"].isin(found["run_id"])]
        if "estimator" in expected:
            expected = expected.query("estimator == 'shapley' and origin == 'adapted'")
        if "strategy" in expected:
            expected = expected.query("strategy in ['none', 'influence']")
        columns = [column for column in expected.columns if column not in MEASURED]
        keys = [
            c for c in columns if c in ("run_id", "strategy", "stage", "epoch", "fold", "checkpoint", "molecule_id")
        ]
        keys += ["source", "row"] if name == "rejected" else []
        pd.testing.assert_frame_equal(
            found[columns].sort_values(keys, ignore_index=True),
            expected[columns].sort_values(keys, ignore_index=True),
            check_exact=True,
        )


def test_a_pool_without_labels_is_ordered_and_nothing_trains_on_it(fresh):
    pd.DataFrame({"smiles": POOL}).to_csv(fresh / "candidates.csv", index=False)
    change = {"study": "unlabelled", "baselines": {"run": []}, "grid": {"run": []}}
    (fresh / "more.yaml").write_text(yaml.safe_dump(change), encoding="utf-8")
    strategies = "selection={strategies: {random: {budget: {count: 2}}, uncertainty: {budget: {count: 2}}}, "
    arguments = ["--configfile", STUDY, "studies/unlabelled.yaml", "more.yaml", "--config"]
    arguments += ["pool={source: file, path: candidates.csv}", strategies + "run: [none, random, uncertainty]}"]
    done = snakemake(fresh, "all", *arguments)
    assert done.returncode == 0, done.stdout
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
    from sklearn.neighbors import KNeighborsRegressor

    from chemsieve.audit.fingerprints import bits_of
    from chemsieve.data.embedded import make

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


def test_optional_parts_that_fail_cost_themselves_alone(workspace):
    """A diverging estimator that no selection uses, and a method that cannot train; then both mended."""
    failing = {
        "influence": {"estimators": {"lissa": {"scale": 1e-6}}},
        "grid": {"methods": {"lora": {"training": {"learning_rate": 1e30}}}},
    }
    command = ["all", *overlay(workspace, failing)]
    before = pd.read_parquet(workspace / RESULTS / "tables" / "influence.parquet")
    done = snakemake(workspace, *command)
    assert done.returncode == 0, done.stdout
    tables = {
        name: pd.read_parquet(workspace / RESULTS / "tables" / f"{name}.parquet") for name in [*CONTRACT, "failures"]
    }
    assert set(tables["influence"]["estimator"]) == set(before["estimator"]) - {"lissa"}
    kept = before[before["estimator"] != "lissa"].reset_index(drop=True)
    pd.testing.assert_frame_equal(tables["influence"].reset_index(drop=True), kept)
    lissa = tables["influence_diagnostics"].query("estimator == 'lissa'")
    assert len(lissa) == 4
    assert not lissa["converged"].any()
    assert lissa["failure"].str.contains("diverged").all()
    assert "lora" not in set(tables["metrics"]["method"])
    assert {"bitfit", "ia3"} <= set(tables["metrics"]["method"])
    own = tables["failures"].query("cause == ''")
    assert Counter(own["rule"]) == {"influence": 4, "finetune_on_selection": 3}
    page = (workspace / RESULTS / "report.html").read_text(encoding="utf-8")
    summary = page[page.index('<section id="summary"') : page.index('<section id="comparisons"')]
    assert "influence lissa: 4 steps failed" in summary
    assert "training diverged in epoch 1" in summary
    assert "missing: influence scaffold/0/0/adapted/1/lissa" in done.stdout
    assert planned(workspace, *command) == {}
    stopped = snakemake(workspace, *command, "--config", "on_failure=stop")
    assert stopped.returncode != 0
    assert "the recursion diverged" in stopped.stdout
    # Mended: what stands from before is not made again.
    jobs = planned(workspace, "all", *overlay(workspace, {"grid": failing["grid"]}))
    assert (jobs["influence"], jobs["aggregate_influence"]) == (4, 2)
