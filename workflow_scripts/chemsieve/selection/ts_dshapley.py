"""TS-DShapley: Shapley values of a linear proxy on frozen representations (Schoch et al. 2023, 2306.10165).

The players are the pool molecules, a coalition joins the training molecules, its worth is the fall of the mean squared
error on the validation molecules of a ridge on principal components of the fine-tuned encoder's outputs. Unlike the
published chains these start from the training molecules, and every contribution is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chemsieve.runtime.processes import progress
from chemsieve.selection._blocks import Standardised
from chemsieve.selection._ridge import Ridge

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

PENALTIES = tuple(float(f"1e{power}") for power in range(-2, 6))
OPTIONS: dict = {
    "permutations": {"type": "integer", "minimum": 1},
    "components": {"type": "integer", "minimum": 1},
    "ridge": {"type": ["number", "null"], "exclusiveMinimum": 0, "description": "penalty; null: by cross-validation"},
    "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "description": "of the pool in one chain"},
    "best_removal": {"type": "boolean", "description": "molecules to remove score below 0"},
}
NEEDS: tuple[str, ...] = ("labels", "embeddings", "validation")
BUDGET = True


def score(
    pool: pd.DataFrame,
    context: Context,
    seed: int,
    permutations: int = 600,
    components: int = 64,
    ridge: float | None = None,
    share: float = 1.0,
    best_removal: bool = False,
) -> np.ndarray:
    """Shapley values (n,), in squared label units: positive lowers the validation error.

    ``share`` below 1 gives the published chains over samples of the pool. With ``best_removal`` the values are moved so
    that those below 0 are of the molecules without which the proxy predicts the validation molecules best.
    """
    proxy = fitted(pool, context, components, ridge)
    values = shapley(proxy, permutations, share, seed)
    return values - boundary(proxy, values) if best_removal else values


def fitted(pool: pd.DataFrame, context: Context, components: int, penalty: float | None) -> Ridge:
    """The proxy on the training molecules; its components see no label, its penalty the training labels alone."""
    from sklearn.linear_model import RidgeCV

    known, candidates = context.embeddings()
    rows = Standardised(known, candidates)
    _, axes = np.linalg.eigh(sum(block.T @ block for block in rows))  # ascending
    axes = axes[:, ::-1][:, : min(components, len(known) + len(candidates))]
    base, joining, query = (rows.project(part, axes) for part in (known, candidates, context.validation_embeddings()))
    labels, pool_labels, answers = (
        part["label"].to_numpy(dtype=float) for part in (context.training, pool, context.validation)
    )
    if penalty is None:
        penalty = float(RidgeCV(alphas=PENALTIES).fit(base, labels).alpha_)
    return Ridge.fit((base, labels), (joining, pool_labels), (query, answers), penalty)


def shapley(proxy: Ridge, permutations: int, share: float, seed: int) -> np.ndarray:
    """Mean contribution (n,) of each molecule over chains: random permutations and their reverses, cut by ``share``.

    Each permutation is cut into chains of ``share`` of the molecules, so that all molecules are in as many chains.
    """
    n = len(proxy.rows)
    length = max(round(share * n), 1)
    generator = np.random.default_rng(seed)
    total, order = np.zeros(n), np.arange(n)
    for number in progress(range(permutations), "permutations"):
        order = order[::-1] if number % 2 else generator.permutation(n)
        for start in range(0, n, length):
            chain = order[start : start + length]
            total[chain] += proxy.gains(chain)
    return total / permutations


def boundary(proxy: Ridge, values: np.ndarray) -> float:
    """The least value to keep: the lowest are removed one by one up to where the validation error is least."""
    order = np.argsort(-values, kind="stable")
    errors = np.concatenate([[0.0], -np.cumsum(proxy.gains(order))])  # against keeping none, the best first
    kept = int(np.argmin(errors))
    return float(values[order[kept - 1]]) if kept else float(np.nextafter(values.max(), np.inf))
