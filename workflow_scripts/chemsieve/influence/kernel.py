"""What follows from a Gram matrix alone: influence at any damping, refits with any group, Shapley values.

The regressor is linearised in its parameters around a checkpoint: f(x) + J(x) delta. With r = f - y on N training
molecules and the objective (1/N) |r + J delta|^2 + (damping/2) |delta|^2, all inverses are those of K + c I with
c = N damping / 2, K = J J^T: the damped Gauss-Newton inverse is (v - J^T (K + c I)^-1 J v) / damping exactly
(Woodbury). Everything here is numpy in float64 on the function side; no parameter vector appears.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigvalsh, solve_triangular
from scipy.stats import rankdata

from chemsieve.errors import ChemsieveError, InfluenceDivergence
from chemsieve.runtime.processes import progress

if TYPE_CHECKING:
    import pandas as pd


ALLOWANCE = 2  # for errors of the Gram matrix that are not independent of each other
Factor = tuple[np.ndarray, bool]  # a Cholesky factor as scipy has it: the triangle, and whether it is the lower one


@dataclass(frozen=True)
class Kernel:
    """Gram matrix (n, n) of training, query and pool molecules in this order, and residuals f - y (n,).

    Residuals of pool molecules without a label are not a number, and so is all that would follow from them. The matrix
    must not be changed: :meth:`solve` keeps a factor of it. ``labels`` are the standardised labels of all (n,), where
    they are known.
    """

    matrix: np.ndarray
    residuals: np.ndarray
    train: int
    query: int
    labels: np.ndarray | None = None
    _factors: dict[float, Factor] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        known = self.residuals[: self.train + self.query]
        if not np.isfinite(self.matrix).all() or not np.isfinite(known).all() or np.isinf(self.residuals).any():
            raise InfluenceDivergence("influence: the Gram matrix or a residual is not finite")

    @property
    def pool(self) -> int:
        """Pool molecules; none where the pool is too large for a matrix."""
        return len(self.matrix) - self.train - self.query

    def needs_pool(self, who: str) -> "Kernel":
        """This kernel.

        Raises:
            ChemsieveError: it has no pool.
        """
        if not self.pool:
            raise ChemsieveError(
                f"influence.estimators.{who}: it needs the pool in the Gram matrix; raise gram.largest"
            )
        return self

    @property
    def parts(self) -> tuple[slice, slice, slice]:
        """Where training, query and pool molecules stand."""
        return (
            slice(0, self.train),
            slice(self.train, self.train + self.query),
            slice(self.train + self.query, len(self.matrix)),
        )

    def constant(self, damping: float) -> float:
        """c = N damping / 2."""
        return self.train * damping / 2

    def solve(self, damping: float, right: np.ndarray) -> np.ndarray:
        """(K + c I)^-1 ``right`` over the training molecules, for ``right`` (train,) or (train, columns).

        The Cholesky factor is kept until another damping is asked for.

        Raises:
            InfluenceDivergence: the damping is too small for the precision of the matrix.
        """
        if damping not in self._factors:
            t, _, _ = self.parts
            self._factors.clear()
            self._factors[damping] = factor(self.matrix[t, t], self.constant(damping))
        return cho_solve(self._factors[damping], right)


def factor(matrix: np.ndarray, constant: float) -> Factor:
    """Cholesky factor of ``matrix`` + ``constant`` I.

    Raises:
        InfluenceDivergence: rounding makes it indefinite, so that the damping is too small for these numbers.
    """
    damped = matrix.copy()
    damped[np.diag_indices_from(damped)] += constant
    try:
        return cho_factor(damped, lower=True, overwrite_a=True)
    except np.linalg.LinAlgError:
        raise InfluenceDivergence(
            "influence: the damped Gram matrix is not positive definite in the precision at hand; raise the damping"
        ) from None


def inverse_products(kernel: Kernel, damping: float) -> np.ndarray:
    """J_z (G + damping)^-1 J_q^T for every pool molecule z and query molecule q: (pool, query)."""
    t, q, z = kernel.parts
    solved = kernel.solve(damping, kernel.matrix[t, q])
    return (kernel.matrix[z, q] - kernel.matrix[z, t] @ solved) / damping


def per_query(kernel: Kernel, damping: float) -> np.ndarray:
    """I_q(z) = -grad L(q)^T (G + damping)^-1 grad L(z) for each query molecule's own loss: (pool, query)."""
    _, q, z = kernel.parts
    return -4 * kernel.residuals[z, None] * inverse_products(kernel, damping) * kernel.residuals[None, q]


