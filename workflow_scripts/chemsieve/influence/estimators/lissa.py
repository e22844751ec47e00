"""LiSSA, as published (Agarwal et al. 2017, 1602.03943; Koh and Liang 2017, 1703.04730).

    h_t = v + (1 - damping) h_{t-1} - H_batch h_{t-1} / scale,      x = h_depth / scale, averaged over repeats

H is the Hessian of the loss on a random batch. The recursion's fixed point solves (H + damping scale) x = v: the
damping that it applies is the configured one times ``scale``. An eigenvalue of H makes its component of h shrink or
grow by 1 - damping - eigenvalue / scale at each step, so that a scale is safe where neither end of H's spectrum, whose
smallest eigenvalue is negative for a model that fits badly, makes h grow.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chemsieve.errors import InfluenceDivergence
from chemsieve.influence.estimators import Solution

if TYPE_CHECKING:
    from torch import Tensor

    from chemsieve.influence.problem import Problem

log = logging.getLogger(__name__)

KERNEL = False
NEEDS_POOL = False
REPLAYS = False
CURVATURE = "hessian"
OPTIONS: dict = {
    "depth": {"type": "integer", "minimum": 2},
    "repeats": {"type": "integer", "minimum": 1},
    "damping": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    "scale": {
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "description": "null: from the ends of the Hessian's spectrum at each checkpoint, and raised where that fails",
    },
    "batch_size": {"type": "integer", "minimum": 1},
}

# The iterate of a stable recursion grows no faster than the number of steps. At a hundred times that it has diverged.
GROWTH = 100.0
LOOK_EVERY = 10  # steps between two looks at the iterate, each of which waits for a GPU
ATTEMPTS, RAISED = 6, 4.0  # how many scales are tried, and the factor from each to the next


class _Diverged(Exception):
    """The recursion grew without bound; says at which step and how much."""


def solve(
    problem: Problem,
    vector: Tensor,
    depth: int = 200,
    repeats: int = 1,
    damping: float = 0.01,
    scale: float | None = None,
    batch_size: int = 16,
) -> Solution:
    """Approximate (H + damping scale)^-1 ``vector`` by the truncated recursion.

    Without ``scale`` a safe one is measured; where the recursion still grows, or ends further from a solution than
    zero is (relative residual above 1), it is raised and tried again.

    Raises:
        InfluenceDivergence: the iterate grows without bound or is not finite, with the given scale or with each that
            was tried; the message names a scale to try.
    """
    size = min(batch_size, len(problem.train))
    if scale is not None:
        try:
            return _recursion(problem, vector, depth, repeats, damping, scale, size)
        except _Diverged as error:
            smallest, largest = problem.batch_eigenvalues(vector, size)
            advised = math.ceil(_safe(smallest, largest, depth, damping))
            raise InfluenceDivergence(
                f"influence.estimators.lissa: the recursion diverged {error} with scale {scale:g}; batch eigenvalues "
                f"reach from about {smallest:.3g} to {largest:.3g}, so try scale: {advised} or more"
            ) from None
    smallest, largest = problem.batch_eigenvalues(vector, size)
    scale = _safe(smallest, largest, depth, damping)
    log.info("batch eigenvalues from %.4g to %.4g: scale %.4g", smallest, largest, scale)
    attempts: list[str] = []
    for _ in range(ATTEMPTS):
        try:
            solution = _recursion(problem, vector, depth, repeats, damping, scale, size)
            solution.relative_residual = problem.relative_residual(
                solution.x, solution.effective_damping, vector, CURVATURE
            )
            if solution.relative_residual <= 1:
                attempts.append(f"scale {scale:.6g}: relative residual {solution.relative_residual:.3g}")
                solution.attempts = tuple(attempts)
                return solution
            attempts.append(f"scale {scale:.6g}: relative residual {solution.relative_residual:.3g}, above 1")
        except _Diverged as error:
            attempts.append(f"scale {scale:.6g}: diverged {error}")
        log.info("%s", attempts[-1])
        scale *= RAISED
    raise InfluenceDivergence(
        "influence.estimators.lissa: the recursion diverged with each scale that was tried "
        f"({'; '.join(attempts)}); raise its damping or its batch_size, or use the estimator exact"
    )


def _check_growth(norms: Sequence[float], last: int, depth: int, norm: float) -> None:
    """Raise where one of the iterates whose norms are given, the last of which is that of step ``last``, grew."""
    for step, length in enumerate(norms, start=last - len(norms) + 1):
        growth = length / norm if norm > 0 else 0.0
        if not growth <= GROWTH * (step + 1):  # a NaN compares false, and is caught here
            raise _Diverged(f"at step {step} of {depth} (the iterate is {growth:.3g} times the gradient)")


def _recursion(
    problem: Problem, vector: Tensor, depth: int, repeats: int, damping: float, scale: float, size: int
) -> Solution:
    """The recursion with one scale, on batches of ``size`` training molecules."""
    import numpy as np
    import torch

    from chemsieve.runtime.processes import progress

    generator = np.random.default_rng(problem.seed)
    total, total_half = torch.zeros_like(vector), torch.zeros_like(vector)
    norm = float(vector.norm())
    for repeat in range(repeats):
        h, half = vector.clone(), vector
        norms: list[Tensor] = []  # of the iterate, since the last look
        for step in progress(range(1, depth + 1), f"LiSSA {repeat + 1}/{repeats}"):
            batch = problem.train.take(generator.choice(len(problem.train), size, replace=False))
            h = vector + (1 - damping) * h - problem.hessian_product(h, batch) / scale
            norms.append(h.norm())
            if len(norms) == LOOK_EVERY or step == depth:
                _check_growth(torch.stack(norms).tolist(), step, depth, norm)
                norms.clear()
            if step == depth // 2:
                half = h
            if step % 50 == 0:
                log.info("repeat %d of %d, step %d of %d", repeat + 1, repeats, step, depth)
        total += h / scale
        total_half += half / scale
    return Solution(
        x=total / repeats,
        half=total_half / repeats,
        iterations=depth * repeats,
        effective_damping=damping * scale,
        scale=scale,
    )


def _safe(smallest: float, largest: float, depth: int, damping: float) -> float:
    """A scale at which neither end of the spectrum makes the recursion grow more than about tenfold.

    1 - damping - eigenvalue / scale must lie above -1, and its power to the depth below about ten; twice what that
    takes, since the next batch may reach further than those that were measured.
    """
    return max(2 * largest, 2 * -smallest / (damping + math.log(10) / depth)) or 1.0
