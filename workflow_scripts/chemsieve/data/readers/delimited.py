"""Delimited text: a header line, then one molecule a line; fields may be quoted as spreadsheets quote them.

A line ``sep=;`` above the header, as spreadsheets write and read it, names the delimiter and wins over the configured
one.
"""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from chemsieve.data.readers import FIELD_COUNT, Cells, Layout, Row
from chemsieve.data.readers._files import not_text, opened_text, require, shown
from chemsieve.errors import ChemsieveError

_LONGEST_FIELD = 100_000_000  # characters; Python's own 131,072 would refuse a file for one absurd SMILES
_HINT = re.compile(r'\ufeff?(?:sep=([^"\r\n\0])|"sep=([^"\r\n\0])")[\r\n]*', re.ASCII | re.IGNORECASE)
_SWAPPED = str.maketrans(",.", ".,")


def check(path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> None:
    """Check the header line; see :mod:`chemsieve.data.readers`."""
    with _rows(path, source, layout) as (name, reader):
        _header(name, source, columns, reader)


def read(path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> Cells:
    """Every row below the header; see :mod:`chemsieve.data.readers`."""
    rows = _regular(path, source, columns, layout)
    header = next(rows)
    places = [header.index(column) for column in columns]
    cells = [[fields[place] for place in places] for fields in rows]
    return Cells(len(cells), {column: [row[n] for row in cells] for n, column in enumerate(columns)})


def stream(path: str | Path, source: str, smiles: str, layout: Layout) -> Iterator[Row]:
    """All columns, row by row; see :mod:`chemsieve.data.readers`. Blank lines at the end are no rows."""
    blank = 0
    with _rows(path, source, layout) as (name, reader):
        header = _header(name, source, [smiles], reader)
        yield Row(header)
        place, width = header.index(smiles), len(header)
        for fields in reader:
            if not fields:
                blank += 1
                continue
            for _ in range(blank):
                yield Row([""] * width, problem=FIELD_COUNT)
            blank = 0
            if len(fields) == width:
                yield Row(fields, fields[place])
            else:
                rest = reader.dialect.delimiter.join(fields[width - 1 :])
                yield Row([*fields[: width - 1], *[""] * (width - 1 - len(fields)), rest], problem=FIELD_COUNT)


def _regular(path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> Iterator[list[str]]:
    """The header, then the fields of each row in its order, a row at a time; blank lines at the end are no rows.

    Raises:
        ChemsieveError: as :func:`check`, or a row does not fit the header; an error may come after some rows.
    """
    rows, blank_line = 0, None
    with _rows(path, source, layout) as (name, reader):
        header = _header(name, source, columns, reader)
        yield header
        for fields in reader:
            if not fields:
                blank_line = blank_line or reader.line_num
                continue
            if blank_line:
                raise ChemsieveError(f"{name}: line {blank_line} is blank, before row {rows}; remove the line")
            if len(fields) != len(header):
                raise ChemsieveError(
                    f"{name}: row {rows} (line {reader.line_num}) has {len(fields)} fields and the header has "
                    f"{len(header)}; quote fields that contain {reader.dialect.delimiter!r}"
                )
            rows += 1
            yield fields


def with_point(text: str) -> str:
    """A number with a decimal comma as one with a decimal point; a point becomes a comma, which no number has."""
    return text.translate(_SWAPPED)


@contextmanager
def _rows(path: str | Path, source: str, layout: Layout) -> Iterator[tuple[str, "csv._reader"]]:
    """A reader of a file's rows and the file's name for messages; what goes wrong while reading is one sentence."""
    csv.field_size_limit(_LONGEST_FIELD)
    with opened_text(path, source, layout.encoding) as (name, text):
        first = text.readline()
        hint = _HINT.fullmatch(first)
        delimiter = (hint[1] or hint[2]) if hint else layout.delimiter
        # strict: a quote that is never closed would swallow the rest of the file as one field.
        reader = csv.reader(itertools.chain([first] if first else [], text), delimiter=delimiter, strict=True)
        try:
            if hint:
                next(reader)  # and not left out, so that the reader counts the file's lines
            yield name, reader
        except csv.Error as error:
            raise ChemsieveError(f"{name}: line {reader.line_num} is not valid delimited text ({error})") from None


def _header(name: str, source: str, columns: Sequence[str], reader: "csv._reader") -> list[str]:
    """The names in the header line, each of ``columns`` among them exactly once."""
    header = next(reader, None)
    if not header:
        raise ChemsieveError(f"{name}: {'the file is empty' if header is None else 'the header line is blank'}")
    header[0] = header[0].removeprefix("\ufeff")  # of UTF-16 with its byte order named
    if any("\0" in field for field in header):
        raise ChemsieveError(f"{name}: {not_text(source, 'utf-8', 'byte 0x00', bytes(1))}")
    hint = ""
    if len(header) == 1 and any(delimiter in header[0] for delimiter in ",;\t|"):
        said = f"{source}.delimiter" if reader.line_num == 1 else "the file's first line names it"
        hint = f"; the whole header was read as one column {shown(header)}, so check the delimiter ({said})"
    require(name, columns, header, hint)
    return header
