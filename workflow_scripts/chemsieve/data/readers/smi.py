"""SMILES files: a SMILES and whatever follows it, divided by white space, one molecule a line.

What extends a SMILES (CXSMILES: ``CC |^1:0|`` is a radical) is of its column, not of the next, so that it is never left
out in silence and moves no label aside.

A column is named by its number, from 1, where the file has no header; where it has one, by the name there. The column
of the SMILES says which: ``smiles: "1"`` is a file without a header, ``smiles: SMILES`` one with it.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from chemsieve.data.readers import FIELD_COUNT, Cells, Layout, Row
from chemsieve.data.readers._files import opened_text, require, shown
from chemsieve.errors import ChemsieveError

_EXTENSION = re.compile(r"\|[^|]*\||\|\S*")


def check(path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> None:
    """Check the first line; the first of ``columns`` is that of the SMILES; see :mod:`chemsieve.data.readers`."""
    with opened_text(path, source, layout.encoding) as (name, text):
        _header(name, source, columns, next(_lines(text), None))


def read(path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> Cells:
    """Every line; blank ones at the end are no rows; see :mod:`chemsieve.data.readers`.

    Where only the SMILES are read, what follows them may have any number of words. Else every line must have as many
    as the first: a name of two words would push the label aside.
    """
    cells: list[list[str]] = [[] for _ in columns]
    rows, blank_line = 0, None
    with opened_text(path, source, layout.encoding) as (name, text):
        lines = _lines(text)
        first = next(lines, None)
        header = _header(name, source, columns, first)
        places = [header.index(column) for column in columns]
        numbered = columns[0].isdigit()
        for number, line in enumerate(lines if not numbered else chain([first], lines), start=1 if numbered else 2):
            fields = words(line, places[0])
            if not fields:
                blank_line = blank_line or number
                continue
            if blank_line:
                raise ChemsieveError(f"{name}: line {blank_line} is blank, before row {rows}; remove the line")
            if len(fields) != len(header) and places != [0]:
                raise ChemsieveError(
                    f"{name}: row {rows} (line {number}) has {len(fields)} words and line 1 has {len(header)}; "
                    "names of several words need another format, for example CSV"
                )
            for column, place in zip(cells, places, strict=True):
                column.append(fields[place])
            rows += 1
    return Cells(rows, dict(zip(columns, cells, strict=True)))


def stream(path: str | Path, source: str, smiles: str, layout: Layout) -> Iterator[Row]:
    """All columns, row by row; see :mod:`chemsieve.data.readers`. What follows the last column belongs to it.

    So a name may have any number of words. A SMILES in another column than the first needs as many words as line 1 has.
    """
    blank = 0
    with opened_text(path, source, layout.encoding) as (name, text):
        lines = _lines(text)
        first = next(lines, None)
        header = _header(name, source, [smiles], first)
        width, place = len(header), header.index(smiles)
        if width == 1:
            header = [*header, "2" if smiles.isdigit() else "name"]
        yield Row(header)
        for line in lines if not smiles.isdigit() else chain([first], lines):
            cells = words(line, place, len(header))
            if not cells:
                blank += 1
                continue
            for _ in range(blank):
                yield Row([""] * len(header), problem=FIELD_COUNT)
            blank = 0
            cells = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
            if place and len(words(line, place)) != width:
                yield Row(cells, problem=FIELD_COUNT)
            else:
                yield Row(cells, cells[place])


def words(line: str, place: int = 0, most: int | None = None) -> list[str]:
    """The words of a line, the SMILES at ``place`` (0-based) with what extends it.

    ``most``: so many at most; what follows the last belongs to it.
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


def _header(name: str, source: str, columns: Sequence[str], line: str | None) -> list[str]:
    """The names of the columns: the words of the first line, or their numbers."""
    if line is None:
        raise ChemsieveError(f"{name}: the file is empty")
    names = line.split()
    if not names:
        raise ChemsieveError(f"{name}: line 1 is blank")
    if numbered := columns[0].isdigit():
        place = max(int(columns[0][:9]) - 1, 0) if columns[0].isdecimal() else 0
        names = [str(number) for number in range(1, len(words(line, place)) + 1)]
    header = names
    hint = f" among {shown(header)}"
    if not numbered:
        hint += f"; where line 1 is no header, columns have numbers (set {source}.smiles to '1')"
    require(name, columns, header, hint)
    return header
