"""Fine-tuning methods (extension point): each module is one, a :class:`Method`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from chemsieve import registry

if TYPE_CHECKING:
    from chemsieve.models.regressor import Regressor


class Method(Protocol):
    """A module that says which parameters of a regressor training may change.

    ``OPTIONS`` is the JSON Schema of the keyword arguments of ``apply``.
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
