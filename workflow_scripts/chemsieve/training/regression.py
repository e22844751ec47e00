"""Regression: fine-tune a regressor on labelled molecules."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from chemsieve.errors import ChemsieveError
from chemsieve.models import tokenization
from chemsieve.models.descriptor_head import DescriptorHead
from chemsieve.models.kernel_head import KernelHead
from chemsieve.models.prediction import predict_averaged, randomiser
from chemsieve.models.random_smiles import SmilesRandomiser
from chemsieve.models.regressor import Regressor
from chemsieve.training import limits
from chemsieve.training.batches import RegressionCollator
from chemsieve.training.curriculum import DIFFICULTIES
from chemsieve.training.epochs import Outcome, Settings, fit
from chemsieve.training.head_start import HeadStart, train_head
from chemsieve.training.kernel_fit import KernelFit
from chemsieve.training.loop import Conditions
from chemsieve.training.mixing import MarkingCollator, Sources, weighted_error, without_pool_head

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.uses import Mixture

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labelled:
    """SMILES as the encoder reads them, and a label for each, in the label's own units.

    ``bounds`` is 1 where a value lies above its label, -1 where below, 0 where it was measured; None: all were.
    """

    smiles: Sequence[str]
    labels: np.ndarray
    bounds: Sequence[int] | None = None

    @classmethod
    def of(cls, table: pd.DataFrame) -> Labelled:
        """The molecules of a table ``labelled``."""
        return cls(list(table["encoder_smiles"]), table["label"].to_numpy(), limits.bounds_of(table))


class RandomisingCollator:
    """As :class:`RegressionCollator`, of examples ``{"smiles", "label"}``, each time with other randomised SMILES."""

    def __init__(self, randomiser: SmilesRandomiser, pad_id: int):
        self.randomiser, self.plain = randomiser, RegressionCollator(pad_id)

    def __call__(self, examples: list[dict]) -> dict[str, Tensor]:
        seeds = torch.randint(2**31 - 1, (len(examples),)).tolist()
        rows = self.randomiser.randomise([example["smiles"] for example in examples], seeds)
        return self.plain([example | {"input_ids": ids} for ids, example in zip(rows, examples, strict=True)])


def fine_tune(
    model: Regressor,
    tokenizer: Tokenizer,
    train: Labelled,
    validation: Labelled,
    settings: Settings,
    conditions: Conditions,
    trained_head: bool = False,
    mixture: Mixture | None = None,
    common: int | None = None,
) -> Outcome:
    """Fine-tune ``model`` by mean squared error on standardised labels; the best validation epoch is restored.

    Mean and standard deviation come from the training labels alone, limits at their limit. The squared error of a limit
    is 0 where the prediction lies on its right side, and the head alone learns from measured labels. A run that was
    killed goes on from the state in ``conditions.saves``. What a ``mixture`` of two sources changes is said in
    :mod:`chemsieve.training.mixing`.

    Args:
        trained_head: whether the head already predicts: another standardisation then leaves its predictions alone, and
            it gets no epochs of its own.
        mixture: how the molecules of target and pool among ``train`` are treated; None: alike.
        common: the first so many molecules of ``train`` are in all of several trainings that are compared, and that
            are to differ in nothing but the others.

    Returns:
        The outcome; the curve has ``validation_loss`` (standardised) and ``validation_rmse`` (label units).

    Raises:
        ChemsieveError: the training labels are all the same, or the training diverged.
    """
    sources = Sources(np.asarray(train.labels), mixture)
    mean, scale = sources.mean, sources.scale
    if not scale > 0:
        raise ChemsieveError("all training labels are the same: there is nothing to learn")
    model.to(conditions.device)
    (model.change_label_scale if trained_head else model.set_label_scale)(mean, scale)
    pad_id = tokenization.special_id(tokenizer, "pad")
    if isinstance(model.head_inputs, DescriptorHead) and not trained_head:
        model.head_inputs.standardise(tokenization.encode(tokenizer, train.smiles))
    bounds = train.bounds or [0] * len(train.smiles)
    examples = limits.marked(_examples(tokenizer, train.smiles, sources.standardised), bounds)
    randomised = randomiser(model, tokenizer)
    began = time.perf_counter()
    solved = _kernel_fit(model, examples, sources, pad_id, conditions)
    if solved and trained_head:
        solved.refresh()
    elif solved:
        others = torch.tensor((np.asarray(validation.labels) - mean) / scale, device=conditions.device)
        solved.start(tokenization.encode(tokenizer, validation.smiles), others)
    elif settings.head_epochs and not trained_head:
        measured = [i for i in sources.first.tolist() if not bounds[i]]
        _train_head(model, examples, measured, sources, _head_start(settings), pad_id, conditions)
    before = time.perf_counter() - began
    collate: Callable[[list[dict]], dict[str, Tensor]]
    collate = RandomisingCollator(randomised, pad_id) if settings.randomise else RegressionCollator(pad_id)
    validation_rows = randomised.several(validation.smiles, settings.writings)

    def validate() -> dict[str, float]:
        if solved:
            solved.refresh()
        predicted = predict_averaged(model, validation_rows, settings.draws, pad_id, conditions.device)
        mse = float(np.mean((predicted - validation.labels) ** 2))
        return {"validation_loss": mse / scale**2, "validation_rmse": math.sqrt(mse)}

    difficulty = [DIFFICULTIES[settings.curriculum](one) for one in examples] if settings.curriculum else None
    loss: Callable[[nn.Module, dict], Tensor] = solved.loss if solved else squared_error
    if not sources.alike:
        examples, collate, loss = sources.marked(examples), MarkingCollator(collate), weighted_error
    with sources.own_head(model), conditions.followed(settings, model):
        outcome = fit(
            model,
            examples,
            collate,
            loss,
            validate,
            settings,
            conditions,
            difficulty,
            bool(solved),  # in closed form: it predicts before any training, and may be the best there is
            sources.members(settings.epochs),
            sources.with_pool,
            common,
        )
    outcome.best_state = without_pool_head(outcome.best_state)
    outcome.kept = {epoch: without_pool_head(tensors) for epoch, tensors in outcome.kept.items()}
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


def _kernel_fit(
    model: Regressor, examples: list[dict], sources: Sources, pad_id: int, conditions: Conditions
) -> KernelFit | None:
    """What solves for the head, where that is a kernel regression."""
    if not isinstance(model.head_inputs, KernelHead):
        return None
    if "bound" in examples[0]:
        raise ChemsieveError("finetune.head.kernel: it takes measured labels alone; see target.censored")
    if sources.mixture is not None:
        raise ChemsieveError("finetune.head.kernel: it takes pool molecules as mixed alone")
    labels = torch.tensor([example["label"] for example in examples], device=conditions.device)
    return KernelFit(model, [example["input_ids"] for example in examples], labels, pad_id, conditions.seed)


def _train_head(
    model: Regressor,
    examples: list[dict],
    places: Sequence[int],
    sources: Sources,
    settings: HeadStart,
    pad_id: int,
    conditions: Conditions,
) -> None:
    """Train the head alone on the examples at ``places``."""
    labels = torch.tensor([examples[i]["label"] for i in places], device=conditions.device)
    weights = None
    if sources.weights is not None:
        weights = torch.tensor(sources.weights[list(places)], dtype=torch.float32, device=conditions.device)
    ids = [examples[i]["input_ids"] for i in places]
    train_head(model, ids, labels, settings, pad_id, conditions.seed, weights)


def _examples(tokenizer: Tokenizer, smiles: Sequence[str], standardised: np.ndarray) -> list[dict]:
    ids = tokenization.encode(tokenizer, smiles)
    return [
        {"input_ids": tokens, "smiles": text, "label": float(y), "row": row}
        for row, (tokens, text, y) in enumerate(zip(ids, smiles, standardised, strict=True))
    ]


def squared_error(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Mean squared error of a batch, of standardised labels; of a limit that of its wrong side alone."""
    prediction = model(batch["input_ids"], batch["attention_mask"])
    return (limits.errors(prediction, batch) ** 2).mean()
