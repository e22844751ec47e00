"""Paired comparison of two ways of training over the replicates that both have."""

import math
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from chemsieve.report.markup import count, number
from chemsieve.report.study import REPLICATE

ENOUGH = 3  # with fewer pairs the interval says nothing


@dataclass(frozen=True)
class Paired:
    """Differences of a pair, summarised; ``half_width`` is that of the 95 % t interval of the mean."""

    n: int
    mean: float
    sd: float

    @property
    def half_width(self) -> float:
        """Half the width of the 95 % t interval of the mean; missing below two pairs."""
        return stats.t.ppf(0.975, self.n - 1) * self.sd / math.sqrt(self.n) if self.n > 1 else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % t interval of the mean difference."""
        return self.mean - self.half_width, self.mean + self.half_width

    def verdict(self, other: str) -> str:
        """A sentence for an error, where lower is better."""
        if self.n < ENOUGH:
            return f"cannot tell from {count(self.n, 'replicate')}"
        low, high = self.interval
        if low <= 0 <= high:
            return f"no difference from {other} beyond noise (95 % t interval {_range(low, high)})"
        if high < 0:
            return f"better than {other} by {number(-self.mean, 3)} (95 % t interval {_range(-high, -low)})"
        return f"worse than {other} by {number(self.mean, 3)} (95 % t interval {_range(low, high)})"


def paired(values: pd.Series, others: pd.Series) -> Paired:
    """Summary of ``values - others`` over the index entries that both have."""
    both = pd.concat({"value": values, "other": others}, axis=1, join="inner").dropna()
    difference = both["value"] - both["other"]
    return Paired(len(difference), float(difference.mean()), float(difference.std(ddof=1)))


def errors(metrics: pd.DataFrame, origin: str, method: str, selection: str, by: list[str] = REPLICATE) -> pd.Series:
    """RMSE of a configuration per replicate (or, with a shorter ``by``, its mean over what ``by`` leaves out)."""
    wanted = (metrics["origin"] == origin) & (metrics["method"] == method) & (metrics["selection"] == selection)
    return metrics[wanted].groupby(by, dropna=False)["rmse"].mean()


def _range(low: float, high: float) -> str:
    return f"{number(low, 3)} to {number(high, 3)}"
