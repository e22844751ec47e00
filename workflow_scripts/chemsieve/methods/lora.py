"""LoRA: a trained low-rank update beside frozen dense layers (Hu et al. 2022, 2106.09685), through peft.

The second factor starts at zero, so that training starts from the encoder's own predictions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chemsieve.methods._parts import HEAD, TARGETS, freeze, module_names, train_head

if TYPE_CHECKING:
    from chemsieve.models.regressor import Regressor

OPTIONS: dict = {
    **HEAD,
    "rank": {"type": "integer", "minimum": 1},
    "alpha": {"type": "number", "exclusiveMinimum": 0},
    "dropout": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    "targets": TARGETS,
}


def apply(
    model: Regressor,
    rank: int = 8,
    alpha: float = 16,
    dropout: float = 0.0,
    targets: tuple[str, ...] = ("query", "key", "value", "intermediate"),
    head: str = "all",
) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    names = module_names(model.encoder, list(targets))
    freeze(model)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # peft only divides it by the rank
        lora_dropout=dropout,
        target_modules=names,
    )
    inject_adapter_in_model(config, model.encoder)
    train_head(model, head)
