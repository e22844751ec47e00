"""S2L: even sampling from clusters of loss trajectories (Yang et al. 2024, 2403.07384).

The paper records each molecule's loss while a small language model trains. The proxy here is smaller: a linear model on
the frozen outputs of the fine-tuned encoder, trained on training and pool molecules by gradient descent from zero, in
the limit of small steps. Its residuals at time t are exp(-t K) y in closed form, K the products of the features,
so that one decomposition gives every trajectory without training.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from chemsieve.selection import needed
from chemsieve.selection._blocks import Standardised

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

    known, candidates = context.embeddings()
    labels = np.concatenate([needed(context.training)["label"], pool["label"]]).astype(float)
    losses = trajectories(Standardised(known, candidates), (labels - labels.mean()) / labels.std(), times, span)[
        len(known) :
    ]
    groups = KMeans(min(clusters, len(pool)), n_init=10, random_state=seed).fit_predict(losses)
    result = np.empty(len(pool))
    result[balanced(groups, seed)] = -np.arange(len(pool))
    return result


def trajectories(rows: Iterable[np.ndarray], labels: np.ndarray, times: int, span: float) -> np.ndarray:
    """Squared errors (n, times) of weights that follow w' = -X^T (X w - y) from zero; ``rows`` are blocks of X (n, d).

    The first time is that in which the fastest direction falls to 1/e, so that no scale of X or of the loss matters.
    """
    # X = Q R: the singular values of R are those of X, found without X as a whole.
    triangle: np.ndarray = np.empty((0, 0))
    product: np.ndarray = np.zeros(1)
    at = 0
    for block in rows:
        rows_so_far = np.concatenate([triangle, block]) if triangle.size else block
        triangle = np.asarray(np.linalg.qr(rows_so_far, mode="r"))  # an array already, though numpy's types say a pair
        product = product + block.T @ labels[at : at + len(block)]
        at += len(block)
    _, sizes, axes = np.linalg.svd(triangle, full_matrices=False)
    kept = sizes > sizes[0] * np.finfo(float).eps * max(at, len(product))  # the others learn nothing
    sizes, axes = sizes[kept], axes[kept]
    shrunk = -np.expm1(-np.outer((sizes / sizes[0]) ** 2, np.geomspace(1, span, times)))
    weights = axes.T @ (shrunk * (axes @ product / sizes**2)[:, None])
    predicted = np.concatenate([block @ weights for block in rows])
    return (labels[:, None] - predicted) ** 2


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
