"""A sign that needs no rule: models of the target predict the pool's labels better than the target's own.

A measurement has noise, and differs from what a model of other measurements says, by about as much as the target's own
labels differ from models that have not seen them. Labels that another model has computed, with noise added or without,
are smooth: whatever is fitted to the same target comes closer to them. Errors grow with the distance from the target's
molecules, so that the two are compared at equal similarity.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chemsieve.audit import fingerprints
from chemsieve.audit.labelled import Labelled

FEWEST = 30  # pool molecules that can be compared
BINS = 8  # of the similarity
RATIO = 0.5  # of the errors, below which labels are hardly measured
NEIGHBOURS = 5
RIDGES = (0.03, 0.1, 0.3, 1.0)


def compare(pool: Labelled, target: Labelled) -> dict | None:
    """How much better a model of the target predicts the pool than what it has not seen of the target.

    Models are the mean of the five nearest molecules and a kernel ridge regression on the Tanimoto similarity (ECFP4),
    leave one out on the target. Pool molecules that are target molecules, by the parent, are left out.

    Returns:
        Of the model with the lowest ratio: ``model``, ``molecules`` of the pool that were compared, ``error`` (median
        absolute error of the pool), ``expected`` (of the target, at the same similarities) and ``ratio``; None where
        there are too few molecules.
    """
    known = target.parents[target.parents != ""]
    apart = np.flatnonzero(~np.isin(pool.parents, known))
    if len(apart) < FEWEST or len(target) < FEWEST:
        return None
    pool = pool.part(apart)
    ours, theirs = (_similarities(side, target) for side in (pool, target))
    np.fill_diagonal(theirs, -1.0)  # leave one out
    nearest = ours.max(axis=1), theirs.max(axis=1)
    found = []
    for name, of_pool, of_target in _models(ours, theirs, target.values):
        errors = np.abs(of_pool - pool.values), np.abs(of_target - target.values)
        if (compared := _compared(errors, nearest)) is not None:
            found.append({"model": name, **compared})
    return min(found, key=lambda one: one["ratio"]) if found else None


def _similarities(side: Labelled, target: Labelled) -> np.ndarray:
    """(side, target) Tanimoto similarities of ECFP4."""
    ours, theirs = (
        fingerprints.bits_of(one.molecules, *fingerprints.SIMILARITY).astype(np.float32) for one in (side, target)
    )
    shared = ours @ theirs.T
    return shared / np.maximum(ours.sum(axis=1)[:, None] + theirs.sum(axis=1) - shared, 1.0)


def _models(ours: np.ndarray, theirs: np.ndarray, values: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, predictions of the pool (n,), and of the target (m,) without the molecule itself."""
    k = min(NEIGHBOURS, len(values) - 1)
    means = [values[np.argsort(-side, axis=1, kind="stable")[:, :k]].mean(axis=1) for side in (ours, theirs)]
    yield f"the mean of the {k} nearest", means[0], means[1]
    matrix = theirs.copy().astype(float)
    np.fill_diagonal(matrix, 1.0)
    centre = values.mean()
    best = None
    for ridge in RIDGES:
        inverse = np.linalg.inv(matrix + ridge * np.eye(len(matrix)))
        coefficients = inverse @ (values - centre)
        left_out = coefficients / np.diag(inverse)  # label less prediction without it
        if best is None or np.mean(left_out**2) < np.mean(best[1] ** 2):
            best = coefficients, left_out
    assert best is not None
    yield "a kernel ridge regression", centre + ours @ best[0], values - best[1]


def _compared(errors: tuple[np.ndarray, np.ndarray], nearest: tuple[np.ndarray, np.ndarray]) -> dict | None:
    """Errors at equal similarity: the mean, over the pool's molecules, of the median errors of their bins."""
    edges = np.quantile(nearest[0], np.arange(1, BINS) / BINS)
    bins = [np.searchsorted(edges, side) for side in nearest]
    medians = []
    for number in range(BINS):
        own, others = (side[where == number] for side, where in zip(errors, bins, strict=True))
        if len(own) and len(others) >= FEWEST // 3:
            medians.append((len(own), float(np.median(own)), float(np.median(others))))
    total = sum(count for count, *_ in medians)
    if total < FEWEST:
        return None
    error, expected = (sum(row[0] * row[i] for row in medians) / total for i in (1, 2))
    return {"molecules": total, "error": error, "expected": expected, "ratio": error / expected if expected else 1.0}
