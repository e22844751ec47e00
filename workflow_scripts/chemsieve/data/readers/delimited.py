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
from typing import TYPE_CHECKING

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
    with _reader(path, source, layout) as (name, reader):
        _header(name, source, columns, reader)


def rows(path: str | Path, source: str, columns: Sequence[str], layout: Layout, whole: bool = True) -> Iterator[Row]:
    """All columns, row by row; see :mod:`chemsieve.data.readers`. Blank lines at the end are no rows."""
    with _reader(path, source, layout) as (name, reader):
        header = _header(name, source, columns, reader)
        yield Row(header)
        place, width = header.index(columns[0]), len(header)
        for row, (line, fields) in enumerate(up_to_the_last((reader.line_num, fields) for fields in reader)):
            if fields is None:
                yield Row([""] * width, problem=FIELD_COUNT, detail=blank_line(line, row))
            elif len(fields) == width:
                yield Row(fields, fields[place])
            else:
                delimiter = reader.dialect.delimiter
                detail = (
                    f"row {row} (line {line}) has {len(fields)} fields and the header has {width}; quote fields that "
                    f"contain {delimiter!r}"
                )
                missing = [""] * (width - 1 - len(fields))
                cells = [*fields[: width - 1], *missing, delimiter.join(fields[width - 1 :])]
                yield Row(cells, problem=FIELD_COUNT, detail=detail)


def with_point(text: str) -> str:
    """A number with a decimal comma as one with a decimal point; a point becomes a comma, which no number has."""
    return text.translate(_SWAPPED)


@contextmanager
def _reader(path: str | Path, source: str, layout: Layout) -> Iterator[tuple[str, "_csv.Reader"]]:
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


def _header(name: str, source: str, columns: Sequence[str], reader: "_csv.Reader") -> list[str]:
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
