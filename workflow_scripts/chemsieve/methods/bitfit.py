"""BitFit: only the biases are trained (Ben Zaken et al. 2022, 2106.10199)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chemsieve.methods._parts import HEAD, freeze, train_head

if TYPE_CHECKING:
    from chemsieve.models.regressor import Regressor

OPTIONS: dict = {**HEAD}


def apply(model: Regressor, head: str = "all") -> None:
    freeze(model)
    for name, parameter in model.encoder.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    train_head(model, head)
