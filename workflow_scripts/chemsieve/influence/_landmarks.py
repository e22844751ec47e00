"""The damped Gauss-Newton inverse for a training set too large for its Gram matrix: preconditioned conjugate gradients.

(G + damping) x = v with G over all N training molecules is solved by conjugate gradients (Hestenes and Stiefel 1952)
whose preconditioner is the same matrix over m landmark molecules, G_m + damping. Its inverse needs nothing but the
landmarks' own Gram matrix, by Woodbury's identity as in ``exact``. The better the landmarks stand for all, the fewer
steps; how many are needed shows in the residual, which is measured at the end and not taken from the recursion.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from chemsieve.errors import InfluenceDivergence
from chemsieve.influence import Solution

if TYPE_CHECKING:
    from torch import Tensor

    from chemsieve.influence._problem import Molecules, Problem

log = logging.getLogger(__name__)


def solve(
    problem: Problem,
    landmarks: Molecules,
    matrix: np.ndarray,
    vector: Tensor,
    damping: float,
    iterations: int,
    tolerance: float,
) -> tuple[Solution, float]:
    """Solve (G + damping) x = ``vector``, G over ``problem.train``, to the relative residual ``tolerance``.

    Args:
        matrix: Gram matrix (m, m) of the ``landmarks``.
        iterations: at most so many; each costs a Gauss-Newton product over all training molecules.

    Returns:
        The solution, and its relative residual |(G + damping) x - v| / |v|, measured.

    Raises:
        InfluenceDivergence: the preconditioner is not positive definite, since errors of ``matrix`` exceed the damping.
    """
    import torch
    from scipy.linalg import cho_solve

    from chemsieve.influence._kernel import factor

    solver = factor(matrix, len(landmarks) * damping / 2)

    def product(direction: Tensor) -> Tensor:
        return problem.gauss_newton_product(direction) + damping * direction

    def precondition(values: Tensor) -> Tensor:
        along = problem.derivatives(values, landmarks).numpy()
        return (values - problem.combination(landmarks, torch.as_tensor(cho_solve(solver, along)))) / damping

    size = float(vector.norm())
    x, residual = torch.zeros_like(vector), vector.clone()
    direction, square, done = None, 0.0, 0
    while done < iterations and float(residual.norm()) > tolerance * size:
        turned = precondition(residual)
        previous, square = square, _dot(residual, turned)
        if not square > 0:
            raise InfluenceDivergence(
                "influence: the landmarks' Gram matrix is too inexact for this damping; lower influence.gram.tolerance "
                "or raise the damping"
            )
        direction = turned if direction is None else turned + (square / previous) * direction
        along = product(direction)
        step = square / _dot(direction, along)
        x, residual = x + step * direction, residual - step * along
        done += 1
        log.info("iteration %d over all %d molecules: residual %.1e", done, len(problem.train), residual.norm() / size)
    measured = float((product(x) - vector).norm()) / size
    return Solution(x=x, half=None, iterations=done, effective_damping=damping), measured


def _dot(a: Tensor, b: Tensor) -> float:
    """Inner product summed in float64."""
    return float((a.double() * b.double()).sum())
