"""Tables as files: written as declared, atomically, and read."""

import math
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import write_atomically
from chemsieve.tables.declaration import REAL, Column
from chemsieve.tables.declared import TABLES


def write_table(
    frame: pd.DataFrame,
    path: str | Path,
    table: str,
    extra: dict[str, Column] | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write ``frame`` as the declared ``table``, atomically.

    Columns are ordered and typed as declared; ``extra`` declares further ones, ``metadata`` is kept with the schema.

    Raises:
        ChemsieveError: a column is missing or undeclared, a required value is missing, or a number is not finite.
    """
    columns = {**TABLES[table], **(extra or {})}
    missing = [name for name in columns if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in columns]
    if missing or unknown:
        raise ChemsieveError(f"table {table}: missing columns {missing}, undeclared columns {unknown}")
    arrays, fields = [], []
    for name, column in columns.items():
        values = frame[name]
        if column.type == REAL:
            values = values.astype("float64")
            if values.map(math.isinf).any():
                row = int(values.map(math.isinf).to_numpy().argmax())
                raise ChemsieveError(f"table {table}: column {name}, row {row} is infinite")
        if not column.nullable and values.isna().any():
            row = int(values.isna().to_numpy().argmax())
            raise ChemsieveError(f"table {table}: column {name}, row {row} has no value")
        arrays.append(pa.Array.from_pandas(values, type=column.type, safe=True))
        fields.append(pa.field(name, column.type, metadata={"description": column.description, "unit": column.unit}))
    content = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={"table": table, **(metadata or {})}))
    write_atomically(path, lambda temporary: pq.write_table(content, temporary, compression="zstd"))


def write_empty(path: str | Path, table: str, metadata: dict[str, str]) -> None:
    """Write the declared ``table`` without rows, ``metadata`` kept with its schema."""
    write_table(pd.DataFrame({name: [] for name in TABLES[table]}), path, table, metadata=metadata)


def read_table(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a table written by :func:`write_table` (optionally some of its columns).

    Raises:
        ChemsieveError: the file is missing, or is not Parquet.
    """
    try:
        return pq.read_table(path, columns=columns).to_pandas()
    except FileNotFoundError:
        raise ChemsieveError(f"{path}: there is no such table") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ChemsieveError(f"{path}: not a readable Parquet file ({reason}); no other format is loaded") from None


def gather(paths: list[str], table: str) -> pd.DataFrame:
    """The rows of several files of one table, in the order given; without files, its columns."""
    frames = [read_table(path) for path in paths]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({name: [] for name in TABLES[table]})


def collect(paths: list[str], output: str | Path, table: str) -> None:
    """Write the rows of several files of one table as one file, in the order given."""
    write_table(gather(paths, table), output, table)
