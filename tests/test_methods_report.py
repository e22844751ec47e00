"""What the report says of methods: which to take, each against full, tuning and its cost, the work of a training."""

import numpy as np
import pandas as pd
import pytest

from chemsieve.tables import TABLES
from helpers.reports import CONFIG, make, study_tables

OFFSETS = {"full": 0.0, "bitfit": 0.001, "lora": 0.3}


@pytest.fixture(scope="module")
def tables():
    """Five seeds: bitfit as good as full, lora worse by 0.3."""
    tables = study_tables(seeds=range(5))
    rng = np.random.default_rng(5)
    metrics = tables["metrics"]
    chosen = metrics["method"].isin(OFFSETS) & (metrics["fold"] == "test")
    noise = rng.normal(0, 0.002, int(chosen.sum()))
    metrics.loc[chosen, "rmse"] = 0.8 + metrics.loc[chosen, "method"].map(OFFSETS) + noise
    return tables


def trials(rates, chosen, split_seed=0, method="lora"):
    """The table ``tuning`` of one method with two rungs of one epoch and of two."""
    rows = [
        {"splitter": "scaffold", "split_seed": split_seed, "seed": 0, "origin": "adapted", "method": method}
        | {"rung": rung, "trial": number, "learning_rate": rate, "configured": rate == 0.004}
        | {"epochs_allowed": rung, "epochs": rung, "validation_rmse": 1 / number, "seconds": 2.0 * rung}
        | {"failure": None, "chosen": rung == 2 and rate == chosen}
        for rung, tried in ((1, rates), (2, rates[-2:]))
        for number, rate in enumerate(tried, start=1)
    ]
    return pd.DataFrame(rows, columns=list(TABLES["tuning"]))


@pytest.fixture(scope="module")
def page(tables, tmp_path_factory):
    return make(tmp_path_factory.mktemp("report"), tables)


def test_the_cheapest_that_is_as_good_is_advised(page):
    assert "Take bitfit: " in page.text
    assert "a task takes 4 kB to store in place of 4 MB" in page.text  # 1,000 and 1,000,000 parameters
    assert "exploratory: statistics.compare would have methods" in page.text
    assert "not tuned (tuning.run)" in page.text


def test_where_nothing_is_decided_the_page_says_so(tables, tmp_path):
    metrics = tables["metrics"].copy()
    chosen = metrics["method"].isin(OFFSETS) & (metrics["fold"] == "test")
    metrics.loc[chosen, "rmse"] = 0.8 + np.random.default_rng(0).normal(0, 0.1, int(chosen.sum()))
    page = make(tmp_path, tables | {"metrics": metrics})
    assert "Nothing is decided: " in page.text
    assert "Take " not in page.text


def test_each_method_stands_against_full_on_each_selection(page, tables):
    rows = page.table("Each method less full fine-tuning")
    assert len(rows) == 2 * 3
    runs = tables["metrics"].query("fold == 'test' and origin == 'adapted'")
    means = runs.groupby(["method", "selection"])["rmse"].mean()
    for row in rows:
        expected = means[row["method"], row["on"]] - means["full", row["on"]]
        assert float(row["difference"]) == pytest.approx(expected, rel=0.01)
        low, high = map(float, row["interval"].split(" to "))
        assert low < expected < high
        if row["method"] == "lora":
            assert low > 0.2
            assert row["verdict"].startswith("worse than full by")
        else:
            assert -0.05 < low < high < 0.05


def test_what_tuning_chose_and_took_is_shown(tables, tmp_path):
    tuning = pd.concat([trials([0.002, 0.004, 0.008], 0.008), trials([0.002, 0.004, 0.008], 0.004, 1)])
    page = make(tmp_path, tables | {"tuning": tuning})
    (row,) = page.table("Learning rates that were chosen")
    assert (row["method"], row["configured"], row["chosen"]) == ("lora", "0.004", "0.004 to 0.008")
    assert (row["splits"], row["trials of each"]) == ("2", "5")
    assert (row["epochs"], row["seconds"]) == (
        "14",
        "28",
    )  # of a split three of one epoch, two of two; two seconds each
    assert "chosen was the highest of lora (adapted encoder)" in page.text
    assert "not tuned" not in page.text
    assert len(page.table("Validation RMSE of every trial")) == 10
    untuned = make(tmp_path, tables | {"tuning": tuning.iloc[:0]})
    assert "Learning rates that were chosen" not in untuned.text


def test_the_work_of_a_training_follows_from_tokens_epochs_and_parameters(page, tables):
    """By Kaplan et al. 2020: two operations a token and parameter forwards, two backwards, two for what is trained."""
    molecules, splits = tables["molecules"].set_index("molecule_id"), tables["splits"]
    ids = splits.loc[splits["fold"] == "train", "molecule_id"]
    tokens = molecules.loc[ids, "tokens"].sum() * 3  # epochs
    rows = {row["method"]: row for row in page.table("Means over replicates")}
    for method, trained in (("full", 1e6), ("bitfit", 1e3)):
        assert float(rows[method]["work (TFLOP)"]) == pytest.approx(tokens * (4 * 1e6 + 2 * trained) / 1e12, rel=1e-3)
    assert rows["svr"]["work (TFLOP)"] == "–"
    assert "tradeoff-work-0" in page.figures


def test_without_tokens_or_parameters_there_is_no_figure_of_work(tables, tmp_path):
    metrics = tables["metrics"].assign(trainable_parameters=None)
    page = make(tmp_path, tables | {"metrics": metrics})
    assert "tradeoff-work-0" not in page.figures
    assert "Take " not in page.text
    assert CONFIG["grid"]["methods"] == ["bitfit", "lora"]
