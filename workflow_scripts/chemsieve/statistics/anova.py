"""Repeated-measures analysis of variance with one factor."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from chemsieve.errors import ChemsieveError

NEGLIGIBLE = 1e-12  # a standard deviation below this share of the errors is rounding


@dataclass(frozen=True)
class Anova:
    """Sums of squares (squared unit of the errors), and the F test of equal means."""

    n: int
    k: int
    ss_configurations: float
    ss_units: float
    ss_residual: float
    inflation: float

    @property
    def df_residual(self) -> int:
        """Degrees of freedom of the unit x configuration residual."""
        return (self.n - 1) * (self.k - 1)

    @property
    def ms_residual(self) -> float:
        """Mean square of the residual, the error term of every comparison."""
        return self.ss_residual / self.df_residual

    @property
    def f(self) -> float:
        """F statistic, its variance of means inflated where units share training molecules."""
        return self.ss_configurations / (self.k - 1) / (self.ms_residual * self.inflation)

    @property
    def p(self) -> float:
        """P value of equal means."""
        return float(stats.f.sf(self.f, self.k - 1, self.df_residual))


def anova(errors: np.ndarray, inflation: float = 1.0) -> Anova:
    """Partition the sum of squares of (n, k) errors: configurations, units, residual.

    Winer, Brown and Michels 1991, "Statistical principles in experimental design", chapter 4. ``inflation`` is what
    :func:`chemsieve.statistics.replicates.inflation` says.

    Raises:
        ChemsieveError: fewer than two units or configurations, or a value that is not finite.
    """
    errors = checked(errors)
    n, k = errors.shape
    grand = errors.mean()
    return Anova(
        n,
        k,
        float(n * ((errors.mean(axis=0) - grand) ** 2).sum()),
        float(k * ((errors.mean(axis=1) - grand) ** 2).sum()),
        float((residuals(errors) ** 2).sum()),
        inflation,
    )


def residuals(errors: np.ndarray) -> np.ndarray:
    """(n, k) residuals: errors less the effects of unit and configuration."""
    return errors - errors.mean(axis=0) - errors.mean(axis=1, keepdims=True) + errors.mean()


def negligible(spread: float, errors: np.ndarray) -> bool:
    """Whether a standard deviation is rounding: repeats that are copies of each other are no replicates."""
    return not spread > NEGLIGIBLE * max(1.0, float(np.abs(errors).max()))


def checked(errors: np.ndarray) -> np.ndarray:
    """The errors as floats, with at least two units and two configurations."""
    errors = np.asarray(errors, dtype=float)
    if errors.ndim != 2 or min(errors.shape) < 2:
        raise ChemsieveError(f"statistics: {errors.shape} errors; two units and two configurations are the least")
    if not math.isfinite(errors.sum()):
        raise ChemsieveError("statistics: an error is not a finite number")
    return errors
