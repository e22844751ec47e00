"""Parts of a regressor whose gradients may stand for all."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    from torch import nn

SUBSETS = {"all": "*", "attention": "*.attention.*", "head": "head.*"}


def restrict(model: nn.Module, subset: str) -> None:
    """Leave only the parameters of a subset trainable.

    Raises:
        ChemsieveError: the model has none of them.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and fnmatchcase(name, SUBSETS[subset]))
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ChemsieveError(f"influence.parameters: this regressor trains no parameter of the {subset}")
