"""Tukey's honestly significant difference on repeated measures."""

import math
from functools import cache

import numpy as np
from scipy import stats

from chemsieve.statistics.anova import Anova

TABULATED = 120  # degrees of freedom above which values are interpolated in 1 / df, as in printed tables


@cache
def critical(alpha: float, k: int, df: float) -> float:
    """Critical value of \\|t\\| for all pairs of k means: that of the studentized range over the root of two."""
    if k == 2:
        return float(stats.t.ppf(1 - alpha / 2, df))
    if TABULATED < df < math.inf:
        share = TABULATED / df
        return share * critical(alpha, k, TABULATED) + (1 - share) * critical(alpha, k, math.inf)
    return float(stats.studentized_range.ppf(1 - alpha, k, df)) / math.sqrt(2)


def standard_error(of: Anova) -> float:
    """Standard error of the difference of two means, from the pooled residual."""
    return math.sqrt(2 * of.ms_residual * of.inflation / of.n)


def p_values(errors: np.ndarray, of: Anova, size: int | None = None) -> np.ndarray:
    """(k, k) adjusted p values of all pairs of (n, k) errors; 1 on the diagonal.

    ``size`` is the number of configurations whose pairs they are adjusted for, k by default.

    Tukey 1953; on repeated measures with the residual of unit x configuration as the error term (Winer, Brown and
    Michels 1991, chapter 4).
    """
    means = np.asarray(errors, dtype=float).mean(axis=0)
    t = np.abs(means[:, None] - means[None]) / standard_error(of)
    size = size or of.k
    if size == 2:
        return np.clip(2 * stats.t.sf(t, of.df_residual), 0, 1)
    found = np.ones_like(t)
    upper = np.triu_indices(of.k, 1)
    found[upper] = np.clip(stats.studentized_range.sf(t[upper] * math.sqrt(2), size, of.df_residual), 0, 1)
    return np.minimum(found, found.T)
