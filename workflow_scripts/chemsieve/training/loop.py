"""The training loop: the same plain steps for fine-tuning, adaptation and pretraining.

:func:`train` takes a batch, computes the loss and its gradient, clips, and steps. At the end of each round of steps (an
epoch, or an interval of pretraining) it validates and adds a row to the curve. In between it writes the state from
which a run that was killed goes on, and ends as if it had never been interrupted. What differs between the trainings
is a :class:`Training`.
"""

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from chemsieve.errors import ChemsieveError
from chemsieve.runtime.processes import progress as shown
from chemsieve.runtime.processor import multiplies_bfloat16
from chemsieve.runtime.tracking import Tracker
from chemsieve.training.averaging import WeightAverage
from chemsieve.training.saves import Saves
from chemsieve.training.state import restore, snapshot

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = logging.getLogger(__name__)

CHECK_EVERY = 50  # steps between two checks that the loss is finite, each of which waits for a GPU


def low_precision(name: str, device: torch.device) -> bool:
    """Whether matrix products run in bfloat16; ``auto`` is where the device multiplies it natively.

    Weights, sums over the sequence, normalisations and losses stay in float32, and so does all evaluation.
    """
    if name != "auto":
        return name == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return multiplies_bfloat16()


@dataclass(frozen=True)
class Conditions:
    """Under what conditions a training runs: its seed and device, where its states go, and who follows its curve."""

    seed: int
    device: torch.device
    saves: Saves | None = None
    tracker: Tracker | None = None

    @contextmanager
    def followed(self, settings: "DataclassInstance", model: nn.Module) -> Iterator[None]:
        """The tracker begins and ends around the block; it shows the dataclass ``settings`` and the seed."""
        if self.tracker is None:
            yield
            return
        with self.tracker.following({**asdict(settings), "seed": self.seed}, model):
            yield

    def tell(self, row: Mapping[str, float | None]) -> None:
        """Show the tracker a row of the curve."""
        if self.tracker is not None:
            self.tracker.record(row)


@dataclass
class Progress:
    """How far a training has come: the steps made, the curve, and what was measured since the curve's last row."""

    step: int = 0
    curve: list[dict] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    norms: list[Tensor] = field(default_factory=list)  # of the gradients, before clipping
    started: float = field(default_factory=lambda: time.perf_counter())
    round_began: float = 0.0  # in seconds of the training

    @property
    def seconds(self) -> float:
        """Seconds that the training has taken, in all the runs that it was resumed in."""
        return time.perf_counter() - self.started


@dataclass(kw_only=True)
class Training(ABC):
    """What the loop trains, and what it asks about it.

    Attributes:
        optimizer: holds the parameters that ``model`` trains.
        schedule: of the learning rate, stepped after each step.
        round_ends: numbers of steps, ascending, after which a round ends and is validated; 0 validates before training.
        bfloat16: whether matrix products of training run in it.
        average: of the weights, to be validated and kept in their place; ``None`` keeps the weights themselves.
        stopped: whether to end before the last round.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    round_ends: list[int]
    gradient_clip: float
    bfloat16: bool
    average: WeightAverage | None = None
    progress: Progress = field(default_factory=Progress)
    stopped: bool = False

    @abstractmethod
    def batch(self, step: int) -> dict[str, Tensor]:
        """The batch of a step, counted from 0, on the device; steps are asked for in order, each once."""

    @abstractmethod
    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The loss that the curve shows, and the one that is minimised; they may be the same."""

    @abstractmethod
    def validate(self) -> dict[str, float | None]:
        """Figures on validation molecules; the model is in evaluation mode."""

    @abstractmethod
    def end_round(self, row: dict[str, float | None]) -> dict[str, float | None]:
        """The row of the curve that a round ends with.

        Args:
            row: ``train_loss`` and ``gradient_norm`` (means over the round's steps; ``None`` before the first),
                ``learning_rate`` (of the next step), what :meth:`validate` gave, ``seconds`` of the round and
                ``evaluation_seconds`` of its validation.

        Raises:
            ChemsieveError: the training diverged.
        """

    @abstractmethod
    def diverged(self, loss: float) -> str:
        """The sentence for a training loss that is not finite."""

    def tensors(self) -> dict[str, Tensor]:
        """What a state must hold of this training beside what the loop itself puts there, as tensors."""
        return {}

    def facts(self) -> dict:
        """The same, as JSON."""
        return {}

    @abstractmethod
    def load(self, tensors: dict[str, Tensor], facts: dict) -> None:
        """Take up what :meth:`tensors` and :meth:`facts` gave."""


