"""Regression: fine-tune a regressor on labelled molecules."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from chemsieve.errors import ChemsieveError
from chemsieve.models import tokenization
from chemsieve.models.prediction import predict_averaged, randomiser
from chemsieve.models.random_smiles import SmilesRandomiser
from chemsieve.models.regressor import Regressor
from chemsieve.training.batches import RegressionCollator
from chemsieve.training.curriculum import DIFFICULTIES
from chemsieve.training.epochs import Outcome, Settings, fit
from chemsieve.training.head_start import HeadStart, train_head
from chemsieve.training.loop import Conditions

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labelled:
    """SMILES as the encoder reads them, and a label for each, in the label's own units."""

    smiles: Sequence[str]
    labels: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame) -> Labelled:
        """The molecules of a table ``labelled``."""
        return cls(list(table["encoder_smiles"]), table["label"].to_numpy())


class RandomisingCollator:
    """As :class:`RegressionCollator`, of examples ``{"smiles", "label"}``, each time with other randomised SMILES."""

    def __init__(self, randomiser: SmilesRandomiser, pad_id: int):
        self.randomiser, self.plain = randomiser, RegressionCollator(pad_id)

    def __call__(self, examples: list[dict]) -> dict[str, Tensor]:
        seeds = torch.randint(2**31 - 1, (len(examples),)).tolist()
        rows = self.randomiser.randomise([example["smiles"] for example in examples], seeds)
        return self.plain([{"input_ids": ids, "label": e["label"]} for ids, e in zip(rows, examples, strict=True)])


def fine_tune(
    model: Regressor,
    tokenizer: Tokenizer,
    train: Labelled,
    validation: Labelled,
    settings: Settings,
    conditions: Conditions,
    trained_head: bool = False,
    common: int | None = None,
) -> Outcome:
    """Fine-tune ``model`` by mean squared error on standardised labels; the best validation epoch is restored.

    Mean and standard deviation come from the training labels alone. A run that was killed goes on from the state in
    ``conditions.saves``.

    Args:
        trained_head: whether the head already predicts: another standardisation then leaves its predictions alone, and
            it gets no epochs of its own.
        common: the first so many molecules of ``train`` are in all of several trainings that are compared, and that
            are to differ in nothing but the others.

    Returns:
        The outcome; the curve has ``validation_loss`` (standardised) and ``validation_rmse`` (label units).

    Raises:
        ChemsieveError: the training labels are all the same, or the training diverged.
    """
    mean, scale = float(np.mean(train.labels)), float(np.std(train.labels))
    if not scale > 0:
        raise ChemsieveError("all training labels are the same: there is nothing to learn")
    model.to(conditions.device)
    (model.change_label_scale if trained_head else model.set_label_scale)(mean, scale)
    pad_id = tokenization.special_id(tokenizer, "pad")
    if model.head_inputs is not None and not trained_head:
        model.head_inputs.standardise(tokenization.encode(tokenizer, train.smiles))
    examples = _examples(tokenizer, train.smiles, (np.asarray(train.labels) - mean) / scale)
    randomised = randomiser(model, tokenizer)
    began = time.perf_counter()
    if settings.head_epochs and not trained_head:
        labels = torch.tensor([example["label"] for example in examples], device=conditions.device)
        train_head(
            model, [row["input_ids"] for row in examples], labels, _head_start(settings), pad_id, conditions.seed
        )
    before = time.perf_counter() - began
    collate = RandomisingCollator(randomised, pad_id) if settings.randomise else RegressionCollator(pad_id)
    validation_rows = randomised.several(validation.smiles, settings.writings)

    def validate() -> dict[str, float]:
        predicted = predict_averaged(model, validation_rows, settings.draws, pad_id, conditions.device)
        mse = float(np.mean((predicted - validation.labels) ** 2))
        return {"validation_loss": mse / scale**2, "validation_rmse": math.sqrt(mse)}

    difficulty = [DIFFICULTIES[settings.curriculum](one) for one in examples] if settings.curriculum else None
    with conditions.followed(settings, model):
        outcome = fit(model, examples, collate, squared_error, validate, settings, conditions, difficulty, common)
    outcome.seconds += before
    constant = float(np.mean((np.asarray(validation.labels) - mean) ** 2)) / scale**2
    if outcome.best_loss > constant:
        log.warning(
            "the validation loss, %.3g, is above the %.3g of predicting the training mean: this run learned nothing",
            outcome.best_loss,
            constant,
        )
    return outcome


def _head_start(settings: Settings) -> HeadStart:
    return HeadStart(
        epochs=settings.head_epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.head_learning_rate,
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
        gradient_clip=settings.gradient_clip,
    )


def _examples(tokenizer: Tokenizer, smiles: Sequence[str], standardised: np.ndarray) -> list[dict]:
    ids = tokenization.encode(tokenizer, smiles)
    return [
        {"input_ids": row, "smiles": text, "label": float(y)}
        for row, text, y in zip(ids, smiles, standardised, strict=True)
    ]


def squared_error(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Mean squared error of a batch, of standardised labels."""
    prediction = model(batch["input_ids"], batch["attention_mask"])
    return ((prediction.float() - batch["labels"]) ** 2).mean()
