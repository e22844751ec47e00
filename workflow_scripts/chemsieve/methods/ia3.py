"""(IA)3: trained scaling vectors on keys, values and the feed-forward activations (Liu et al. 2022, 2205.05638).

Keys and values are scaled at their output, the feed-forward layer at the input of its second dense layer or the
output of its first, as ``targets`` and ``feedforward`` say; the vectors start at one. Through peft.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError
from chemsieve.methods._parts import HEAD, TARGETS, freeze, module_names, train_head

if TYPE_CHECKING:
    from chemsieve.models.regressor import Regressor

OPTIONS: dict = {
    **HEAD,
    "targets": TARGETS,
    "feedforward": {
        "type": "array",
        "uniqueItems": True,
        "items": TARGETS["items"],
        "description": "targets whose input is scaled, not their output",
    },
}


def apply(
    model: Regressor,
    targets: tuple[str, ...] = ("key", "value", "intermediate"),
    feedforward: tuple[str, ...] = (),
    head: str = "all",
) -> None:
    from peft import IA3Config, inject_adapter_in_model

    if unused := [role for role in feedforward if role not in targets]:
        raise ChemsieveError(f"ia3: feedforward names {unused[0]!r}, which is not among the targets {list(targets)}")
    names = module_names(model.encoder, list(targets))
    inputs = module_names(model.encoder, list(feedforward)) if feedforward else []
    freeze(model)
    inject_adapter_in_model(IA3Config(target_modules=names, feedforward_modules=inputs), model.encoder)
    train_head(model, head)
