"""A corpus of unlabelled SMILES for pretraining: canonicalised, tokenised, divided so that held-out molecules are new.

As MoLFormer's own data: RDKit canonical SMILES without stereo and isotopes, each once. Computed properties may stand
beside the tokens, as targets of multi-task pretraining (ChemBERTa-2, Ahmad et al. 2022, 2209.01712).
"""

import gzip
import hashlib
import itertools
import logging
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors
from tokenizers import Tokenizer

from chemsieve import tokenization
from chemsieve.data import chemistry, reading
from chemsieve.errors import ChemsieveError

log = logging.getLogger(__name__)

CHUNK = 2000  # lines that a process takes at a time


class Described(NamedTuple):
    """A line of the corpus: canonical SMILES (empty where unreadable), a number in 0 to 1 of its skeleton, parent."""

    line: str
    smiles: str
    share: float
    parent: str
    properties: list[float]


def prepare(
    path: str | Path,
    tokenizer: Tokenizer,
    max_tokens: int,
    held_out: float,
    seed: int,
    properties: Sequence[str] = (),
    limit: int | None = None,
    processes: int = 1,
    exclude: Sequence[dict] = (),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a file of SMILES, one a line (plain or gzipped; what follows white space is ignored).

    Args:
        held_out: fraction of InChIKey first blocks, drawn by their hash with ``seed``, whose molecules are held out:
            none of them is a stereoisomer or isotopologue of a molecule trained on.
        properties: names of RDKit descriptors.
        limit: read so many lines only.
        exclude: files whose molecules are left out, each as :func:`excluded` takes it.

    Returns:
        The tables ``corpus`` (in the order of the file) and ``corpus_refused``.

    Raises:
        ChemsieveError: the file cannot be read, a descriptor is unknown, or nothing is left on one side.
    """
    if unknown := sorted(set(properties) - set(dict(Descriptors.descList))):
        raise ChemsieveError(f"pretrain.properties: RDKit has no descriptor {unknown[0]!r}")
    rows, refused, seen, left_out = [], [], set(), excluded(exclude)
    jobs = _chunks(path, limit)
    arguments = (itertools.repeat(tuple(properties)), itertools.repeat(seed))
    with ProcessPoolExecutor(processes) as pool:
        # A bounded number at a time, so that a large file is not held twice.
        while batch := list(itertools.islice(jobs, processes * 8)):
            described = pool.map(_describe, (lines for _, lines in batch), *arguments)
            for (first, _), chunk in zip(batch, described, strict=True):
                _take(first, chunk, tokenizer, max_tokens, held_out, rows, refused, seen, left_out)
            log.info("%d molecules kept, %d lines refused", len(rows), len(refused))
    table = pd.DataFrame(rows, columns=["smiles", "tokens", "held_out", "properties"])
    if not 0 < table["held_out"].sum() < len(table):
        raise ChemsieveError(
            f"{path}: of {len(table)} usable molecules {int(table['held_out'].sum())} are held out; "
            "pretrain.held_out must leave some on both sides"
        )
    return table, pd.DataFrame(refused, columns=["line", "smiles", "reason"])


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
            mol = None if row.problem else chemistry.parse(row.smiles.strip())
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
                chunk = [(line.split() or [""])[0] for line in itertools.islice(lines, CHUNK)]
                if not chunk:
                    return
                yield first, chunk
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ChemsieveError(f"pretrain.corpus: {path}: cannot be read ({error})") from None


def _describe(lines: list[str], properties: tuple[str, ...], seed: int) -> list[Described]:
    """Each line described; properties of no molecule are none."""
    functions = [dict(Descriptors.descList)[name] for name in properties]
    result = []
    for line in lines:
        mol = chemistry.parse(line) if line else None
        if mol is None:
            result.append(Described(line, "", 0.0, "", []))
            continue
        smiles, block = chemistry.canonical_smiles(mol, stereo=False), chemistry.first_block(mol)
        key = f"{seed} {block or smiles}"
        share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
        with rdBase.BlockLogs():
            values = [float(function(mol)) for function in functions]
        result.append(Described(line, smiles, share, _parent(mol, block), values))
    return result


def _take(
    first: int,
    described: list[Described],
    tokenizer: Tokenizer,
    max_tokens: int,
    held_out: float,
    rows: list,
    refused: list,
    seen: set[str],
    left_out: dict[str, str],
) -> None:
    unknown = tokenization.special_id(tokenizer, "unknown")
    ids = tokenization.encode(tokenizer, [molecule.smiles for molecule in described])
    for number, (molecule, tokens) in enumerate(zip(described, ids, strict=True), start=first):
        line, smiles, share, parent, values = molecule
        if not smiles:
            refused.append((number, line, "not a readable SMILES" if line else "an empty line"))
        elif parent in left_out:
            refused.append((number, line, f"of the same parent as a molecule of {left_out[parent]}"))
        elif smiles in seen:
            refused.append((number, line, "the same as an earlier molecule, stereo aside"))
        elif len(tokens) > max_tokens:
            refused.append((number, line, f"{len(tokens)} tokens; the encoder takes {max_tokens}"))
        elif unknown in tokens:
            refused.append((number, line, "a token outside the vocabulary"))
        else:
            seen.add(smiles)
            rows.append((smiles, np.array(tokens, dtype=np.int32), share < held_out, _bounded(values)))


def _bounded(values: list[float]) -> np.ndarray:
    """Properties as float32, NaN where RDKit gives no finite number."""
    return np.array([v if math.isfinite(v) else math.nan for v in values], dtype=np.float32)
