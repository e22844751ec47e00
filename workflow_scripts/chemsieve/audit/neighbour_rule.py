"""A rule by which a label can be computed from the labels of the nearest molecules."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from chemsieve.audit.fingerprints import DISTANCES


@dataclass(frozen=True)
class Rule:
    """Mean label of the ``k`` nearest molecules, then ``slope`` times it plus ``intercept``.

    ``fingerprint``, ``bits`` and ``metric`` as in :mod:`chemsieve.audit.fingerprints`; ``weighting`` is ``uniform``,
    or ``distance`` for weights of one over the distance (at distance 0 only those count, as in scikit-learn).
    """

    fingerprint: str = "ECFP4"
    bits: int = 2048
    metric: str = "tanimoto"
    k: int = 5
    weighting: str = "uniform"
    slope: float = 1.0
    intercept: float = 0.0

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)

    @property
    def words(self) -> str:
        """The rule in words."""
        mean = "mean" if self.weighting == "uniform" else "mean, weighted by one over the distance,"
        features = self.fingerprint if self.fingerprint == "MACCS" else f"{self.fingerprint}, {self.bits:,} bits"
        what = "the label of the nearest" if self.k == 1 else f"the {mean} of the {self.k} nearest"
        mapped = "" if (self.slope, self.intercept) == (1, 0) else f", times {self.slope:.6g} plus {self.intercept:.6g}"
        return f"{what} ({features}, {self.metric}){mapped}"


def means(values: np.ndarray, order: np.ndarray, metric: str, weighting: str) -> np.ndarray:
    """Mean label (m,) of neighbours with labels ``values`` (m, k), which ``order`` (m, k) puts in order."""
    if weighting == "uniform":
        return values.mean(axis=1)
    distances = DISTANCES[metric](order)
    same = distances == 0
    weights = np.where(same.any(axis=1, keepdims=True), same, 1 / np.where(same, 1.0, distances))
    return (weights * values).sum(axis=1) / weights.sum(axis=1)


def smoothed(values: np.ndarray, order: np.ndarray, metric: str, weighting: str) -> np.ndarray:
    """Median (``median``) or mean weighted by the similarity (``similarity``) of neighbours, as :func:`means` has them.

    The similarity is one less the distance, for distances between 0 and 1; of neighbours that are all unlike it is the
    plain mean.
    """
    if weighting == "median":
        return np.median(values, axis=1)
    weights = 1 - DISTANCES[metric](order)
    weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, 1.0)
    return (weights * values).sum(axis=1) / weights.sum(axis=1)
