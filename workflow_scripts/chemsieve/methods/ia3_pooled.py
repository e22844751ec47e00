"""(IA)3 on the pooled output alone: one trained scaling vector between the encoder and the head.

The published (IA)3 (Liu et al. 2022, 2205.05638) scales keys, values and the feed-forward activations of every block;
this is the smallest thing of its kind, ``hidden_size`` parameters, and leaves the encoder as it is. The vector starts
at one, so that training starts from the model's own predictions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chemsieve.methods._parts import HEAD, freeze, train_head

if TYPE_CHECKING:
    from chemsieve.models.regressor import Regressor

OPTIONS: dict = {**HEAD}


def apply(model: Regressor, head: str = "all") -> None:
    freeze(model)
    model.scale_pooled()
    train_head(model, head)
