"""Predictive variances of the linearised model, and what measuring a molecule does to them; no label is asked for.

With weights that are Gaussian a priori and independent noise, the regressor that is linearised at a checkpoint is a
Gaussian process whose covariance is the Gram matrix K. Given N training molecules, the covariance of its outputs is
K - K_t^T (K_tt + c I)^-1 K_t with c = N damping / 2, the noise's variance in units of the prior's: the same system as
that of influence. Measuring one more molecule changes it by a product of two vectors, whatever its label will be.
Everything is numpy in float64; variances are in units of the prior's, unless they are scaled.

Sources: MacKay 1992 (10.1162/neco.1992.4.4.590); Yu, Bi and Tresp 2006 (10.1145/1143844.1143980) for the greedy batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky, qr, solve_triangular

from chemsieve.influence.kernel import Kernel, factor
from chemsieve.runtime.processes import progress

TIED = 1e-9  # relative difference below which two candidates are taken for equal, and the earlier one is chosen


@dataclass(frozen=True)
class Posterior:
    """Covariances given the training set, of the targets (training and query molecules) and the pool.

    Args:
        cross: (k, pool), whose columns have the products with each other that the targets' covariances have: those
            covariances themselves, or k numbers that stand for more targets than that.
        own: variances of the pool molecules (pool,).
        row: covariances (pool,) of the pool molecule at a position with all.
        targets: how many there are.
        total: sum of their variances.
        query: variances of the query molecules (query,).
        constant: c, the noise's variance.
    """

    cross: np.ndarray
    own: np.ndarray
    row: Callable[[int], np.ndarray]
    targets: int
    total: float
    query: np.ndarray
    constant: float


def of_kernel(kernel: Kernel, damping: float) -> Posterior:
    """From a Gram matrix that holds the pool.

    Raises:
        InfluenceDivergence: the damping is too small for the precision of the matrix.
    """
    t, q, z = kernel.parts
    constant = kernel.constant(damping)
    triangle = factor(kernel.matrix[t, t], constant)
    whitened = solve_triangular(triangle[0], kernel.matrix[t, q.start :], lower=True, check_finite=False)
    of_query, of_pool = whitened[:, : kernel.query], whitened[:, kernel.query :]
    # K - K (K + c)^-1 K = c (K + c)^-1 K: on training molecules the right side is not a difference of large numbers.
    known = constant * cho_solve(triangle, kernel.matrix[t, t.start : q.start])
    known_pool = constant * cho_solve(triangle, kernel.matrix[t, z])
    query = np.diag(kernel.matrix)[q] - np.sum(of_query**2, axis=0)
    return Posterior(
        cross=np.concatenate([known_pool, kernel.matrix[q, z] - of_query.T @ of_pool]),
        own=np.diag(kernel.matrix)[z] - np.sum(of_pool**2, axis=0),
        row=lambda place: kernel.matrix[z.start + place, z] - of_pool[:, place] @ of_pool,
        targets=kernel.train + kernel.query,
        total=float(np.trace(known) + query.sum()),
        query=query,
        constant=constant,
    )


def of_features(train: np.ndarray, query: np.ndarray, pool: np.ndarray, damping: float) -> Posterior:
    """From gradients, or other features, of training, query and pool molecules: (train, d), (query, d), (pool, d).

    The same as with the Gram matrix of all, in memory that grows with the pool and not with its square.
    """
    constant = len(train) * damping / 2
    precision = train.T @ train
    precision[np.diag_indices_from(precision)] += constant
    # The weights' covariance is c (F^T F + c)^-1 = R R^T: features times R have it as their products.
    root = np.sqrt(constant) * solve_triangular(cholesky(precision, lower=True), np.eye(len(precision)), lower=True).T
    targets = np.concatenate([train, query]) @ root
    rows = pool @ root
    few = qr(targets, mode="r")[0][: min(targets.shape)] if len(targets) > targets.shape[1] else targets
    return Posterior(
        cross=few @ rows.T,
        own=np.sum(rows**2, axis=1),
        row=lambda place: rows @ rows[place],
        targets=len(targets),
        total=float(np.sum(targets**2)),
        query=np.sum(targets[len(train) :] ** 2, axis=1),
        constant=constant,
    )


class Walk:
    """A posterior while pool molecules are measured, one after the other.

    Args:
        start: before any is.
        most: how many may be, at most; the memory for them is taken as it is needed.

    Attributes:
        own: variances of the pool molecules now (pool,).
        falls: what measuring each would take off the targets' summed variance (pool,).
        total: that sum now.
        constant: the noise's variance.
    """

    def __init__(self, start: Posterior, most: int):
        self._start, self._most, self._taken = start, most, 0
        self.constant = start.constant
        self.own = start.own.copy()
        self.total = start.total
        self._squares = np.einsum("ij,ij->j", start.cross, start.cross)
        room = min(most, 64)
        self._moves = np.empty((room, len(start.own)))  # what each choice took off, as a factor of its square
        self._target_moves = np.empty((room, len(start.cross)))

    @property
    def falls(self) -> np.ndarray:
        return self._squares / (self.own + self._start.constant)

    def take(self, place: int) -> float:
        """Measure the pool molecule at ``place``: what it takes off the targets' summed variance."""
        start, k = self._start, self._taken
        if k == len(self._moves):
            self._moves, self._target_moves = (_longer(rows, self._most) for rows in (self._moves, self._target_moves))
        before, targets_before = self._moves[:k], self._target_moves[:k]
        deviation = np.sqrt(self.own[place] + start.constant)
        move = (start.row(place) - before[:, place] @ before) / deviation
        target_move = (start.cross[:, place] - before[:, place] @ targets_before) / deviation
        along = target_move @ start.cross - (targets_before @ target_move) @ before
        fall = float(target_move @ target_move)
        self._squares = np.maximum(self._squares - 2 * move * along + fall * move**2, 0)
        self.own = np.maximum(self.own - move**2, 0)
        self.total -= fall
        self._moves[k], self._target_moves[k] = move, target_move
        self._taken += 1
        return fall


