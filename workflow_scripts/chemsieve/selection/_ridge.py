"""A ridge regression that molecules join one after the other, and what each does to the validation error.

The penalty is on the weights and not on the intercept, as in scikit-learn's ``Ridge``. The base molecules are there
from the start, so that no chain begins from a model that knows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BLOCK = 64  # molecules that join in one factorisation


def _with_intercept(rows: np.ndarray) -> np.ndarray:
    return np.column_stack([rows, np.ones(len(rows))])


@dataclass(frozen=True)
class Ridge:
    """The fit to the base molecules, and who may join.

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
