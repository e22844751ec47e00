"""Opening files, plain or gzipped; what goes wrong while they are read, as one sentence."""

import codecs
import difflib
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from chemsieve.errors import ChemsieveError

T = TypeVar("T")

_GZIP = b"\x1f\x8b"
# What is no text whatever the encoding says, by its first bytes.
_MAGIC = {
    b"PK\x03\x04": "a workbook or a zip archive; save it as UTF-8 CSV",
    b"\xd0\xcf\x11\xe0": "a workbook; save it as UTF-8 CSV",
    b"PAR1": "Parquet; set {source}.format to parquet",
}


@contextmanager
def opened(path: str | Path, source: str) -> Iterator[tuple[str, io.BufferedReader | gzip.GzipFile]]:
    """A file's name for messages and its bytes, unpacked where the first two say that they are gzip.

    Raises:
        ChemsieveError: the file is missing or cannot be read, also while the caller reads it.
    """
    name = f"{source} file {path}"
    try:
        with open(path, "rb") as raw:
            gzipped = raw.read(2) == _GZIP
            raw.seek(0)
            if not gzipped:
                yield name, raw
                return
            with gzip.open(raw) as unpacked:
                yield name, unpacked
    except FileNotFoundError:
        raise ChemsieveError(f"{name}: there is no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ChemsieveError(f"{name}: the file cannot be read ({reason})") from None


@contextmanager
def opened_text(path: str | Path, source: str, encoding: str) -> Iterator[tuple[str, TextIO]]:
    """As :func:`opened`, with the text of the bytes; newlines as they are, a byte-order mark left out.

    Raises:
        ChemsieveError: also where the bytes are no text of that encoding.
    """
    with opened(path, source) as (name, raw):
        first = raw.peek(4)[:4]  # not seek: of a gzip file it would unpack everything once more
        codec = "utf-8-sig" if is_utf8(encoding) else encoding
        try:
            for magic, what in _MAGIC.items():
                if first.startswith(magic):
                    raise ChemsieveError(f"{name}: this is not UTF-8 text but {what.format(source=source)}")
            with io.TextIOWrapper(raw, encoding=codec, newline="") as text:
                yield name, text
        except UnicodeError as error:
            found = getattr(error, "object", b"")[getattr(error, "start", 0) :][:1]
            where = f"byte 0x{found.hex()}" if isinstance(found, bytes) and found else str(error)
            raise ChemsieveError(f"{name}: {not_text(source, encoding, where, first)}") from None


def up_to_the_last(lines: Iterable[tuple[int, T]]) -> Iterator[tuple[int, T | None]]:
    """Numbered lines without the blank ones at the end, which are no rows; a blank one before that comes as None."""
    first = blank = 0
    for number, content in lines:
        if content:
            yield from ((first + i, None) for i in range(blank))
            yield number, content
            blank = 0
        else:
            first = first if blank else number
            blank += 1


def blank_line(line: int, row: int) -> str:
    """What is wrong with a blank line that stands where row ``row`` (0-based) should."""
    return f"line {line} is blank, before row {row}; remove the line"


def begins_with_mark(path: str | Path, source: str) -> bool:
    """Whether a file begins with the byte-order mark of UTF-8."""
    with opened(path, source) as (_, raw):
        return raw.read(3) == codecs.BOM_UTF8


def is_utf8(encoding: str) -> bool:
    """Whether an encoding's name is one of UTF-8."""
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig")


def not_text(source: str, encoding: str, where: str, first: bytes = b"") -> str:
    """What to say of bytes that are no text of an encoding, and which encoding to try."""
    if not is_utf8(encoding):
        return f"this is not {encoding} text ({where}); check {source}.encoding"
    other = "utf-16" if first[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in first else "cp1252"
    return f"this is not UTF-8 text ({where}); save it as UTF-8 CSV or set {source}.encoding, for example to {other}"


def require(name: str, columns: Sequence[str], header: Sequence[str], hint: str = "") -> None:
    """Each of ``columns`` must be in ``header`` exactly once.

    Raises:
        ChemsieveError: one is missing or doubled; ``hint`` ends the sentence in place of the columns that there are.
    """
    for column in columns:
        if column not in header:
            raise ChemsieveError(f"{name}: there is no column {column!r}{hint or _suggestion(column, header)}")
        if header.count(column) > 1:
            raise ChemsieveError(f"{name}: column {column!r} occurs {header.count(column)} times; keep one of them")


def _suggestion(column: str, header: Sequence[str]) -> str:
    """Which columns there are, and which one was probably meant."""
    lowered = {name.lower(): name for name in reversed(header)}
    near = [name for name in lowered if len(name) <= 4 * len(column)]  # comparing takes the square of the length
    close = difflib.get_close_matches(column.lower(), near, n=1, cutoff=0.5)
    meant = f"; did you mean {shown([lowered[close[0]]])}?" if close else ""
    return f" among {shown(header)}{meant}"


def shown(names: Sequence[str], most: int = 20) -> str:
    """Names for a sentence: quoted, long ones cut, the first of many."""
    parts = [repr(name if len(name) <= 60 else name[:57] + "...") for name in names[:most]]
    return ", ".join(parts) + (f" and {len(names) - most} more" if len(names) > most else "")
