"""Influence estimators (extension point): each module is one way to score a pool, and is one of three kinds.

A :class:`Solver` applies an inverse Hessian to one vector of parameters; the pool is then scored by one directional
derivative per batch. A :class:`KernelEstimator` works on the Gram matrix of the gradients, which is computed once per
checkpoint for all such estimators. A :class:`TrainingEstimator` makes trainings that go on from the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from chemsieve import registry

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from chemsieve.influence.continuation import Continuation
    from chemsieve.influence.kernel import Kernel
    from chemsieve.influence.problem import Molecules, Problem


@dataclass
class Solution:
    """An approximate solution x of (C + damping) x = v, with C the solver's curvature matrix.

    ``half`` is the iterate at about half the iterations, for a check of convergence. ``relative_residual`` is that of
    x, where the solver has measured it. ``attempts`` says in words what was tried, and what came of it.
    """

    x: Tensor
    half: Tensor | None
    iterations: int
    effective_damping: float
    scale: float | None = None
    relative_residual: float | None = None
    attempts: tuple[str, ...] = ()


@dataclass
class Task:
    """What an estimator on the Gram matrix may use; ``labels`` are the kernel's training molecules', standardised.

    ``gram_error`` is the matrix's relative error, ``tolerance`` the relative residual at which a solution is one.

    ``problem`` loads the model, with all training molecules, when called: most estimators never need it. ``train`` is
    their number where the kernel covers only a sample of them, the one that ``problem.sample`` takes.
    """

    kernel: Kernel
    labels: np.ndarray
    seed: int
    problem: Callable[[], tuple[Problem, Molecules, Molecules]]  # with query and pool
    train: int | None = None
    gram_error: float = 0.0
    tolerance: float = 0.05

    @property
    def sampled(self) -> bool:
        """Whether the kernel covers only a sample of the training molecules."""
        return self.train is not None and self.train > self.kernel.train


@dataclass
class Scores:
    """Scores of the pool (n,), positive raises the query loss, and what is known of their error.

    ``damping`` is missing where there is no matrix to damp.

    ``errors`` are standard errors of scores that are means over random draws, and ``agreement`` is the rank correlation
    that they are expected to have with the means of endless draws. ``half`` are scores from about half the work.
    ``curvature_molecules`` is how many training molecules define the curvature, where that is not the kernel's.
    """

    influence: np.ndarray
    damping: float | None
    iterations: int
    converged: bool
    half: np.ndarray | None = None
    errors: np.ndarray | None = None
    agreement: float | None = None
    relative_residual: float | None = None
    solver: str = "closed form"
    curvature_molecules: int | None = None


class KernelEstimator(Protocol):
    """A module that scores the pool from the Gram matrix.

    ``OPTIONS`` is the JSON Schema of the keyword arguments of ``score``. ``NEEDS_POOL``: the pool must be in the Gram
    matrix, so that a pool that is too large for it is refused before anything is trained. ``STANDS_IN``, where there is
    one, names the estimator that scores such a pool in its place, at the same damping.
    """

    OPTIONS: dict
    KERNEL: Literal[True]
    NEEDS_POOL: bool
    REPLAYS: Literal[False]

    def score(self, task: Task, **options: Any) -> Scores:
        """Scores of the pool, and the damping that they were made with."""


class Solver(Protocol):
    """A module that solves for one vector of parameters.

    ``OPTIONS`` is the JSON Schema of the keyword arguments of ``solve``. ``CURVATURE`` says whose inverse it applies,
    and on that matrix its residual is taken.
    """

    OPTIONS: dict
    KERNEL: Literal[False]
    NEEDS_POOL: Literal[False]
    REPLAYS: Literal[False]
    CURVATURE: Literal["hessian", "gauss_newton"]

    def solve(self, problem: Problem, vector: Tensor, **options: Any) -> Solution:
        """An approximate solution of (C + damping) x = ``vector``."""


def stand_in(name: str, pool_inside: bool) -> str | None:
    """The estimator that scores in place of one that needs the pool in the Gram matrix, where it is not; or None."""
    module = load(name)
    return getattr(module, "STANDS_IN", None) if module.NEEDS_POOL and not pool_inside else None


class TrainingEstimator(Protocol):
    """A module that scores the pool from trainings with it.

    ``OPTIONS`` is the JSON Schema of the keyword arguments of ``score``; its ``replay`` names the section of the
    configuration whose ``training`` these trainings follow.
    """

    OPTIONS: dict
    KERNEL: Literal[False]
    NEEDS_POOL: Literal[False]
    REPLAYS: Literal[True]

    def score(self, continuation: Continuation, **options: Any) -> Scores:
        """Scores of the pool."""


def load(name: str) -> KernelEstimator | Solver | TrainingEstimator:
    """The module of one estimator; ``KERNEL`` and ``REPLAYS`` say of which kind it is.

    Raises:
        ChemsieveError: there is no such estimator.
    """
    return cast("KernelEstimator | Solver | TrainingEstimator", registry.load("influence.estimators", name))
