"""Influence scores of a pool, with the diagnostics that say whether to believe them."""

import time

import numpy as np
import pandas as pd

from chemsieve import registry
from chemsieve.influence._problem import Molecules, Problem, check_finite
from chemsieve.processes import peak_memory_mb


def influence(
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
    began = time.perf_counter()
    vector = problem.gradient(query)
    solution = registry.load("influence", estimator).solve(problem, vector, **options)
    check_finite(solution.x, f"the solution of {estimator}")
    residual = problem.gauss_newton_product(solution.x) + solution.effective_damping * solution.x - vector
    relative = float(residual.norm() / vector.norm())
    scores = -problem.loss_change(solution.x, pool)
    agreement = None
    if solution.half is not None:
        half = -problem.loss_change(solution.half, pool)
        correlation = pd.Series(scores).rank().corr(pd.Series(half).rank())  # Spearman
        agreement = None if np.isnan(correlation) else float(correlation)
    eigenvalue = problem.largest_eigenvalue(vector)
    if not np.isfinite(scores).all():
        check_finite(solution.x.new_tensor(scores), "a score")
    diagnostics = {
        "relative_residual": relative,
        "iterations": solution.iterations,
        "converged": relative <= tolerance,
        "damping": float(options["damping"]),
        "effective_damping": solution.effective_damping,
        "scale": solution.scale,
        "largest_eigenvalue": eigenvalue,
        "spearman_vs_half": agreement,
        "seconds": time.perf_counter() - began,
        "peak_memory_mb": peak_memory_mb(),
    }
    return scores, diagnostics
