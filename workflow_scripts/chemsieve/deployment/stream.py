"""From a file of molecules to the same file with predictions, in memory that does not grow with it."""

import csv
import gzip
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from chemsieve.data.readers import Row
from chemsieve.data.reading import dress_of, stream
from chemsieve.deployment.predictor import Predictor
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import write_atomically
from chemsieve.runtime.processes import progress

SIMILARITY_DECIMALS = 3


def predict_file(
    predictor: Predictor,
    source: str | Path,
    output: str | Path,
    smiles: str = "smiles",
    delimiter: str = ",",
    chunk: int = 4096,
    file_format: str = "auto",
    encoding: str = "utf-8",
    decimal: str = ".",
) -> Counter:
    """Write the rows of ``source`` with the predictor's columns after their own, in order, as delimited text.

    Cells of the source are written as they were read, though a spreadsheet may take some for formulas; the columns
    added hold numbers, ids and words of ours. A name that the source already has is followed by ``_predicted``. The
    output is dressed as the source is: in its delimiter, which a line ``sep=;`` above the header may name, that line
    with it, in its encoding and with its byte-order mark. Predictions have the decimals of three digits of the
    interval's width.

    Args:
        source: delimited text with a header, SMILES, SDF or Parquet, gzipped or not. It is read twice, so that a file
            that breaks off is found before anything is computed.
        output: written whole or not at all; gzipped where its name ends so. What its encoding has not is written as
            its number.
        smiles: column of the SMILES; not used for SDF.
        delimiter: of the output, and of a delimited source.
        chunk: rows in memory at a time.
        file_format: a key of ``FORMATS`` of :mod:`chemsieve.data.reading`, or auto.
        encoding: of a source that is text, and of the output.
        decimal: mark of the decimals of the numbers added, a point or a comma.

    Returns:
        How many rows have each ``reason``; an empty one is a prediction. Besides those of :class:`Predictor` there is
        ``field_count``: the row has a field too few or too many, so that its cells may stand in wrong columns.

    Raises:
        ChemsieveError: the file cannot be read whole, or has no rows or no such column.
    """
    source, output = Path(source), Path(output)
    if output.exists() and source.exists() and output.samefile(source):
        raise ChemsieveError(f"{output}: the predictions would replace the file that they are made from")
    given = source, "predict", smiles, delimiter, file_format, encoding
    dress = dress_of(source, delimiter, file_format, encoding)
    decimals = _decimals(getattr(predictor, "facts", {}).get("interval", {}).get("half_width", 0.0))
    total = sum(1 for _ in stream(*given)[1])
    counts: Counter = Counter()

    def write(temporary: Path) -> None:
        header, rows = stream(*given)
        zipped = output.suffix == ".gz"
        # Half a character, which some encodings let pass, is written as its number.
        opened = (gzip.open if zipped else open)(
            temporary, "wt", encoding=dress.encoding, errors="backslashreplace", newline=""
        )
        with opened as handle:
            if dress.named:
                handle.write(f"sep={dress.delimiter}\n")
            writer = csv.writer(_Lines(handle), delimiter=dress.delimiter)
            writer.writerow(header + free_names(predictor.columns, header))
            for part in progress(_chunks(rows, chunk), f"parts of {chunk} rows", math.ceil(total / chunk)):
                # What has a problem is asked for as no SMILES, and keeps its own reason.
                answers = predictor.predict(["" if row.problem else row.smiles for row in part])
                answers["reason"] = [row.problem or reason for row, reason in zip(part, answers["reason"], strict=True)]
                counts.update(answers["reason"])
                places = {"similarity": SIMILARITY_DECIMALS}
                columns = (
                    [_cell(value, places.get(name, decimals), decimal) for value in answers[name]] for name in answers
                )
                cells = zip(*columns, strict=True)
                writer.writerows([*row.cells, *more] for row, more in zip(part, cells, strict=True))

    write_atomically(output, write)
    return counts


class _Lines:
    """Ends lines with a line feed where ``csv`` ends them with two characters.

    Before Python 3.13 it quotes of the two only what it ends lines with; a carriage return in a cell would then be
    taken for the end of the row.
    """

    def __init__(self, handle: TextIO):
        self._handle = handle

    def write(self, line: str) -> None:
        self._handle.write(line.removesuffix("\r\n") + "\n")


def free_names(names: list[str], taken: list[str]) -> list[str]:
    """Each name, with ``_predicted`` behind it as often as it takes to differ from those taken."""
    found: list[str] = []
    for name in names:
        while name in taken or name in found:
            name += "_predicted"
        found.append(name)
    return found


def _chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while part := list(itertools.islice(rows, size)):
        yield part


def _decimals(half_width: float) -> int | None:
    """Decimals of three digits of an interval's half-width: more are noise; None where there is no interval."""
    return max(0, 2 - math.floor(math.log10(half_width))) if half_width > 0 else None


def _cell(value: object, decimals: int | None, mark: str) -> str:
    """A number with so many decimals, else nine digits; truth in lower case; nothing where nothing is known."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return (f"{value:.9g}" if decimals is None else f"{value:.{decimals}f}").replace(".", mark)
