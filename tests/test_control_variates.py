"""Mean differences that a control variate adjusts: against known cases, and by simulation."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from chemsieve.errors import ChemsieveError
from chemsieve.statistics.control_variates import adjusted

ROOT = Path(__file__).resolve().parent.parent


def test_a_control_that_says_all_gives_the_mean_over_all_draws():
    control = np.array([1.0, 3.0, 2.0, 5.0, 4.0])
    further = np.array([6.0, 7.0, 8.0, 9.0])
    made = adjusted(0.5 - 2 * control, control, further, 0.05)
    every = 0.5 - 2 * np.concatenate([control, further])
    assert made.mean == pytest.approx(every.mean())
    assert (made.correlation, made.slope) == pytest.approx((-1, -2))
    # All that is left unknown is the mean of nine draws, judged on three degrees of freedom.
    half = stats.t.ppf(0.975, 3) * every.std(ddof=1) / 3
    assert (made.low, made.high) == pytest.approx((every.mean() - half, every.mean() + half))


def test_the_plain_interval_is_students():
    values, rng = np.array([0.1, 0.3, 0.2, 0.6, 0.4]), np.random.default_rng(0)
    made = adjusted(values, rng.normal(size=5), rng.normal(size=7), 0.01)
    expected = stats.t.interval(0.99, 4, loc=values.mean(), scale=stats.sem(values))
    assert (made.plain_low, made.plain_high) == pytest.approx(expected)


def test_without_further_draws_nothing_is_gained():
    """The mean of the control is then known from the same draws, however well the two agree."""
    rng = np.random.default_rng(1)
    control = rng.normal(size=8)
    made = adjusted(control + 0.01 * rng.normal(size=8), control, np.array([]), 0.05)
    assert made.mean == made.plain
    assert made.narrower > 1


def test_a_control_that_never_changes_changes_nothing():
    made = adjusted(np.array([1.0, 2.0, 3.0, 4.0]), np.ones(4), np.ones(9), 0.05)
    assert (made.mean, made.correlation) == (2.5, 0)
    assert made.narrower > 1, "it pays with a degree of freedom"


def test_common_noise_stays_in_both_intervals():
    rng = np.random.default_rng(2)
    control, further = rng.normal(size=8), rng.normal(size=100)
    given = (control + rng.normal(size=8), control, further, 0.05)
    made, noisy = adjusted(*given), adjusted(*given, floor=4.0)
    assert noisy.mean == made.mean
    for low, high in (("plain_low", "plain_high"), ("low", "high")):
        assert getattr(noisy, high) - getattr(noisy, low) > 2 * 2 * 1.96 > getattr(made, high) - getattr(made, low)


def test_too_few_draws_are_refused():
    with pytest.raises(ChemsieveError, match="4 trained draws"):
        adjusted(np.ones(3), np.ones(3), np.ones(9), 0.05)
    with pytest.raises(ChemsieveError, match="each with its control"):
        adjusted(np.ones(5), np.ones(4), np.ones(9), 0.05)


@pytest.fixture(scope="module")
def error_rates():
    specification = importlib.util.spec_from_file_location("error_rates", ROOT / "benchmarks" / "error_rates.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("trained", ["6 trained, 30 predicted", "12 trained, 100 predicted"])
@pytest.mark.parametrize("correlation", [0, 0.4, 0.95])
def test_intervals_hold_the_difference_as_often_as_they_say(error_rates, trained, correlation):
    studies = 400
    plain, held, width = error_rates.covered(f"{trained}, correlation {correlation}", studies, seed=3)
    least = stats.binom.ppf(0.001, studies, 0.95) / studies
    assert min(plain, held) >= least
    assert (width < 0.7) == (correlation == 0.95)
