"""SMILES files: a SMILES and whatever follows it, divided by white space, one molecule a line.

Where tabs alone give the columns in the first line, they alone divide, since names have blanks:
``CCO<TAB>compound 17<TAB>1.5``.

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
        divider = _divider(first, columns)
        numbered, width = columns[0].isdigit(), len(header)
        place = header.index(columns[0])
        places = {header.index(column) for column in columns}
        needed = 1 + max(places)
        # More words than the first line has are those of a name in the last column, where that is not read. A name
        # before what is read would push it aside, to a number that stands in the name itself.
        last_is_free = width > 1 and header[-1] not in columns and len(places) == needed
        alone = places == {0}
        if width == 1:
            header = [*header, "2" if numbered else "name"]
        yield Row(header)
        below = enumerate(chain([first], lines) if numbered else lines, start=above + (1 if numbered else 2))
        around = " \r\n" if divider else None  # a tab at the end of a line is an empty field
        for row, (number, line) in enumerate(up_to_the_last((number, line.strip(around)) for number, line in below)):
            if line is None:
                yield Row([""] * len(header), problem=FIELD_COUNT, detail=blank_line(number, row))
                continue
            cells = [cell.strip() for cell in words(line, place, len(header), divider)]
            cells += [""] * (len(header) - len(cells))
            found = len(words(line, place, None, divider))
            enough = found > width or (numbered and found >= needed)
            if alone or found == width or (last_is_free and enough):
                yield Row(cells, cells[place])
            else:
                detail = (
                    f"row {row} (line {number}) has {found} {'fields' if divider else 'words'} and line 1 has {width}; "
                    "names of several words need another format, for example CSV, or tabs between all columns"
                )
                yield Row(cells, problem=FIELD_COUNT, detail=detail)


def words(line: str, place: int = 0, most: int | None = None, divider: str | None = None) -> list[str]:
    """The words of a line, the SMILES at ``place`` (0-based) with what extends it.

    Args:
        most: the largest number of words; what follows the last of them belongs to it.
        divider: what divides them; None: white space.
    """
    start = line.split(divider, place + 1)
    extension = _EXTENSION.match(start[-1]) if len(start) == place + 2 else None
    if not extension:
        return line.split(divider, -1 if most is None else most - 1)
    smiles, rest = f"{start[place]} {extension[0]}", start[-1][extension.end() :]
    further = rest.removeprefix(divider or "")
    if most is None:
        return [*start[:place], smiles, *(further.split(divider) if further else [])]
    left = most - place - 1
    if not left:
        return [*start[:place], smiles + rest]
    return [*start[:place], smiles, *(further.split(divider, left - 1) if further else [])]


def _divider(line: str, columns: Sequence[str]) -> str | None:
    """What divides the fields, by the first line: tabs where these alone give the columns, else (None) white space."""
    cells = [cell.strip() for cell in line.strip().split("\t")]
    if len(cells) == 1:
        return None
    numbers = [str(number) for number in range(1, len(cells) + 1)]
    return "\t" if set(columns) <= set(numbers if columns[0].isdigit() else cells) else None


def _lines(text: Iterator[str]) -> Iterator[str]:
    """Lines of text without a byte-order mark."""
    for number, line in enumerate(text):
        yield line if number else line.removeprefix("\ufeff")


def _first(name: str, lines: Iterator[str], columns: Sequence[str]) -> tuple[int, str]:
    """How many lines of comments stand above the first line, and that line."""
    for number, line in enumerate(lines):
        if not line.startswith("#") or set(columns) <= {cell.strip() for cell in line.split(_divider(line, columns))}:
            return number, line
    raise ChemsieveError(f"{name}: the file is empty")


def _header(name: str, source: str, columns: Sequence[str], line: str) -> list[str]:
    """The names of the columns: the words of the first line, or their numbers."""
    header = [cell.strip() for cell in line.strip().split(_divider(line, columns))]
    if not "".join(header):
        raise ChemsieveError(f"{name}: line 1 is blank")
    if numbered := columns[0].isdigit():
        place = max(int(columns[0][:9]) - 1, 0) if columns[0].isdecimal() else 0
        header = [
            str(number) for number in range(1, len(words(line.strip(), place, None, _divider(line, columns))) + 1)
        ]
    hint = f" among {shown(header)}"
    if not numbered:
        hint += f"; where line 1 is no header, columns have numbers (set {source}.smiles to '1')"
    require(name, columns, header, hint)
    return header
