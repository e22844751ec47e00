"""Parquet: columns by name, of text or numbers. pyarrow is imported when a file is read."""

import gzip
import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from chemsieve.data.readers import Layout, Row
from chemsieve.data.readers._files import opened, require
from chemsieve.errors import ChemsieveError

_BATCH = 4096  # rows
_BUFFER = 2**16  # bytes of a column

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def check(path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> None:
    """Check the names and types of the columns, from the footer; see :mod:`chemsieve.data.readers`."""
    with _file(path, source) as (name, file):
        _require(name, columns, file.schema_arrow)


def rows(path: str | Path, source: str, columns: Sequence[str], layout: Layout, whole: bool = True) -> Iterator[Row]:
    """Row by row; a missing value is an empty cell, lists and the like are written as Python does."""
    with _file(path, source) as (name, file):
        _require(name, columns, file.schema_arrow)
        names = file.schema_arrow.names if whole else list(columns)
        yield Row(names)
        place = names.index(columns[0])
        for batch in file.iter_batches(_BATCH, columns=None if whole else names, use_threads=False):
            batch.validate(full=True)
            wanted = batch.columns if whole else [batch.column(column) for column in names]
            for cells in zip(*map(_texts, wanted), strict=True):
                yield Row(list(cells), cells[place])


@contextmanager
def _file(path: str | Path, source: str) -> Iterator[tuple[str, "pq.ParquetFile"]]:
    """The open file and its name for messages; what pyarrow cannot read is one sentence."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with opened(path, source) as (name, raw), tempfile.TemporaryFile() as unpacked:
        content: IO[bytes] | io.BufferedIOBase = raw
        if isinstance(raw, gzip.GzipFile):  # its footer stands at the end, and a gzip file is unpacked from the start
            shutil.copyfileobj(raw, unpacked)
            unpacked.seek(0)
            content = unpacked
        if not content.read(1):
            raise ChemsieveError(f"{name}: the file is empty")
        try:
            # Buffered, a column comes by and by and not as a whole.
            with pq.ParquetFile(
                content, page_checksum_verification=True, buffer_size=_BUFFER, pre_buffer=False
            ) as file:
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


def _texts(column: "pa.ChunkedArray | pa.Array") -> list[str]:
    """(rows,) values as text, numbers in the shortest form that reads back the same; "" where there is none."""
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        return [value or "" for value in column.cast(pa.string()).to_pylist()]
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # lists, structures, bytes that are no text
        return ["" if value is None else str(value) for value in column.to_pylist()]
