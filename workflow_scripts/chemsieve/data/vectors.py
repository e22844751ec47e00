"""Vectors of molecules from the user's tables, a teacher's fingerprints for example, in the order of given molecules.

A table is a Parquet file, or a folder of such files that may grow between runs, with a column of SMILES and one of
number lists, all equally long. Those of a corpus are written as one NumPy file that is mapped into memory, so that
700,000 vectors of 512 half-precision numbers take no more than their own size.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from chemsieve.data import chemistry
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import write_atomically

T = TypeVar("T")

log = logging.getLogger(__name__)

DEFAULTS: dict = {
    "smiles": "smiles",
    "vector": "vector",
    "weight": 1.0,
    "required": False,
    "credit": "",
}  # of a table that says nothing else
AT_ONCE = 4096  # rows


def write_aligned(name: str, table: dict, smiles: Sequence[str], path: str | Path) -> None:
    """Write a table's vectors of ``smiles`` as a NumPy array (molecules, numbers in a vector).

    Args:
        name: the table's, for messages.
        table: ``path``, and where they are not the defaults, its columns ``smiles`` and ``vector``.
        smiles: canonical SMILES without stereo. A table's SMILES that is none of them is made canonical first; of
            several rows of a molecule the first counts.
        path: the file. Half precision where the table is, else single; NaN where it has no vector of a molecule.

    Raises:
        ChemsieveError: the table cannot be read, or has no vector of any of the molecules.
    """
    source = _Source(f"pretrain.targets.{name}", DEFAULTS | table)
    rows = {text: row for row, text in enumerate(smiles)}

    def fill(temporary: Path) -> None:
        dtype = np.float16 if source.half else np.float32
        array = np.lib.format.open_memmap(temporary, "w+", dtype, (len(rows), source.width))
        for low in range(0, len(array), AT_ONCE):
            array[low : low + AT_ONCE] = np.nan
        _fill(array, source, rows, "a molecule of the corpus")
        array.flush()

    write_atomically(path, fill)


def aligned(where: str, table: dict, smiles: Sequence[str]) -> np.ndarray:
    """A table's vectors of a few molecules (molecules, numbers in a vector), float32, NaN where it has none.

    Args:
        where: the key of the table in the configuration, for messages.
        table: as :func:`write_aligned` takes it.
        smiles: canonical SMILES, of which stereo is passed over; two may be of one molecule then.

    Raises:
        ChemsieveError: the table cannot be read, or has no vector of any of the molecules.
    """
    source = _Source(where, DEFAULTS | table)
    plain = [chemistry.canonical_smiles(chemistry.accepted(text), stereo=False) for text in smiles]
    rows = {text: row for row, text in enumerate(dict.fromkeys(plain))}
    array = np.full((len(rows), source.width), np.nan, np.float32)
    _fill(array, source, rows, "a molecule to adapt on")
    return array[[rows[text] for text in plain]]


def _fill(array: np.ndarray, source: "_Source", rows: dict[str, int], wanted: str) -> None:
    """Write a table's vectors into their rows."""
    taken = np.zeros(len(array), dtype=bool)
    for texts, vectors in source.batches():
        for text, vector in zip(texts, vectors, strict=True):
            row = _place(text, rows)
            if row >= 0 and not taken[row] and np.isfinite(vector).any():
                array[row], taken[row] = vector, True
        if taken.all():
            break
    given = int(taken.sum())
    if not given:
        raise ChemsieveError(f"{source.where}: {source.path}: none of its rows is {wanted}")
    log.info("%s: vectors of %d numbers for %d of %d molecules", source.where, source.width, given, len(rows))


def _place(text: str, rows: dict[str, int]) -> int:
    """Row of a molecule, -1 where it is not in the corpus."""
    if text in rows:
        return rows[text]
    mol = chemistry.parse(text)
    return -1 if mol is None else rows.get(chemistry.canonical_smiles(mol, stereo=False), -1)


class _Source:
    """A table's files, its width and its precision, from the files' schemas alone."""

    def __init__(self, where: str, table: dict):
        self.where = where
        self.path, self.columns = Path(table["path"]), (table["smiles"], table["vector"])
        self.files = sorted(self.path.glob("*.parquet")) if self.path.is_dir() else [self.path]
        if not self.files:
            raise ChemsieveError(f"{self.where}: {self.path}: there is no Parquet file in this folder")
        kinds = {self._kind(file) for file in self.files}
        if len(kinds) > 1:
            raise ChemsieveError(f"{self.where}: {self.path}: its files hold vectors of different kinds")
        kind = kinds.pop()
        self.width, self.half = kind.list_size, kind.value_type == pa.float16()

    def _kind(self, file: Path) -> pa.FixedSizeListType:
        schema = self._try(file, lambda: pq.read_schema(file))
        for column in self.columns:
            if column not in schema.names:
                raise ChemsieveError(
                    f"{self.where}: {file}: there is no column {column!r}; it has {', '.join(schema.names)}"
                )
        kind = schema.field(self.columns[1]).type
        if not pa.types.is_fixed_size_list(kind) or not pa.types.is_floating(kind.value_type):
            raise ChemsieveError(
                f"{self.where}: {file}: column {self.columns[1]!r} is {kind}; wanted are lists of floating-point "
                "numbers of one fixed size"
            )
        return pa.list_(kind.value_type, kind.list_size)

    def batches(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """SMILES and vectors (rows, width), file by file, a few at a time."""
        for file in self.files:
            parts = self._try(file, partial(self._parts, file))
            while (part := self._try(file, partial(next, parts, None))) is not None:
                texts, lists = (part.column(name) for name in self.columns)
                there = np.flatnonzero(texts.is_valid().to_numpy(False) & lists.is_valid().to_numpy(False))
                # take() leaves out the numbers of missing lists, which flatten() of a slice would keep.
                values = lists.take(pa.array(there)).flatten().to_numpy(zero_copy_only=False)
                yield texts.take(pa.array(there)).to_pylist(), values.reshape(len(there), self.width)

    def _parts(self, file: Path) -> Iterator[pa.RecordBatch]:
        return pq.ParquetFile(file).iter_batches(AT_ONCE, columns=self.columns)

    def _try(self, file: Path, read: Callable[[], T]) -> T:
        try:
            return read()
        except (pa.ArrowInvalid, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ChemsieveError(f"{self.where}: {file}: not a readable Parquet file ({reason})") from None