def _longer(rows: np.ndarray, most: int) -> np.ndarray:
    longer = np.empty((min(2 * len(rows), most), rows.shape[1]))
    longer[: len(rows)] = rows
    return longer


def falls(walk: Walk) -> np.ndarray:
    """What measuring each pool molecule takes off the targets' summed variance (pool,)."""
    return walk.falls


def information(walk: Walk) -> np.ndarray:
    """What each measurement tells of the weights, in nats (pool,): half the logarithm of 1 + variance / noise."""
    return np.log1p(walk.own / walk.constant) / 2


def greedy(
    start: Posterior,
    gain: Callable[[Walk], np.ndarray],
    count: int,
    floor: float = -np.inf,
    available: np.ndarray | None = None,
) -> np.ndarray:
    """Choose ``count`` pool molecules, at each step the one of the largest ``gain``; of equals the first of the file.

    Choosing ends where no gain reaches ``floor``. Where not all may be chosen, ``available`` (pool,) says which.

    Returns:
        One score per pool molecule (pool,), which sorts them in the order of choice: the gain at the moment of choice,
        or the smallest so far where a later one was larger. Those that no choice was made of have their gain at the
        end, below all others.
    """
    walk, n = Walk(start, count), len(start.own)
    scores, last = np.empty(n), np.inf
    taken = np.zeros(n, dtype=bool)
    may = np.ones(n, dtype=bool) if available is None else available
    for _ in progress(range(min(count, int(may.sum()))), "choices"):
        gains = np.where(may & ~taken, gain(walk), -np.inf)
        best = gains.max()
        if best < floor:
            break
        place = int(np.argmax(gains >= best - TIED * abs(best)))
        last = min(float(gains[place]), np.nextafter(last, -np.inf))
        scores[place], taken[place] = last, True
        walk.take(place)
    scores[~taken] = np.minimum(gain(walk)[~taken], np.nextafter(last, -np.inf))
    return scores


def along(start: Posterior, order: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """The pool molecules at ``order``, measured one after the other.

    Returns:
        The summed variance of the targets before the first and after each (k + 1,), and each molecule's own variance
        just before it is measured (k,).
    """
    places = list(order)
    walk = Walk(start, len(places))
    totals, own = [walk.total], []
    for place in places:
        own.append(walk.own[place])
        walk.take(place)
        totals.append(walk.total)
    return np.maximum(totals, 0), np.array(own)


def prior_variance(start: Posterior, residuals: np.ndarray) -> float:
    """The prior's variance, in squared units of the residuals, at which errors are as large as they are expected to be.

    Args:
        residuals: f - y of the query molecules (query,).

    The mean of squared residuals over predictive variances, noise included, is then 1.
    """
    return float(np.mean(residuals**2 / (start.query + start.constant)))
