"""From a file of molecules to the same file with predictions, in memory that does not grow with it."""

import csv
import gzip
import itertools
import logging
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from chemsieve.data.reading import stream_rows
from chemsieve.deployment.predictor import Predictor
from chemsieve.errors import ChemsieveError
from chemsieve.files import write_atomically
from chemsieve.processes import progress

log = logging.getLogger(__name__)

_TOLD = 100_000  # rows from one line of the log to the next


def predict_file(
    predictor: Predictor,
    source: str | Path,
    output: str | Path,
    smiles: str = "smiles",
    delimiter: str = ",",
    chunk: int = 4096,
) -> Counter:
    """Write the rows of ``source`` with the predictor's columns after their own, in order.

    Cells of the source are written as they were read, though a spreadsheet may take some for formulas; the columns
    added hold numbers, ids and words of ours. A name that the source already has is followed by ``_predicted``.

    Args:
        source: delimited UTF-8 text with a header, gzipped or not. It is read twice, so that a malformed row is found
            before anything is computed.
        output: written whole or not at all; gzipped where its name ends so.
        smiles: column of the SMILES.
        chunk: rows in memory at a time.

    Returns:
        How many rows have each ``reason``; an empty one is a prediction.

    Raises:
        ChemsieveError: the file cannot be read whole, or has no rows or no such column.
    """
    source, output = Path(source), Path(output)
    if output.exists() and source.exists() and output.samefile(source):
        raise ChemsieveError(f"{output}: the predictions would replace the file that they are made from")
    total = sum(1 for _ in stream_rows(source, "predict", [smiles], delimiter)) - 1
    counts: Counter = Counter()

    def write(temporary: Path) -> None:
        rows = stream_rows(source, "predict", [smiles], delimiter)
        header = next(rows)
        column = header.index(smiles)
        zipped = output.suffix == ".gz"
        with (gzip.open if zipped else open)(temporary, "wt", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, delimiter=delimiter, lineterminator="\n")
            writer.writerow(header + free_names(predictor.columns, header))
            for part in progress(_chunks(rows, chunk), "chunks", math.ceil(total / chunk)):
                answers = predictor.predict([row[column] for row in part])
                before = counts.total()
                counts.update(answers["reason"])
                if before // _TOLD < counts.total() // _TOLD:
                    log.info("%d of %d rows", counts.total(), total)
                cells = zip(*([_cell(value) for value in answers[name]] for name in answers), strict=True)
                writer.writerows([*row, *more] for row, more in zip(part, cells, strict=True))

    write_atomically(output, write)
    return counts


def free_names(names: list[str], taken: list[str]) -> list[str]:
    """Each name, with ``_predicted`` behind it as often as it takes to differ from those taken."""
    found: list[str] = []
    for name in names:
        while name in taken or name in found:
            name += "_predicted"
        found.append(name)
    return found


def _chunks(rows: Iterator[list[str]], size: int) -> Iterator[list[list[str]]]:
    while part := list(itertools.islice(rows, size)):
        yield part


def _cell(value: object) -> str:
    """Nine digits, more than a model of single precision has; truth in lower case; nothing where nothing is known."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:.9g}"
