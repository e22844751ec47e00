"""Fine-tuning methods (extension point): each module is one, a :class:`Method`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from chemsieve import registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from chemsieve.models.regressor import Regressor

    Finish = Callable[..., dict[str, Any]]


class Method(Protocol):
    """A module that says which parameters of a regressor training may change.

    It may have a function ``finish`` too, which is called after training: see :func:`finishing`.

    ``OPTIONS`` is the JSON Schema of the keyword arguments of ``apply``. Where some of them decide what others there
    are, a module has a function ``narrowed`` too, of an entry and its place in the configuration, which gives the
    schema for that entry.
    """

    OPTIONS: dict

    def apply(self, model: Regressor, **options: Any) -> None:
        """Freeze, unfreeze or inject parameters in place."""


def load(name: str) -> Method:
    """The module of one method.

    Raises:
        ChemsieveError: there is no such method.
    """
    return cast("Method", registry.load("methods", name))


def finishing(name: str) -> Finish | None:
    """What a method does after training, with the keyword arguments of its ``apply``; None: nothing.

    It takes the regressor, which it changes in place, the encoder's parameters before training, by name below it, and a
    function for the validation RMSE of the regressor as it is. It gives facts for ``run.json``.
    """
    return getattr(load(name), "finish", None)
