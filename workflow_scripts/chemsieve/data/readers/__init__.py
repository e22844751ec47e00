"""Readers of the user's files, one module per format; :mod:`chemsieve.data.reading` chooses among them.

Each has three functions. ``check(path, source, columns, layout)`` reads as little as shows that each of ``columns`` is
there once. ``read(path, source, columns, layout)`` returns a :class:`Cells`: every row of the file, in its order.
``stream(path, source, smiles, layout)`` yields a :class:`Row` with the names of all columns, then one per row, in
memory that does not grow with the file. All raise :class:`~chemsieve.errors.ChemsieveError` with one sentence that
names the file. Importing them is light.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layout:
    """How text is written."""

    delimiter: str = ","
    encoding: str = "utf-8"


@dataclass
class Cells:
    """A file's rows as text.

    ``columns`` has (rows,) texts per column asked for, ``""`` where a cell is empty. ``problems`` has, per 0-based row
    that no molecule can be made of, what is wrong with it. ``smiles`` has (rows,) SMILES where the format holds
    molecules and no column of SMILES.
    """

    rows: int
    columns: dict[str, list[str]]
    problems: dict[int, str] = field(default_factory=dict)
    smiles: list[str] | None = None


FIELD_COUNT = "field_count"
UNPARSABLE = "unparsable"


@dataclass
class Row:
    """A row with all its cells as text, as many as there are columns; its SMILES; or why no molecule is to be made.

    ``problem`` is ``field_count`` where the cells may stand in wrong columns (what is too much is in the last one),
    ``unparsable`` for a record that is no molecule, else empty.
    """

    cells: list[str]
    smiles: str = ""
    problem: str = ""
