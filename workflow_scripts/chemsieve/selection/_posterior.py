"""The Gaussian posterior that label-free strategies choose by: from the Gram matrix, or from embeddings."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from chemsieve.selection import needed
from chemsieve.study.budgets import most

if TYPE_CHECKING:
    from collections.abc import Callable

    from chemsieve.influence.posterior import Posterior, Walk
    from chemsieve.selection import Context

log = logging.getLogger(__name__)

NEEDS = ("gram", "embeddings", "training", "validation", "unlabelled")
OPTIONS: dict = {
    "damping": {
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "description": "null: chosen by cross-validation on the training molecules",
    }
}
SAMPLE = 2000  # training molecules by which the damping of embeddings is chosen, at most


def posterior(context: Context, damping: float | None, seed: int) -> Posterior:
    """Covariances given the training set, at the last kept checkpoint.

    From the Gram matrix where it holds the pool. A pool that is too large for it is described by the outputs of the
    fine-tuned encoder and a constant: gradients of the parameters of a linear head. Its targets are the training and
    validation molecules, and those of ``target.unlabelled``; its ``query`` the validation molecules alone, whose
    errors are known.
    """
    from chemsieve.influence import posterior as posteriors
    from chemsieve.influence.kernel import Kernel, damping_or_choice

    kernel, labels = context.kernels()[-1], context.gram_labels()
    known = len(needed(context.training))
    if kernel.pool:
        damping = damping_or_choice(kernel, labels, seed, damping)
        log.info("posterior from the Gram matrix, damping %g", damping)
        if kernel.train < known:
            log.warning(
                "the Gram matrix holds a sample of %d of the %d training molecules; the posterior knows these alone",
                kernel.train,
                known,
            )
        if context.design_kernel is None:
            return posteriors.of_kernel(kernel, damping)
        design = context.design_kernel()
        log.info("%d molecules of target.unlabelled are among the targets", design.query - kernel.query)
        made = posteriors.of_kernel(design, damping)
        return replace(made, query=made.query[: kernel.query])
    log.warning(
        "the pool is too large for the Gram matrix (influence.gram.largest): it is described by embeddings of the "
        "fine-tuned encoder, which stand for the gradients of a linear head alone"
    )
    train, pool = (_with_constant(rows) for rows in context.embeddings())
    if damping is None:
        targets = needed(context.training)["label"].to_numpy(dtype=float)
        some = np.sort(np.random.default_rng(seed).permutation(known)[:SAMPLE])
        rows, standardised = train[some], (targets[some] - targets.mean()) / targets.std()
        damping = damping_or_choice(Kernel(rows @ rows.T, np.zeros(len(some)), len(some), 0), standardised, seed, None)
    log.info("posterior from embeddings, damping %g", damping)
    query = _with_constant(context.validation_embeddings())
    if context.unlabelled_embeddings is None:
        return posteriors.of_features(train, query, pool, damping)
    more = _with_constant(context.unlabelled_embeddings())
    made = posteriors.of_features(train, np.concatenate([query, more]), pool, damping)
    return replace(made, query=made.query[: len(query)])


def _with_constant(rows: np.ndarray) -> np.ndarray:
    return np.column_stack([rows.astype(np.float64), np.ones(len(rows))])


def chosen(context: Context, gain: Callable[[Walk], np.ndarray], damping: float | None, seed: int) -> np.ndarray:
    """Scores of a greedy batch as large as the budget asks for: see :func:`chemsieve.influence.posterior.greedy`."""
    from chemsieve.influence.posterior import greedy

    start = posterior(context, damping, seed)
    budget = context.budget or {}
    floor = budget.get("threshold", budget.get("magnitude", -np.inf))
    return greedy(start, gain, most(context.budget, len(start.own)), floor, context.available)
