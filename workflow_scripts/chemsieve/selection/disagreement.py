"""Label-error score: cross-validated residual of a ridge on frozen embeddings of target and pool.

Each pool molecule is predicted from the training set and the other folds of the pool. It asks which label is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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


def score(
    pool: pd.DataFrame, context: Context, seed: int, folds: int = 5, penalties: tuple[float, ...] = PENALTIES
) -> np.ndarray:
    """-|label - out-of-fold prediction| (n,), in label units: small residuals first."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    embedded, candidates = context.embeddings()
    known = context.training["label"].to_numpy(dtype=float)
    labels = pool["label"].to_numpy(dtype=float)
    result = np.empty(len(pool))
    for held in np.array_split(np.random.default_rng(seed).permutation(len(pool)), min(folds, len(pool))):
        rest = np.setdiff1d(np.arange(len(pool)), held)
        model = make_pipeline(StandardScaler(), RidgeCV(alphas=penalties))
        model.fit(np.concatenate([embedded, candidates[rest]]), np.concatenate([known, labels[rest]]))
        result[held] = -np.abs(labels[held] - model.predict(candidates[held]))
    return result
