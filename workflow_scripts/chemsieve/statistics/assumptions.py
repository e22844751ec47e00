"""Whether one pooled normal residual describes every pair: normality and sphericity."""

import warnings

import numpy as np
from scipy import stats

from chemsieve.statistics.anova import checked, negligible, residuals

LEAST_EPSILON = 0.75  # below it sphericity is given up (Girden 1992, "ANOVA: Repeated measures")


def normality(errors: np.ndarray) -> float:
    """P value of Shapiro and Wilk's test on the residuals of (n, k) errors; 1 where they are constant.

    Residuals of two configurations, or of two units, mirror each other: one of each is tested, and two values are not.
    """
    left = residuals(checked(errors))
    left = (left[: len(left) // 2] if len(left) == 2 else left[:, :1] if left.shape[1] == 2 else left).ravel()
    if len(left) < 3:
        return 1.0
    if negligible(float(left.std()), errors):
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # above 5,000 values the p value is approximate
        return float(stats.shapiro(left).pvalue)


def greenhouse_geisser(errors: np.ndarray) -> float:
    """Epsilon of Greenhouse and Geisser 1959: 1 where sphericity holds, down to 1 / (k - 1)."""
    errors = checked(errors)
    k = errors.shape[1]
    centring = np.eye(k) - 1 / k
    covariance = centring @ np.cov(errors, rowvar=False) @ centring
    total = float((covariance**2).sum())
    if negligible(total**0.25, errors):
        return 1.0
    return float(np.trace(covariance)) ** 2 / ((k - 1) * total)


def huynh_feldt(errors: np.ndarray) -> float:
    """Epsilon of Huynh and Feldt 1976, at most 1.

    Greenhouse and Geisser's cannot exceed (n - 1) / (k - 1), so that a few replicates of many configurations would
    always fail; this one corrects for it.
    """
    n, k = checked(errors).shape
    epsilon = greenhouse_geisser(errors)
    below = (k - 1) * (n - 1 - (k - 1) * epsilon)
    return 1.0 if below <= 0 else min(1.0, (n * (k - 1) * epsilon - 2) / below)


def spherical(errors: np.ndarray) -> bool:
    """Whether one pooled residual is fair to every pair of (n, k) errors; two configurations are a single pair."""
    return errors.shape[1] == 2 or huynh_feldt(errors) >= LEAST_EPSILON


def normal(errors: np.ndarray, alpha: float) -> bool:
    """Whether the residuals of (n, k) errors pass for normal; a column that never varies (a model without seed) is left
    out, since its zeros would be read as a sharp peak."""
    varying = [not negligible(float(column.std()), column) for column in errors.T]
    return sum(varying) < 2 or normality(errors[:, varying]) >= alpha
