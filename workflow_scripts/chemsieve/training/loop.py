"""The training loop: Hugging Face ``Trainer``, with validation, early stopping and checkpoints of our own.

``Trainer``'s own checkpoints are left out: they pickle the optimiser, and for adapters they lose the random features.
"""

import logging
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from chemsieve.checkpoints import load_strictly, trained_names, trained_state
from chemsieve.errors import ChemsieveError
from chemsieve.processes import SAY_EVERY
from chemsieve.tracking import Tracker
from chemsieve.training.averaging import WeightAverage
from chemsieve.training.curriculum import CurriculumSampler, admitted
from chemsieve.training.layers import groups

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """Hyperparameters of one training run.

    ``patience`` is the number of epochs without a fall of the validation loss by more than ``minimum_delta`` after
    which training stops; ``None`` never stops early. Training never stops before the last of ``checkpoints``.
    ``precision`` is that of the matrix products in training: see :func:`low_precision`. ``layer_decay`` multiplies the
    learning rate from one layer to the one below it. ``average`` is the decay of a moving average of the weights, which
    is then what is validated and kept; ``None`` keeps the weights themselves. ``randomise`` trains on a fresh random
    SMILES of each molecule; predictions are averaged over ``writings`` SMILES and ``draws`` of the random features;
    ``curriculum`` names the difficulty by which molecules are admitted, epoch by epoch: see
    :mod:`chemsieve.training.curriculum` (the four concern regression alone).
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: float = 0.1
    schedule: str = "linear"
    patience: int | None = None
    minimum_delta: float = 0.0
    gradient_clip: float = 1.0
    group_by_length: bool = True
    precision: str = "float32"
    layer_decay: float = 1.0
    average: float | None = None
    randomise: bool = False
    writings: int = 1
    draws: int = 1
    curriculum: str | None = None
    checkpoints: tuple[int, ...] = ()


@dataclass
class Outcome:
    """What training gave: one row per epoch, the best epoch, and the weights kept."""

    curve: list[dict] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    best_state: dict[str, Tensor] = field(default_factory=dict)
    kept: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    seconds: float = 0.0


def choose_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one.

    Raises:
        ChemsieveError: a GPU is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ChemsieveError("compute.device is cuda, but this machine shows torch no GPU")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def low_precision(name: str, device: torch.device) -> bool:
    """Whether matrix products run in bfloat16; ``auto`` is where the device multiplies it natively.

    Weights, sums over the sequence, normalisations and losses stay in float32, and so does all evaluation.
    """
    if name != "auto":
        return name == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


class _Trainer(Trainer):
    """Trainer with a loss and learning rates of ours, and the means over an epoch of loss and gradient norm.

    ``steps`` is how many there are in all epochs; ``sampler`` is a curriculum's, or ``None`` for the trainer's own.
    """

    def __init__(
        self,
        loss: Callable[[nn.Module, dict], Tensor],
        bfloat16: bool,
        layer_decay: float,
        steps: int,
        sampler: CurriculumSampler | None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.loss = loss
        self.bfloat16 = bfloat16
        self.layer_decay = layer_decay
        self.steps, self.sampler = steps, sampler
        self.losses: list[Tensor] = []
        self.norms: list[Tensor] = []

    def create_optimizer(self, model=None):
        if self.layer_decay == 1:
            return super().create_optimizer(model)
        decayed = set(self.get_decay_parameter_names(self.model))
        kind, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        rate, shrink = self.args.learning_rate, self.args.weight_decay
        self.optimizer = kind(groups(self.model, decayed, rate, shrink, self.layer_decay), **options)
        return self.optimizer

    def create_scheduler(self, num_training_steps, optimizer=None):
        # What it is called with takes every epoch for a full one, which those of a curriculum are not.
        return super().create_scheduler(self.steps, optimizer)

    def _get_train_sampler(self, train_dataset=None):
        return super()._get_train_sampler(train_dataset) if self.sampler is None else self.sampler

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.bfloat16):
            value = self.loss(model, inputs)
        self.losses.append(value.detach())
        return value

    def _clip_grad_norm(self, model):
        norm = super()._clip_grad_norm(model)
        self.norms.append(torch.as_tensor(norm).detach())
        return norm


class _EachEpoch(TrainerCallback):
    """Validate, record, keep the best, keep the configured checkpoints, and stop when patience is spent."""

    def __init__(
        self,
        trainer: _Trainer,
        settings: Settings,
        validate: Callable[[], dict],
        outcome: Outcome,
        average: WeightAverage | None,
        tracker: Tracker | None = None,
    ):
        self.trainer, self.settings, self.validate, self.outcome = trainer, settings, validate, outcome
        self.average, self.tracker = average, tracker
        self.waited = 0
        self.reference = math.inf
        self.began = self.said = 0.0

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.began = self.said = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        if self.average is not None:
            self.average.update()
        if time.perf_counter() - self.said > SAY_EVERY:
            self.said = time.perf_counter()
            done, total = state.global_step, self.trainer.steps
            log.info("step %d of %d (%.0f%%)", done, total, 100 * done / total)

    def on_epoch_end(self, args, state, control, model=None, **kwargs):
        with nullcontext() if self.average is None else self.average.applied():
            self._end_epoch(control, model)

    def _end_epoch(self, control, model):
        epoch = len(self.outcome.curve) + 1
        train_loss = torch.stack(self.trainer.losses).mean().item()
        norm = torch.stack(self.trainer.norms).mean().item() if self.trainer.norms else None
        self.trainer.losses.clear()
        self.trainer.norms.clear()
        if not math.isfinite(train_loss):
            raise ChemsieveError(
                f"training diverged in epoch {epoch}: the loss is {train_loss}; lower the learning rate "
                f"(now {self.settings.learning_rate})"
            )
        model.eval()
        trained = time.perf_counter()
        row = {
            "epoch": epoch,
            "train_loss": train_loss,
            "learning_rate": self.trainer.lr_scheduler.get_last_lr()[0],
            "gradient_norm": norm,
            **self.validate(),
        }
        ended = time.perf_counter()
        row |= {"seconds": ended - self.began, "evaluation_seconds": ended - trained}
        loss = row["validation_loss"]
        if not math.isfinite(loss):
            raise ChemsieveError(f"training diverged in epoch {epoch}: the validation loss is {loss}")
        self.outcome.curve.append(row)
        if self.tracker is not None:
            self.tracker.record(row)
        log.info(
            "epoch %d/%d: training loss %.4f, validation loss %.4f, %.1f s",
            epoch, self.settings.epochs, train_loss, loss, row["seconds"],
        )  # fmt: skip
        if loss < self.outcome.best_loss:
            self.outcome.best_loss, self.outcome.best_epoch = loss, epoch
            self.outcome.best_state = trained_state(model)
        if epoch in self.settings.checkpoints:
            self.outcome.kept[epoch] = trained_state(model)
        if loss < self.reference - self.settings.minimum_delta:
            self.reference, self.waited = loss, 0
        else:
            self.waited += 1
        done = epoch >= max(self.settings.checkpoints, default=0)
        if self.settings.patience is not None and self.waited >= self.settings.patience and done:
            log.info("no improvement for %d epochs: stopping", self.waited)
            control.should_training_stop = True


def fit(
    model: nn.Module,
    examples: list[dict],
    collate: Callable[[list[dict]], dict],
    loss: Callable[[nn.Module, dict], Tensor],
    validate: Callable[[], dict],
    settings: Settings,
    seed: int,
    device: torch.device,
    difficulty: Sequence[float] | None = None,
    tracker: Tracker | None = None,
    before: dict | None = None,
) -> Outcome:
    """Train ``model`` on ``examples`` and restore the epoch with the lowest validation loss.

    ``validate()`` is called after each epoch with the model in evaluation mode and returns at least
    ``validation_loss``. AdamW; every draw follows from ``seed`` and the number of torch threads. ``difficulty``, one
    number per example, makes the epochs those of a curriculum; the schedule is over the steps that these have.
    ``tracker`` is told each row of the curve, and first the one ``before`` training, where there is one.

    Raises:
        ChemsieveError: a loss is not finite.
    """
    if not examples:
        raise ChemsieveError("there is no molecule to train on")
    if max(settings.checkpoints, default=0) > settings.epochs:
        raise ChemsieveError(f"checkpoints {list(settings.checkpoints)} lie beyond the last epoch, {settings.epochs}")
    outcome = Outcome()
    sizes, sampler = [len(examples)] * settings.epochs, None
    if difficulty is not None:
        epochs = admitted(difficulty, settings.epochs)
        lengths = [len(example["input_ids"]) for example in examples] if settings.group_by_length else None
        sizes, sampler = [len(one) for one in epochs], CurriculumSampler(epochs, lengths, settings.batch_size)
        log.info("curriculum: %s molecules in the epochs", ", ".join(map(str, sizes)))
    steps = sum(math.ceil(size / settings.batch_size) for size in sizes)
    with tempfile.TemporaryDirectory() as unused:
        arguments = TrainingArguments(
            output_dir=unused,
            num_train_epochs=settings.epochs,
            per_device_train_batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup_steps=round(settings.warmup * steps),
            lr_scheduler_type=settings.schedule,
            max_grad_norm=settings.gradient_clip,
            optim="adamw_torch_fused",
            seed=seed,
            train_sampling_strategy="group_by_length" if settings.group_by_length else "random",
            use_cpu=device.type == "cpu",
            save_strategy="no",
            eval_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=not sys.stderr.isatty(),  # a bar on a terminal, lines in a log
            remove_unused_columns=False,
            dataloader_pin_memory=device.type == "cuda",
        )
        arguments._n_gpu = min(arguments.n_gpu, 1)  # one job has one GPU; several would average over wrapped copies
        bfloat16 = low_precision(settings.precision, device)
        log.info("matrix products of training in %s", "bfloat16" if bfloat16 else "float32")
        trainer = _Trainer(
            loss=loss, bfloat16=bfloat16, layer_decay=settings.layer_decay, steps=steps, sampler=sampler,
            model=model, args=arguments, train_dataset=examples, data_collator=collate,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        average = None if settings.average is None else WeightAverage(model, settings.average)
        trainer.add_callback(_EachEpoch(trainer, settings, validate, outcome, average, tracker))
        with nullcontext() if tracker is None else tracker.following(copy(arguments), model):
            if tracker is not None and before is not None:
                tracker.record(before)
            began = time.perf_counter()
            trainer.train()
            outcome.seconds = time.perf_counter() - began
    load_strictly(model, outcome.best_state, trained_names(model), source="the best epoch")
    model.eval()
    return outcome
