"""A small version of benchmarks/error_rates.py: what a first screen states where there is nothing to state."""

import importlib.util
from pathlib import Path

import pytest
from scipy import stats

from chemsieve.statistics import power, tukey

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def error_rates():
    specification = importlib.util.spec_from_file_location("error_rates", ROOT / "benchmarks" / "error_rates.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in [(power, "to_detect"), (power, "to_equate"), (power, "detectable"), (tukey, "p_values")]:
            patch.setattr(owner, name, getattr(owner, name))  # so that they are put back
        module.leave_out_what_decides_nothing()
        yield module


@pytest.mark.parametrize("design", ["5 random splits", "5 seeds of one split"])
def test_first_screens_seldom_state_a_difference_where_there_is_none(error_rates, design):
    studies = 24
    stated, beyond = error_rates.simulate(design, studies, seed=1)
    assert stated <= stats.binom.ppf(0.999, studies, 0.05)
    assert beyond == 0 or design == "5 random splits"


def test_what_one_split_favours_is_never_claimed_beyond_it(error_rates):
    stated, beyond = error_rates.simulate("5 seeds of one split that favours some", 6, seed=1)
    assert stated > 0, "or it shows nothing"
    assert beyond == 0
