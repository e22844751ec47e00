"""How a pool is best used beside the target's own molecules, in closed form: by leave-one-out error on the target.

The regressor that is linearised at a checkpoint is a Gaussian process whose covariance is the Gram matrix K (see
:mod:`chemsieve.influence.posterior`). Molecules of two sources have the covariance K * [[1, rho], [rho, 1]]: the
target's function and the pool's have the correlation rho (intrinsic coregionalisation: Alvarez, Rosasco and Lawrence
2012, 10.1561/2200000036). Labels have the noise variance c of the target, and c / w of the pool, so that w is the
weight of a pool molecule's squared error; the pool's labels may have an offset, estimated by generalised least squares.
What any of it is worth is the error on each target molecule given all other molecules of both sources, which follows
from one inverse (Rasmussen and Williams 2006, 5.4.2; with an offset Dubrule 1983, 10.1007/BF01033232).

Everything here is numpy in float64. No label of a test molecule is among its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular

from chemsieve.errors import InfluenceDivergence
from chemsieve.uses import Form

WEIGHTS = tuple(float(10**power) for power in np.arange(-2, 1.01, 0.25))
NORMAL_MEDIAN = 0.4549364231195724  # median of the square of a standard normal number
SETTLED = 1e-3  # of weights
CORRELATIONS = tuple(float(step) / 20 for step in range(-20, 21))


@dataclass(frozen=True)
class Sources:
    """Molecules of target and pool.

    Attributes:
        target: kernel of the target's molecules (t, t).
        cross: of target and pool (t, p), p at least 1.
        pool: of the pool (p, p).
        target_labels: (t,), standardised.
        pool_labels: (p,), standardised as the target's are.
        own_labels: (p,), standardised by their own mean and scale.
        noise: c, the variance of the target's noise in units of the prior's.
    """

    target: np.ndarray
    cross: np.ndarray
    pool: np.ndarray
    target_labels: np.ndarray
    pool_labels: np.ndarray
    own_labels: np.ndarray
    noise: float

    def labels(self, form: Form) -> np.ndarray:
        """The pool's labels (p,) as a use sees them."""
        return self.own_labels if form.own else self.pool_labels


@dataclass(frozen=True)
class Fit:
    """A use with all its parameters.

    Attributes:
        offset: of the pool's labels, in their standardised units; None where there is none.
        residuals: label less prediction of each target molecule (t,), given all molecules but itself.
    """

    weight: float
    rho: float
    offset: float | None
    residuals: np.ndarray

    @property
    def rmse(self) -> float:
        """Leave-one-out error on the target's molecules."""
        return float(np.sqrt(np.mean(self.residuals**2)))


@dataclass(frozen=True)
class Choice:
    """The parameters of a use with the lowest leave-one-out error, and that error beside them.

    Attributes:
        weights, correlations: error at each value that was tried, the other parameter being the best there.
    """

    best: Fit
    weights: dict[float, float]
    correlations: dict[float, float]


def choose(sources: Sources, forms: Mapping[str, Form]) -> dict[str, Choice]:
    """The best parameters of each use, by name.

    A weight is one of :data:`WEIGHTS`, a correlation one of :data:`CORRELATIONS`; of equals the first.

    Raises:
        InfluenceDivergence: the noise is too small for the precision of the matrix.
    """
    base = _factor(sources.target, sources.noise)
    wanted = {name: WEIGHTS if form.weight is None else (form.weight,) for name, form in forms.items()}
    fits: dict[str, list[Fit]] = {name: [] for name in forms}
    # One decomposition for each weight serves all uses and all correlations.
    for weight in sorted({weight for weights in wanted.values() for weight in weights}):
        given = _GivenPool(sources, base, weight)
        for name, form in forms.items():
            if weight in wanted[name]:
                fits[name] += [given.fit(form, rho) for rho in (CORRELATIONS if form.rho is None else (form.rho,))]
    return {name: _choice(found) for name, found in fits.items()}


def _choice(fits: list[Fit]) -> Choice:
    weights: dict[float, float] = {}
    correlations: dict[float, float] = {}
    for fit in fits:
        weights[fit.weight] = min(fit.rmse, weights.get(fit.weight, np.inf))
        correlations[fit.rho] = min(fit.rmse, correlations.get(fit.rho, np.inf))
    return Choice(min(fits, key=lambda fit: fit.rmse), weights, dict(sorted(correlations.items())))


