"""Mean differences adjusted by what can be predicted of many draws and trained on few.

A control variate is a quantity that costs next to nothing, is known of the draws that were trained and of further ones
that were not, and goes with the difference that training shows. Where the trained draws happen to lie above the mean of
all in the one, they probably do so in the other, and a regression takes that off: the regression estimator of double
sampling (Cochran 1977, "Sampling Techniques", chapter 12; as a control variate, with the loss of a degree of freedom,
Lavenberg and Welch 1981, 10.1287/mnsc.27.3.322). Nothing is gained unless the control's mean comes from more draws than
were trained: with no further ones the estimate is the plain mean, and its interval is no narrower.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from chemsieve.errors import ChemsieveError

LEAST = 4  # trained draws: with three a line leaves one degree of freedom


@dataclass(frozen=True)
class Adjusted:
    """A mean difference that a control variate adjusts, beside the plain one.

    Attributes:
        plain: the mean of the trained draws, and ``plain_low`` to ``plain_high`` its interval by Student's t.
        mean: the adjusted one, and ``low`` to ``high`` its interval.
        correlation: of difference and control over the trained draws; 0 where the control never changes.
        slope: of the difference on the control.
        trained, further: draws.
    """

    plain: float
    plain_low: float
    plain_high: float
    mean: float
    low: float
    high: float
    correlation: float
    slope: float
    trained: int
    further: int

    @property
    def narrower(self) -> float:
        """Width of the adjusted interval over that of the plain one; not a number where neither has any."""
        width = self.plain_high - self.plain_low
        return (self.high - self.low) / width if width else math.nan


def adjusted(
    differences: np.ndarray, controls: np.ndarray, further: np.ndarray, level: float, floor: float = 0.0
) -> Adjusted:
    """The mean of (n,) differences, adjusted by (n,) controls of these draws and those of (k,) further ones.

    With b the slope and e the residuals of the regression the variance is s_e^2 (1/n + (C - c)^2 / SS_c) +
    b^2 s_c^2 / (n + k), c the mean control of the trained draws and C that of all: what the line leaves, and what is
    not known of C. It is judged on n - 2 degrees of freedom, which is too few where the second part is the larger one.

    Args:
        further: controls of draws that share no training molecule with the trained ones, nor with each other.
        level: probability that the interval misses the mean, two-sided.
        floor: variance that no draw takes away, that of common test molecules for example; both intervals have it.

    Raises:
        ChemsieveError: fewer than four trained draws, or controls and differences of other lengths.
    """
    y, c, others = (np.asarray(one, dtype=float) for one in (differences, controls, further))
    n, k = len(y), len(others)
    if n < LEAST or len(c) != n:
        raise ChemsieveError(f"a control variate needs {LEAST} trained draws at least, each with its control")
    plain, of_plain = float(y.mean()), float(np.var(y, ddof=1)) / n
    every = np.concatenate([c, others])
    spread, away = float(((c - c.mean()) ** 2).sum()), float(every.mean() - c.mean())
    slope = float((c - c.mean()) @ (y - plain)) / spread if spread > 0 else 0.0
    left = y - plain - slope * (c - c.mean())
    residual = float(left @ left) / (n - 2)
    variance = residual * (1 / n + (away**2 / spread if spread > 0 else 0.0))
    variance += slope**2 * float(np.var(every, ddof=1)) / (n + k)
    total = float(((y - plain) ** 2).sum())
    correlation = slope * math.sqrt(spread / total) if total > 0 else 0.0
    mean = plain + slope * away
    half_plain = float(stats.t.ppf(1 - level / 2, n - 1)) * math.sqrt(of_plain + floor)
    half = float(stats.t.ppf(1 - level / 2, n - 2)) * math.sqrt(variance + floor)
    return Adjusted(
        plain=plain,
        plain_low=plain - half_plain,
        plain_high=plain + half_plain,
        mean=mean,
        low=mean - half,
        high=mean + half,
        correlation=correlation,
        slope=slope,
        trained=n,
        further=k,
    )
