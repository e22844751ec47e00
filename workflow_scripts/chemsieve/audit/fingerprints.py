"""Fingerprints as bits, and their distances: exact, so that a tie is a tie."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from chemsieve.data import chemistry

BLOCK = 256  # molecules whose distances to all others are held at once
_SLICE = 8192  # of those others, turned into floating point at once
_AT_ONCE = 1024  # molecules that exist, or whose bits are unpacked, at once

_GENERATORS: dict[str, Callable] = {
    "ECFP4": lambda bits: rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=bits),
    "ECFP6": lambda bits: rdFingerprintGenerator.GetMorganGenerator(radius=3, fpSize=bits),
    "FCFP4": lambda bits: rdFingerprintGenerator.GetMorganGenerator(
        radius=2, fpSize=bits, atomInvariantsGenerator=rdFingerprintGenerator.GetMorganFeatureAtomInvGen()
    ),
}
SIMILARITY = ("ECFP4", 2048)  # what similarity means in tables, report and predictions
# Those whose neighbours are tried: (name, bits). MACCS keys have no choice of bits.
TRIED = (
    ("ECFP4", 2048),
    ("ECFP4", 1024),
    ("ECFP6", 2048),
    ("ECFP6", 1024),
    ("FCFP4", 2048),
    ("MACCS", 167),
)


def bits_of(molecules: Sequence[Chem.Mol], name: str, bits: int) -> np.ndarray:
    """(n, bits) uint8 of zeros and ones; ``name`` is ECFP4, ECFP6, FCFP4 or MACCS."""
    if name == "MACCS":
        keys = map(rdMolDescriptors.GetMACCSKeysFingerprint, molecules)
        rows = [np.frombuffer(found.ToBitString().encode(), np.uint8) - ord("0") for found in keys]
    else:
        generator = _GENERATORS[name](bits)
        rows = [generator.GetFingerprintAsNumPy(molecule) for molecule in molecules]
    return np.array(rows, dtype=np.uint8).reshape(len(molecules), -1)


def packed(smiles: Iterable[str], name: str, bits: int) -> np.ndarray:
    """(n, bits / 8) uint8, the bits of :func:`bits_of` eight in a byte; molecules exist a few at a time."""
    texts = iter(smiles)
    parts = [np.empty((0, -(-bits // 8)), np.uint8)]
    while some := list(islice(texts, _AT_ONCE)):
        parts.append(np.packbits(bits_of([chemistry.accepted(text) for text in some], name, bits), axis=1))
    return np.concatenate(parts)


def unpacked(rows: np.ndarray, bits: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of rows that :func:`packed` gave, and their (rows, bits) uint8 of zeros and ones."""
    for start in range(0, len(rows), _AT_ONCE):
        some = slice(start, min(start + _AT_ONCE, len(rows)))
        yield some, np.unpackbits(rows[some], axis=1, count=bits)


def _euclidean(shared: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # On bits the square is a whole number (that of differing bits), which orders as the distance does.
    return first + second - 2 * shared


def _tanimoto(shared: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    either = first + second - shared
    return 1 - np.divide(shared, either, out=np.ones_like(shared), where=either > 0)


def _cosine(shared: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # One minus the squared cosine: a quotient of whole numbers, in the order of the cosine distance.
    product = first * second
    return 1 - np.divide(shared * shared, product, out=np.zeros_like(shared), where=product > 0)


# Orders of neighbours. Equal quotients of whole numbers are equal in floating point, so that ties are recognised.
METRICS = {"euclidean": _euclidean, "tanimoto": _tanimoto, "cosine": _cosine}
# From those numbers to distances, for weights.
DISTANCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "euclidean": np.sqrt,
    "tanimoto": lambda values: values,
    "cosine": lambda values: 1 - np.sqrt(np.clip(1 - values, 0, 1)),
}


def orderings(
    first: np.ndarray, second: np.ndarray, metrics: Sequence[str]
) -> Iterator[tuple[slice, list[np.ndarray]]]:
    """Blocks of (rows of ``first``, for each metric (block, n) float64 numbers that order ``second`` as it does).

    Args:
        first: (m, bits) uint8.
        second: (n, bits) uint8.
        metrics: ``euclidean`` gives squared distances, ``tanimoto`` distances, ``cosine`` 1 - cosine squared.
    """
    for rows, shared in _shared(first, second):
        sizes = first[rows].sum(axis=1, dtype=float)[:, None], second.sum(axis=1, dtype=float)[None, :]
        yield rows, [METRICS[metric](shared, *sizes) for metric in metrics]


def _shared(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Bits that each pair shares; whole numbers below 2^24, so that single precision is exact."""
    for start in range(0, len(first), BLOCK):
        rows = slice(start, min(start + BLOCK, len(first)))
        left = first[rows].astype(np.float32)
        parts = [left @ second[at : at + _SLICE].astype(np.float32).T for at in range(0, len(second), _SLICE)] or [
            np.empty((len(left), 0), np.float32)
        ]
        yield rows, np.concatenate(parts, axis=1).astype(np.float64)


def nearest(
    first: np.ndarray, second: np.ndarray, metrics: Sequence[str], k: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The ``k`` nearest of ``second`` for each of ``first``, for each metric.

    Returns:
        Pairs of positions (m, k) and what orders them (m, k), near first; among equals the earlier comes first.
    """
    k = min(k, len(second))
    found = [(np.empty((len(first), k), dtype=np.int64), np.empty((len(first), k))) for _ in metrics]
    for rows, blocks in orderings(first, second, metrics):
        for order, (positions, values) in zip(blocks, found, strict=True):
            # Stable among those no farther than the k-th, which a partition alone would not be.
            limits = np.partition(order, k - 1, axis=1)[:, k - 1]
            for i, (row, limit) in enumerate(zip(order, limits, strict=True)):
                near = np.flatnonzero(row <= limit)
                near = near[np.argsort(row[near], kind="stable")[:k]]
                positions[rows.start + i], values[rows.start + i] = near, row[near]
    return found
