"""What a finished study leaves: tables, their agreement with each other, the report, what each step took."""

import re

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import stats
from sklearn import metrics as sklearn_metrics

from chemsieve.tables import TABLES
from helpers.workflow import CONTRACT, RESULTS, plan, result_tables, study


@pytest.fixture(scope="module")
def tables(finished):
    return result_tables(finished)


@pytest.fixture(scope="module")
def given(finished):
    """The effective configuration."""
    return yaml.safe_load((finished / RESULTS / "config.yaml").read_text(encoding="utf-8"))


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
    assert len(retraining) == 6 * 2
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


def test_files_for_training_hold_no_label_of_a_test_molecule(finished):
    for name in ("splits/scaffold/0/test.parquet", "data/descriptors.parquet"):
        assert "label" not in pq.read_schema(finished / RESULTS / name).names


@pytest.mark.slow
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
