"""What a table is: its columns, what one row stands for, and when a study has it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

# chemsieve.study.plan.Plan, which is not imported: what a study consists of is no part of what a step computes.
Plan = Any

TEXT, INTEGER, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()


@dataclass(frozen=True)
class Column:
    """A column: Arrow type, description, unit, and whether a value may be missing."""

    type: pa.DataType
    description: str
    unit: str = ""
    nullable: bool = False


def always(plan: Plan) -> bool:
    """Whether a study has a table: every study has it."""
    return True


@dataclass(frozen=True)
class Table:
    """A table, declared once.

    Args:
        row: what one row stands for.
        columns: by name, in their order in the file.
        made: whether a study has the table among its results; None for a table that only passes between steps.
        optional: whether the report can be written without it.
        collected: the files whose rows it joins, in order, where it is made by doing just that. The rule that does it
            is then made from this declaration.
    """

    row: str
    columns: dict[str, Column]
    made: Callable[[Plan], bool] | None = None
    optional: bool = False
    collected: Callable[[Plan], list[str]] | None = None


# Columns that several tables have.
MOLECULE = Column(TEXT, "source and 0-based row in its file, for example target-17")
SPLIT = {
    "splitter": Column(TEXT, "how the target set was divided"),
    "split_seed": Column(INTEGER, "seed of the division"),
}
SEED = Column(INTEGER, "training seed", nullable=True)
RUN = Column(TEXT, "splitter/split_seed/seed/origin/method/selection, and /use where that is not mixed")
LABEL_UNIT = "unit of the label"
UNREAD = Column(
    TEXT, "what the encoder does not know or its tokenizer passes over, divided by blanks; empty where it reads all"
)
MAPPED = Column(FLAG, "whether the SMILES as given has atom maps, which all else is without")