def train(training: Training, conditions: Conditions) -> Progress:
    """Train to the end of the last round, or until the training is stopped, from the state that was left if any was.

    Raises:
        ChemsieveError: a loss is not finite.
    """
    model, optimizer, progress = training.model, training.optimizer, training.progress
    parameters, steps = list(model.parameters()), training.round_ends[-1]
    log.info("matrix products of training in %s", "bfloat16" if training.bfloat16 else "float32")
    _resume(training, conditions)
    model.zero_grad()
    _end_round_if_complete(training, conditions)  # one before the first step, or one whose steps were all made
    for step in shown(range(progress.step, steps), "training", steps - progress.step):
        if training.stopped:
            break
        model.train()
        batch = training.batch(step)
        with torch.autocast(conditions.device.type, torch.bfloat16, enabled=training.bfloat16):
            loss, minimised = training.loss(batch)
        minimised.backward()
        norm = nn.utils.clip_grad_norm_(parameters, training.gradient_clip)
        optimizer.step()
        training.schedule.step()
        optimizer.zero_grad()
        if training.average is not None:
            training.average.update()
        progress.losses.append(loss.detach())
        progress.norms.append(norm.detach())
        progress.step = step + 1
        if progress.step % CHECK_EVERY == 0:
            _check(training, progress.losses[-1].item())
        _write_if_due(training, conditions)
        _end_round_if_complete(training, conditions)
    return progress


def _end_round_if_complete(training: Training, conditions: Conditions) -> None:
    """Validate and add a row to the curve, where the steps made complete a round."""
    progress = training.progress
    number = len(progress.curve)
    if number == len(training.round_ends) or progress.step != training.round_ends[number]:
        return
    means: dict[str, float | None] = {
        "train_loss": torch.stack(progress.losses).mean().item() if progress.losses else None,
        "learning_rate": cast("float", training.schedule.get_last_lr()[0]),
        "gradient_norm": torch.stack(progress.norms).mean().item() if progress.norms else None,
    }
    if means["train_loss"] is not None:
        _check(training, means["train_loss"])
    trained = progress.seconds
    training.model.eval()
    with nullcontext() if training.average is None else training.average.applied():
        figures = training.validate()
        ended = progress.seconds
        times = {"seconds": ended - progress.round_began, "evaluation_seconds": ended - trained}
        row = training.end_round({**means, **figures, **times})
    progress.curve.append(row)
    conditions.tell(row)
    progress.losses.clear()
    progress.norms.clear()
    progress.round_began = ended
    _write_if_due(training, conditions)


def _check(training: Training, loss: float) -> None:
    if not math.isfinite(loss):
        raise ChemsieveError(training.diverged(loss))


def _write_if_due(training: Training, conditions: Conditions) -> None:
    if conditions.saves is not None and conditions.saves.due(training.progress.step):
        conditions.saves.write(*snapshot(training))


def _resume(training: Training, conditions: Conditions) -> None:
    """Take up the state that was left, if there is one."""
    if conditions.saves is None or (found := conditions.saves.read()) is None:
        return
    restore(training, *found, source=str(conditions.saves.path))
    log.info("resuming at step %d of %d", training.progress.step, training.round_ends[-1])
    for row in training.progress.curve:
        conditions.tell(row)
