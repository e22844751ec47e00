"""TS-DShapley: Shapley values of a linear proxy on frozen representations (Schoch et al. 2023, 2306.10165).

The players are the pool molecules, a coalition joins the training molecules, its worth is the fall of the mean squared
error on the validation molecules of a ridge on principal components of the fine-tuned encoder's outputs. Unlike the
published chains these start from the training molecules, and every contribution is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chemsieve.runtime.processes import progress
from chemsieve.selection import needed
from chemsieve.selection._blocks import Standardised

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

BLOCK = 64  # molecules that join in one factorisation
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
        part["label"].to_numpy(dtype=float) for part in (needed(context.training), pool, needed(context.validation))
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


@dataclass(frozen=True)
class Ridge:
    """A ridge regression fitted to base molecules, and the molecules that may join them one after the other.

    The penalty is on the weights and not on the intercept, as in scikit-learn's ``Ridge``. The base molecules are there
    from the start, so that no chain begins from a model that knows nothing.

    ``inverse`` (d + 1, d + 1) is that of the penalised normal matrix, ``weights`` (d + 1,) the solution; ``rows``
    (n, d + 1) and ``labels`` (n,) are of the molecules that may join, ``query`` (q, d + 1) and ``answers`` (q,) of
    those that the error is measured on.
    """

    inverse: np.ndarray
    weights: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    query: np.ndarray
    answers: np.ndarray

    @classmethod
    def fit(
        cls,
        base: tuple[np.ndarray, np.ndarray],
        joining: tuple[np.ndarray, np.ndarray],
        query: tuple[np.ndarray, np.ndarray],
        penalty: float,
    ) -> Ridge:
        """Fit to ``base``; each pair is features (molecules, d) and labels (molecules,)."""
        known = _with_intercept(base[0])
        normal = known.T @ known + np.diag([penalty] * base[0].shape[1] + [0.0])
        inverse = np.linalg.inv(normal)
        return cls(
            (inverse + inverse.T) / 2,
            inverse @ (known.T @ base[1]),
            _with_intercept(joining[0]),
            joining[1],
            _with_intercept(query[0]),
            query[1],
        )

    def gains(self, order: np.ndarray) -> np.ndarray:
        """Fall of the mean squared validation error as each molecule of ``order`` joins those before it (order,).

        Exact, as if the ridge were refitted each time. A block of molecules joins by one Cholesky factor of their
        covariance given all before: row j of the whitened block is the rank-one update that molecule j makes.
        """
        from scipy.linalg import solve_triangular

        inverse, weights = self.inverse, self.weights
        residuals = self.answers - self.query @ weights
        losses = [np.mean(residuals**2)]
        for start in range(0, len(order), BLOCK):
            block = order[start : start + BLOCK]
            rows = self.rows[block]
            across = rows @ inverse
            lower = np.linalg.cholesky(across @ rows.T + np.eye(len(block)))
            both = np.column_stack([across, self.labels[block] - rows @ weights])
            whitened = solve_triangular(lower, both, lower=True, check_finite=False)
            updates, surprises = whitened[:, :-1], whitened[:, -1:]
            path = residuals - np.cumsum((updates @ self.query.T) * surprises, axis=0)
            losses.extend(np.mean(path**2, axis=1))
            residuals = path[-1]
            weights = weights + (updates.T @ surprises)[:, 0]
            inverse = inverse - updates.T @ updates
        return -np.diff(losses)


def _with_intercept(rows: np.ndarray) -> np.ndarray:
    return np.column_stack([rows, np.ones(len(rows))])
