"""Influence scores of a pool, with the diagnostics that say whether to believe them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chemsieve import registry
from chemsieve.errors import InfluenceDivergence
from chemsieve.runtime.processes import peak_memory_mb

if TYPE_CHECKING:
    from collections.abc import Callable

    from chemsieve.influence._kernel import Kernel
    from chemsieve.influence._problem import Molecules, Problem


COMPARED = 100  # pool molecules whose scores are compared with those of half the iterations


def from_kernel(
    kernel: Kernel,
    labels: np.ndarray,
    facts: dict,
    load_problem: Callable[[], tuple[Problem, Molecules, Molecules]],
    estimator: str,
    options: dict,
    tolerance: float,
    seed: int,
) -> tuple[np.ndarray, dict]:
    """Scores by an estimator that works on the Gram matrix, and its diagnostics, as :func:`from_model`.

    Args:
        labels, facts: of the training molecules and of the kernel, as ``_gramfile`` gives them.
        load_problem: gives problem (with all training molecules), query and pool, where an estimator asks.
    """
    from chemsieve.influence import Task
    from chemsieve.influence._kernel import estimated_residual

    began = time.perf_counter()
    task = Task(kernel, labels, seed, load_problem, facts["all_train"], facts["error"], tolerance)
    scores = registry.load("influence", estimator).score(task, **options)
    if not np.isfinite(scores.influence).all():
        raise InfluenceDivergence(f"influence: a score of {estimator} is not finite; raise its damping")
    measured, estimate = scores.relative_residual, estimated_residual(kernel, scores.damping, facts["error"])
    diagnostics = {
        "failure": None,
        "solver": scores.solver,
        "curvature": "gauss_newton",
        "curvature_molecules": scores.curvature_molecules or kernel.train,
        "relative_residual": measured,
        "estimated_residual": estimate,
        "iterations": scores.iterations,
        "attempts": None,
        "converged": bool(scores.converged and (estimate if measured is None else measured) <= tolerance),
        "damping": scores.damping,
        "effective_damping": scores.damping,
        "scale": None,
        "largest_eigenvalue": facts["largest_eigenvalue"],
        "spearman_vs_half": None if scores.half is None else _spearman(scores.influence, scores.half),
        "spearman_vs_last": None,  # known when all checkpoints are: the table has it
        "gram_error": facts["error"],
        "seconds": facts["seconds"] + time.perf_counter() - began,
        "peak_memory_mb": max(facts["peak_memory_mb"], peak_memory_mb()),
    }
    return scores.influence, diagnostics


def _spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman correlation; None where a side is constant."""
    correlation = pd.Series(a).rank().corr(pd.Series(b).rank())
    return None if np.isnan(correlation) else float(correlation)


def from_model(
    problem: Problem, query: Molecules, pool: Molecules, estimator: str, options: dict, tolerance: float
) -> tuple[np.ndarray, dict]:
    """I(z) = -grad L(query)^T H^-1 grad L(z) for each pool molecule z: (n,), positive raises the query's loss.

    One inverse-Hessian-vector product for the gradient of the mean query loss, then one directional derivative per
    batch of the pool.

    Returns:
        The scores, and the diagnostics of ``influence_diagnostics`` (without the identifying columns).

    Raises:
        InfluenceDivergence: a recursion diverged or a number is not finite.
    """
    from chemsieve.influence._problem import check_finite

    began = time.perf_counter()
    vector = problem.gradient(query)
    solver = registry.load("influence", estimator)
    solution = solver.solve(problem, vector, **options)
    check_finite(solution.x, f"the solution of {estimator}")
    relative = solution.relative_residual
    if relative is None:
        relative = problem.relative_residual(solution.x, solution.effective_damping, vector, solver.CURVATURE)
    scores = -problem.pool_loss_change(solution.x, pool)
    agreement = None
    if solution.half is not None:
        some = np.sort(np.random.default_rng(problem.seed).permutation(len(pool))[:COMPARED])
        agreement = _spearman(scores[some], -problem.loss_change(solution.half, pool.take(some)))
    eigenvalue = problem.largest_eigenvalue(vector)
    if not np.isfinite(scores).all():
        check_finite(solution.x.new_tensor(scores), "a score")
    diagnostics = {
        "failure": None,
        "solver": "iteration",
        "curvature": solver.CURVATURE,
        "curvature_molecules": len(problem.train),
        "relative_residual": relative,
        "estimated_residual": None,
        "iterations": solution.iterations,
        "attempts": "; ".join(solution.attempts) or None,
        "converged": relative <= tolerance,
        "damping": float(options["damping"]),
        "effective_damping": solution.effective_damping,
        "scale": solution.scale,
        "largest_eigenvalue": eigenvalue,
        "spearman_vs_half": agreement,
        "spearman_vs_last": None,  # known when all checkpoints are: the table has it
        "gram_error": None,
        "seconds": time.perf_counter() - began,
        "peak_memory_mb": peak_memory_mb(),
    }
    return scores, diagnostics
