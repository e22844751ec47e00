"""A look at a user's file: how it is written, and which of its columns are what.

What is guessed is said and written into the study's file, where it can be mended; the workflow itself guesses nothing.
"""

import codecs
import csv
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from chemsieve.data.identifiers import find
from chemsieve.data.readers._files import opened, opened_text
from chemsieve.data.readers.delimited import with_point
from chemsieve.data.reading import format_of, stream
from chemsieve.errors import ChemsieveError

SEEN = 200  # rows that are looked at
_LINES = 50  # of a header and what follows it, by which the delimiter is found
_LEAST = 0.5  # share of a column's texts that must be molecules, or numbers
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_LABEL = re.compile(
    r"label|value|target|activity|affinity|measured|exp|endpoint|^y$|^p?(ic|ec|gi|xc)50|^pki|^p?k[id]$|log ?[pds]|"
    r"solub|clearance|perm|inhibition|potency|toxic|ld50|mic\b|yield|tg$|tm$",
    re.IGNORECASE,
)
_NO_LABEL = re.compile(
    r"\bid\b|_id$|index|unnamed|\brow|number|^no\.?$|^nr\.?$|\bmw\b|weight|mass|count|rings?\b|tpsa|\bhb[ad]\b|heavy|fold|"
    r"split|\bset\b|date|year|batch|plate|well|\bsd\b|std|error|stderr|predict",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Guess:
    """How a file is read, in the words of the configuration, and what was seen.

    Attributes:
        path: as given.
        format, delimiter, encoding, decimal: keys of the study's file.
        smiles: column of the SMILES; empty for an SD file.
        label: column of the label; None where no column holds numbers.
        identifier: column of the molecules' own names; None where none is found.
        others: further columns of numbers that might have been the label.
        rows: rows of the file.
        read: of those looked at, how many are a molecule.
        looked: rows that were looked at.
    """

    path: str
    format: str
    delimiter: str
    encoding: str
    decimal: str
    smiles: str
    label: str | None
    identifier: str | None
    others: tuple[str, ...]
    rows: int
    read: int
    looked: int


def look(path: str, source: str, label: str | None = None) -> Guess:
    """Look at a file.

    Args:
        path: the file.
        source: what it is to the study (target, pool), for messages.
        label: the column that is the label where the file has one of that name.

    Raises:
        ChemsieveError: the file cannot be read, or has no column of molecules.
    """
    chosen = format_of(path)
    if chosen not in ("csv", "smi", "sdf", "parquet"):
        raise ChemsieveError(f"{source} file {path}: a look at files of the format {chosen} is not possible")
    encoding = "utf-8" if chosen == "parquet" else _encoding(path, source)
    delimiter = _delimiter(path, source, encoding) if chosen == "csv" else ","
    first = {"csv": _first_column, "smi": _smi_column, "sdf": _no_column, "parquet": _parquet_column}[chosen]
    asked = first(path, source, encoding, delimiter)
    header, rows = stream(path, source, asked, delimiter, chosen, encoding)
    seen = list(itertools.islice(rows, SEEN))
    texts = {
        name: [row.cells[place] for row in seen if not row.problem]
        for place, name in enumerate(header)
        if header.count(name) == 1
    }
    more = sum(1 for _ in rows) if chosen != "sdf" else max(0, _records(path, source, encoding) - len(seen))
    smiles = "" if chosen == "sdf" else asked if chosen == "smi" else _smiles_column(path, source, texts)
    made = header[:2] if chosen == "sdf" else [smiles]  # of a record: its title, and the SMILES made of it
    identifier = find(header, made)
    candidates = {name: mark for name in texts if name not in made and (mark := _decimal(texts[name]))}
    if chosen == "smi" and identifier is None:
        identifier = _title(texts, [*made, *candidates])
    own = sorted(candidates, key=lambda name: (name == label, _fitness(name, texts[name])), reverse=True)
    own = [name for name in own if name != identifier and not _NO_LABEL.search(name)] or own[:1]
    found = own[0] if own else None
    return Guess(
        path=path,
        format=chosen,
        delimiter=delimiter,
        encoding=encoding,
        decimal=candidates.get(found or "", "."),
        smiles=smiles,
        label=found,
        identifier=None if identifier == found else identifier,
        others=tuple(own[1:]),
        rows=len(seen) + more,
        read=_molecules(row.smiles for row in seen) if chosen == "sdf" else _molecules(texts[smiles]),
        looked=len(seen),
    )


def _encoding(path: str, source: str) -> str:
    """UTF-8 where the whole file is, UTF-16 where its mark says so, else that of many Western spreadsheets."""
    with opened(path, source) as (_, raw):
        start = raw.read(2**16)
        for mark, name in _MARKS:
            if start.startswith(mark):
                return name
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while start:
                decoder.decode(start)
                start = raw.read(2**20)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _delimiter(path: str, source: str, encoding: str) -> str:
    """Which delimiter gives as many fields in each line as in the header, and the most of them."""
    with opened_text(path, source, encoding) as (_, text):
        lines = list(itertools.islice(text, _LINES))
    if hint := re.fullmatch(r'"?sep=(.)"?\s*', lines[0], re.IGNORECASE) if lines else None:
        return hint[1]

    def even(delimiter: str) -> tuple[float, int]:
        try:
            counts = [len(fields) for fields in csv.reader(lines, delimiter=delimiter) if fields]
        except csv.Error:
            return 0.0, 0
        width = counts[0] if counts else 0
        return (sum(count == width for count in counts) / len(counts), width) if width > 1 else (0.0, 0)

    found = {delimiter: even(delimiter) for delimiter in ",;\t|"}
    # A line or two may be broken. A decimal comma gives uneven lines, or fewer fields than what divides the columns.
    return max(found, key=lambda delimiter: (found[delimiter][0] >= 0.9, found[delimiter][1]))


def _first_column(path: str, source: str, encoding: str, delimiter: str) -> str:
    """The name of a column that the header has once; readers want one, and any will do."""
    with opened_text(path, source, encoding) as (name, text):
        lines = csv.reader(text, delimiter=delimiter)
        header = next(lines, [])
        if header and re.fullmatch(r"sep=.?", header[0], re.IGNORECASE):
            header = next(lines, [])
        unique = [column for column in header if header.count(column) == 1]
        if not unique:
            raise ChemsieveError(f"{name}: {'no column has a name of its own' if header else 'the file is empty'}")
        return unique[0]


def _smi_column(path: str, source: str, encoding: str, delimiter: str) -> str:
    """``1`` where the first line is a molecule already; else the name that it gives the first column."""
    with opened_text(path, source, encoding) as (name, text):
        words = text.readline().split()
    if not words:
        raise ChemsieveError(f"{name}: the file is empty, or its first line is")
    return "1" if _molecules(words[:1]) else words[0]


def _title(texts: dict[str, list[str]], taken: list[str]) -> str | None:
    """The one other column of a SMILES file, where its texts are the molecules' own: each molecule has another."""
    others = {name: values for name, values in texts.items() if name not in taken and any(map(str.strip, values))}
    name, values = next(iter(others.items()), ("", []))
    return name if len(others) == 1 and len(set(values)) >= _LEAST * len(values) else None


def _no_column(path: str, source: str, encoding: str, delimiter: str) -> str:
    return ""


def _parquet_column(path: str, source: str, encoding: str, delimiter: str) -> str:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        names = read_schema(path).names
    except FileNotFoundError:
        raise ChemsieveError(f"{source} file {path}: there is no such file") from None
    except (ArrowException, OSError) as error:
        raise ChemsieveError(f"{source} file {path}: this is not a readable Parquet file ({error})") from None
    if not names:
        raise ChemsieveError(f"{source} file {path}: the file has no columns")
    return names[0]


def _records(path: str, source: str, encoding: str) -> int:
    with opened_text(path, source, encoding) as (_, text):
        return sum(line.startswith("$$$$") for line in text)


def _smiles_column(path: str, source: str, texts: dict[str, list[str]]) -> str:
    """The column in which most texts are molecules; of several, one whose name says so."""
    shares = {
        name: _molecules(values) / len(values)
        for name, values in texts.items()
        if values and not _decimal(values)  # 1 is no SMILES, and C is no number
    }
    fits = [name for name, share in shares.items() if share >= _LEAST]
    if not fits:
        raise ChemsieveError(
            f"{source} file {path}: no column holds SMILES, among {', '.join(map(repr, list(texts)[:20]))}"
        )
    return max(fits, key=lambda name: ("smiles" in name.lower(), shares[name]))


def _molecules(texts: Iterable[str]) -> int:
    """How many texts are SMILES that are read."""
    from chemsieve.data.acceptance import structure

    return sum(structure(text).molecule is not None for text in texts if text.strip())


def _decimal(texts: list[str]) -> str:
    """The decimal mark of a column of numbers; empty where it is none."""
    given = [text.strip() for text in texts if text.strip()]
    for mark in (".", ","):
        read = [text if mark == "." else with_point(text) for text in given]
        if given and sum(_is_number(text) for text in read) >= max(1, _LEAST * len(given)):
            return mark
    return ""


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text) is not None


def _fitness(name: str, texts: list[str]) -> tuple[bool, bool, int]:
    """How much a column of numbers looks like a label: by its name, decimals, and how many values it has."""
    return bool(_LABEL.search(name)), any("." in text or "," in text for text in texts), len(set(texts))
