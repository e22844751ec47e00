"""The user's tables: delimited text in which one row is one molecule with its label.

Nothing is guessed and nothing is dropped: a file that cannot be read whole is refused with one sentence. The header is
checked at the start of every run, so that this module imports nothing heavy until rows are read.
"""

import csv
import difflib
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    import pandas as pd


def check_header(path: str | Path, source: str, columns: Sequence[str], delimiter: str = ",") -> None:
    """Check that a file can be opened and has each of ``columns`` exactly once, reading its first line only.

    Args:
        path: delimited UTF-8 text, gzipped or not, with a header line; a byte-order mark is accepted.
        source: what the file is to the study (target, pool), for the message.
        columns: the columns that will be read.
        delimiter: one character.

    Raises:
        ChemsieveError: the file is missing, unreadable, empty or not UTF-8 text, or a column is missing or doubled.
    """
    with _rows(path, source, delimiter) as (_, reader):
        _header(path, source, columns, reader)


def read_labelled(
    path: str | Path,
    source: str,
    smiles_column: str,
    label_column: str | None,
    fold_column: str | None = None,
    delimiter: str = ",",
) -> "pd.DataFrame":
    """Read the molecules and labels of a file as text, every row in its order.

    Args:
        path: delimited UTF-8 text, gzipped or not, with a header line; a byte-order mark is accepted. Blank lines at
            the end are no rows.
        source: what the file is to the study (target, pool), for messages.
        smiles_column: column of the SMILES.
        label_column: column of the label; None where labels are not read.
        fold_column: column of a given division into folds, if there is one.
        delimiter: one character.

    Returns:
        One line per row of the file: ``row`` (0-based), ``smiles`` and ``label_text`` as given (empty without a label
        column), ``given_fold`` (None without a fold column and where the cell is empty).

    Raises:
        ChemsieveError: as :func:`check_header`; or a row has another number of fields than the header, or a quoted
            field does not end.
    """
    import pandas as pd

    columns = [name for name in (smiles_column, label_column, fold_column) if name is not None]
    header, *rows = stream_rows(path, source, columns, delimiter)
    cells = {column: [fields[header.index(column)] for fields in rows] for column in columns}
    given_fold = [fold.strip() or None for fold in cells.get(fold_column, [""] * len(rows))]
    return pd.DataFrame(
        {
            "row": range(len(rows)),
            "smiles": cells[smiles_column],
            "label_text": cells.get(label_column, ""),
            "given_fold": pd.Series(given_fold, dtype=object),  # pandas' text type would turn None into NaN
        }
    )


def stream_rows(path: str | Path, source: str, columns: Sequence[str], delimiter: str = ",") -> Iterator[list[str]]:
    """The header, then the fields of each row in its order, as text, a row at a time.

    Arguments and errors are those of :func:`read_labelled`; an error may come after some rows.
    """
    count, blank_line = 0, None
    with _rows(path, source, delimiter) as (name, reader):
        header = _header(path, source, columns, reader)
        yield header
        for fields in reader:
            if not fields:
                blank_line = blank_line or reader.line_num
                continue
            if blank_line:
                raise ChemsieveError(f"{name}: line {blank_line} is blank, before row {count}; remove the line")
            if len(fields) != len(header):
                raise ChemsieveError(
                    f"{name}: row {count} (line {reader.line_num}) has {len(fields)} fields and the header has "
                    f"{len(header)}; quote fields that contain {delimiter!r}"
                )
            count += 1
            yield fields
    if not count:
        raise ChemsieveError(f"{name}: there is a header and no row below it")


@contextmanager
def _rows(path: str | Path, source: str, delimiter: str) -> Iterator[tuple[str, "csv._reader"]]:
    """A reader of a file's rows and the file's name for messages; what goes wrong while reading is one sentence."""
    name = f"{source} file {path}"
    reader = None
    try:
        with _open_text(path) as handle:
            # strict: a quote that is never closed would swallow the rest of the file as one field.
            reader = csv.reader(handle, delimiter=delimiter, strict=True)
            yield name, reader
    except FileNotFoundError:
        raise ChemsieveError(f"{name}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ChemsieveError(
            f"{name}: this is not UTF-8 text (byte 0x{error.object[error.start]:02x}); save it as UTF-8 CSV"
        ) from None
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ChemsieveError(f"{name}: the file cannot be read ({reason})") from None
    except csv.Error as error:
        raise ChemsieveError(f"{name}: line {reader.line_num} is not valid delimited text ({error})") from None


def _open_text(path: str | Path) -> TextIO:
    """Open text that may be gzipped, told by its first bytes and not by its name."""
    with open(path, "rb") as handle:
        gzipped = handle.read(2) == b"\x1f\x8b"
    return (gzip.open if gzipped else open)(path, "rt", encoding="utf-8-sig", newline="")


def _header(path: str | Path, source: str, columns: Sequence[str], reader: "csv._reader") -> list[str]:
    """The names in the header line, each of ``columns`` among them exactly once."""
    name = f"{source} file {path}"
    header = next(reader, None)
    if not header:
        raise ChemsieveError(f"{name}: {'the file is empty' if header is None else 'the header line is blank'}")
    if any("\0" in field for field in header):
        raise ChemsieveError(f"{name}: this is not UTF-8 text (byte 0x00); save it as UTF-8 CSV")
    for column in columns:
        if column not in header:
            raise ChemsieveError(f"{name}: there is no column {column!r}{_suggestion(column, header)}")
        if header.count(column) > 1:
            raise ChemsieveError(f"{name}: column {column!r} occurs {header.count(column)} times; keep one of them")
    return header


def _suggestion(column: str, header: list[str]) -> str:
    """Which columns there are, and which one was probably meant."""
    if len(header) == 1 and any(delimiter in header[0] for delimiter in ",;\t|"):
        return f"; the whole header was read as one column {header[0]!r}, so check the delimiter"
    lowered = {name.lower(): name for name in reversed(header)}
    close = difflib.get_close_matches(column.lower(), lowered, n=1, cutoff=0.5)
    meant = f"; did you mean {lowered[close[0]]!r}?" if close else ""
    return f" among {', '.join(map(repr, header))}{meant}"