class _GivenPool:
    """The target's molecules given the pool's, at one weight and any correlation.

    Given the pool, the target's covariance is S = K_tt + c - rho^2 M with M = K_tp (K_pp + c / w)^-1 K_pt: S is the
    block of the whole inverse's inverse that leave-one-out errors need. M is diagonalised in units of K_tt + c.
    """

    def __init__(self, sources: Sources, base: np.ndarray, weight: float):
        self.sources, self.weight = sources, weight
        t, p = sources.cross.shape
        if weight == 0:  # infinite noise
            self.lower, self.rows = None, np.zeros((p, t))
        else:
            self.lower = _factor(sources.pool, sources.noise / weight)
            self.rows = solve_triangular(self.lower, sources.cross.T, lower=True)
        turned = solve_triangular(base, self.rows.T, lower=True)
        self.values, vectors = eigh(turned @ turned.T)
        self.directions = solve_triangular(base, vectors, lower=True, trans=1)

    def _through_pool(self, right: np.ndarray) -> np.ndarray:
        """L^-1 ``right`` (p,), L the factor of the pool's covariance."""
        return np.zeros(len(right)) if self.lower is None else solve_triangular(self.lower, right, lower=True)

    def fit(self, form: Form, rho: float) -> Fit:
        """The use at a correlation."""
        gains = 1 / (1 - rho**2 * self.values)

        def solved(right: np.ndarray) -> np.ndarray:
            return self.directions @ (gains * (self.directions.T @ right))

        seen = self._through_pool(self.sources.labels(form))
        left = solved(self.sources.target_labels - rho * (self.rows.T @ seen))
        diagonal = self.directions**2 @ gains
        offset = None
        if form.own and self.lower is not None:
            ones = self._through_pool(np.ones(len(seen)))
            reached = rho * (self.rows.T @ ones)
            known = solved(reached)
            information = ones @ ones + reached @ known
            offset = float((ones @ seen - reached @ left) / information)
            left = left + known * offset
            diagonal = diagonal - known**2 / information
        return Fit(self.weight, rho, offset, left / diagonal)


def standardised_residuals(sources: Sources, freedom: float = 4.0, rounds: int = 20) -> np.ndarray:
    """Label less prediction of each pool molecule given all others of both sources (p,), in standard deviations.

    Under Student's t noise of the pool's labels with ``freedom`` degrees of freedom, so that a wrong label does not
    make its neighbours look wrong: weights 1 / (1 + z^2 / freedom) and residuals z follow from each other in turn. A
    molecule is judged by the noise of the target, whatever its own weight. The prior's variance is that at which the
    median of the squared residuals of all molecules is that of a normal distribution.
    """
    t, p = sources.cross.shape
    matrix = np.block([[sources.target, sources.cross], [sources.cross.T, sources.pool]])
    labels = np.concatenate([sources.target_labels, sources.pool_labels])
    weights, squares = np.ones(t + p), np.zeros(t + p)
    for _ in range(rounds):
        noise = sources.noise / weights
        triangle = _factor(matrix, noise)
        inverse_root = solve_triangular(triangle, np.eye(t + p), lower=True)
        inverse = inverse_root.T @ inverse_root
        variances = 1 / np.diag(inverse)
        left = (inverse @ labels) * variances
        squares = left**2 / (variances - noise + sources.noise)
        squares /= np.median(squares) / NORMAL_MEDIAN
        before, weights = weights, np.ones(t + p)
        weights[t:] = 1 / (1 + squares[t:] / freedom)
        if np.abs(weights - before).max() < SETTLED:
            break
    return np.sign(left[t:]) * np.sqrt(squares[t:])


def _factor(matrix: np.ndarray, noise: float | np.ndarray) -> np.ndarray:
    damped = matrix.copy()
    damped[np.diag_indices_from(damped)] += noise
    try:
        return cholesky(damped, lower=True)
    except np.linalg.LinAlgError:
        raise InfluenceDivergence(
            "pool_use: the damped Gram matrix is not positive definite in the precision at hand; raise the damping"
        ) from None
