"""Greedy selection of a group in the linearised refit: each next molecule is the best given those already chosen.

The scores only express the order: a molecule's expected gain is how many were left when it was chosen, as a fraction
of the pool, positive while the query loss still fell and negative after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chemsieve.influence.estimators import Scores

if TYPE_CHECKING:
    from chemsieve.influence.estimators import Task

KERNEL = True
NEEDS_POOL = True
REPLAYS = False
OPTIONS: dict = {"damping": {"type": ["number", "null"], "exclusiveMinimum": 0}}


def score(task: Task, damping: float | None = 1.0) -> Scores:
    """Minus the place in the greedy order (n,)."""
    from chemsieve.influence.kernel import damping_or_choice, greedy, refit

    damping = damping_or_choice(task.kernel, task.labels, task.seed, damping)
    order, falls = greedy(refit(task.kernel.needs_pool("greedy"), damping))
    n = len(order)
    helpful = int((falls > 0).sum()) if (falls <= 0).any() else n
    gain = np.empty(n)
    gain[order] = (helpful - np.arange(n) - 0.5) / n
    return Scores(influence=-gain, damping=damping, iterations=n, converged=True)
