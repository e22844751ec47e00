"""Label-error score: cross-validated residual of a ridge on frozen embeddings of target and pool.

Each pool molecule is predicted from the training set and the other folds of the pool. It asks which label is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chemsieve.selection import needed
from chemsieve.selection._blocks import BLOCK

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

PENALTIES = (1.0, 10.0, 100.0, 1000.0)
OPTIONS: dict = {
    "folds": {"type": "integer", "minimum": 2},
    "penalties": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}, "minItems": 1},
}
NEEDS: tuple[str, ...] = ("labels", "embeddings")
BUDGET = True

MOST = 20000  # pool molecules of the other folds that one ridge is fitted to, a sample where there are more


def score(
    pool: pd.DataFrame, context: Context, seed: int, folds: int = 5, penalties: tuple[float, ...] = PENALTIES
) -> np.ndarray:
    """-|label - out-of-fold prediction| (n,), in label units: small residuals first."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    embedded, candidates = context.embeddings()
    known = needed(context.training)["label"].to_numpy(dtype=float)
    labels = pool["label"].to_numpy(dtype=float)
    result = np.empty(len(pool))
    rng = np.random.default_rng(seed)
    for held in np.array_split(rng.permutation(len(pool)), min(folds, len(pool))):
        rest = np.setdiff1d(np.arange(len(pool)), held)
        if len(rest) > MOST:
            rest = np.sort(rng.choice(rest, MOST, replace=False))
        model = make_pipeline(StandardScaler(), RidgeCV(alphas=penalties))
        rows = np.concatenate([embedded, candidates[rest]]).astype(np.float64)
        model.fit(rows, np.concatenate([known, labels[rest]]))
        predicted = [model.predict(candidates[some].astype(np.float64)) for some in _parts(held)]
        result[held] = -np.abs(labels[held] - np.concatenate(predicted))
    return result


def _parts(positions: np.ndarray) -> list[np.ndarray]:
    return [positions[start : start + BLOCK] for start in range(0, len(positions), BLOCK)]
