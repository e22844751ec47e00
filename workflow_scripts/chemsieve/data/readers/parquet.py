"""Parquet: columns by name, of text or numbers. pyarrow is imported when a file is read."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from chemsieve.data.readers import Cells, Layout
from chemsieve.data.readers._files import opened, require
from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def check(path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> None:
    """Check the names and types of the columns, from the footer; see :mod:`chemsieve.data.readers`."""
    with _file(path, source) as (name, file):
        _require(name, columns, file.schema_arrow)


def read(path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> Cells:
    """Every row; a missing value is an empty cell; see :mod:`chemsieve.data.readers`."""
    with _file(path, source) as (name, file):
        _require(name, columns, file.schema_arrow)
        table = file.read(columns=list(dict.fromkeys(columns)), use_threads=False)
        table.validate(full=True)
        return Cells(table.num_rows, {column: _texts(table.column(column)) for column in columns})


@contextmanager
def _file(path: str | Path, source: str) -> Iterator[tuple[str, "pq.ParquetFile"]]:
    """The open file and its name for messages; what pyarrow cannot read is one sentence."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with opened(path, source) as (name, raw):
        content = raw.read()
        if not content:
            raise ChemsieveError(f"{name}: the file is empty")
        try:
            with pq.ParquetFile(io.BytesIO(content), page_checksum_verification=True) as file:
                yield name, file
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = " ".join(str(error).split()).split(". ")[0].rstrip(".")[:200]
            raise ChemsieveError(f"{name}: this is not a readable Parquet file ({reason})") from None


def _require(name: str, columns: Sequence[str], schema: "pa.Schema") -> None:
    """The columns are there once, as text or numbers."""
    from pyarrow import types

    require(name, columns, schema.names)
    for column in columns:
        kind = schema.field(column).type
        value = kind.value_type if types.is_dictionary(kind) else kind
        plain = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
        if not any(test(value) for test in (*plain, types.is_string, types.is_large_string, types.is_string_view)):
            raise ChemsieveError(f"{name}: column {column!r} holds {kind}, and not text or numbers")


def _texts(column: "pa.ChunkedArray") -> list[str]:
    """(rows,) values as text, numbers in the shortest form that reads back the same; "" where there is none."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return [value or "" for value in column.cast(pa.string()).to_pylist()]
