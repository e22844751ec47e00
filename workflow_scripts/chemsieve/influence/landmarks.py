"""The damped Gauss-Newton inverse for a training set too large for its Gram matrix: preconditioned conjugate gradients.

(G + damping) x = v with G over all N training molecules is solved by conjugate gradients (Hestenes and Stiefel 1952)
whose preconditioner is the same matrix over m landmark molecules, G_m + damping. Its inverse needs nothing but the
landmarks' own Gram matrix, by Woodbury's identity as in ``exact``. The better the landmarks stand for all, the fewer
steps; how many are needed shows in the residual, which is measured at the end and not taken from the recursion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chemsieve.errors import InfluenceDivergence
from chemsieve.influence import conjugate_gradients

if TYPE_CHECKING:
    from torch import Tensor

    from chemsieve.influence.estimators import Solution
    from chemsieve.influence.problem import Molecules, Problem


def solve(
    problem: Problem,
    landmarks: Molecules,
    matrix: np.ndarray,
    vector: Tensor,
    damping: float,
    iterations: int,
    tolerance: float,
    slack: float = 0.0,
) -> tuple[Solution, float]:
    """Solve (G + damping) x = ``vector``, G over ``problem.train``, to the relative residual ``tolerance``.

    Args:
        matrix: Gram matrix (m, m) of the ``landmarks``.
        iterations: at most so many; each costs a Gauss-Newton product over all training molecules.
        slack: added to the preconditioner's damping, not to the system's. With it at 2 / m times the norm of the
            errors of ``matrix`` the preconditioner is positive definite.

    Returns:
        The solution, and its relative residual |(G + damping) x - v| / |v|, measured.

    Raises:
        InfluenceDivergence: the preconditioner is not positive definite: errors of ``matrix`` exceed its damping.
    """
    import torch
    from scipy.linalg import cho_solve

    from chemsieve.influence.kernel import factor

    assumed = damping + slack
    solver = factor(matrix, len(landmarks) * assumed / 2)

    def precondition(values: Tensor) -> Tensor:
        along = problem.derivatives(values, landmarks).numpy()
        return (values - problem.combination(landmarks, torch.as_tensor(cho_solve(solver, along)))) / assumed

    try:
        solution = conjugate_gradients.solve(problem, vector, damping, iterations, tolerance, precondition)
    except InfluenceDivergence as error:
        raise InfluenceDivergence(f"{error}, or lower influence.gram.tolerance") from None
    left = problem.gauss_newton_product(solution.x) + damping * solution.x - vector
    return solution, float(left.norm() / vector.norm())
