"""S2L: even sampling from clusters of loss trajectories (Yang et al. 2024, 2403.07384).

The paper records each molecule's loss while a small language model trains. The proxy here is smaller: a linear model on
the frozen outputs of the fine-tuned encoder, trained on training and pool molecules by gradient descent from zero, in
the limit of small steps. Its residuals at time t are exp(-t K) y in closed form, K the products of the features,
so that one decomposition gives every trajectory without training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {
    "clusters": {"type": "integer", "minimum": 1},
    "times": {"type": "integer", "minimum": 1, "description": "at which losses are recorded, evenly spaced in log"},
    "span": {"type": "number", "minimum": 1, "description": "last time over first"},
}
NEEDS: tuple[str, ...] = ("labels", "embeddings")
BUDGET = True


def score(
    pool: pd.DataFrame, context: Context, seed: int, clusters: int = 10, times: int = 20, span: float = 1e4
) -> np.ndarray:
    """Minus the place in the order of choice (n,): one molecule of each cluster in turn, the smallest cluster first."""
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    known, candidates = context.embeddings()
    labels = np.concatenate([context.training["label"], pool["label"]]).astype(float)
    rows = StandardScaler().fit_transform(np.concatenate([known, candidates]))
    losses = trajectories(rows, (labels - labels.mean()) / labels.std(), times, span)[len(known) :]
    groups = KMeans(min(clusters, len(pool)), n_init=10, random_state=seed).fit_predict(losses)
    result = np.empty(len(pool))
    result[balanced(groups, seed)] = -np.arange(len(pool))
    return result


def trajectories(rows: np.ndarray, labels: np.ndarray, times: int, span: float) -> np.ndarray:
    """Squared errors (n, times) of weights that follow w' = -X^T (X w - y) from zero; ``rows`` X is (n, d).

    The first time is that in which the fastest direction falls to 1/e, so that no scale of X or of the loss matters.
    """
    directions, sizes, _ = np.linalg.svd(rows, full_matrices=False)
    rates = (sizes / sizes[0]) ** 2
    learned = -np.expm1(-np.outer(rates, np.geomspace(1, span, times))) * (directions.T @ labels)[:, None]
    return (labels[:, None] - directions @ learned) ** 2


def balanced(groups: np.ndarray, seed: int) -> np.ndarray:
    """An order (n,) of molecules in ``groups`` whose every beginning takes as evenly from the groups as they allow.

    Small groups are then taken whole and what they leave goes to the larger ones, as in the paper; the order within a
    group is random.
    """
    sizes = np.bincount(groups)
    mixed = np.random.default_rng(seed).permutation(len(groups))
    turn = np.empty(len(groups), dtype=int)
    for group in range(len(sizes)):
        members = mixed[groups[mixed] == group]
        turn[members] = np.arange(len(members))
    return np.lexsort([groups, sizes[groups], turn])
