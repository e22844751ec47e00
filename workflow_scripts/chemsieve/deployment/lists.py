"""What each strategy chose, as one list for the bench: over all splits and training seeds, and for each split.

Each replicate has its own order of the pool. The list has each molecule that was chosen in any of them, those first
that were chosen in most; among equals the one of the better median rank is first.
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from chemsieve.runtime.files import write_text

FOLDER = "selected"  # below the study's results
SPLIT = ["splitter", "split_seed"]
REPLICATE = [*SPLIT, "seed"]
COLUMNS = [
    *("rank", "identifier", "molecule_id", "smiles", "label", "chosen_in", "of", "score", "median_rank"),
    *("nearest_training", "nearest_training_smiles", "similarity"),
]
_FORMULA = re.compile(r"[=+\-@\t\r]")


def consensus(selections: pd.DataFrame) -> pd.DataFrame:
    """Molecules that one strategy chose in any replicate, in the order of the list.

    Args:
        selections: rows of the table ``selections`` of one strategy, of one or more replicates.

    Returns:
        ``rank`` (1 is first), ``molecule_id``, ``chosen_in`` (replicates that chose it), ``of`` (replicates),
        ``score`` (median over the replicates that scored it, missing where the strategy has none), ``median_rank``.
    """
    of = len(selections[REPLICATE].drop_duplicates())
    per_molecule = selections.groupby("molecule_id", sort=True).agg(
        chosen_in=("selected", "sum"), score=("score", "median"), median_rank=("rank", "median")
    )
    chosen = per_molecule[per_molecule["chosen_in"] > 0].reset_index()
    chosen = chosen.sort_values(["chosen_in", "median_rank", "molecule_id"], ascending=[False, True, True])
    chosen = chosen.reset_index(drop=True).assign(of=of)
    chosen.insert(0, "rank", range(1, len(chosen) + 1))
    return chosen.astype({"chosen_in": int})


@dataclass(frozen=True)
class Agreement:
    """How far the replicates of a strategy agree: molecules chosen in all, molecules that each chooses, replicates.

    ``each`` is the largest number that a replicate chose.
    """

    in_all: int
    each: int
    replicates: int

    def __str__(self) -> str:
        if self.replicates == 1:
            return f"{self.each:,} chosen, in the one replicate"
        every = "both" if self.replicates == 2 else f"all {self.replicates}"
        return f"{self.in_all:,} of {self.each:,} chosen in {every} replicates"


def agreement(selections: pd.DataFrame) -> Agreement:
    """How far the replicates of one strategy agree, from its rows of the table ``selections``."""
    listed = consensus(selections)
    of = len(selections[REPLICATE].drop_duplicates())
    each = selections.groupby(REPLICATE, dropna=False)["selected"].sum().max() if of else 0
    return Agreement(int((listed["chosen_in"] == of).sum()), int(each), of)


def described(listed: pd.DataFrame, molecules: pd.DataFrame, nearest: pd.DataFrame | None) -> pd.DataFrame:
    """A list with what a chemist wants beside each molecule, as it is written.

    Args:
        listed: as :func:`consensus` returns it.
        molecules: the table ``molecules``.
        nearest: rows of the table ``nearest_training``, of one or more splits; None where there is none. Of several
            splits the most similar training molecule counts.

    Returns:
        The columns of ``COLUMNS``. ``nearest_training`` is the molecule's own name, or its name in the tables.
    """
    known = molecules.set_index("molecule_id")
    if "identifier" not in known:  # of an earlier release
        known = known.assign(identifier=None)
    table = listed.join(known[["identifier", "smiles", "label"]], on="molecule_id")
    if nearest is None:
        nearest = pd.DataFrame({name: [] for name in ("molecule_id", "nearest_id", "similarity")})
    closest = nearest.sort_values(["similarity", "nearest_id"], ascending=[False, True], kind="stable")
    closest = closest.drop_duplicates("molecule_id").set_index("molecule_id")
    table = table.join(closest[["nearest_id", "similarity"]], on="molecule_id")
    own = known["identifier"].where(known["identifier"].notna(), known.index.to_series())
    return table.assign(
        nearest_training=table["nearest_id"].map(own),
        nearest_training_smiles=table["nearest_id"].map(known["smiles"]),
    )[COLUMNS]


def file_names(strategy: str, splits: list[tuple[str, int]]) -> dict[str, tuple[str, int] | None]:
    """Names of a strategy's lists, and the split that each is of: None for that over all splits.

    A dash stands in no strategy's name, so that no list has the name of another's.
    """
    per_split = {f"{strategy}_{splitter}-{seed}.csv": (splitter, seed) for splitter, seed in splits}
    return {f"{strategy}.csv": None, **(per_split if len(splits) > 1 else {})}


def write_lists(
    folder: str | Path,
    strategies: list[str],
    splits: list[tuple[str, int]],
    selections: pd.DataFrame,
    molecules: pd.DataFrame,
    nearest: pd.DataFrame | None,
) -> dict[str, Agreement]:
    """Write every list of a study.

    Args:
        folder: where they go.
        strategies: those that have a list; of one that gave no result the list has a header alone.
        splits: splitter and seed of each.
        selections, molecules, nearest: the tables; ``nearest`` (nearest_training) may be missing.

    Returns:
        By strategy, how far its replicates agree.
    """
    agreements = {}
    for strategy in strategies:
        own = selections[selections["strategy"] == strategy]
        agreements[strategy] = agreement(own)
        for name, split in file_names(strategy, splits).items():
            rows = own if split is None else _of_split(own, split)
            near = nearest if split is None or nearest is None else _of_split(nearest, split)
            write_text(Path(folder) / name, as_csv(described(consensus(rows), molecules, near)))
    return agreements


def _of_split(frame: pd.DataFrame, split: tuple[str, int]) -> pd.DataFrame:
    splitter, seed = split
    return frame[(frame["splitter"] == splitter) & (frame["split_seed"] == seed)]


def as_csv(table: pd.DataFrame) -> str:
    """Comma-separated text with a header: numbers with six digits, nothing where nothing is known.

    A text that a spreadsheet would run as a formula has an apostrophe before it. Where a character is beyond ASCII the
    first is a byte-order mark, by which Excel knows UTF-8.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([[_cell(value) for value in row] for row in table.itertuples(index=False, name=None)])
    return text.getvalue() if text.getvalue().isascii() else "\ufeff" + text.getvalue()


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, str):
        return f"'{value}" if _FORMULA.match(value) and not _is_number(value) else value
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
