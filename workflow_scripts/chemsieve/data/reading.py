"""The user's tables, in any of four formats, as one frame in which one row is one molecule with its label.

Nothing is guessed and nothing is dropped: a file that cannot be read whole is refused with one sentence, a record that
no molecule can be made of is a row that says so. The header is checked at the start of every run, so that this module
imports nothing heavy until it must.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chemsieve.data import measured
from chemsieve.data.identifiers import AUTO, find
from chemsieve.data.readers import FIELD_COUNT, Format, Layout, Row, delimited, parquet, sdf, smi
from chemsieve.data.readers._files import begins_with_mark, is_utf8
from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    import pandas as pd

FORMATS: dict[str, Format] = {"csv": delimited, "smi": smi, "sdf": sdf, "parquet": parquet}
_ENDINGS = {".smi": "smi", ".smiles": "smi", ".sdf": "sdf", ".sd": "sdf", ".parquet": "parquet", ".pq": "parquet"}

# How a file of molecules is read, where the configuration says nothing else.
MOLECULES = {"smiles": "smiles", "delimiter": ",", "format": "auto", "encoding": "utf-8"}


def format_of(path: str | Path, configured: str = "auto") -> str:
    """Format of a file: the configured one, else by the end of its name, ``.gz`` aside; delimited text by default."""
    if configured != "auto":
        return configured
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return _ENDINGS.get(suffixes[-1], "csv") if suffixes else "csv"


def check_header(
    path: str | Path,
    source: str,
    columns: Sequence[str],
    delimiter: str = ",",
    file_format: str = "csv",
    encoding: str = "utf-8",
) -> None:
    """Check that a file can be opened and has each of ``columns`` exactly once, reading as little as shows it.

    Args:
        path: the file, gzipped or not.
        source: what the file is to the study (target, pool), for the message.
        columns: the columns that will be read, that of the SMILES first (for SDF: the data items, no SMILES).
        delimiter: one character, for delimited text.
        file_format: a key of ``FORMATS``, or auto.
        encoding: a Python codec; of UTF-8 a byte-order mark is accepted.

    Raises:
        ChemsieveError: the file is missing, unreadable, empty or no text of that encoding, or a column is missing or
            doubled.
    """
    reader = FORMATS[format_of(path, file_format)]
    reader.check(path, source, list(columns), Layout(delimiter, encoding))


def read_labelled(
    path: str | Path,
    source: str,
    smiles_column: str,
    label_column: str | None,
    fold_column: str | None = None,
    delimiter: str = ",",
    file_format: str = "csv",
    encoding: str = "utf-8",
    decimal: str = ".",
    others: Sequence[str] = (),
    identifier_column: str | None = None,
) -> "pd.DataFrame":
    """Read the molecules and labels of a file as text, every row in its order.

    Args:
        path: the file, gzipped or not.
        source: what the file is to the study (target, pool), for messages.
        smiles_column: column of the SMILES; not used for SDF.
        label_column: column (SDF: data item) of the label; None where labels are not read.
        fold_column: column of a given division into folds, if there is one.
        delimiter: one character, for delimited text.
        file_format: a key of ``FORMATS``, or auto.
        encoding: a Python codec; of UTF-8 a byte-order mark is accepted.
        decimal: the labels' decimal mark, a point or a comma; labels are returned with a point.
        others: further columns to read.
        identifier_column: column of the users' own names of their molecules, if there is one.

    Returns:
        One line per row of the file: ``row`` (0-based), ``smiles`` and ``label_text`` as given (empty without a label
        column), ``given_fold`` (None without a fold column and where the cell is empty), ``problem`` (what is wrong
        with a record that no molecule can be made of, else None), ``identifier`` (None where there is none); and the
        cells of each of ``others``, in a column that :func:`cells_of` names.

    Raises:
        ChemsieveError: as :func:`check_header`; or a row does not fit the header, or the file breaks off.
    """
    import pandas as pd

    chosen = format_of(path, file_format)
    wanted = [None if chosen == "sdf" else smiles_column, label_column, fold_column, *others]
    columns = list(dict.fromkeys(name for name in wanted if name is not None))
    # Only Parquet leaves columns out. Of a SMILES file, what is read says whether names may have several words.
    named = [identifier_column] if identifier_column is not None and chosen == "parquet" else []
    read = list(dict.fromkeys([*columns, *named]))
    rows = FORMATS[chosen].rows(path, source, read, Layout(delimiter, encoding), whole=False)
    header = next(rows).cells
    columns = list(dict.fromkeys([*columns, *([identifier_column] if identifier_column is not None else [])]))
    places = {column: header.index(column) for column in columns}
    texts: dict[str, list[str]] = {column: [] for column in columns}
    smiles: list[str] = []
    problems: list[str | None] = []
    for row in _some(rows, path, source):
        if row.problem == FIELD_COUNT:
            raise ChemsieveError(f"{source} file {path}: {row.detail}")
        for column, place in places.items():
            texts[column].append(row.cells[place])
        smiles.append(row.smiles)
        problems.append(row.detail or None)
    _check_characters(f"{source} file {path}", texts)
    labels = [""] * len(smiles) if label_column is None else texts[label_column]
    if decimal == ",":
        labels = [delimited.with_point(text) for text in labels]
    folds = [""] * len(smiles) if fold_column is None else texts[fold_column]
    names = [""] * len(smiles) if identifier_column is None else texts[identifier_column]
    return pd.DataFrame(
        {
            "row": range(len(smiles)),
            "smiles": smiles,
            "label_text": labels,
            # pandas' text type would turn None into NaN
            "given_fold": pd.Series([fold.strip() or None for fold in folds], dtype=object),
            "problem": pd.Series(problems, dtype=object),
            **{cells_of(column): pd.Series(texts[column], dtype=object) for column in others},
            "identifier": pd.Series([name.strip() or None for name in names], dtype=object),
        }
    )


def cells_of(column: str) -> str:
    """Where the cells of a further column stand among what :func:`read_labelled` returns."""
    return f"cells of {column}"


def stream(
    path: str | Path,
    source: str,
    smiles_column: str,
    delimiter: str = ",",
    file_format: str = "auto",
    encoding: str = "utf-8",
) -> tuple[list[str], Iterator[Row]]:
    """Names of all columns of a file, and its rows in their order, one at a time.

    Arguments and errors are those of :func:`read_labelled`, but that a row with a field too few or too many is a row
    that says so; an error may come after some rows.
    """
    chosen = format_of(path, file_format)
    columns = [] if chosen == "sdf" else [smiles_column]
    rows = FORMATS[chosen].rows(path, source, columns, Layout(delimiter, encoding), whole=True)
    return next(rows).cells, _some(rows, path, source)


@dataclass(frozen=True)
class Dress:
    """How a file is written, for one that is made from it: ``named`` where a line ``sep=;`` names the delimiter."""

    delimiter: str
    encoding: str
    named: bool = False


def dress_of(path: str | Path, delimiter: str = ",", file_format: str = "auto", encoding: str = "utf-8") -> Dress:
    """The dress of a file whose header was read; where it is no delimited text, or no text, as is said.

    UTF-8 with a byte-order mark is ``utf-8-sig``.
    """
    chosen = format_of(path, file_format)
    if chosen == "parquet":
        return Dress(delimiter, "utf-8")
    marked = is_utf8(encoding) and begins_with_mark(path, "predict")
    named = delimited.named_delimiter(path, "predict", encoding) if chosen == "csv" else None
    return Dress(named or delimiter, "utf-8-sig" if marked else encoding, named is not None)


def _some(rows: Iterator[Row], path: str | Path, source: str) -> Iterator[Row]:
    """The rows, of which there must be one."""
    empty = True
    for row in rows:
        empty = False
        yield row
    if empty:
        raise _no_row(path, source)


def _no_row(path: str | Path, source: str) -> ChemsieveError:
    return ChemsieveError(f"{source} file {path}: there is a header and no row below it")


def check_encoding(source: str, encoding: str) -> None:
    """Check that an encoding is one of text.

    Raises:
        ChemsieveError: it is not; the key of the configuration is named.
    """
    try:
        # Python also has codecs that are no encodings of text, such as hex; only decoding shows that.
        b"a".decode(encoding)
    except LookupError:
        raise ChemsieveError(
            f"configuration: {source}.encoding: {encoding!r} is no text encoding of Python; known are utf-8, utf-16, "
            "latin-1, cp1252 and more"
        ) from None
    except UnicodeError:
        pass  # one letter is no whole text of it


def check_molecules(path: str | Path, source: str, given: dict[str, Any]) -> None:
    """:func:`check_header` of a file of molecules without labels, as its section of the configuration describes it."""
    columns = [] if format_of(path, given["format"]) == "sdf" else [given["smiles"]]
    check_header(path, source, columns, given["delimiter"], given["format"], given["encoding"])


def columns_of(path: str | Path, table: dict[str, Any]) -> list[str]:
    """The columns of a file that a table's section of the configuration names; of SDF, the data items."""
    keys = ("label", "fold") if format_of(path, table["format"]) == "sdf" else ("smiles", "label", "fold")
    named = [] if table.get("identifier") in (None, AUTO) else [table["identifier"]]
    return list(dict.fromkeys([*(table[key] for key in keys if table.get(key)), *named, *measured.columns(table)]))


