"""Sizes of effects, and the noise that they stand in."""

import math

import numpy as np
import pandas as pd

from chemsieve.statistics.anova import negligible


def cohen_dz(difference: np.ndarray) -> float:
    """Mean of (n,) paired differences over their standard deviation; NaN where that is nothing."""
    sd = float(np.std(difference, ddof=1)) if len(difference) > 1 else math.nan
    return math.nan if math.isnan(sd) or negligible(sd, difference) else float(np.mean(difference)) / sd


def cohen_dav(errors: np.ndarray, others: np.ndarray) -> float:
    """Mean difference over the mean of the two standard deviations (Lakens 2013, 10.3389/fpsyg.2013.00863)."""
    if len(errors) < 2:
        return math.nan
    sd = float(np.std(errors, ddof=1) + np.std(others, ddof=1)) / 2
    return math.nan if negligible(sd, errors) else float(np.mean(errors) - np.mean(others)) / sd


def hodges_lehmann(difference: np.ndarray) -> float:
    """Median of the averages of all pairs of (n,) differences, each with itself too (Hodges and Lehmann 1963)."""
    one, other = np.triu_indices(len(difference))
    return float(np.median((difference[one] + difference[other]) / 2))


def noise_floor(errors: pd.DataFrame) -> float:
    """Standard deviation between the seeds of one configuration on one split, pooled over both.

    Args:
        errors: a row per replicate (split, seed), a column per configuration.

    Returns:
        In the unit of the errors; NaN where nothing was trained from two seeds.
    """
    groups = errors.groupby(level="split")
    within = errors - groups.transform("mean")
    df = (len(errors) - groups.ngroups) * errors.shape[1]
    return math.sqrt(float((within**2).to_numpy().sum()) / df) if df else math.nan
