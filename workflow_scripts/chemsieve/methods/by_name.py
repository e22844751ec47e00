"""Freezing by name: patterns say which parameters are trained, and which of these are not after all.

``*`` stands for any characters, dots included. Names are those of PyTorch below the regressor:
``encoder.embeddings.*``, ``encoder.encoder.layer.0.*``, ``*.attention.*``, ``*.bias``, ``head.*``.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    from chemsieve.models.regressor import Regressor

_PATTERNS = {"type": "array", "uniqueItems": True, "items": {"type": "string", "minLength": 1}}
OPTIONS: dict = {
    "train": _PATTERNS | {"minItems": 1, "default": ["*"], "description": "patterns of names of parameters to train"},
    "freeze": _PATTERNS | {"default": [], "description": "patterns of those among them to leave as they are"},
}


def apply(model: Regressor, train: Sequence[str] = ("*",), freeze: Sequence[str] = ()) -> None:
    names = [name for name, _ in model.named_parameters()]
    trained = _matching("train", train, names) - _matching("freeze", freeze, names)
    if not trained:
        raise ChemsieveError(f"by_name: freeze, {', '.join(freeze)}, leaves no parameter to train")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)


def _matching(option: str, patterns: Sequence[str], names: list[str]) -> set[str]:
    """Names that match one of the patterns.

    Raises:
        ChemsieveError: a pattern matches none.
    """
    found: set[str] = set()
    for pattern in patterns:
        matched = {name for name in names if fnmatchcase(name, pattern)}
        if not matched:
            near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.0)
            raise ChemsieveError(f"by_name: {option}: {pattern!r} matches no parameter; one is named {near[0]!r}")
        found |= matched
    return found