def identifier_column(path: str | Path, source: str, table: dict[str, Any]) -> str | None:
    """The column of the users' own names of their molecules, as a table's section of the configuration says.

    Of an SD file in which no data item is one, it is that of the records' titles.

    Raises:
        ChemsieveError: the file's header cannot be read, or the column that is named is not there.
    """
    if table.get("identifier") is None:
        return None
    if table["identifier"] != AUTO:
        check_table(path, source, table)
        return table["identifier"]
    chosen = format_of(path, table["format"])
    header = stream(path, source, table["smiles"], table["delimiter"], table["format"], table["encoding"])[0]
    own = header[:2] if chosen == "sdf" else [table["smiles"]]
    return find(header, [*own, table["label"], table.get("fold")]) or (own[0] if chosen == "sdf" else None)


def check_table(path: str | Path, source: str, table: dict[str, Any]) -> None:
    """:func:`check_header` of a table as its section of the configuration describes it."""
    layout = table["delimiter"], table["format"], table["encoding"]
    check_header(path, source, columns_of(path, table), *layout)


def read_table(path: str | Path, source: str, table: dict[str, Any]) -> "pd.DataFrame":
    """:func:`read_labelled` of a table as its section of the configuration describes it.

    Without the key ``identifier`` no identifiers are read.

    Returns:
        Also ``relation_text`` and ``unit_text`` (the cells of those columns; empty where the section names none) and
        ``outside`` (which condition of ``where`` the row does not meet, else None).
    """
    names = table["smiles"], table["label"], table.get("fold")
    layout = table["delimiter"], table["format"], table["encoding"], table["decimal"]
    import pandas as pd

    others = measured.columns(table)
    frame = read_labelled(path, source, *names, *layout, others, identifier_column(path, source, table))
    for column, name in (("relation_text", table.get("relation")), ("unit_text", measured.unit_column(table))):
        frame[column] = frame[cells_of(name)] if name else ""
    frame["outside"] = pd.Series(_outside(frame, table), dtype=object)
    return frame.drop(columns=[cells_of(name) for name in others])


def read_unlabelled(path: str | Path, source: str, given: dict[str, Any]) -> "pd.DataFrame":
    """:func:`read_labelled` of a file of molecules without labels, as its section of the configuration describes it."""
    layout = given["delimiter"], given["format"], given["encoding"], "."
    return read_labelled(path, source, given["smiles"], None, None, *layout)


def _outside(frame: "pd.DataFrame", table: dict[str, Any]) -> list[str | None]:
    """The first condition of ``where`` that each row does not meet, in words."""
    comma = table["decimal"] == ","

    def number(text: str) -> float | None:
        return measured.finite(delimited.with_point(text) if comma else text)

    found: list[str | None] = [None] * len(frame)
    for column, wanted in measured.conditions(table).items():
        for row, cell in enumerate(frame[cells_of(column)]):
            found[row] = found[row] or measured.refusal(cell, column, wanted, number) or None
    return found


def _check_characters(name: str, columns: dict[str, list[str]]) -> None:
    """Refuse halves of characters, which some encodings let pass and no result file can hold."""
    for column, texts in columns.items():
        for row, text in enumerate(texts):
            if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
                raise ChemsieveError(f"{name}: row {row}, column {column!r} holds half a character; check the encoding")
