"""A corpus of unlabelled SMILES for pretraining: canonicalised, tokenised, divided so that held-out molecules are new.

As MoLFormer's own data: RDKit canonical SMILES without stereo and isotopes, each once, accepted as the molecules of a
study are (:mod:`chemsieve.data.acceptance`). Computed properties may stand beside the tokens, as targets of multi-task
pretraining (ChemBERTa-2, Ahmad et al. 2022, 2209.01712).
"""

import gzip
import hashlib
import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors
from tokenizers import Tokenizer

from chemsieve.data import chemistry, reading
from chemsieve.data.acceptance import REFUSE, Reader, Reading, structure
from chemsieve.data.readers.smi import words
from chemsieve.errors import ChemsieveError

log = logging.getLogger(__name__)

CHUNK = 2000  # lines that a process takes at a time


def prepare(
    path: str | Path,
    tokenizer: Tokenizer,
    max_tokens: int,
    held_out: float,
    seed: int,
    properties: Sequence[str] = (),
    limit: int | None = None,
    processes: int = 1,
    unknown_tokens: str = REFUSE,
    exclude: Sequence[dict] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a file of SMILES, one a line, plain or gzipped.

    What follows a SMILES on its line is ignored, unless it extends the SMILES (CXSMILES).

    Args:
        held_out: fraction of InChIKey first blocks, drawn by their hash with ``seed``, whose molecules are held out:
            none of them is a stereoisomer or isotopologue of a molecule trained on.
        properties: names of RDKit descriptors.
        limit: number of lines to read; None for all.
        unknown_tokens: what is done about a SMILES that the tokenizer does not read whole, as :class:`Reader` has it.
        exclude: files whose molecules are left out, each as :func:`excluded` takes it.

    Returns:
        The tables ``corpus`` (in the order of the file) and ``corpus_refused``.

    Raises:
        ChemsieveError: the file cannot be read, a descriptor is unknown, or nothing is left on one side.
    """
    if unknown := sorted(set(properties) - set(dict(Descriptors.descList))):
        raise ChemsieveError(f"pretrain.properties: RDKit has no descriptor {unknown[0]!r}")
    collected = _Collected(Reader(tokenizer, max_tokens, unknown_tokens), held_out, excluded(exclude))
    jobs = _chunks(path, limit)
    arguments = (itertools.repeat(tuple(properties)), itertools.repeat(seed))
    with ProcessPoolExecutor(processes) as pool:
        # A bounded number at a time, so that a large file is not held twice.
        while batch := list(itertools.islice(jobs, processes * 8)):
            described = pool.map(_describe, (lines for _, lines in batch), *arguments)
            for (first, _), chunk in zip(batch, described, strict=True):
                collected.take(first, chunk)
            log.info("%d molecules kept, %d lines refused", len(collected.rows), len(collected.refused))
    if collected.mapped:
        log.info("atom maps of %d lines were left out", collected.mapped)
    table, refused = collected.tables()
    if flagged := int((table["unknown_tokens"] > 0).sum()):
        log.warning("%d of %d molecules have parts that the tokenizer does not know", flagged, len(table))
    if not 0 < table["held_out"].sum() < len(table):
        raise ChemsieveError(
            f"{path}: of {len(table)} usable molecules {int(table['held_out'].sum())} are held out; "
            "pretrain.held_out must leave some on both sides"
        )
    return table, refused


def excluded(files: Sequence[dict]) -> dict[str, str]:
    """Parents that a corpus must not hold, each with the name of the first file that has it.

    Args:
        files: each with ``path``, and where they are not the defaults, the column ``smiles``, ``delimiter``, ``format``
            and ``encoding``, as the readers of :mod:`chemsieve.data.reading` take them.

    Raises:
        ChemsieveError: a file cannot be read.
    """
    found: dict[str, str] = {}
    for number, given in enumerate(files):
        file = reading.MOLECULES | given
        layout = file["smiles"], file["delimiter"], file["format"], file["encoding"]
        _, rows = reading.stream(file["path"], f"pretrain.exclude[{number}]", *layout)
        before, unreadable = len(found), 0
        for row in rows:
            mol = None if row.problem else structure(row.smiles).molecule
            if mol is None:
                unreadable += 1
            else:
                found.setdefault(_parent(mol), Path(file["path"]).name)
        log.info(
            "%s: %d parents to leave out, %d rows that hold no molecule", file["path"], len(found) - before, unreadable
        )
    return found


def _parent(mol: Chem.Mol, own: str | None = None) -> str:
    """What a molecule shares with its salts, charge states and stereoisomers."""
    return chemistry.parent_block(mol, own) or chemistry.canonical_smiles(mol, stereo=False)


def _chunks(path: str | Path, limit: int | None) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line, and lines."""
    opened = gzip.open if str(path).endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            lines = itertools.islice(file, limit)
            for first in itertools.count(1, CHUNK):
                chunk = [(words(line) or [""])[0] for line in itertools.islice(lines, CHUNK)]
                if not chunk:
                    return
                yield first, chunk
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ChemsieveError(f"pretrain.corpus: {path}: cannot be read ({error})") from None


@dataclass(frozen=True)
class _Line:
    """A line's SMILES as given; its canonical SMILES, a number in 0 to 1 of its skeleton, its parent, its properties;
    or why not.
    """

    given: str
    smiles: str = ""
    share: float = 0.0
    parent: str = ""
    properties: tuple[float, ...] = ()
    reason: str = ""
    detail: str = ""
    mapped: bool = False


def _describe(lines: list[str], properties: tuple[str, ...], seed: int) -> list[_Line]:
    """What is known of each line by itself."""
    functions = [dict(Descriptors.descList)[name] for name in properties]
    return [_described(line, functions, seed) for line in lines]


def _described(line: str, functions: list[Callable], seed: int) -> _Line:
    found = structure(line)
    mol = found.molecule
    if mol is None:
        return _Line(line, reason=found.reason, detail=found.detail, mapped=found.mapped)
    smiles = chemistry.canonical_smiles(mol, stereo=False)
    block = chemistry.first_block(mol)
    key = f"{seed} {block or smiles}"
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    with rdBase.BlockLogs():
        values = tuple(float(function(mol)) for function in functions)
    return _Line(line, smiles, share, _parent(mol, block), values, mapped=found.mapped)


@dataclass
class _Collected:
    """The corpus so far, and the lines refused, in the order of the file.

    ``left_out`` are parents that it must not hold, with the file that has each; ``mapped`` counts lines with atom maps.
    """

    reader: Reader
    held_out: float
    left_out: dict[str, str]
    rows: list[tuple[str, np.ndarray, bool, np.ndarray, int]] = field(default_factory=list)
    refused: list[tuple[int, str, str, str]] = field(default_factory=list)
    mapped: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    def take(self, first: int, described: list[_Line]) -> None:
        """Accept or refuse lines, of which the first has this number."""
        self.mapped += sum(line.mapped for line in described)
        readings = iter(self.reader.read([line.smiles for line in described if not line.reason]))
        for number, line in enumerate(described, start=first):
            if line.reason:
                self.refused.append((number, line.given, line.reason, line.detail))
                continue
            reading = next(readings)
            reason, detail = self._refusal(line, reading)
            if reason:
                self.refused.append((number, line.given, reason, detail))
                continue
            self.seen[line.smiles] = number
            tokens = np.array(reading.ids, dtype=np.int32)
            pieces = len(reading.unread.pieces)
            self.rows.append((line.smiles, tokens, line.share < self.held_out, _bounded(line.properties), pieces))

    def _refusal(self, line: _Line, reading: Reading) -> tuple[str, str]:
        """Why a molecule is not taken, or two empty texts."""
        if line.parent in self.left_out:
            return "excluded", f"of the same parent as a molecule of {self.left_out[line.parent]}"
        if line.smiles in self.seen:
            return "repeat", f"same molecule as line {self.seen[line.smiles]}, stereo aside"
        return reading.reason, reading.detail

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The tables ``corpus`` and ``corpus_refused``."""
        return (
            pd.DataFrame(self.rows, columns=["smiles", "tokens", "held_out", "properties", "unknown_tokens"]),
            pd.DataFrame(self.refused, columns=["line", "smiles", "reason", "detail"]),
        )


def _bounded(values: Sequence[float]) -> np.ndarray:
    """Properties as float32, NaN where RDKit gives no finite number."""
    return np.array([v if math.isfinite(v) else math.nan for v in values], dtype=np.float32)
