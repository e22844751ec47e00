"""What a design would detect: components of the variance, and what splits and seeds buy."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from chemsieve.statistics import planning
from chemsieve.statistics.planning import Components


def drawn(splits: int, seeds: int, split_sd: float, seed_sd: float, rng: np.random.Generator) -> pd.Series:
    index = pd.MultiIndex.from_product([range(splits), range(seeds)], names=["split", "seed"])
    values = np.repeat(rng.normal(0, split_sd, splits), seeds) + rng.normal(0, seed_sd, splits * seeds)
    return pd.Series(values, index)


def test_the_components_of_many_splits_are_those_that_were_drawn():
    split, seed = planning.nested(drawn(4000, 3, 0.03, 0.05, np.random.default_rng(0)))
    assert math.sqrt(split) == pytest.approx(0.03, rel=0.1)
    assert math.sqrt(seed) == pytest.approx(0.05, rel=0.05)


def test_the_components_are_unbiased_where_splits_have_different_numbers_of_seeds():
    rng, found = np.random.default_rng(1), []
    for _ in range(600):
        values = drawn(6, 4, 0.1, 0.05, rng)
        found.append(planning.nested(values.drop([(0, 1), (0, 2), (0, 3), (1, 3)])))
    split, seed = np.mean(found, axis=0)
    assert split == pytest.approx(0.01, rel=0.1)
    assert seed == pytest.approx(0.0025, rel=0.1)


def test_what_a_design_cannot_show_is_missing():
    rng = np.random.default_rng(2)
    split, seed = planning.nested(drawn(1, 5, 0.1, 0.1, rng))
    assert math.isnan(split)
    assert seed > 0
    split, seed = planning.nested(drawn(5, 1, 0.1, 0.1, rng))
    assert split > 0
    assert math.isnan(seed)


def test_a_unit_is_a_mean_over_seeds_and_with_one_split_a_seed():
    found = Components(split=0.03, seed=0.04, test=math.nan, shared=0.0, source="measured")
    assert planning.deviation(found, 1, 9) == 0.04
    assert planning.deviation(found, 5, 4) == pytest.approx(math.hypot(0.03, 0.02))


@pytest.mark.parametrize(("splits", "seeds"), [(8, 1), (4, 3)])
def test_the_detectable_difference_is_detected_as_often_as_said(splits: int, seeds: int):
    """Simulated studies, each with one of three pairs tested by a paired t test at Bonferroni's level."""
    found = Components(split=0.02, seed=0.03, test=math.nan, shared=0.0, source="measured")
    size = planning.detectable(found, splits, seeds, pairs=3, alpha=0.05, wanted=0.8)
    rng = np.random.default_rng(3)
    units = size + rng.normal(0, 0.02, (4000, splits))
    units += rng.normal(0, 0.03, (4000, splits, seeds)).mean(axis=2)
    rejected = stats.ttest_1samp(units, 0, axis=1).pvalue < 0.05 / 3
    assert rejected.mean() == pytest.approx(0.8, abs=0.03)


def test_splits_that_share_molecules_show_less():
    alone, sharing = (Components(0.02, 0.0, math.nan, shared, "measured") for shared in (0.0, 0.25))
    ratio = planning.detectable(sharing, 8, 1, 3, 0.05, 0.8) / planning.detectable(alone, 8, 1, 3, 0.05, 0.8)
    assert ratio == pytest.approx(math.sqrt(1 + 8 * 0.25))


def test_the_error_by_test_molecules_is_that_of_repeated_test_sets():
    rng = np.random.default_rng(4)

    def errors(shape):
        shared = rng.normal(0, 0.5, shape)
        return shared + rng.normal(0, 0.2, shape), shared + rng.normal(0, 0.4, shape)

    one, other = errors((3000, 200))
    repeated = (np.sqrt((one**2).mean(axis=1)) - np.sqrt((other**2).mean(axis=1))).std()
    said = np.mean([planning.difference_error(*errors(200)) for _ in range(200)])
    assert said == pytest.approx(repeated, rel=0.05)


SPEC = {
    "start": "regressor",
    "shared": {"draws": 0.0},
    "arms": 3,
    "others": 4,
    "statistics": {"margin": 0.05, "alpha": 0.05, "power": 0.8},
}


def study(splits: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics and splits of three continued arms on disjoint draws, and of a run that is no arm."""
    rng = np.random.default_rng(5)
    rows = [
        {"splitter": "draws", "split_seed": s, "seed": 0, "origin": origin, "method": "full", "selection": arm,
         "fold": "test", "rmse": 0.5 + rng.normal(0, 0.01), "train_seconds": seconds, "run_id": f"{s}{origin}{arm}"}
        for s in range(splits)
        for origin, arm, seconds in (
            ("adapted", "none", 7.0), ("continued", "none", 1.0), ("continued", "all", 3.0),
            ("continued", "random", 2.0)
        )
    ]  # fmt: skip
    folds = [
        {"splitter": "draws", "split_seed": s, "molecule_id": molecule, "fold": fold}
        for s in range(splits)
        for molecule, fold in ((f"own-{s}", "train"), (f"held-{s}", "validation"), ("common", "test"))
    ]
    return pd.DataFrame(rows), pd.DataFrame(folds)


def test_a_plan_before_a_study_was_run_says_that_it_assumes():
    plan = planning.of_splitter("draws", SPEC)
    assert set(plan["source"]) == {"assumed"}
    assert plan["detectable"].isna().sum() == 1  # one split with one seed shows nothing
    of_seeds = plan[(plan["splits"] == 8)].sort_values("seeds")
    assert of_seeds["detectable"].is_monotonic_decreasing
    assert of_seeds["seconds"].is_monotonic_increasing


def test_a_plan_after_a_study_was_run_is_of_its_own_errors_and_seconds():
    plan = planning.of_splitter("draws", SPEC, *study(8))
    assert set(plan["source"]) == {"measured"}
    eight = plan[(plan["splits"] == 8) & (plan["seeds"] == 1)].iloc[0]
    assert eight["seconds"] == 8 * (7 + 1 + 3 + 2)
    assert eight["split_sd"] == pytest.approx(0.01 * math.sqrt(2), rel=0.4)
    assert "cheapest design" in " ".join(planning.told(plan))
