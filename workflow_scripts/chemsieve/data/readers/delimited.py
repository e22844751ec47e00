"""Delimited text: a header line, then one molecule a line; fields may be quoted as spreadsheets quote them.

A line ``sep=;`` above the header, as spreadsheets write and read it, names the delimiter and wins over the configured
one. Lines that begin with ``#`` above the header are comments, unless one of them has the columns that are read.

Where the column of the SMILES is named by its number, from 1, and the first line has no columns of the names that are
read, the file has no header: columns are numbered, and the first line is a row.
"""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chemsieve.data.measured import finite
from chemsieve.data.readers import FIELD_COUNT, Layout, Row
from chemsieve.data.readers._files import blank_line, not_text, opened_text, require, shown, up_to_the_last
from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    import _csv

_LONGEST_FIELD = 100_000_000  # characters; Python's own 131,072 would refuse a file for one absurd SMILES
_HINT = re.compile(r'\ufeff?(?:sep=([^"\r\n\0])|"sep=([^"\r\n\0])")[\r\n]*', re.ASCII | re.IGNORECASE)
_SWAPPED = str.maketrans(",.", ".,")


def check(path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> None:
    """Check the header line; see :mod:`chemsieve.data.readers`."""
    with _reader(path, source, columns, layout) as (name, reader, above):
        _header(name, source, columns, reader, above)


def rows(path: str | Path, source: str, columns: Sequence[str], layout: Layout, whole: bool = True) -> Iterator[Row]:
    """All columns, row by row; see :mod:`chemsieve.data.readers`. Blank lines at the end are no rows."""
    with _reader(path, source, columns, layout) as (name, reader, above):
        header, first = _header(name, source, columns, reader, above)
        yield Row(header)
        place, width = header.index(columns[0]), len(header)
        lines = itertools.chain([(reader.line_num, first)] if first else [], ((reader.line_num, f) for f in reader))
        for row, (line, fields) in enumerate(up_to_the_last(lines)):
            if fields is None:
                yield Row([""] * width, problem=FIELD_COUNT, detail=blank_line(line, row))
            elif len(fields) == width:
                yield Row(fields, fields[place])
            else:
                delimiter = reader.dialect.delimiter
                fields_found = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
                detail = (
                    f"row {row} (line {line}) has {fields_found} and the header has {width}; quote fields that "
                    f"contain {delimiter!r}"
                )
                missing = [""] * (width - 1 - len(fields))
                cells = [*fields[: width - 1], *missing, delimiter.join(fields[width - 1 :])]
                yield Row(cells, problem=FIELD_COUNT, detail=detail)


def named_delimiter(path: str | Path, source: str, encoding: str) -> str | None:
    """The delimiter that a line ``sep=;`` above the header names; None where there is no such line."""
    with opened_text(path, source, encoding) as (_, text):
        line = text.readline()
        while line.removeprefix("\ufeff").startswith("#"):
            line = text.readline()
        hint = _HINT.fullmatch(line)
    return (hint[1] or hint[2]) if hint else None


def with_point(text: str) -> str:
    """A number with a decimal comma as one with a decimal point; a point becomes a comma, which no number has."""
    return text.translate(_SWAPPED)


@dataclass
class Above:
    """What stands above a header: where the delimiter is named, how many lines, how many of these are comments."""

    named_by: str
    lines: int = 0
    comments: int = 0


@contextmanager
def _reader(
    path: str | Path, source: str, columns: Sequence[str], layout: Layout
) -> Iterator[tuple[str, "_csv.Reader", "Above"]]:
    """A reader of a file from its header on; what goes wrong while reading is one sentence.

    Yields:
        The file's name for messages, the reader, and what stands above the header.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    with opened_text(path, source, layout.encoding) as (name, text):
        delimiter, above = layout.delimiter, Above(f"{source}.delimiter")
        first = text.readline()
        while (hint := above.lines == above.comments and _HINT.fullmatch(first)) or _is_comment(
            first, columns, delimiter
        ):
            if hint:
                delimiter, above.named_by = hint[1] or hint[2], "the file's first line names it"
            else:
                above.comments += 1
            above.lines += 1
            first = text.readline()
        # strict: a quote that is never closed would swallow the rest of the file as one field. Blank lines stand for
        # those above the header, so that the reader counts the file's lines.
        lines = itertools.chain(["\n"] * above.lines, [first] if first else [], text)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for _ in range(above.lines):
                next(reader)
            yield name, reader, above
        except csv.Error as error:
            raise ChemsieveError(f"{name}: line {reader.line_num} is not valid delimited text ({error})") from None


def _is_comment(line: str, columns: Sequence[str], delimiter: str) -> bool:
    """Whether a line above the table is a comment, and not the header of columns of which one begins with #."""
    if not line.removeprefix("\ufeff").startswith("#"):
        return False
    names = [name.strip('"') for name in line.removeprefix("\ufeff").rstrip("\r\n").split(delimiter)]
    return not set(columns) <= set(names)


def _header(
    name: str, source: str, columns: Sequence[str], reader: "_csv.Reader", above: "Above"
) -> tuple[list[str], list[str]]:
    """The names in the header line, each of ``columns`` among them exactly once; the first row, where that is one."""
    header = next(reader, None)
    if not header:
        raise ChemsieveError(f"{name}: {'the file is empty' if header is None else 'the header line is blank'}")
    header[0] = header[0].removeprefix("\ufeff")  # of UTF-16 with its byte order named
    if any("\0" in field for field in header):
        raise ChemsieveError(f"{name}: {not_text(source, 'utf-8', 'byte 0x00', bytes(1))}")
    first: list[str] = []
    if columns and columns[0].isdecimal() and not set(columns) <= set(header):
        header, first = [str(number) for number in range(1, len(header) + 1)], header
    hint = ""
    if len(header) == 1 and any(delimiter in header[0] for delimiter in ",;\t|"):
        hint = f"; the whole header was read as one column {shown(header)}, so check the delimiter ({above.named_by})"
    elif above.comments and not set(columns) <= set(header):
        lines = "1 line" if above.comments == 1 else f"{above.comments} lines"
        hint = f" among {shown(header)}; {lines} above, with # at the beginning, were read as comments"
    elif not first and columns and columns[0] not in header and any(finite(field) is not None for field in header):
        hint = f" among {shown(header)}; where line 1 is no header, columns have numbers (set {source}.smiles to '1')"
    require(name, columns, header, hint)
    return header, first
