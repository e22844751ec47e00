"""Shapley values of the pool molecules in the linearised refit: what each adds on average over the groups it may join.

The players are the pool molecules, a coalition joins the training set, its worth is the fall of the mean query loss
after the linearised regressor is refitted (Ghorbani and Zou 2019, 1904.02868, for the game; Wang et al. 2024,
2406.04606, for kernels). Unlike first-order influence it sees redundancy, diminishing returns and outliers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from chemsieve.influence.estimators import Scores

if TYPE_CHECKING:
    from chemsieve.influence.estimators import Task

log = logging.getLogger(__name__)

KERNEL = True
NEEDS_POOL = True
STANDS_IN = "exact"  # what a molecule adds to the training molecules alone, in place of to any group
REPLAYS = False
OPTIONS: dict = {
    "damping": {"type": ["number", "null"], "exclusiveMinimum": 0},
    "permutations": {"type": "integer", "minimum": 4, "description": "at most"},
    "settled": {
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "exclusiveMaximum": 1,
        "description": "expected Spearman correlation with the values of endless permutations that ends them early",
    },
    "query": {
        "enum": ["auto", "validation", "cross_fitted"],
        "default": "auto",
        "description": "whose loss is asked about: that of validation molecules, or held-out errors of training and "
        "validation molecules in five folds; auto: these where there are fewer than 50 validation molecules, which a "
        "choice would overfit",
    },
}


SMALL = 50  # validation molecules below which those of training are asked too


def score(
    task: Task,
    damping: float | None = 1.0,
    permutations: int = 400,
    settled: float | None = 0.99,
    query: str = "auto",
) -> Scores:
    """Minus the Shapley value of every pool molecule (n,), so that positive raises the query loss.

    They have converged where the ranking is settled: what they sum to is exact however few the permutations are.
    """
    from chemsieve.influence.kernel import cross_fitted, damping_or_choice, refit, shapley

    kernel = task.kernel.needs_pool("shapley")
    damping = damping_or_choice(kernel, task.labels, task.seed, damping)
    if query == "cross_fitted" or (query == "auto" and kernel.query < SMALL and kernel.labels is not None):
        log.info("the query is the held-out error of %d training and validation molecules", kernel.train + kernel.query)
        games = [(share, refit(fold, damping)) for share, fold in cross_fitted(kernel, task.seed)]
    else:
        games = [(1.0, refit(kernel, damping))]
    found = shapley(games, permutations, task.seed, settled)
    return Scores(
        influence=-found.values,
        half=-found.half,
        errors=found.errors,
        agreement=found.agreement,
        damping=damping,
        iterations=found.permutations,
        converged=settled is None or found.agreement >= settled,
    )
