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
from chemsieve.data.reading import stream
from chemsieve.deployment.predictor import Predictor
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import write_atomically
from chemsieve.runtime.processes import progress


def predict_file(
    predictor: Predictor,
    source: str | Path,
    output: str | Path,
    smiles: str = "smiles",
    delimiter: str = ",",
    chunk: int = 4096,
    file_format: str = "auto",
    encoding: str = "utf-8",
) -> Counter:
    """Write the rows of ``source`` with the predictor's columns after their own, in order, as delimited text.

    Cells of the source are written as they were read, though a spreadsheet may take some for formulas; the columns
    added hold numbers, ids and words of ours. A name that the source already has is followed by ``_predicted``.

    Args:
        source: delimited text with a header, SMILES, SDF or Parquet, gzipped or not. It is read twice, so that a file
            that breaks off is found before anything is computed.
        output: UTF-8, written whole or not at all; gzipped where its name ends so.
        smiles: column of the SMILES; not used for SDF.
        delimiter: of the output, and of a delimited source.
        chunk: rows in memory at a time.
        file_format: a key of ``FORMATS`` of :mod:`chemsieve.data.reading`, or auto.
        encoding: of a source that is text.

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
    total = sum(1 for _ in stream(*given)[1])
    counts: Counter = Counter()

    def write(temporary: Path) -> None:
        header, rows = stream(*given)
        zipped = output.suffix == ".gz"
        # Half a character, which some encodings let pass, is written as its number.
        opened = (gzip.open if zipped else open)(
            temporary, "wt", encoding="utf-8", errors="backslashreplace", newline=""
        )
        with opened as handle:
            writer = csv.writer(_Lines(handle), delimiter=delimiter)
            writer.writerow(header + free_names(predictor.columns, header))
            for part in progress(_chunks(rows, chunk), f"parts of {chunk} rows", math.ceil(total / chunk)):
                # What has a problem is asked for as no SMILES, and keeps its own reason.
                answers = predictor.predict(["" if row.problem else row.smiles for row in part])
                answers["reason"] = [row.problem or reason for row, reason in zip(part, answers["reason"], strict=True)]
                counts.update(answers["reason"])
                cells = zip(*([_cell(value) for value in answers[name]] for name in answers), strict=True)
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


def _cell(value: object) -> str:
    """Nine digits, more than a model of single precision has; truth in lower case; nothing where nothing is known."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:.9g}"
