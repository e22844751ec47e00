"""Readers of the user's files, one module per format; :mod:`chemsieve.data.reading` chooses among them.

Each is a :class:`Format`. All raise :class:`~chemsieve.errors.ChemsieveError` with one sentence that names the file.
Importing them is light.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Layout:
    """How text is written."""

    delimiter: str = ","
    encoding: str = "utf-8"


FIELD_COUNT = "field_count"
UNPARSABLE = "unparsable"


@dataclass
class Row:
    """A row with its cells as text, as many as there are columns; its SMILES; or why no molecule is to be made of it.

    ``problem`` is ``field_count`` where the cells may stand in wrong columns (what is too much is in the last one),
    ``unparsable`` for a record that is no molecule, else empty; ``detail`` then says what is wrong, in words.
    """

    cells: list[str]
    smiles: str = ""
    problem: str = ""
    detail: str = ""


class Format(Protocol):
    """What a module of this package offers.

    The first of ``columns`` is that of the SMILES, but for SDF, which has none. ``source`` is what the file is to the
    study (target, pool), for messages.
    """

    def check(self, path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> None:
        """Read as little as shows that each of ``columns`` is there once."""

    def rows(self, path: str | Path, source: str, columns: Sequence[str], layout: Layout, whole: bool) -> Iterator[Row]:
        """Yield the names of the columns, as cells, then every row in its order, in memory that does not grow with it.

        Without ``whole``, columns other than ``columns`` may be left out.
        """
