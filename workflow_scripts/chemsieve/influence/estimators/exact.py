"""The damped Gauss-Newton inverse in closed form, from the Gram matrix of the outputs' gradients.

(G + damping)^-1 v = (v - J^T (K + c I)^-1 J v) / damping with G = (2 / N) J^T J, K = J J^T, c = N damping / 2
(Woodbury's identity). No iteration, so nothing to converge; what remains is rounding and, where K was compressed or
projected, what was left out. Both can be measured in the space of the parameters, and refined away.

Where the training set is larger than ``influence.gram.largest``, K covers a sample of it and preconditions conjugate
gradients over all (:mod:`chemsieve.influence.landmarks`); and so it does where what K leaves out is too much for the
damping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from chemsieve.errors import InfluenceDivergence
from chemsieve.influence.estimators import Scores

if TYPE_CHECKING:
    from chemsieve.influence.estimators import Task

KERNEL = True
NEEDS_POOL = False  # a pool outside the Gram matrix is scored with the model
REPLAYS = False
ROUNDING = 1e-6  # relative error of a matrix of single-precision products
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
    "check": {
        "type": ["boolean", "null"],
        "description": "measure the residual with exact products even without refinement; null: where its estimate "
        "from the matrix's error is above the tolerance, and go on by conjugate gradients where the residual is too",
    },
    "iterations": {
        "type": "integer",
        "minimum": 1,
        "description": "at most so many conjugate gradient steps, where the matrix is not enough",
    },
    "tolerance": {"type": "number", "exclusiveMinimum": 0, "description": "relative residual at which they stop"},
}


def score(
    task: Task,
    damping: float | None = None,
    refinements: int = 0,
    check: bool | None = None,
    iterations: int = 30,
    tolerance: float = 0.01,
) -> Scores:
    """I(z) on the mean query loss for every pool molecule (n,)."""
    from chemsieve.influence.kernel import damping_or_choice, estimated_residual, first_order

    kernel = task.kernel
    damping = damping_or_choice(kernel, task.labels, task.seed, damping)
    if task.sampled:
        return _iterate(task, damping, iterations, tolerance)
    measured = bool(check or refinements or not kernel.pool)
    if check is None and not measured:
        measured = estimated_residual(kernel, damping, task.gram_error) > task.tolerance
    if not measured:
        return Scores(first_order(kernel, damping), damping, iterations=0, converged=True)
    residual, refined = _refine(task, damping, refinements)
    if check is None and residual > task.tolerance:
        return _iterate(task, damping, iterations, tolerance)
    return Scores(
        influence=first_order(kernel, damping) if kernel.pool and not refinements else refined(),
        damping=damping,
        iterations=refinements,
        converged=True,
        relative_residual=residual,
    )


def _iterate(task: Task, damping: float, iterations: int, tolerance: float) -> Scores:
    """Scores with the true curvature of all training molecules, those of the matrix as landmarks."""
    from chemsieve.influence import landmarks

    problem, query, pool = task.problem()
    t, _, _ = task.kernel.parts
    matrix = task.kernel.matrix[t, t]
    system = problem, problem.sample(len(matrix)), matrix, problem.gradient(query), damping, iterations, tolerance
    try:
        solution, residual = landmarks.solve(*system)
    except InfluenceDivergence:
        # What the matrix leaves out is more than the damping; a preconditioner that allows for it needs more steps.
        left_out = max(task.gram_error, ROUNDING) * float(np.linalg.norm(task.kernel.matrix))
        solution, residual = landmarks.solve(*system, slack=2 / len(matrix) * left_out)
    return Scores(
        influence=-problem.pool_loss_change(solution.x, pool),
        damping=damping,
        iterations=solution.iterations,
        converged=True,
        relative_residual=residual,
        solver="preconditioned conjugate gradients",
        curvature_molecules=len(problem.train),
    )


def _refine(task: Task, damping: float, refinements: int) -> tuple[float, Callable[[], np.ndarray]]:
    """The relative residual in parameter space after the refinements, and a function that scores the pool with x."""
    import torch

    from chemsieve.influence.kernel import dual_solution, query_gradient_norm, residual_norm
    from chemsieve.influence.problem import Molecules

    kernel = task.kernel
    problem, query, pool = task.problem()
    train = problem.train
    a, b = dual_solution(kernel, damping)
    both = Molecules.joined([train, query])
    for step in range(refinements + 1):
        x = problem.combination(both, torch.as_tensor(np.concatenate([a, b])))
        # The residual of the dual system, with the true products: what K's errors left undone.
        left = problem.derivatives(x, train).numpy() + kernel.constant(damping) * a
        if step < refinements:
            a = a - kernel.solve(damping, left)
    residual = residual_norm(kernel, left) / query_gradient_norm(kernel)
    return residual, lambda: -problem.pool_loss_change(x, pool)
