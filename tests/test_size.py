"""The page of a large study: it stays small enough to be sent by mail."""

import base64
import itertools

import numpy as np
import pandas as pd
import pytest

from chemsieve.report.page import render
from chemsieve.statistics.comparisons import compare
from chemsieve.tables import TABLES
from helpers.reports import CONFIG, Page, study_tables, write_tables

pytestmark = pytest.mark.slow
LARGEST = 10e6  # bytes
SPLITTERS = ("scaffold", "random", "butina")
SPLIT_SEEDS, SEEDS, EPOCHS = range(25), range(2), 30
STRATEGIES = [f"a_strategy_of_number_{number}" for number in range(8)]
RUN = ["splitter", "split_seed", "seed", "origin", "method", "selection"]


def large_tables():
    """Three splitters, 25 splits, two seeds, eleven strategies, three methods, thirty epochs: thousands of runs."""
    tables = study_tables(seeds=SEEDS)
    metrics = tables["metrics"]
    strategies = metrics[metrics["selection"] == "influence"]
    metrics = pd.concat([metrics, *(strategies.assign(selection=name) for name in STRATEGIES)])
    splits = list(itertools.product(SPLITTERS, SPLIT_SEEDS))

    def on_every_split(frame):
        return pd.concat([frame.assign(splitter=splitter, split_seed=seed) for splitter, seed in splits])

    metrics = on_every_split(metrics)
    metrics["seed"] = metrics["seed"].astype("Int64")
    metrics["rmse"] += np.random.default_rng(0).normal(0, 0.02, len(metrics))
    metrics["run_id"] = metrics[RUN].astype(object).fillna("-").astype(str).agg("/".join, axis=1)
    runs = metrics.loc[metrics["origin"] != "descriptors", "run_id"].unique()
    epochs = np.arange(1, EPOCHS + 1)
    losses = np.random.default_rng(1).random((len(runs) * EPOCHS, 3))
    curves = pd.DataFrame(
        {
            "run_id": np.repeat(runs, EPOCHS),
            "stage": "regression",
            "epoch": np.tile(epochs, len(runs)),
        }
        | dict(zip(("train_loss", "validation_loss", "validation_rmse"), losses.T, strict=True))
    ).reindex(columns=list(TABLES["learning_curves"]))
    one = tables["predictions"].drop_duplicates(["molecule_id", "fold"])
    predictions = pd.concat([one.assign(run_id=run_id) for run_id in metrics["run_id"].unique()])
    selections = tables["selections"]
    copied = selections[selections["strategy"] == "influence"]
    selections = on_every_split(pd.concat([selections, *(copied.assign(strategy=name) for name in STRATEGIES)]))
    once = study_tables(seeds=SEEDS)
    compared = compare(once["metrics"], once["splits"], CONFIG["statistics"])  # all pairs would take minutes
    return {
        **tables,
        "comparisons": pd.concat([compared.assign(splitter=splitter) for splitter in SPLITTERS]),
        "metrics": metrics,
        "learning_curves": curves,
        "predictions": predictions,
        "selections": selections,
        **{name: on_every_split(tables[name]) for name in ("splits", "influence", "influence_diagnostics")},
    }


@pytest.fixture(scope="module")
def tables():
    return large_tables()


@pytest.fixture(scope="module")
def page(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    write_tables(folder, tables)
    render(folder, CONFIG, folder / "report.html")
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_page_of_a_large_study_is_at_most_ten_megabytes(page, tables):
    assert tables["metrics"]["run_id"].nunique() > 4000
    assert len(page.html.encode()) < LARGEST


def test_runs_beyond_number_are_averaged_and_counted(page, tables):
    metrics = tables["metrics"]
    means = metrics.groupby(["splitter", "origin", "method", "selection", "fold"])["rmse"].mean()
    rows = page.table("Means over the replicates of each configuration")
    assert len(rows) == len(means)
    for row in rows:
        key = tuple(row[name] for name in ("splitter", "origin", "method", "selection", "fold"))
        assert float(row["rmse"]) == pytest.approx(means[key], rel=1e-3)
        seedless = key[1] == "descriptors" and key[3] == "none"  # a selection has the seed of its scores
        assert row["replicates"] == str(len(SPLIT_SEEDS) * (1 if seedless else len(SEEDS)))
    assert f"The {len(metrics):,} rows of single runs" in page.text


def test_learning_curves_beyond_number_are_averaged(page, tables):
    parts = ["splitter", "origin", "method", "selection"]
    runs = tables["metrics"].drop_duplicates("run_id").set_index("run_id")[parts]
    curves = tables["learning_curves"].join(runs, on="run_id")
    means = curves.groupby([*parts, "epoch"])["validation_rmse"].mean()
    lines = page.figures["curves-selections"]["data"]
    assert 0 < len(lines) < 300
    for line in lines[:5]:
        key = line["meta"].removesuffix(", mean").split("/")
        values = np.frombuffer(base64.b64decode(line["y"]["bdata"]), dtype=line["y"]["dtype"])
        assert values == pytest.approx(means.loc[tuple(key)].to_numpy())
