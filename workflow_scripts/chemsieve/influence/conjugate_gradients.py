"""Conjugate gradients on the damped Gauss-Newton matrix (Hestenes and Stiefel 1952; Martens 2010).

Solves (G + damping) x = v with G = (2 / n) J^T J, which unlike the Hessian has no negative eigenvalue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from chemsieve.errors import InfluenceDivergence
from chemsieve.influence.estimators import Solution

if TYPE_CHECKING:
    from torch import Tensor

    from chemsieve.influence.problem import Problem

log = logging.getLogger(__name__)


def solve(
    problem: Problem,
    vector: Tensor,
    damping: float,
    iterations: int,
    tolerance: float,
    precondition: Callable[[Tensor], Tensor] = lambda residual: residual,
) -> Solution:
    """Solve (G + damping) x = ``vector`` until the relative residual falls to ``tolerance``.

    Args:
        iterations: at most so many; each costs a Gauss-Newton product over all training molecules.
        precondition: an approximate inverse (parameters,) -> (parameters,), symmetric and positive definite.

    Raises:
        InfluenceDivergence: a product is not finite, or ``precondition`` is not positive definite.
    """
    import torch

    from chemsieve.influence.problem import check_finite

    x, residual, direction = torch.zeros_like(vector), vector.clone(), torch.zeros_like(vector)
    first = left = _dot(residual, residual)
    square, done = 0.0, 0
    earlier = _Earlier(iterations)
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
        earlier.keep(done, x)
        log.info("iteration %d: relative residual %.2e", done, (left / first) ** 0.5 if first > 0 else 0.0)
    return Solution(x=x, half=earlier.half(done), iterations=done, effective_damping=damping)


class _Earlier:
    """A few earlier iterates, for the comparison with half the iterations, whose number is not known beforehand.

    They are those after 1, 2, 4, ... steps and the one after half of the most; of these, what no half can need any more
    is let go.
    """

    def __init__(self, iterations: int):
        self.iterations = iterations
        self.kept: dict[int, Tensor] = {}

    def keep(self, done: int, x: Tensor) -> None:
        """Keep the iterate after ``done`` steps where it may be wanted."""
        if done & (done - 1) == 0 or done == self.iterations // 2:
            self.kept[done] = x
            for old in [k for k in self.kept if 2 * k < done and k != self._last(done)]:
                del self.kept[old]

    def half(self, done: int) -> Tensor | None:
        """The last that was kept up to half of ``done`` steps; None where there is none."""
        last = self._last(done)
        return None if last is None else self.kept[last]

    def _last(self, done: int) -> int | None:
        return max((k for k in self.kept if 2 * k <= done), default=None)


def _dot(a: Tensor, b: Tensor) -> float:
    """Inner product summed in float64: the residual's square underflows the precision of float32 sums."""
    return float((a.double() * b.double()).sum())
