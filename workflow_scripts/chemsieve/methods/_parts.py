"""What the fine-tuning methods share: the head's policy, and the names of an encoder's dense layers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    from torch import nn

    from chemsieve.models.regressor import Regressor

HEAD = {
    "head": {
        "enum": ["all", "bias", "none"],
        "default": "all",
        "description": "which parameters of the regression head are trained",
    }
}

SHARED = "shared_adapter"  # name below the encoder of what adapted layers share

# MoLFormer and the BERT-like families of transformers name their dense layers alike.
ROLES = {
    "query": r"attention\.self\.query",
    "key": r"attention\.self\.key",
    "value": r"attention\.self\.value",
    "attention_output": r"attention\.output\.dense",
    "intermediate": r"intermediate\.dense",
    "output": r"(?<!attention\.)output\.dense",
}
TARGETS = {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"enum": list(ROLES)}}


def freeze(model: nn.Module) -> None:
    """Make every parameter constant."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def train_head(model: Regressor, policy: str) -> None:
    """Let training change all of the head (``all``), the bias of its last layer, or nothing (``none``)."""
    if model.head_inputs is not None:
        model.head_inputs.requires_grad_(policy == "all")
    model.head.weight.requires_grad_(policy == "all")
    model.head.bias.requires_grad_(policy in ("all", "bias"))


def module_names(encoder: nn.Module, roles: list[str]) -> list[str]:
    """Full names of the dense layers that play the given roles, in the encoder's order.

    Raises:
        ChemsieveError: a role has no layer in this encoder.
    """
    from torch import nn

    linear = [name for name, module in encoder.named_modules() if isinstance(module, nn.Linear)]
    chosen = set()
    for role in roles:
        found = [name for name in linear if re.search(rf"(^|\.)layer\.\d+\.(.*\.)?{ROLES[role]}$", name)]
        if not found:
            raise ChemsieveError(f"this encoder has no layer for the target {role!r}")
        chosen.update(found)
    return [name for name in linear if name in chosen]
