"""Shapley values of the pool molecules in the linearised refit: what each adds on average over the groups it may join.

The players are the pool molecules, a coalition joins the training set, its worth is the fall of the mean query loss
after the linearised regressor is refitted (Ghorbani and Zou 2019, 1904.02868, for the game; Wang et al. 2024,
2406.04606, for kernels). Unlike first-order influence it sees redundancy, diminishing returns and outliers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chemsieve.influence.estimators import Scores

if TYPE_CHECKING:
    from chemsieve.influence.estimators import Task

KERNEL = True
NEEDS_POOL = True
OPTIONS: dict = {
    "damping": {"type": ["number", "null"], "exclusiveMinimum": 0},
    "permutations": {"type": "integer", "minimum": 4},
}


def score(task: Task, damping: float | None = 1.0, permutations: int = 400) -> Scores:
    """Minus the Shapley value of every pool molecule (n,), so that positive raises the query loss."""
    from chemsieve.influence.kernel import damping_or_choice, group_effect, refit, shapley

    damping = damping_or_choice(task.kernel, task.labels, task.seed, damping)
    model = refit(task.kernel.needs_pool("shapley"), damping)
    values, half = shapley(model, permutations, task.seed)
    # The values of any number of permutations sum to the worth of the whole pool.
    whole = group_effect(model, range(len(values)))
    error = abs(values.sum() + whole) / max(abs(whole), np.finfo(float).tiny)
    return Scores(influence=-values, half=-half, damping=damping, iterations=permutations, converged=error < 1e-6)
