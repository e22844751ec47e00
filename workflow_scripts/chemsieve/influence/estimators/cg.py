"""Conjugate gradients on the damped Gauss-Newton matrix, over all training molecules.

See :mod:`chemsieve.influence.conjugate_gradients`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chemsieve.influence import conjugate_gradients

if TYPE_CHECKING:
    from torch import Tensor

    from chemsieve.influence.estimators import Solution
    from chemsieve.influence.problem import Problem

KERNEL = False
NEEDS_POOL = False
REPLAYS = False
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
    return conjugate_gradients.solve(problem, vector, damping, iterations, tolerance)
