"""SMILES files: a SMILES and whatever follows it, divided by white space, one molecule a line.

A column is named by its number, from 1, where the file has no header; where it has one, by the name there. The column
of the SMILES says which: ``smiles: "1"`` is a file without a header, ``smiles: SMILES`` one with it.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from chemsieve.data.readers import FIELD_COUNT, Cells, Layout, Row
from chemsieve.data.readers._files import opened_text, require, shown
from chemsieve.errors import ChemsieveError


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
            fields = line.split()
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
        words, place = len(header), header.index(smiles)
        if words == 1:
            header = [*header, "2" if smiles.isdigit() else "name"]
        yield Row(header)
        for line in lines if not smiles.isdigit() else chain([first], lines):
            cells = line.split(maxsplit=len(header) - 1)
            if not cells:
                blank += 1
                continue
            for _ in range(blank):
                yield Row([""] * len(header), problem=FIELD_COUNT)
            blank = 0
            cells = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
            if place and len(line.split()) != words:
                yield Row(cells, problem=FIELD_COUNT)
            else:
                yield Row(cells, cells[place])


def _lines(text: Iterator[str]) -> Iterator[str]:
    """Lines of text without a byte-order mark."""
    for number, line in enumerate(text):
        yield line if number else line.removeprefix("\ufeff")


def _header(name: str, source: str, columns: Sequence[str], line: str | None) -> list[str]:
    """The names of the columns: the words of the first line, or their numbers."""
    if line is None:
        raise ChemsieveError(f"{name}: the file is empty")
    words = line.split()
    if not words:
        raise ChemsieveError(f"{name}: line 1 is blank")
    numbers = [str(number) for number in range(1, len(words) + 1)]
    header = numbers if columns[0].isdigit() else words
    hint = f" among {shown(header)}"
    if header is words:
        hint += f"; where line 1 is no header, columns have numbers (set {source}.smiles to '1')"
    require(name, columns, header, hint)
    return header
