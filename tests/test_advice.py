"""Which method to take, by constructed comparisons whose answer is plain."""

import numpy as np
import pandas as pd
import pytest

from chemsieve.statistics.advice import advise, size_of
from chemsieve.statistics.verdicts import Estimate, Evidence, verdict
from chemsieve.statistics.work import training_flops

STORED = pd.Series({"full": 15e6, "lora": 2e5, "bitfit": 5e4, "ia3": 1e4})


def comparison(what, versus, low, high, needed=None, molecules=None, splits=5, verdict=""):
    """A row of the table ``comparisons``: the interval of the former's error less the latter's."""
    row = {"what": what, "versus": versus, "low": low, "high": high}
    return row | {"replicates_needed": needed, "molecules_needed": molecules, "n_splits": splits, "verdict": verdict}


def advice(errors, *rows, margin=0.02):
    columns = list(comparison("", "", 0, 0))
    return advise(pd.Series(errors), STORED, pd.DataFrame(list(rows), columns=columns), margin)


def test_the_least_to_store_is_taken_among_those_that_are_as_good():
    found = advice(
        {"full": 0.70, "lora": 0.705, "bitfit": 0.71, "ia3": 0.80},
        comparison("lora", "full", -0.01, 0.015),  # equivalent
        comparison("bitfit", "full", 0.002, 0.019),  # worse, by less than matters
        comparison("ia3", "full", 0.06, 0.14),  # worse
    )
    assert found.take == "bitfit"
    assert (found.alike, found.worse, found.untold) == (("bitfit", "lora"), ("ia3",), ())
    assert found.sentence.startswith("Take bitfit: ")
    assert "50 kB" in found.sentence
    assert "15 MB" in found.sentence


def test_the_best_s_own_side_of_a_comparison_does_not_matter():
    """The family's pairs have later names first; where the best is one of these, intervals are turned round."""
    found = advice(
        {"full": 0.80, "lora": 0.70},
        comparison("lora", "full", -0.15, -0.05),  # so full is worse than lora by 0.05 to 0.15
    )
    assert (found.take, found.best, found.worse) == ("lora", "lora", ("full",))
    near = advice({"full": 0.705, "lora": 0.70}, comparison("lora", "full", -0.019, 0.3))
    assert near.alike == ("full",)  # at most 0.019 worse than lora
    assert near.take == "lora"


def test_where_a_cheaper_one_is_undecided_it_says_what_it_would_take():
    found = advice(
        {"full": 0.70, "lora": 0.705, "bitfit": 0.71, "ia3": 0.72},
        comparison("lora", "full", -0.01, 0.015),
        comparison("bitfit", "full", -0.03, 0.05, needed=12),
        comparison("ia3", "full", -0.02, 0.06, needed=25),
    )
    assert found.take == "lora"
    assert found.cheaper == ("ia3", "bitfit")
    assert found.needed == 25
    assert "Whether ia3 and bitfit, which store less, would do cannot be told yet; about 25 splits" in found.sentence


def test_what_costs_more_and_is_undecided_is_no_matter():
    found = advice(
        {"bitfit": 0.70, "full": 0.71, "ia3": 0.9},
        comparison("bitfit", "full", -0.05, 0.03, needed=9),
        comparison("ia3", "bitfit", 0.1, 0.3),
    )
    assert (found.take, found.untold, found.cheaper) == ("bitfit", ("full",), ())
    assert "cannot be told" not in found.sentence


def test_where_nothing_is_decided_none_is_taken_and_it_is_said():
    found = advice(
        {"full": 0.70, "lora": 0.71},
        comparison("lora", "full", -0.05, 0.07, needed=40, molecules=1400),
    )
    assert found.take is None
    assert found.sentence.startswith("Nothing is decided: full has the lowest mean error")
    assert "about 40 splits and about 1,400 test molecules would tell" in found.sentence
    endless = advice({"full": 0.70, "lora": 0.71}, comparison("lora", "full", -0.05, 0.07))
    assert "more than 1,000 splits would tell" in endless.sentence
    alone = advice({"full": 0.70, "lora": 0.71}, comparison("lora", "full", -0.05, 0.07, needed=9, splits=1))
    assert "about 9 seeds of this split" in alone.sentence


@pytest.mark.parametrize("rows", [(), (comparison("lora", "full", np.nan, np.nan, splits=2),)])
def test_without_intervals_nothing_is_decided(rows):
    assert advice({"full": 0.70, "lora": 0.71}, *rows).take is None


def test_methods_that_learned_nothing_are_not_compared():
    estimate = Estimate(mean=0.0, low=-0.01, high=0.01, detectable=0.02, needed=3)
    said = verdict(Evidence(versus="full", n=5, alone=False, margin=0.02, estimate=estimate, unlearned=(0.0, -0.1)))
    row = comparison("lora", "full", -0.01, 0.01, needed=3, verdict=said)
    assert advice({"full": 1.0, "lora": 1.0}, row).take is None
    assert advice({"full": 1.0, "lora": 1.0}, row | {"verdict": ""}).take == "lora"


def test_one_method_alone_is_taken():
    found = advice({"full": 0.7})
    assert found.take == "full"


def test_sizes_in_words():
    assert [size_of(n) for n in (812, 44788, 10772444, 187e6, 2.5e9)] == [
        "812 bytes", "44.8 kB", "10.8 MB", "187 MB", "2.5 GB",
    ]  # fmt: skip


def test_work_of_full_training_is_six_operations_a_token_and_parameter():
    """Kaplan et al. 2020: 6 N D."""
    assert training_flops(1000, 5e6, 5e6) == 6 * 5e6 * 1000
    assert training_flops(1000, 5e6, 0) == 4 * 5e6 * 1000
