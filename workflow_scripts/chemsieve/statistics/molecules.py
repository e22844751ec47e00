"""What the choice of the test molecules does to a difference of errors, and whether a model has learned anything.

Seeds of one split are all tested on the same molecules, so that the spread between them does not hold what other test
molecules would have said. That part follows from the molecules' own squared errors, paired: to first order a molecule
with the squared error e moves an RMSE over m molecules by (e - MSE) / (2 RMSE m). Between several random splits, which
test other molecules each, the spread holds it already; splits that all test the same ones are as one split in this.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

Configuration = tuple[str, ...]


@dataclass(frozen=True)
class Molecules:
    """Test molecules of the splits of one splitter.

    Attributes:
        shares: of each split, (molecules, configurations): m times what a molecule adds to the mean RMSE over seeds.
        gains: likewise, how far a configuration's squared error lies below that of the molecules' mean label, over the
            mean of the latter, so that its mean is R2.
    """

    shares: list[pd.DataFrame]
    gains: list[pd.DataFrame]

    @property
    def count(self) -> int:
        """Test molecules of a split, on average over the splits."""
        return round(float(np.mean([len(one) for one in self.shares])))

    @property
    def common(self) -> bool:
        """Whether several splits all test the same molecules."""
        first, *others = self.shares
        return bool(others) and all(set(part.index) == set(first.index) for part in others)

    def variance(self, one: Configuration, other: Configuration) -> float:
        """Variance of a mean difference of RMSE over the splits that comes from the test molecules, paired."""
        parts = [part[one] - part[other] for part in self.shares if {one, other} <= {*part}]
        if self.common and parts:
            return self._variance([pd.concat(parts, axis=1).mean(axis=1)])
        return self._variance(parts)

    def variance_of_r2(self, one: Configuration) -> float:
        """Variance of a mean R2 over the splits that comes from the test molecules."""
        return self._variance([part[one] for part in self.gains if one in part])

    @staticmethod
    def _variance(values: list[pd.Series]) -> float:
        if not values:
            return math.nan
        each = [float(np.var(part, ddof=1)) / len(part) if len(part) > 1 else math.nan for part in values]
        return float(np.mean(each)) / len(each)


def molecules(predictions: pd.DataFrame, runs: pd.DataFrame, configuration: list[str]) -> Molecules | None:
    """The test molecules of one splitter; None where no prediction of its runs is known.

    Args:
        predictions: rows of the table ``predictions`` of the test fold.
        runs: rows of the table ``metrics`` of that fold, with a column ``split``.
        configuration: the columns that tell configurations apart.
    """
    known = runs[["run_id", "split", *configuration]].drop_duplicates("run_id")
    rows = predictions.merge(known, on="run_id")
    rows = rows.assign(squared=(rows["prediction"] - rows["label"]) ** 2)
    shares, gains = [], []
    for _, here in rows.groupby("split"):
        squared = here.pivot_table(index="molecule_id", columns=[*configuration, "run_id"], values="squared")
        mse = squared.mean()
        share = (squared - mse) / (2 * np.sqrt(mse.where(mse > 0)))
        shares.append(_over_runs(share.fillna(0.0), configuration))
        labels = here.groupby("molecule_id")["label"].first().loc[squared.index]
        apart = (labels - labels.mean()) ** 2
        scale = float(apart.mean()) or math.nan
        gains.append(_over_runs(-squared.sub(apart, axis=0) / scale, configuration))
    return Molecules(shares, gains) if shares else None


def _over_runs(values: pd.DataFrame, configuration: list[str]) -> pd.DataFrame:
    return values.T.groupby(level=configuration).mean().T
