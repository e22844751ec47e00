"""Influence scores of a pool, with the diagnostics that say whether to believe them."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from chemsieve.errors import InfluenceDivergence
from chemsieve.influence import estimators
from chemsieve.influence.estimators import Task
from chemsieve.runtime.processes import peak_memory_mb

if TYPE_CHECKING:
    from collections.abc import Callable

    from chemsieve.influence.continuation import Continuation
    from chemsieve.influence.estimators import KernelEstimator, Solution
    from chemsieve.influence.kernel import Kernel
    from chemsieve.influence.problem import Molecules, Problem


log = logging.getLogger(__name__)

COMPARED = 100  # pool molecules whose scores are compared with those of half the iterations


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """A row of the table ``influence_diagnostics``, without the identifying columns."""

    failure: str | None = None  # the row of an estimator that failed is made in aggregation.py
    solver: str
    curvature: str | None
    curvature_molecules: int | None
    relative_residual: float | None
    estimated_residual: float | None = None
    iterations: int
    attempts: str | None = None
    converged: bool
    damping: float | None
    effective_damping: float | None
    scale: float | None = None
    largest_eigenvalue: float | None
    spearman_vs_half: float | None
    expected_agreement: float | None = None
    spearman_vs_last: float | None = None  # added to the table once the scores of all checkpoints are known
    gram_error: float | None = None
    seconds: float
    peak_memory_mb: float


def from_kernel(
    kernel: Kernel,
    labels: np.ndarray,
    facts: dict[str, Any],
    load_problem: Callable[[], tuple[Problem, Molecules, Molecules]],
    estimator: str,
    options: dict[str, Any],
    tolerance: float,
    seed: int,
) -> tuple[np.ndarray, dict[str, Any], np.ndarray | None]:
    """Scores by an estimator that works on the Gram matrix, and its diagnostics, as :func:`from_model`.

    Third come the scores' standard errors (n,), of an estimator that has them.

    Args:
        labels, facts: of the training molecules and of the kernel, as ``gramfile`` gives them.
        load_problem: gives problem (with all training molecules), query and pool, where an estimator asks.
    """
    from chemsieve.influence.kernel import estimated_residual

    began = time.perf_counter()
    module = estimators.load(estimator)
    if not module.KERNEL:
        raise TypeError(f"{estimator} does not work on the Gram matrix")
    task = Task(kernel, labels, seed, load_problem, facts["all_train"], facts["error"], tolerance)
    other = estimators.stand_in(estimator, bool(kernel.pool))
    if other is None:
        scores = module.score(task, **options)
    else:
        log.warning(
            "the pool has no room in the Gram matrix (influence.gram.largest): %s is scored by %s", estimator, other
        )
        kept = {name: value for name, value in options.items() if name == "damping"}
        scores = cast("KernelEstimator", estimators.load(other)).score(task, **kept)
        scores.solver = f"{other} in place of {estimator}: {scores.solver}"
    if not np.isfinite(scores.influence).all():
        raise InfluenceDivergence(f"influence: a score of {estimator} is not finite; raise its damping")
    damping = cast("float", scores.damping)  # every solution with the matrix has one
    measured, estimate = scores.relative_residual, estimated_residual(kernel, damping, facts["error"])
    diagnostics = Diagnostics(
        solver=scores.solver,
        curvature="gauss_newton",
        curvature_molecules=scores.curvature_molecules or kernel.train,
        relative_residual=measured,
        estimated_residual=estimate,
        iterations=scores.iterations,
        converged=bool(scores.converged and (estimate if measured is None else measured) <= tolerance),
        damping=scores.damping,
        effective_damping=scores.damping,
        largest_eigenvalue=facts["largest_eigenvalue"],
        spearman_vs_half=None if scores.half is None else _spearman(scores.influence, scores.half),
        expected_agreement=_finite(scores.agreement),
        gram_error=facts["error"],
        seconds=facts["seconds"] + time.perf_counter() - began,
        peak_memory_mb=max(facts["peak_memory_mb"], peak_memory_mb()),
    )
    return scores.influence, asdict(diagnostics), scores.errors


def from_model(
    problem: Problem, query: Molecules, pool: Molecules, estimator: str, options: dict[str, Any], tolerance: float
) -> tuple[np.ndarray, dict[str, Any]]:
    """I(z) = -grad L(query)^T H^-1 grad L(z) for each pool molecule z: (n,), positive raises the query's loss.

    One inverse-Hessian-vector product for the gradient of the mean query loss, then one directional derivative per
    batch of the pool.

    Returns:
        The scores, and the diagnostics of ``influence_diagnostics`` (without the identifying columns).

    Raises:
        InfluenceDivergence: a recursion diverged or a number is not finite.
    """
    import torch

    from chemsieve.influence.problem import check_finite

    began = time.perf_counter()
    module = estimators.load(estimator)
    if module.KERNEL or module.REPLAYS:
        raise TypeError(f"{estimator} solves for no vector of parameters")
    vector = problem.gradient(query)
    solution = module.solve(problem, vector, **options)
    check_finite(solution.x, f"the solution of {estimator}")
    relative = solution.relative_residual
    if relative is None:
        relative = problem.relative_residual(solution.x, solution.effective_damping, vector, module.CURVATURE)
    scores = -problem.pool_loss_change(solution.x, pool)
    agreement = _agreement_with_half(problem, solution, pool, scores)
    eigenvalue = problem.largest_eigenvalue(vector)
    check_finite(torch.as_tensor(scores), "a score")
    diagnostics = Diagnostics(
        solver="iteration",
        curvature=module.CURVATURE,
        curvature_molecules=len(problem.train),
        relative_residual=relative,
        iterations=solution.iterations,
        attempts="; ".join(solution.attempts) or None,
        converged=relative <= tolerance,
        damping=float(options["damping"]),
        effective_damping=solution.effective_damping,
        scale=solution.scale,
        largest_eigenvalue=eigenvalue,
        spearman_vs_half=agreement,
        seconds=time.perf_counter() - began,
        peak_memory_mb=peak_memory_mb(),
    )
    return scores, asdict(diagnostics)


def from_training(
    continuation: Continuation, estimator: str, options: dict[str, Any]
) -> tuple[np.ndarray, dict[str, Any], np.ndarray | None]:
    """Scores by an estimator that makes trainings with the pool, its diagnostics, and standard errors.

    All as :func:`from_kernel` has them.

    Raises:
        InfluenceDivergence: a number is not finite.
    """
    began = time.perf_counter()
    module = estimators.load(estimator)
    if module.KERNEL or not module.REPLAYS:
        raise TypeError(f"{estimator} replays no training")
    scores = module.score(continuation, **options)
    if not np.isfinite(scores.influence).all():
        raise InfluenceDivergence(f"influence: a score of {estimator} is not finite; lower the learning rate")
    diagnostics = Diagnostics(
        solver=scores.solver,
        curvature=None,
        curvature_molecules=scores.curvature_molecules,
        relative_residual=scores.relative_residual,
        iterations=scores.iterations,
        converged=scores.converged,
        damping=scores.damping,
        effective_damping=scores.damping,
        largest_eigenvalue=None,
        spearman_vs_half=None if scores.half is None else _spearman(scores.influence, scores.half),
        seconds=time.perf_counter() - began,
        peak_memory_mb=peak_memory_mb(),
    )
    return scores.influence, asdict(diagnostics), scores.errors


def _agreement_with_half(problem: Problem, solution: Solution, pool: Molecules, scores: np.ndarray) -> float | None:
    """Spearman correlation with the scores of half the iterations, on a sample; None where there are none."""
    if solution.half is None:
        return None
    some = np.sort(np.random.default_rng(problem.seed).permutation(len(pool))[:COMPARED])
    return _spearman(scores[some], -problem.loss_change(solution.half, pool.take(some)))


def _finite(value: float | None) -> float | None:
    """None in place of what is not a number: a table has it as missing."""
    return None if value is None or np.isnan(value) else float(value)


def _spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman correlation; None where a side is constant."""
    correlation = pd.Series(a).rank().corr(pd.Series(b).rank())
    return _finite(correlation)
