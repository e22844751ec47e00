"""Comparison by ranks within each unit, where the errors are not normal or not spherical."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from chemsieve.statistics.anova import checked


@dataclass(frozen=True)
class Friedman:
    """Friedman's chi-squared, corrected for ties; its p value; (k, k) p values of the pairs, not adjusted."""

    statistic: float
    p: float
    pairs: np.ndarray


def friedman(errors: np.ndarray, inflation: float = 1.0) -> Friedman:
    """Friedman's test of (n, k) errors and Conover's comparisons after it.

    Conover 1999, "Practical nonparametric statistics", 3rd edition, section 5.8. ``inflation`` of the variance enters
    the comparisons as it enters the t test whose counterpart on ranks they are. Ranks of two configurations say no more
    than the sign: there the pair's p is that of Wilcoxon's signed-rank test, exact for few units.
    """
    ranks = stats.rankdata(checked(errors), axis=1)
    n, k = ranks.shape
    sums = ranks.sum(axis=0)
    squares, expected = float((ranks**2).sum()), n * k * (k + 1) ** 2 / 4
    if squares == expected:  # every row is tied throughout
        return Friedman(0.0, 1.0, np.ones((k, k)))
    statistic = (k - 1) * (float((sums**2).sum()) - n * expected) / (squares - expected)
    residual = n * squares - float((sums**2).sum())
    gap = np.abs(sums[:, None] - sums[None])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = gap / np.sqrt(2 * residual * inflation / ((n - 1) * (k - 1)))
    # Without any residual, all units rank alike: every gap is beyond doubt, and no gap is none.
    t = np.where(gap == 0, 0.0, t)
    pairs = 2 * stats.t.sf(t, (n - 1) * (k - 1))
    if k == 2:
        p = float(stats.wilcoxon(*checked(errors).T).pvalue)
        return Friedman(float(statistic), p, np.array([[1, p], [p, 1]]))
    return Friedman(float(statistic), float(stats.chi2.sf(statistic, k - 1)), np.clip(pairs, 0, 1))
