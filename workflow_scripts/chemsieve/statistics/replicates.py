"""What counts as a replicate, and how independent the replicates are.

Runs that share a split share their test molecules. With one split the units are the training seeds: what they tell
holds for it alone, and the noise of its test molecules is added (:mod:`chemsieve.statistics.molecules`). With several,
the seeds of a split are averaged first and the units are the splits. Their training molecules overlap, so that the
variance of a mean is that of Nadeau and Bengio 2003 (10.1023/A:1024068626366), sd^2 (1 / n + n_test / n_train), not
sd^2 / n. Splits that train and validate on disjoint molecules are independent given their test molecules: there it is
sd^2 / n.
"""

from dataclasses import dataclass

import pandas as pd

from chemsieve.statistics.families import named
from chemsieve.statistics.molecules import Molecules, molecules

CONFIGURATION = ["origin", "method", "selection"]
REPLICATE = ["split", "seed"]


@dataclass(frozen=True)
class Replicates:
    """Errors of one splitter.

    Attributes:
        errors: a row per replicate (split, seed), a column per configuration (origin, method, selection).
        splits: distinct divisions of the molecules.
        shared: n_test / n_train where the units are splits that train on some of the same molecules, and 0 where they
            do not, or where the units are seeds.
        r2: of the same replicates and configurations; None where the metrics have none.
        molecules: their test molecules; None where the predictions are not known.
    """

    errors: pd.DataFrame
    splits: int
    shared: float
    r2: pd.DataFrame | None = None
    molecules: Molecules | None = None

    @property
    def alone(self) -> bool:
        """Whether all replicates are seeds of one split, so that nothing is known of other splits."""
        return self.splits < 2

    def paired(self, configurations: list[tuple[str, str, str]]) -> pd.DataFrame:
        """(replicates, configurations) errors of the replicates that all of them have."""
        return self.errors[configurations].dropna()

    def units(self, paired: pd.DataFrame) -> pd.DataFrame:
        """(units, configurations) errors: the replicates themselves, or their means over the seeds of each split."""
        return paired if self.splits < 2 else paired.groupby(level="split").mean()


def inflation(n: int, shared: float) -> float:
    """Factor on the variance of a mean of n units that share training molecules (Nadeau and Bengio 2003)."""
    return 1 + n * shared


def replicates(metrics: pd.DataFrame, splits: pd.DataFrame, predictions: pd.DataFrame | None = None) -> Replicates:
    """Replicates of one splitter.

    Splits that put every molecule into the same fold are one split, however many seeds they were made with: several
    splitters do not use their seed. A model without training seed stands beside every seed of its split.

    Args:
        metrics: rows of the table ``metrics`` of one splitter and one fold; without ``use`` all are mixed.
        splits: rows of the table ``splits`` of that splitter.
        predictions: rows of the table ``predictions`` of that fold, of other splitters too.
    """
    same = _same(splits)
    runs = metrics.assign(split=metrics["split_seed"].map(same))
    if "use" in runs:
        runs = runs.assign(selection=[named(*one) for one in zip(runs["selection"], runs["use"], strict=True)])
    seeded, unseeded = runs[runs["seed"].notna()], runs[runs["seed"].isna()]
    beside = unseeded.drop(columns="seed").merge(seeded[REPLICATE].drop_duplicates(), on="split")
    values = pd.concat([seeded, beside]).groupby([*CONFIGURATION, *REPLICATE])
    errors = values["rmse"].mean().unstack(CONFIGURATION)
    r2 = values["r2"].mean().unstack(CONFIGURATION) if "r2" in runs and runs["r2"].notna().any() else None
    n_splits = runs["split"].nunique()
    folds = splits.groupby("split_seed")["fold"].value_counts().unstack(fill_value=0)
    overlap = n_splits > 1 and not _disjoint(splits[splits["split_seed"].isin(runs["split"])])
    shared = float((folds["test"] / folds["train"]).mean()) if overlap else 0.0
    tested = None if predictions is None else molecules(predictions, runs, CONFIGURATION)
    return Replicates(errors, n_splits, shared, r2, tested)


def _disjoint(splits: pd.DataFrame) -> bool:
    """Whether no molecule is trained or validated on in two splits."""
    own = splits["fold"].isin(["train", "validation"])  # others are tested, or in no fold at all
    return not splits.loc[own, "molecule_id"].duplicated().any()


def _same(splits: pd.DataFrame) -> dict[int, int]:
    """The first split seed that divides the molecules as each does."""
    first: dict[tuple, int] = {}
    found = {}
    for seed, split in splits.sort_values(["split_seed", "molecule_id"]).groupby("split_seed"):
        division = (*split["molecule_id"], *split["fold"])
        found[seed] = first.setdefault(division, seed)
    return found
