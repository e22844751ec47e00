"""Conjugate gradients on the damped Gauss-Newton matrix (Hestenes and Stiefel 1952; Martens 2010).

Solves (G + damping) x = v with G = (2 / n) J^T J, which unlike the Hessian has no negative eigenvalue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from chemsieve.errors import InfluenceDivergence
from chemsieve.influence import Solution

if TYPE_CHECKING:
    from torch import Tensor

    from chemsieve.influence._problem import Problem

log = logging.getLogger(__name__)

CURVATURE = "gauss_newton"
OPTIONS: dict = {
    "damping": {"type": "number", "exclusiveMinimum": 0},
    "iterations": {"type": "integer", "minimum": 2, "description": "at most so many"},
    "tolerance": {"type": "number", "exclusiveMinimum": 0, "description": "relative residual at which to stop"},
}


def solve(
    problem: Problem, vector: Tensor, damping: float = 0.01, iterations: int = 40, tolerance: float = 0.01
) -> Solution:
    """Solve (G + damping) x = ``vector`` until the relative residual falls to ``tolerance``."""
    return iterate(problem, vector, damping, iterations, tolerance, lambda residual: residual)


def iterate(
    problem: Problem,
    vector: Tensor,
    damping: float,
    iterations: int,
    tolerance: float,
    precondition: Callable[[Tensor], Tensor],
) -> Solution:
    """:func:`solve`, with an approximate inverse (parameters,) -> (parameters,), symmetric and positive definite.

    Raises:
        InfluenceDivergence: a product is not finite, or ``precondition`` is not positive definite.
    """
    import torch

    from chemsieve.influence._problem import check_finite

    x = torch.zeros_like(vector)
    residual = vector.clone()
    direction = torch.zeros_like(vector)
    first = left = _dot(residual, residual)
    square = 0.0
    snapshots: dict[int, Tensor] = {}
    done = 0
    while done < iterations and left > tolerance**2 * first:
        turned = precondition(residual)
        previous, square = square, _dot(residual, turned)
        if not square > 0:
            raise InfluenceDivergence("influence: the preconditioner is not positive definite; raise the damping")
        direction = turned + (square / previous) * direction if done else turned.clone()
        product = problem.gauss_newton_product(direction) + damping * direction
        check_finite(product, "a Gauss-Newton product")
        step = square / _dot(direction, product)
        x = x + step * direction
        residual = residual - step * product
        left = _dot(residual, residual)
        done += 1
        # For the comparison with half the iterations, whose number is not known beforehand.
        if done & (done - 1) == 0 or done == iterations // 2:
            snapshots[done] = x
            for old in [k for k in snapshots if 2 * k < done and k != max(s for s in snapshots if 2 * s <= done)]:
                del snapshots[old]
        log.info("iteration %d: relative residual %.2e", done, (left / first) ** 0.5 if first > 0 else 0.0)
    reached = [k for k in snapshots if 2 * k <= done]
    half = snapshots[max(reached)] if reached else None
    return Solution(x=x, half=half, iterations=done, effective_damping=damping)


def _dot(a: Tensor, b: Tensor) -> float:
    """Inner product summed in float64: the residual's square underflows the precision of float32 sums."""
    return float((a.double() * b.double()).sum())
