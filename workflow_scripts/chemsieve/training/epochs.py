"""Training by epochs, of fine-tuning and adaptation: the best epoch is kept, and patience may end it early."""

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import get_scheduler

from chemsieve.errors import ChemsieveError
from chemsieve.models.checkpoints import load_strictly, trained_names, trained_state
from chemsieve.training.averaging import WeightAverage
from chemsieve.training.curriculum import admitted
from chemsieve.training.layers import decayed_names, groups
from chemsieve.training.loop import Conditions, Training, low_precision, train
from chemsieve.training.order import Batched, CommonOrder, EpochBatches, Order
from chemsieve.training.state import below, named, seed_generators
from chemsieve.training.thawing import Thawing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of one training run.

    ``patience`` is the number of epochs without a fall of the validation loss by more than ``minimum_delta`` after
    which training stops; ``None`` never stops early. Training never stops before the last of ``checkpoints``.
    ``precision`` is that of the matrix products in training: see :func:`chemsieve.training.loop.low_precision`.
    ``layer_decay`` multiplies the learning rate from one layer to the one below it. ``average`` is the decay of a
    moving average of the weights, which is then what is validated and kept; ``None`` keeps the weights themselves.
    ``batch_tokens`` is the number of tokens of a step, padding included, in place of ``batch_size`` molecules.

    The last eight concern regression alone. ``randomise`` trains on a fresh random SMILES of each molecule; predictions
    are averaged over ``writings``, the number of SMILES of a molecule, and over ``draws`` of the random features;
    ``curriculum`` names the difficulty by which molecules are admitted, epoch by epoch: see
    :mod:`chemsieve.training.curriculum`. ``head_epochs`` at the rate ``head_learning_rate`` go before the epochs of the
    whole: see :mod:`chemsieve.training.head_start`. ``unfreeze`` is the number of epochs after which the next
    layer down is trained too: see :mod:`chemsieve.training.thawing`.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    schedule: str
    patience: int | None
    minimum_delta: float
    gradient_clip: float
    group_by_length: bool
    precision: str
    layer_decay: float
    average: float | None
    batch_tokens: int | None = None
    checkpoints: tuple[int, ...] = ()
    randomise: bool = False
    writings: int = 1
    draws: int = 1
    curriculum: str | None = None
    head_epochs: int = 0
    head_learning_rate: float = 0.001
    unfreeze: int | None = None

    def mixed_batch(self, lengths: Sequence[int]) -> int:
        """Molecules of a batch of all lengths: ``batch_size``, or as many as fit into ``batch_tokens`` if all are long.

        Args:
            lengths: tokens of the molecules that make the batches.
        """
        return self.batch_size if self.batch_tokens is None else max(self.batch_tokens // max(lengths), 1)


@dataclass
class Outcome:
    """What training gave: one row per epoch, the best epoch, and the weights kept."""

    curve: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    best_state: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    seconds: float = 0.0


def fit(
    model: nn.Module,
    examples: list[dict],
    collate: Callable[[list[dict]], dict],
    loss: Callable[[nn.Module, dict], Tensor],
    validate: Callable[[], dict],
    settings: Settings,
    conditions: Conditions,
    difficulty: Sequence[float] | None = None,
    untrained: bool = False,
    members: Sequence[np.ndarray] | None = None,
    patient_until: int = 0,
    common: int | None = None,
) -> Outcome:
    """Train ``model`` on ``examples`` and restore the epoch with the lowest validation loss.

    Args:
        collate: makes the batch of some examples; what it draws comes from torch's global generator.
        loss: of the model and a batch.
        validate: is called after each epoch with the model in evaluation mode; gives at least ``validation_loss``.
        conditions: every draw follows from their seed and the number of torch threads. A training that is resumed from
            the state in ``saves`` has the same outcome to the bit on a processor.
        difficulty: one number for each example makes the epochs those of a curriculum; the schedule is over the steps
            that these have.
        untrained: whether the model is validated before the first epoch too, as epoch 0, which may be the best.
        members: positions of the examples that each epoch may be over, ascending; all where it is None.
        patient_until: epochs, the first ones, that patience does not count.
        common: the first so many examples are in all of several trainings that are compared, which then share their
            steps: see :class:`chemsieve.training.order.CommonOrder`. Examples are known by their ``smiles``.

    Raises:
        ChemsieveError: there is nothing to train on, or a loss is not finite.
    """
    if not examples:
        raise ChemsieveError("there is no molecule to train on")
    if max(settings.checkpoints, default=0) > settings.epochs:
        raise ChemsieveError(f"checkpoints {list(settings.checkpoints)} lie beyond the last epoch, {settings.epochs}")
    seed_generators(conditions.seed)
    model.to(conditions.device)
    order = _order(examples, settings, conditions.seed, difficulty, members, common)
    round_ends = list(itertools.accumulate(order.steps(epoch) for epoch in range(settings.epochs)))
    round_ends = [0] * untrained + round_ends
    grouped = groups(model, decayed_names(model), settings.learning_rate, settings.weight_decay, settings.layer_decay)
    optimizer = torch.optim.AdamW(grouped, lr=settings.learning_rate, fused=True)
    thawing = Thawing(model, settings.unfreeze, settings.epochs)
    training = _EpochTraining(
        model=model,
        optimizer=optimizer,
        schedule=get_scheduler(settings.schedule, optimizer, round(settings.warmup * round_ends[-1]), round_ends[-1]),
        round_ends=round_ends,
        gradient_clip=settings.gradient_clip,
        bfloat16=low_precision(settings.precision, conditions.device),
        average=None if settings.average is None else WeightAverage(model, settings.average),
        batches=EpochBatches(examples, collate, order, conditions.device),
        loss_of=loss,
        validation=validate,
        settings=settings,
        first=0 if untrained else 1,
        patient_until=max(patient_until, thawing.epochs),
        thawing=thawing,
    )
    progress, outcome = train(training, conditions), training.outcome
    outcome.curve, outcome.seconds = progress.curve, progress.seconds
    load_strictly(model, outcome.best_state, trained_names(model), source="the best epoch")
    model.eval()
    return outcome


def _order(
    examples: list[dict],
    settings: Settings,
    seed: int,
    difficulty: Sequence[float] | None,
    members: Sequence[np.ndarray] | None,
    common: int | None,
) -> Batched:
    tokens = [len(example["input_ids"]) for example in examples]
    if common is not None:
        names = [example["smiles"] for example in examples]
        return CommonOrder(names, common, settings.mixed_batch(tokens[:common]), seed)
    lengths = tokens if settings.group_by_length or settings.batch_tokens is not None else None
    epochs = None if difficulty is None else admitted(difficulty, settings.epochs)
    if epochs is not None:
        log.info("curriculum: %s molecules in the epochs", ", ".join(str(len(epoch)) for epoch in epochs))
    if members is not None:
        easy = epochs or [np.arange(len(examples))] * settings.epochs
        both = [np.intersect1d(one, other) for one, other in zip(easy, members, strict=True)]
        # No easy molecule may be a member: an epoch is over something.
        epochs = [found if len(found) else member for found, member in zip(both, members, strict=True)]
    return Order(len(examples), settings.batch_size, seed, lengths, epochs, settings.batch_tokens)


@dataclass(kw_only=True)
class _EpochTraining(Training):
    """A training whose rounds are epochs.

    ``first`` is the first round's epoch: 0 where the model is validated before training. ``reference`` is the
    validation loss that a fall is measured against, and ``waited`` the number of epochs since, without the epochs up to
    ``patient_until``.
    """

    batches: EpochBatches
    loss_of: Callable[[nn.Module, dict], Tensor]
    validation: Callable[[], dict]
    settings: Settings
    thawing: Thawing
    first: int
    outcome: Outcome = field(default_factory=Outcome)
    reference: float = math.inf
    waited: int = 0
    patient_until: int = 0

    def batch(self, step: int) -> dict[str, Tensor]:
        return self.batches.next()

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        with self.thawing.at(self.epoch):
            value = self.loss_of(self.model, batch)
        return value, value

    def validate(self) -> dict[str, float | None]:
        return self.validation()

    @property
    def epoch(self) -> int:
        """The epoch in hand."""
        return len(self.progress.curve) + self.first

    def diverged(self, loss: float) -> str:
        rate = self.settings.learning_rate
        return f"training diverged in epoch {self.epoch}: the loss is {loss}; lower the learning rate (now {rate})"

    def end_round(self, row: dict[str, float | None]) -> dict[str, float | None]:
        epoch, loss = self.epoch, cast("float", row["validation_loss"])
        if not math.isfinite(loss):
            raise ChemsieveError(f"training diverged in epoch {epoch}: the validation loss is {loss}")
        if row["train_loss"] is None:
            log.info("before training: validation loss %.4f", loss)
        else:
            log.info(
                "epoch %d/%d: training loss %.4f, validation loss %.4f, %.1f s",
                epoch, self.settings.epochs, row["train_loss"], loss, row["seconds"],
            )  # fmt: skip
        self._keep(epoch, loss)
        self._count(epoch, loss)
        return {"epoch": epoch, **row}

    def _keep(self, epoch: int, loss: float) -> None:
        """Keep the weights of the best epoch so far, and of the epochs whose checkpoints are wanted."""
        if loss < self.outcome.best_loss:
            self.outcome.best_loss, self.outcome.best_epoch = loss, epoch
            self.outcome.best_state = trained_state(self.model)
        if epoch in self.settings.checkpoints:
            self.outcome.kept[epoch] = trained_state(self.model)

    def _count(self, epoch: int, loss: float) -> None:
        """Stop where patience is spent."""
        if loss < self.reference - self.settings.minimum_delta:
            self.reference, self.waited = loss, 0
        elif epoch > self.patient_until:
            self.waited += 1
        done = epoch >= max(self.settings.checkpoints, default=0)
        if self.settings.patience is not None and self.waited >= self.settings.patience and done:
            log.info("no improvement for %d epochs: stopping", self.waited)
            self.stopped = True

    def tensors(self) -> dict[str, Tensor]:
        tensors = named("batches.", self.batches.tensors()) | named("best.", self.outcome.best_state)
        for epoch, kept in self.outcome.kept.items():
            tensors |= named(f"kept.{epoch}.", kept)
        return tensors

    def facts(self) -> dict:
        return {
            "kept": sorted(self.outcome.kept),
            "best_epoch": self.outcome.best_epoch,
            "best_loss": self.outcome.best_loss,
            "reference": self.reference,
            "waited": self.waited,
            "stopped": self.stopped,
        }

    def load(self, tensors: dict[str, Tensor], facts: dict) -> None:
        self.batches.load(below("batches.", tensors))
        self.outcome.best_epoch, self.outcome.best_loss = facts["best_epoch"], facts["best_loss"]
        self.outcome.best_state = below("best.", tensors)
        self.outcome.kept = {epoch: below(f"kept.{epoch}.", tensors) for epoch in facts["kept"]}
        self.reference, self.waited, self.stopped = facts["reference"], facts["waited"], facts["stopped"]
