"""What a design can detect: the smallest effect, and how many units a question needs."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import optimize, stats

LEAST = 3  # units
MOST = 1000
NODES = 200  # of the quadrature over the residual's chi-squared

OfUnits = Callable[[int], float]  # a value that depends on the number of units


@cache
def _nodes() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on (-1, 1): an eigenvalue problem, which every number of units would solve anew."""
    return np.polynomial.legendre.leggauss(NODES)


@cache
def _spread(df: float) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of sqrt(chi-squared / df), and weights."""
    nodes, weights = _nodes()
    return np.sqrt(stats.chi2.ppf((nodes + 1) / 2, df) / df), weights / 2


def upper_tail(critical: float, df: float, noncentrality: float) -> float:
    """P(T > critical) of the noncentral t, by quadrature: scipy's own is not finite for large noncentralities."""
    spread, weights = _spread(df)
    return float(weights @ stats.norm.sf(critical * spread - noncentrality))


@cache
def required(critical: float, df: float, power: float) -> float:
    """Noncentrality at which \\|T\\| exceeds ``critical`` with probability ``power``."""

    def missing(noncentrality: float) -> float:
        lower = upper_tail(critical, df, -noncentrality)
        return upper_tail(critical, df, noncentrality) + lower - power

    if missing(0.0) >= 0:
        return 0.0
    high = critical
    while missing(high) < 0:
        high *= 2
    return float(optimize.brentq(missing, 0, high, xtol=1e-6))


def detectable(error: float, critical: float, df: float, power: float) -> float:
    """Smallest true difference, in the unit of its standard ``error``, that a two-sided test detects with ``power``."""
    return error * required(critical, df, power)


def to_detect(mean: float, error_of: OfUnits, critical: OfUnits, df: Callable[[int], int], power: float) -> int | None:
    """Units with which a true difference of ``mean`` would be detected with ``power``; None beyond ``MOST``.

    ``error_of``, ``critical`` and ``df`` give their value for a number of units.
    """
    return _least(lambda n: abs(mean) >= detectable(error_of(n), critical(n), df(n), power))


def to_equate(
    mean: float, margin: float, error_of: OfUnits, critical: OfUnits, df: Callable[[int], int], power: float
) -> int | None:
    """Units with which the interval would lie within the margin if the true difference is ``mean``.

    The power is Phillips's 1990 (10.1007/BF01063556) without the joint term, a bound that is tight where it is high.
    """
    if abs(mean) >= margin:
        return None

    def enough(n: int) -> bool:
        error, free, least = error_of(n), df(n), critical(n)
        tails = (upper_tail(least, free, (margin - side * mean) / error) for side in (-1, 1))
        return sum(tails) - 1 >= power

    return _least(enough)


def _least(enough: Callable[[int], bool]) -> int | None:
    """Smallest number of units from ``LEAST`` to ``MOST`` that is enough."""
    low, high = LEAST - 1, LEAST
    while not enough(high):
        if high == MOST:
            return None
        low, high = high, min(MOST, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def standard_error(sd: float, n: int, shared: float) -> float:
    """Standard error of a mean difference, as :mod:`chemsieve.statistics.replicates` explains it."""
    return sd * math.sqrt(1 / n + shared)
