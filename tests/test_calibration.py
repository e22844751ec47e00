"""Calibration and error against similarity: numbers beside those of other code, and what stands on the page."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from chemsieve.deployment import conformal
from chemsieve.report import calibration
from chemsieve.report.rendering import html
from chemsieve.report.similarity import similarity_bins
from chemsieve.report.study import Study
from chemsieve.statistics import bootstrap
from chemsieve.tables import TABLES
from helpers.reports import N, Page, larger_tables, make


@pytest.fixture(scope="module")
def rng():
    return np.random.default_rng(5)


def test_weighted_statistics_are_those_of_repeated_rows(rng):
    x, y = rng.integers(0, 6, 40).astype(float), rng.normal(size=40)  # ties on one side
    weights = rng.integers(0, 4, 40)
    long_x, long_y = np.repeat(x, weights), np.repeat(y, weights)
    assert bootstrap.mean(y, weights) == pytest.approx(long_y.mean())
    fitted = stats.linregress(long_x, long_y)
    assert bootstrap.line(x, y, weights) == pytest.approx((fitted.slope, fitted.intercept))
    assert bootstrap.spearman(x, y, weights) == pytest.approx(stats.spearmanr(long_x, long_y).statistic)


def test_nothing_is_said_of_constant_predictions():
    constant, ones = np.full(7, 0.1), np.ones(7)
    assert np.isnan(bootstrap.line(constant, np.arange(7.0), ones)).all()
    assert np.isnan(bootstrap.spearman(constant, np.arange(7.0), ones))


def test_equal_values_are_constant_whatever_their_size(rng):
    """Their mean may differ from them by a rounding error, which is no dispersion."""
    for value in rng.uniform(1e10, 1e13, 200):
        weights = rng.integers(1, 9, 7)
        assert np.isnan(bootstrap.line(np.full(7, value), np.arange(7.0), weights)).all()


def test_values_that_differ_little_have_a_line(rng):
    deviations = rng.normal(0, 1e-3, 50)
    slope, _ = bootstrap.line(1e7 + deviations, 3 * deviations, np.ones(50))
    assert slope == pytest.approx(3, rel=1e-3)


def test_two_rows_have_a_rank_correlation():
    assert bootstrap.spearman(np.array([1.0, 2.0]), np.array([5.0, 7.0]), np.ones(2)) == pytest.approx(1)
    assert bootstrap.spearman(np.array([1.0, 2.0]), np.array([7.0, 5.0]), np.ones(2)) == pytest.approx(-1)


def test_interval_leaves_out_as_much_on_either_side():
    numbers = iter(range(10_000))
    low, high = bootstrap.interval(np.arange(9), lambda weights: float(next(numbers)))
    assert (low, high) == pytest.approx(tuple(np.quantile(np.arange(bootstrap.RESAMPLES), [0.025, 0.975])))


def test_interval_is_the_percentile_bootstrap_of_molecules(rng):
    values = rng.gamma(2, size=60)
    molecules = np.array([f"m{i}" for i in range(60)])
    found = bootstrap.interval(molecules, lambda weights: bootstrap.mean(values, weights))
    other = stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=rng).confidence_interval
    assert found == pytest.approx(other, abs=0.12 * (other.high - other.low))
    # A second training that predicts the same adds no molecule: resampling rows would shrink this by a third.
    twice = np.tile(values, 2)
    doubled = bootstrap.interval(np.tile(molecules, 2), lambda weights: bootstrap.mean(twice, weights))
    assert doubled == pytest.approx(found)


def test_intervals_are_as_wide_as_their_level_says(rng):
    """95 % of a normal mean: 1.96 standard errors on either side; at 90 % it would be 1.64."""
    n, widths = 400, []
    for _ in range(25):
        values = rng.normal(size=n)
        low, high = bootstrap.interval(np.arange(n), lambda weights, values=values: bootstrap.mean(values, weights))
        widths.append((high - low) / (2 * values.std() / np.sqrt(n)))
    assert np.mean(widths) == pytest.approx(stats.norm.ppf(0.975), rel=0.04)


def test_four_molecules_have_no_interval():
    low, high = bootstrap.interval(np.array(["a", "b", "c", "d", "a"]), lambda weights: 1.0)
    assert np.isnan(low)
    assert np.isnan(high)


def test_bins_of_the_predictions_hold_equally_many(rng):
    prediction = rng.permutation(np.linspace(-1, 1, 100))
    rows = pd.DataFrame({"molecule_id": [f"m{i}" for i in range(100)], "prediction": prediction})
    rows["label"] = 2 * rows["prediction"] + rng.normal(size=100)
    bins = calibration.calibration_bins(rows)
    ordered = rows.sort_values("prediction")
    tenths = [ordered.iloc[start : start + 10] for start in range(0, 100, 10)]
    assert bins["molecules"].tolist() == [10] * 10
    assert bins["prediction"].tolist() == pytest.approx([tenth["prediction"].mean() for tenth in tenths])
    assert bins["mean"].tolist() == pytest.approx([tenth["label"].mean() for tenth in tenths])
    assert (bins["low"] < bins["mean"]).all()
    assert (bins["mean"] < bins["high"]).all()


@pytest.mark.parametrize(("molecules", "bins"), [(4, 1), (12, 2), (64, 10)])
def test_few_molecules_have_few_bins(molecules, bins):
    values = np.arange(float(molecules))
    rows = pd.DataFrame({"molecule_id": values.astype(str), "prediction": values, "label": values})
    assert len(calibration.calibration_bins(rows)) == bins


def test_equal_predictions_are_one_bin():
    rows = pd.DataFrame({"molecule_id": [str(i) for i in range(50)], "prediction": 1.0, "label": np.arange(50.0)})
    assert calibration.calibration_bins(rows)["mean"].tolist() == [24.5]


def test_a_similarity_on_an_edge_belongs_to_the_bin_that_begins_there():
    similarity = [0.0, 0.29, 0.3, 0.6, 0.7, 1.0]
    rows = pd.DataFrame({"molecule_id": list("abcdef"), "similarity": similarity, "error": [1.0, 2, 3, 4, 5, 6]})
    bins = similarity_bins(rows)
    assert dict(zip(bins["bin"], bins["mean"], strict=True)) == {0: 1, 2: 2, 3: 3, 6: 4, 7: 5, 9: 6}


def numbers(cell):
    """A value and the ends of its interval, as they stand in a cell."""
    return [float(found) for found in re.findall(r"-?[\d.]+", cell)]


@pytest.fixture(scope="module")
def tables():
    return larger_tables()


@pytest.fixture(scope="module")
def page(tables, tmp_path_factory):
    return make(tmp_path_factory.mktemp("calibration"), tables)


def test_a_known_line_is_found_and_has_no_spread(page, tables):
    rows = {row["model"]: row for row in page.table("Line of the label on the prediction")}
    baseline = rows["baseline"]
    assert numbers(baseline["slope"]) == [0.8, 0.8, 0.8]
    assert numbers(baseline["intercept"]) == [0.5, 0.5, 0.5]
    labels = tables["molecules"]["label"].tail(N)
    bias = ((labels - 0.5) / 0.8 - labels).mean()
    value, low, high = numbers(baseline["bias (log units)"])
    assert value == pytest.approx(bias, abs=0.005)
    assert low < value < high
    assert (baseline["molecules"], baseline["predictions"]) == (str(N), str(2 * N))


def test_the_best_model_is_chosen_on_validation(page):
    names = [row["model"] for row in page.table("Line of the label on the prediction")]
    assert names == ["baseline", "adapted", "adapted, lora on random", "gradient_boosting", "svr"]
    assert [part["name"] for part in page.figures["calibration-0"]["data"]][1:] == names


def test_errors_fall_with_the_similarity_as_they_were_made_to(page, tables):
    similarity = tables["nearest_training"]["similarity"].to_numpy()
    drawn = {part["name"]: part for part in page.figures["similarity-0"]["data"]}
    assert set(drawn) == {"baseline", "adapted"}  # the others predict molecules that have no similarity
    errors = 0.25 * (1 - similarity)
    steps = np.digitize(similarity, np.arange(0.1, 0.95, 0.1))
    counts = {step: int((steps == step).sum()) for step in np.unique(steps)}
    shown = [step for step, count in counts.items() if count >= 5]
    assert drawn["adapted"]["y"] == pytest.approx([errors[steps == step].mean() for step in shown])
    assert drawn["adapted"]["customdata"] == [counts[step] for step in shown]
    assert 0 < len(shown) < len(counts)  # the rest, of few molecules, stands in the table only
    each = [row for row in page.table("Mean absolute error per bin") if row["model"] == "adapted"]
    assert [int(row["molecules"]) for row in each] == list(counts.values())
    rows = {row["model"]: row for row in page.table("Spearman correlation of the absolute error with the similarity")}
    assert rows["adapted"]["Spearman"] == "-1.000 (-1.000 to -1.000)"
    labels = tables["molecules"]["label"].tail(N).to_numpy()
    other = stats.spearmanr(np.abs((labels - 0.5) / 0.8 - labels), similarity).statistic
    value, low, high = numbers(rows["baseline"]["Spearman"])
    assert value == pytest.approx(other, abs=0.005)
    assert low < value < high


def test_each_split_has_its_own_similarity():
    folds = {"splitter": "scaffold", "fold": "test"}
    empty = {name: pd.DataFrame(columns=list(TABLES[name])) for name in Study.__annotations__ if name in TABLES}
    metrics = {"origin": "baseline", "method": "full", "selection": "none", "rmse": 1.0, "splitter": "scaffold"}
    predictions = [(f"scaffold/{split}/0/baseline/full/none", "a", "test", 0.0, 1.0 + split) for split in (0, 1)]
    study = Study(
        config={},
        **empty
        | {
            "metrics": pd.DataFrame([metrics | {"fold": fold} for fold in ("validation", "test")]),
            "predictions": pd.DataFrame(predictions, columns=list(TABLES["predictions"])),
            "nearest_training": pd.DataFrame(
                [
                    folds | {"molecule_id": "a", "split_seed": split, "similarity": 0.25 + 0.5 * split}
                    for split in (0, 1)
                ]
            ),
        },
    )
    page = Page(html("section.html.j2", section=calibration.section(study)))
    assert [(row["similarity"], row["mean absolute error"]) for row in page.table("Mean absolute error per bin")] == [
        ("0.2 – 0.3", "1"),
        ("0.7 – 0.8", "2"),
    ]
    assert "No bin of the similarity has 5 molecules" in page.text


def test_intervals_are_held_against_the_molecules_that_did_not_calibrate_them(page, tables):
    rows = {row["model"]: row for row in page.table("Intervals of 90%")}
    known = tables["predictions"]
    known = known[known["run_id"].str.endswith("/baseline/full/none")]
    covered, widths = [], []
    for _, run in known[known["fold"] == "test"].groupby("run_id"):
        own = conformal.calibrating(list(run["molecule_id"]), 0.9)
        errors = (run["label"] - run["prediction"]).abs().to_numpy()
        widths.append(np.sort(errors[own])[math.ceil((own.sum() + 1) * 0.9) - 1])
        covered += list(errors[~own] <= widths[-1])
    value, low, high = numbers(rows["baseline"]["holds"])
    assert value == pytest.approx(np.mean(covered), abs=0.005)
    assert low <= value <= high
    assert float(rows["baseline"]["half-width (log units)"]) == pytest.approx(np.mean(widths), rel=0.01)
    assert int(rows["baseline"]["molecules"]) == N - math.ceil(N / 2)


def test_few_test_molecules_have_no_intervals():
    rows = pd.DataFrame({"run_id": "a", "molecule_id": list("abcde"), "label": 0.0, "prediction": np.arange(5.0)})
    assert calibration.interval_rows(rows, rows, 0.9) is None
    found, width = calibration.interval_rows(rows, rows.iloc[:2], 0.5)
    assert (len(found), found["naive"].notna().all()) == (2, True)
    assert width in range(5)


def test_without_similarities_the_page_says_so(tables, tmp_path):
    without = {name: frame for name, frame in tables.items() if name != "nearest_training"}
    text = make(tmp_path / "absent", without).text
    assert "Similarity is not available: the study has no table nearest_training." in text
    strangers = tables["nearest_training"].assign(molecule_id="somebody else")
    text = make(tmp_path / "strangers", {**without, "nearest_training": strangers}).text
    assert "nearest_training has none of these test molecules" in text
