"""Full fine-tuning: every parameter is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chemsieve.models.regressor import Regressor

OPTIONS: dict = {}


def apply(model: Regressor) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(True)