def cross_fitted(kernel: Kernel, seed: int, folds: int = 5) -> list[tuple[float, Kernel]]:
    """Kernels in which each fold of the target's molecules, training and query, is the query, and the rest trains.

    A query set of a few molecules is overfitted by what is chosen with it; held-out errors of all labelled molecules of
    the target ask the same question of more. The checkpoint's own outputs have seen the training labels: its kernel
    serves as features here, and the linearised model begins at nothing, as in :func:`choose_damping`.

    Returns:
        The share of each fold and its kernel, with the same pool.

    Raises:
        ChemsieveError: the labels are not known.
    """
    if kernel.labels is None:
        raise ChemsieveError("influence: the Gram matrix has no labels of its molecules; make it anew")
    known, n = kernel.train + kernel.query, len(kernel.matrix)
    made = []
    for held in np.array_split(np.random.default_rng(seed).permutation(known), min(folds, known)):
        rest = np.setdiff1d(np.arange(known), held)
        order = np.concatenate([rest, held, np.arange(known, n)])
        labels = kernel.labels[order]
        made.append(
            (len(held) / known, Kernel(kernel.matrix[np.ix_(order, order)], -labels, len(rest), len(held), labels))
        )
    return made


def first_order(kernel: Kernel, damping: float) -> np.ndarray:
    """I(z) on the mean query loss (pool,): positive raises it."""
    return per_query(kernel, damping).mean(axis=1)


