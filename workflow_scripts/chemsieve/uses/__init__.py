"""Uses (extension point): each module is one way in which the selected pool molecules enter training, a :class:`Use`.

A use decides with what weight, for how many epochs and through which head they do; which molecules they are is decided
by a strategy (:mod:`chemsieve.selection`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

from chemsieve import registry

if TYPE_CHECKING:
    import numpy as np

MIXED = "mixed"  # pool molecules as equals of the target's: of every study, and what the other uses are compared with
AUTO = "auto"  # the value of an option that the closed form chooses

# The option of the uses in which pool molecules have a weight.
WEIGHT: dict = {
    "anyOf": [{"type": "number", "minimum": 0}, {"enum": [AUTO]}],
    "default": AUTO,
    "description": "of a pool molecule's loss, where a target molecule's is 1; auto: chosen in closed form",
}


def _not_needed(*_: Any) -> NoReturn:
    raise LookupError("the use reads a choice of the closed form that it does not ask for")


@dataclass(frozen=True)
class Form:
    """What a use is to the Gaussian process in :mod:`chemsieve.influence.pool_use`; None is what that chooses.

    Attributes:
        weight: noise variance of the target's labels over that of the pool's labels.
        rho: correlation between the target's function and the pool's.
        own: whether the pool's labels have an offset and a scale of their own.
    """

    weight: float | None = 1.0
    rho: float | None = 1.0
    own: bool = False


@dataclass(frozen=True)
class Mixture:
    """How training treats the molecules of two sources; by default all alike.

    Attributes:
        pool: which training molecules are of the pool (n,).
        weights: of each molecule's squared error (n,), with a positive sum; None: all weigh the same.
        own_head: whether the pool's labels have a head, an offset and a scale of their own, which are left out of the
            trained model.
        with_pool: epochs that pool molecules take part in, the first ones; None: all epochs.
    """

    pool: np.ndarray
    weights: np.ndarray | None = None
    own_head: bool = False
    with_pool: int | None = None

    @property
    def plain(self) -> bool:
        """Whether it makes no difference of the sources."""
        return self.weights is None and not self.own_head and self.with_pool is None


@dataclass(frozen=True)
class Given:
    """What a use may read.

    Attributes:
        pool: which training molecules are of the pool (n,).
        epochs: that are trained, at most.
        weight: the weight that the closed form chose for the use.
        preferred: the mixture of the use that the closed form prefers.
        residuals: how badly the label of each pool molecule fits all other molecules (pool,), in standard deviations.
    """

    pool: np.ndarray
    epochs: int
    weight: Callable[[], float] = _not_needed
    preferred: Callable[[], Mixture] = _not_needed
    residuals: Callable[[], np.ndarray] = _not_needed


class Use(Protocol):
    """A module that says how pool molecules enter training.

    ``OPTIONS`` is the JSON Schema of the keyword arguments of its functions. ``NEEDS`` is what it reads of the closed
    form: ``choice``, whatever its options are (an option that is ``auto`` asks for that as well), or ``residuals``.
    """

    OPTIONS: dict
    NEEDS: tuple[str, ...]

    def form(self, **options: Any) -> Form | None:
        """What it is to the closed form; None: nothing that the closed form knows."""

    def mixture(self, given: Given, **options: Any) -> Mixture:
        """How the molecules are trained on."""


def load(name: str) -> Use:
    """The module of one use.

    Raises:
        ChemsieveError: there is no such use.
    """
    return cast("Use", registry.load("uses", name))


def asks(module: str, options: dict[str, Any]) -> bool:
    """Whether a use with these options reads what the closed form chose."""
    use = load(module)
    defaults = {name: rules["default"] for name, rules in use.OPTIONS.items() if "default" in rules}
    return "choice" in use.NEEDS or AUTO in (defaults | options).values()
