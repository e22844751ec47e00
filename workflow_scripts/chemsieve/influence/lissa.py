"""LiSSA, as published (Agarwal et al. 2017, 1602.03943; Koh and Liang 2017, 1703.04730).

    h_t = v + (1 - damping) h_{t-1} - H_batch h_{t-1} / scale,      x = h_depth / scale, averaged over repeats

H is the Hessian of the loss on a random batch. The recursion's fixed point solves (H + damping scale) x = v: the
damping that it applies is the configured one times ``scale``.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from chemsieve.errors import InfluenceDivergence
from chemsieve.influence import Solution

if TYPE_CHECKING:
    from torch import Tensor

    from chemsieve.influence._problem import Problem

log = logging.getLogger(__name__)

OPTIONS: dict = {
    "depth": {"type": "integer", "minimum": 2},
    "repeats": {"type": "integer", "minimum": 1},
    "damping": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    "scale": {
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "description": "null: twice the largest batch eigenvalue, measured at each checkpoint",
    },
    "batch_size": {"type": "integer", "minimum": 1},
}

# A stable recursion grows at most like its number of steps; a hundred times that is divergence, not scores.
GROWTH = 100.0


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

    Raises:
        InfluenceDivergence: the iterate grows without bound or is not finite; the message names a scale to try.
    """
    import numpy as np
    import torch

    from chemsieve.processes import progress

    generator = np.random.default_rng(problem.seed)
    size = min(batch_size, len(problem.train))
    if scale is None:
        scale = 2 * problem.batch_eigenvalue(vector, size)
        log.info("scale %.4g", scale)
    total, total_half = torch.zeros_like(vector), torch.zeros_like(vector)
    norm = float(vector.norm())
    for repeat in range(repeats):
        h, half = vector.clone(), vector
        for step in progress(range(1, depth + 1), f"LiSSA {repeat + 1}/{repeats}"):
            batch = problem.train.take(generator.choice(len(problem.train), size, replace=False))
            h = vector + (1 - damping) * h - problem.hessian_product(h, batch) / scale
            growth = float(h.norm()) / norm if norm > 0 else 0.0
            if not growth <= GROWTH * (step + 1):  # a NaN compares false, and is caught here
                raise InfluenceDivergence(
                    f"influence.estimators.lissa: the recursion diverged at step {step} of {depth} "
                    f"with scale {scale:g} (the iterate is {growth:.3g} times the gradient); "
                    + _advice(problem, vector, size, depth, damping)
                )
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


def _advice(problem: Problem, vector: Tensor, batch_size: int, depth: int, damping: float) -> str:
    """A scale at which neither end of the spectrum makes the recursion grow."""
    smallest, largest = problem.batch_eigenvalues(vector, batch_size)
    # (1 - damping - eigenvalue / scale) must lie above -1, and its power to the depth below about ten.
    scale = max(1.5 * largest, 2 * -smallest / (damping + math.log(10) / depth), 1.0)
    return (
        f"batch eigenvalues reach from about {smallest:.3g} to {largest:.3g}, so try scale: {math.ceil(scale)} or more"
    )