def dual_solution(kernel: Kernel, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (train,), (query,) of x = (G + damping)^-1 v = J_train^T a + J_query^T b.

    v is the gradient of the mean query loss.
    """
    t, q, _ = kernel.parts
    weights = 2 * kernel.residuals[q] / kernel.query
    solved = kernel.solve(damping, kernel.matrix[t, q] @ weights)
    return -solved / damping, weights / damping


def query_gradient_norm(kernel: Kernel) -> float:
    """|v|, v the gradient of the mean query loss."""
    _, q, _ = kernel.parts
    weights = 2 * kernel.residuals[q] / kernel.query
    return float(np.sqrt(max(weights @ kernel.matrix[q, q] @ weights, 0.0)))


def residual_norm(kernel: Kernel, left: np.ndarray) -> float:
    """|(G + damping) x - v| = |(2 / N) J^T left|, where ``left`` (train,) is what the dual system leaves."""
    t, _, _ = kernel.parts
    return float(2 / kernel.train * np.sqrt(max(left @ kernel.matrix[t, t] @ left, 0.0)))


def estimated_residual(kernel: Kernel, damping: float, error: float) -> float:
    """About what relative residual |(G + damping) x - v| / |v| errors of the Gram matrix leave; costs no pass.

    Args:
        error: |K - K_exact| / |K| (Frobenius), as :class:`chemsieve.influence.gram.Gram` has it.

    An entry's errors are taken as independent and of one size s = error |K| / n, so that each training molecule's
    equation is off by s |(a, b)| with a, b the dual solution. Errors of a compressed matrix are not independent: at
    large dampings they add up to twice as much, which the factor here allows for, at small ones to less.
    """
    norm = query_gradient_norm(kernel)
    if error == 0 or norm == 0:
        return 0.0
    n = kernel.train + kernel.query
    solution = np.concatenate(dual_solution(kernel, damping))
    off = error * np.linalg.norm(kernel.matrix[:n, :n]) / n * np.linalg.norm(solution)
    trace = np.trace(kernel.matrix[: kernel.train, : kernel.train])
    return float(ALLOWANCE * 2 / kernel.train * off * np.sqrt(max(trace, 0.0)) / norm)


@dataclass(frozen=True)
class Refit:
    """The linearised model after a refit on the training set: what is left to learn from the pool.

    ``pool`` (pool, pool) and ``cross`` (pool, query) are the kernel given the training set; ``pool_residuals`` and
    ``query_residuals`` are f - y after the refit; ``constant`` is c.
    """

    pool: np.ndarray
    cross: np.ndarray
    pool_residuals: np.ndarray
    query_residuals: np.ndarray
    constant: float

    @property
    def loss(self) -> float:
        """Mean query loss with no pool molecule added."""
        return float(np.mean(self.query_residuals**2))


def refit(kernel: Kernel, damping: float) -> Refit:
    """Condition the linearised model on the training set."""
    t, q, z = kernel.parts
    others = np.r_[q, z]
    gain = kernel.solve(damping, kernel.matrix[t][:, others])
    left = kernel.matrix[np.ix_(others, others)] - kernel.matrix[others][:, t] @ gain
    residuals = kernel.residuals[others] - gain.T @ kernel.residuals[t]
    m = kernel.query
    return Refit(left[m:, m:], left[m:, :m], residuals[m:], residuals[:m], kernel.constant(damping))


def group_effect(model: Refit, group: Sequence[int]) -> float:
    """Change of the mean query loss when the pool molecules at ``group`` join the training set; negative helps."""
    chosen = np.asarray(group, dtype=int)
    if len(chosen) == 0:
        return 0.0
    solved = cho_solve(factor(model.pool[np.ix_(chosen, chosen)], model.constant), model.pool_residuals[chosen])
    return float(np.mean((model.query_residuals - model.cross[chosen].T @ solved) ** 2)) - model.loss


@dataclass(frozen=True)
class ShapleyValues:
    """Shapley values (pool,), positive helps, and their sampling error.

    ``errors`` are standard errors (pool,), ``half`` the values from half the permutations, ``agreement`` the Spearman
    correlation that the values are expected to have with those of endless permutations; not a number where half of
    them say nothing about the ranking. ``permutations`` were made.
    """

    values: np.ndarray
    errors: np.ndarray
    half: np.ndarray
    agreement: float
    permutations: int


LEAST_PAIRS = 10  # of permutations, before a ranking counts as settled


def shapley(
    model: Refit | Sequence[tuple[float, Refit]], permutations: int, seed: int, settled: float | None = None
) -> ShapleyValues:
    """Shapley values of the pool molecules in the game *fall of the mean query loss after the refit with a group*.

    One Cholesky factor of the kernel in a permuted order gives the loss after every prefix: the players' marginal
    contributions are averaged over random permutations and their reverses (Mitchell et al. 2022, 2104.12199). The
    values sum to the effect of the whole pool, exactly, for any number of permutations.

    Pairs of a permutation and its reverse are independent of each other: standard errors are those of the mean over
    pairs. The agreement follows from that of two halves of the pairs (Spearman 1910 and Brown 1910, for the reliability
    of the whole; its root is the correlation with what the whole estimates).

    Args:
        model: one, or several with their weights: the game is then the weighted sum of theirs, whose values are the
            weighted sums of the values.
        permutations: at most; pairs, and two at least.
        settled: the agreement at which no more are made; None: all are.
    """
    games = [(1.0, model)] if isinstance(model, Refit) else list(model)
    n = len(games[0][1].pool)
    generator = np.random.default_rng(seed)
    halves, squares = np.zeros((2, n)), np.zeros(n)
    pairs = max(-(-permutations // 2), 2)
    agreement, made = np.nan, 0
    for pair in progress(range(pairs), "permutations", pairs):
        order = generator.permutation(n)
        gains = np.zeros(n)
        for players in (order, order[::-1]):
            for weight, game in games:
                gains[players] += weight * marginal_gains(game, players) / 2
        halves[pair % 2] += gains
        squares += gains**2
        made = pair + 1
        if made >= 2:
            agreement = _expected_agreement(halves)
        if settled is not None and made >= LEAST_PAIRS and agreement >= settled:
            break
    values = halves.sum(0) / made
    variances = np.maximum(squares / made - values**2, 0) * made / (made - 1)
    return ShapleyValues(values, np.sqrt(variances / made), halves[0] / -(-made // 2), agreement, 2 * made)


def _expected_agreement(halves: np.ndarray) -> float:
    """Expected rank correlation of the sum of two halves (2, n) with what both estimate."""
    ranks = rankdata(halves, axis=1)
    if not np.ptp(ranks, axis=1).all():
        return np.nan
    between = max(float(np.corrcoef(ranks)[0, 1]), 0.0)
    return float(np.sqrt(2 * between / (1 + between)))


def marginal_gains(model: Refit, order: np.ndarray) -> np.ndarray:
    """Fall of the mean query loss as each pool molecule joins, in the given order: (pool,)."""
    lower, _ = factor(model.pool[np.ix_(order, order)], model.constant)  # the upper triangle is never read
    both = np.column_stack([model.cross[order], model.pool_residuals[order]])
    whitened = solve_triangular(lower, both, lower=True, check_finite=False, overwrite_b=True)
    # Each new molecule moves the query residuals by its own whitened row times its own whitened residual.
    moves = whitened[:, :-1] * whitened[:, -1:]
    residuals = model.query_residuals - np.cumsum(moves, axis=0)
    losses = np.concatenate([[model.loss], np.mean(residuals**2, axis=1)])
    return losses[:-1] - losses[1:]


def greedy(model: Refit, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Forward selection: at each step the pool molecule whose joining lowers the mean query loss most.

    Returns:
        Positions in the order of choice (count,), and the fall of the loss at each choice; falls become negative when
        no molecule helps any more, and the least harmful is taken.
    """
    pool, cross = model.pool.copy(), model.cross.copy()
    residuals, query = model.pool_residuals.copy(), model.query_residuals.copy()
    n = len(pool)
    free = np.ones(n, dtype=bool)
    order, falls = [], []
    for _ in progress(range(n if count is None else count), "choices"):
        step = residuals / (np.diag(pool) + model.constant)
        # mean (query - cross step)^2 - mean query^2, for all candidates at once
        change = np.mean(cross**2, axis=1) * step**2 - 2 * step * (cross @ query) / len(query)
        best = int(np.argmin(np.where(free, change, np.inf)))
        order.append(best)
        falls.append(-change[best])
        free[best] = False
        row, across = pool[best].copy(), cross[best].copy()
        share = row / (row[best] + model.constant)
        query -= across * step[best]
        residuals -= row * step[best]
        cross -= np.outer(share, across)
        pool -= np.outer(share, row)
    return np.array(order), np.array(falls)


def leverage(model: Refit) -> np.ndarray:
    """Leverage of each pool molecule if it joined: k / (k + c) with k its kernel given the training set, in 0 to 1."""
    own = np.diag(model.pool)
    return own / (own + model.constant)


def self_influence(model: Refit) -> np.ndarray:
    """Influence of each pool molecule on its own loss after the refit: large where its label fits nothing else."""
    return model.pool_residuals**2 * np.diag(model.pool) / model.constant


DAMPINGS = tuple(float(f"1e{power}") for power in range(-4, 3))
_SAFETY = 4  # times the rounding of the matrix that a chosen damping must exceed


def choose_damping(
    kernel: Kernel, labels: np.ndarray, dampings: Sequence[float] = DAMPINGS, folds: int = 5, seed: int = 0
) -> tuple[float, np.ndarray]:
    """The damping whose linearised model predicts held-out training molecules best (k-fold cross-validation).

    Each fold's labels (standardised, (train,)) are predicted by kernel regression on the others': the checkpoint's own
    outputs have seen the labels, its kernel serves as features. A damping that rounding errors of the matrix may
    outweigh, so that its system could not be solved, is never chosen.

    Returns:
        The damping, and the mean squared error (dampings,).
    """
    t, _, _ = kernel.parts
    matrix = kernel.matrix[t, t]
    places = np.array_split(np.random.default_rng(seed).permutation(kernel.train), folds)
    errors = np.zeros(len(dampings))
    for held in places:
        rest = np.setdiff1d(np.arange(kernel.train), held)
        values, vectors = np.linalg.eigh(matrix[np.ix_(rest, rest)])
        across, target = matrix[np.ix_(held, rest)] @ vectors, vectors.T @ labels[rest]
        for position, damping in enumerate(dampings):
            predicted = across @ (target / (np.maximum(values, 0) + len(rest) * damping / 2))
            errors[position] += np.sum((predicted - labels[held]) ** 2)
    errors /= kernel.train
    # The smallest eigenvalue of an exact Gram matrix is not negative: how far it is measures the rounding.
    rounding = -float(eigvalsh(matrix, subset_by_index=(0, 0))[0])
    safe = [i for i, damping in enumerate(dampings) if kernel.constant(damping) > _SAFETY * rounding]
    best = min(safe, key=errors.__getitem__) if safe else int(np.argmax(dampings))
    return dampings[best], errors


def damping_or_choice(kernel: Kernel, labels: np.ndarray, seed: int, damping: float | None) -> float:
    """The configured damping, or the chosen one where none is configured."""
    return choose_damping(kernel, labels, seed=seed)[0] if damping is None else damping


def pairs(kernel: Kernel, pool: Sequence[str], query: Sequence[str], damping: float) -> "pd.DataFrame":
    """``influence`` of each pool molecule (``molecule_id``) on each query molecule's own loss (``query_id``)."""
    import pandas as pd

    index = pd.MultiIndex.from_product([pool, query], names=["molecule_id", "query_id"])
    return pd.DataFrame({"influence": per_query(kernel, damping).ravel()}, index=index).reset_index()


def per_query_table(
    kernel: Kernel, labels: np.ndarray, pool: Sequence[str], query: Sequence[str], damping: float | None, seed: int
) -> "pd.DataFrame":
    """The table ``influence_per_query``: one row per pool molecule and query molecule.

    It also holds the leverage and the self-influence of each pool molecule, which do not depend on the query.

    Raises:
        ChemsieveError: the kernel has no pool, or its pool has no labels.
    """
    import pandas as pd

    kernel.needs_pool("exact")
    if np.isnan(kernel.residuals).any():
        raise ChemsieveError("influence_per_query: pool.labels is unlabelled, and influence is that of a label")
    damping = damping_or_choice(kernel, labels, seed, damping)
    model = refit(kernel, damping)
    own = pd.DataFrame(
        {"residual": model.pool_residuals, "leverage": leverage(model), "self_influence": self_influence(model)},
        index=list(pool),
    )
    return pairs(kernel, pool, query, damping).join(own, on="molecule_id").assign(damping=damping)
