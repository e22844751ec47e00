"""What counts as a replicate, and how independent the replicates are.

Runs that share a split share their test molecules. With one split the units are the training seeds, and what they tell
holds for that split alone. With several, the seeds of a split are averaged first and the units are the splits; their
training molecules overlap, so that the variance of a mean is that of Nadeau and Bengio 2003 (10.1023/A:1024068626366),
sd^2 (1 / n + n_test / n_train), and not sd^2 / n. Splits that train and validate on disjoint molecules are independent
given their test molecules: there it is sd^2 / n.
"""

from dataclasses import dataclass

import pandas as pd

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
    """

    errors: pd.DataFrame
    splits: int
    shared: float

    @property
    def unit(self) -> str:
        """What a unit is called."""
        return "split" if self.splits > 1 else "replicate"

    def paired(self, configurations: list[tuple[str, str, str]]) -> pd.DataFrame:
        """(replicates, configurations) errors of the replicates that all of them have."""
        return self.errors[configurations].dropna()

    def units(self, paired: pd.DataFrame) -> pd.DataFrame:
        """(units, configurations) errors: the replicates themselves, or their means over the seeds of each split."""
        return paired if self.splits < 2 else paired.groupby(level="split").mean()


def inflation(n: int, shared: float) -> float:
    """Factor on the variance of a mean of n units that share training molecules (Nadeau and Bengio 2003)."""
    return 1 + n * shared


def replicates(metrics: pd.DataFrame, splits: pd.DataFrame) -> Replicates:
    """Replicates of one splitter.

    Splits that put every molecule into the same fold are one split, however many seeds they were made with: several
    splitters do not use their seed. A model without training seed stands beside every seed of its split.

    Args:
        metrics: rows of the table ``metrics`` of one splitter and one fold.
        splits: rows of the table ``splits`` of that splitter.
    """
    same = _same(splits)
    runs = metrics.assign(split=metrics["split_seed"].map(lambda seed: same.get(seed, seed)))
    seeded, unseeded = runs[runs["seed"].notna()], runs[runs["seed"].isna()]
    beside = unseeded.drop(columns="seed").merge(seeded[REPLICATE].drop_duplicates(), on="split")
    errors = pd.concat([seeded, beside]).groupby([*CONFIGURATION, *REPLICATE])["rmse"].mean().unstack(CONFIGURATION)
    n_splits = runs["split"].nunique()
    folds = splits.groupby("split_seed")["fold"].value_counts().unstack(fill_value=0)
    overlap = n_splits > 1 and not _disjoint(splits[splits["split_seed"].isin(runs["split"])])
    shared = float((folds["test"] / folds["train"]).mean()) if overlap else 0.0
    return Replicates(errors, n_splits, shared)


def _disjoint(splits: pd.DataFrame) -> bool:
    """Whether no molecule is trained or validated on in two splits."""
    return not splits.loc[splits["fold"] != "test", "molecule_id"].duplicated().any()


def _same(splits: pd.DataFrame) -> dict[int, int]:
    """The first split seed that divides the molecules as each does."""
    first: dict[tuple, int] = {}
    found = {}
    for seed, split in splits.sort_values(["split_seed", "molecule_id"]).groupby("split_seed"):
        division = (*split["molecule_id"], *split["fold"])
        found[seed] = first.setdefault(division, seed)
    return found
