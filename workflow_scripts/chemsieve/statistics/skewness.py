"""Intervals of a mean whose observations need not be symmetric.

Few observations of a skewed quantity lie on one side of its mean more often than Student's t allows for. Hall 1992 ("On
the removal of skewness by transformation", 10.1111/j.2517-6161.1992.tb01856.x) corrects t by a monotone cubic in it. As
that rests on an estimated skewness, it narrows one end where it widens the other; here each end is the wider of
Student's and Hall's.
"""

import math

from scipy import stats

SYMMETRIC = 1e-9  # below it the two are the same


def interval(mean: float, error: float, critical: float, skewness: float) -> tuple[float, float]:
    """Lower and upper end for a mean with this standard error.

    Args:
        critical: of \\|t\\|.
        skewness: of the mean, which for n independent observations is theirs over the root of n.
    """
    ends = [_inverse(side * critical, skewness) for side in (-1, 1)]
    return mean - error * max(critical, ends[1]), mean + error * max(critical, -ends[0])


def p_value(mean: float, error: float, df: float, skewness: float) -> float:
    """Two-sided p value that goes with :func:`interval`: below alpha where that at alpha's level leaves zero out."""
    plain = mean / error
    corrected = _transformed(plain, skewness)
    if plain * corrected <= 0:
        return 1.0
    return float(2 * stats.t.sf(min(abs(plain), abs(corrected)), df))


def _transformed(t: float, a: float) -> float:
    if abs(a) < SYMMETRIC:
        return t
    return ((1 + a * t / 3) ** 3 - 1) / a + a / 6


def _inverse(t: float, a: float) -> float:
    if abs(a) < SYMMETRIC:
        return t
    return 3 / a * (math.cbrt(1 + a * (t - a / 6)) - 1)
