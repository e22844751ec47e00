"""The damped Gauss-Newton inverse in closed form, from the Gram matrix of the outputs' gradients.

(G + damping)^-1 v = (v - J^T (K + c I)^-1 J v) / damping with G = (2 / N) J^T J, K = J J^T, c = N damping / 2
(Woodbury's identity). No iteration, so nothing to converge; what remains is rounding and, where K was compressed or
projected, what was left out. Both are measured in the space of the parameters, and can be refined away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chemsieve.influence import Scores

if TYPE_CHECKING:
    from chemsieve.influence import Task

KERNEL = True
OPTIONS: dict = {
    "damping": {
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "description": "null: chosen by cross-validation of the kernel regression on the training molecules",
    },
    "refinements": {
        "type": "integer",
        "minimum": 0,
        "description": "steps of iterative refinement with exact products, each as dear as two training passes",
    },
    "check": {"type": "boolean", "description": "measure the residual with exact products even without refinement"},
}


def score(task: Task, damping: float | None = None, refinements: int = 0, check: bool = True) -> Scores:
    """I(z) on the mean query loss for every pool molecule (n,)."""
    from chemsieve.influence import _kernel

    kernel = task.kernel
    damping = _kernel.damping_or_choice(task.kernel, task.labels, task.seed, damping)
    has_pool = kernel.pool > 0
    scores = _kernel.first_order(kernel, damping) if has_pool else None
    residual, refined = None, None
    if check or refinements or not has_pool:
        residual, refined = _refine(task, damping, refinements)
    if refinements or not has_pool:
        scores = refined()
    return Scores(
        influence=scores,
        damping=damping,
        iterations=refinements,
        converged=True,
        relative_residual=residual,
    )


def _refine(task: Task, damping: float, refinements: int):
    """The relative residual in parameter space after the refinements, and a function that scores the pool with x."""
    import torch
    from scipy.linalg import cho_solve

    from chemsieve.influence import _kernel
    from chemsieve.influence._problem import Molecules

    kernel = task.kernel
    problem, query, pool = task.problem()
    train = problem.train
    t, q, _ = kernel.parts
    a, b = _kernel.dual_solution(kernel, damping)
    both = Molecules([*train.ids, *query.ids], np.concatenate([train.labels, query.labels]))
    constant = kernel.constant(damping)
    factor = _kernel.factor(kernel.matrix[t, t], constant)
    for step in range(refinements + 1):
        x = problem.combination(both, torch.as_tensor(np.concatenate([a, b])))
        # The residual of the dual system, with the true products: what K's errors left undone.
        left = problem.derivatives(x, train).numpy() + constant * a
        if step < refinements:
            a = a - cho_solve(factor, left)
    weights = 2 * kernel.residuals[q] / kernel.query
    # (G + damping) x - v = (2 / N) J^T left
    size = 2 / kernel.train * np.sqrt(max(left @ kernel.matrix[t, t] @ left, 0.0))
    residual = float(size / np.sqrt(weights @ kernel.matrix[q, q] @ weights))
    return residual, lambda: -problem.pool_loss_change(x, pool)
