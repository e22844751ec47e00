"""SMILES files: a SMILES and whatever follows it, divided by white space, one molecule a line.

What extends a SMILES (CXSMILES: ``CC |^1:0|`` is a radical) is of its column, not of the next, so that it is never left
out in silence and moves no label aside.

Lines above the first that begin with ``#`` are comments.

A column is named by its number, from 1, where the file has no header; where it has one, by the name there. The column
of the SMILES says which: ``smiles: "1"`` is a file without a header, ``smiles: SMILES`` one with it.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from chemsieve.data.readers import FIELD_COUNT, Layout, Row
from chemsieve.data.readers._files import blank_line, opened_text, require, shown, up_to_the_last
from chemsieve.errors import ChemsieveError

_EXTENSION = re.compile(r"\|[^|]*\||\|\S*")


def check(path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> None:
    """Check the first line; the first of ``columns`` is that of the SMILES; see :mod:`chemsieve.data.readers`."""
    with opened_text(path, source, layout.encoding) as (name, text):
        _header(name, source, columns, _first(name, _lines(text), columns)[1])


def rows(path: str | Path, source: str, columns: Sequence[str], layout: Layout, whole: bool = True) -> Iterator[Row]:
    """All columns, line by line; blank ones at the end are no rows; see :mod:`chemsieve.data.readers`.

    What follows the last column belongs to it, so that a name may have any number of words where SMILES in the first
    column are all that is read, or where the last column is not read. Else every line must have as many words as the
    first: a name of two would push what is read aside.
    """
    with opened_text(path, source, layout.encoding) as (name, text):
        lines = _lines(text)
        above, first = _first(name, lines, columns)
        header = _header(name, source, columns, first)
        numbered, width = columns[0].isdigit(), len(header)
        place = header.index(columns[0])
        # More words than the first line has are those of a name in the last column, where that is not read.
        last_is_free = width > 1 and header[-1] not in columns
        alone = [header.index(column) for column in columns] == [0]
        needed = 1 + max(header.index(column) for column in columns)
        if width == 1:
            header = [*header, "2" if numbered else "name"]
        yield Row(header)
        below = enumerate(chain([first], lines) if numbered else lines, start=above + (1 if numbered else 2))
        for row, (number, line) in enumerate(up_to_the_last((number, line.strip()) for number, line in below)):
            if line is None:
                yield Row([""] * len(header), problem=FIELD_COUNT, detail=blank_line(number, row))
                continue
            cells = [cell.strip() for cell in words(line, place, len(header))]
            cells += [""] * (len(header) - len(cells))
            found = len(words(line, place))
            enough = found > width or (numbered and found >= needed)
            if alone or found == width or (last_is_free and enough):
                yield Row(cells, cells[place])
            else:
                detail = (
                    f"row {row} (line {number}) has {found} words and line 1 has {width}; names of several words need "
                    "another format, for example CSV"
                )
                yield Row(cells, problem=FIELD_COUNT, detail=detail)


def words(line: str, place: int = 0, most: int | None = None) -> list[str]:
    """The words of a line, the SMILES at ``place`` (0-based) with what extends it.

    ``most``: the largest number of words; what follows the last of them belongs to it.
    """
    start = line.split(maxsplit=place + 1)
    extension = _EXTENSION.match(start[-1]) if len(start) == place + 2 else None
    if not extension:
        return line.split(maxsplit=-1 if most is None else most - 1)
    smiles, rest = f"{start[place]} {extension[0]}", start[-1][extension.end() :]
    if most is None:
        return [*start[:place], smiles, *rest.split()]
    left = most - place - 1
    return [*start[:place], *([smiles, *rest.split(maxsplit=left - 1)] if left else [smiles + rest])]


def _lines(text: Iterator[str]) -> Iterator[str]:
    """Lines of text without a byte-order mark."""
    for number, line in enumerate(text):
        yield line if number else line.removeprefix("\ufeff")


def _first(name: str, lines: Iterator[str], columns: Sequence[str]) -> tuple[int, str]:
    """How many lines of comments stand above the first line, and that line."""
    for number, line in enumerate(lines):
        if not line.startswith("#") or set(columns) <= set(line.split()):
            return number, line
    raise ChemsieveError(f"{name}: the file is empty")


def _header(name: str, source: str, columns: Sequence[str], line: str) -> list[str]:
    """The names of the columns: the words of the first line, or their numbers."""
    header = line.split()
    if not header:
        raise ChemsieveError(f"{name}: line 1 is blank")
    if numbered := columns[0].isdigit():
        place = max(int(columns[0][:9]) - 1, 0) if columns[0].isdecimal() else 0
        header = [str(number) for number in range(1, len(words(line, place)) + 1)]
    hint = f" among {shown(header)}"
    if not numbered:
        hint += f"; where line 1 is no header, columns have numbers (set {source}.smiles to '1')"
    require(name, columns, header, hint)
    return header
