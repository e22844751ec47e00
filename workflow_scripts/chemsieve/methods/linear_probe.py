"""Linear probing: the head alone is trained, on an encoder that stays as it is (Alain and Bengio 2016, 1610.01644).

Whatever fine-tuning is worth is what it gains over this. A support vector machine on the same encoder's output is the
descriptor model ``{model: svr, features: [embeddings]}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chemsieve.methods._parts import freeze, train_head

if TYPE_CHECKING:
    from chemsieve.models.regressor import Regressor

OPTIONS: dict = {}


def apply(model: Regressor) -> None:
    freeze(model)
    train_head(model, "all")
