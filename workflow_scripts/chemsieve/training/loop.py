"""The training loop: Hugging Face ``Trainer``, with validation, early stopping and checkpoints of our own.

``Trainer``'s own checkpoints are left out: they pickle the optimiser, for adapters they lose the random features, and
what they resume differs where a batch is drawn at random, since one is always drawn ahead. A training's state is that
of :mod:`chemsieve.training.state`; resumed from it, the training ends as if it had never been interrupted.
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
from accelerate import skip_first_batches
from torch import Tensor, nn
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from chemsieve.errors import ChemsieveError
from chemsieve.models.checkpoints import load_strictly, trained_names, trained_state
from chemsieve.runtime.processes import SAY_EVERY
from chemsieve.runtime.processor import multiplies_bfloat16
from chemsieve.runtime.tracking import Tracker
from chemsieve.training.averaging import WeightAverage
from chemsieve.training.curriculum import CurriculumSampler, admitted
from chemsieve.training.layers import groups
from chemsieve.training.state import Saves, below, draws, moments, named, set_draws, set_moments

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
    return multiplies_bfloat16()


class _Collating:
    """A collator that remembers what its last batch was drawn with.

    The loader collates one batch ahead, so that the generator has moved on by the time a state is written.
    """

    def __init__(self, collate: Callable[[list[dict]], dict]):
        self.collate = collate
        self.before = torch.get_rng_state()
        self.replayed: tuple[Tensor, dict[str, Tensor]] | None = None  # with what to draw the next batch, and what then

    def __call__(self, examples: list[dict]) -> dict:
        then = None
        if self.replayed is not None:
            before, then = self.replayed
            self.replayed = None
            torch.set_rng_state(before)
        self.before = torch.get_rng_state()
        batch = self.collate(examples)
        if then is not None:
            set_draws(then)
        return batch


class _Trainer(Trainer):
    """Trainer with a loss and learning rates of ours, and the means over an epoch of loss and gradient norm.

    ``steps`` is how many there are in all epochs; ``sampler`` is a curriculum's, or ``None`` for the trainer's own.
    ``done`` steps were made before, ``skipped`` of them in the first epoch to run, which is ``epoch``, from 0.
    """

    epoch = done = skipped = 0

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

    def _init_training_state(self, *args, **kwargs):
        super()._init_training_state(*args, **kwargs)
        self.state.global_step = self.done
        return self.epoch, 0

    def _run_epoch(self, model, epoch, train_dataloader, **kwargs):
        if self.skipped:
            train_dataloader.set_epoch(epoch)  # a curriculum's sampler is out of reach below
            train_dataloader, self.skipped = skip_first_batches(train_dataloader, self.skipped), 0
        super()._run_epoch(model=model, epoch=epoch, train_dataloader=train_dataloader, **kwargs)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        with torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.bfloat16):
            value = self.loss(model, inputs)
        self.losses.append(value.detach())
        return value

    def _clip_grad_norm(self, model):
        norm = super()._clip_grad_norm(model)
        self.norms.append(torch.as_tensor(norm).detach())
        return norm


class _Course(TrainerCallback):
    """Validate, record, keep the best, keep the configured checkpoints, stop when patience is spent, write states."""

    def __init__(
        self,
        trainer: _Trainer,
        collate: _Collating,
        settings: Settings,
        lengths: list[int],
        validate: Callable[[], dict],
        outcome: Outcome,
        average: WeightAverage | None,
        saves: Saves | None,
        tracker: Tracker | None = None,
    ):
        self.trainer, self.collate, self.settings, self.lengths = trainer, collate, settings, lengths
        self.validate, self.outcome, self.average = validate, outcome, average
        self.saves, self.tracker = saves, tracker
        self.waited = 0
        self.reference = math.inf
        self.stopped = False
        self.done = self.steps = 0  # in all, and in the epoch
        self.rate = 0.0
        self.began = self.start = self.said = time.perf_counter()
        self.at_begin: dict[str, Tensor] = {}  # the draws' state at the epoch's begin
        self.resumed: tuple[dict[str, Tensor], dict] | None = None

    def on_train_begin(self, args, state, control, **kwargs):
        if self.resumed is None:
            return
        tensors, facts = self.resumed
        set_moments(self.trainer.optimizer, tensors)
        scheduler = self.trainer.lr_scheduler
        scheduler.load_state_dict(facts["scheduler"])
        for group, rate in zip(self.trainer.optimizer.param_groups, scheduler.get_last_lr(), strict=True):
            group["lr"] = rate

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.said = time.perf_counter()
        if self.resumed is None:
            self.began, self.steps = self.said, 0
            self.at_begin = draws()
            return
        (tensors, _), self.resumed = self.resumed, None
        now = below("draws.now.", tensors)
        self.at_begin = below("draws.begin.", tensors) if self.steps else now
        set_draws(self.at_begin)
        if self.steps:
            self.collate.replayed = tensors["draws.batch"], now

    def on_step_end(self, args, state, control, **kwargs):
        if self.average is not None:
            self.average.update()
        self.done, self.steps = state.global_step, self.steps + 1
        self.rate = self.trainer.lr_scheduler.get_last_lr()[0]
        if time.perf_counter() - self.said > SAY_EVERY:
            self.said = time.perf_counter()
            done, total = state.global_step, self.trainer.steps
            log.info("step %d of %d (%.0f%%)", done, total, 100 * done / total)
        self._write_if_due()

    def on_epoch_end(self, args, state, control, **kwargs):
        self.end_epoch()
        control.should_training_stop = control.should_training_stop or self.stopped
        self._write_if_due()

    def end_epoch(self) -> None:
        with nullcontext() if self.average is None else self.average.applied():
            self._end_epoch(self.trainer.model)
        self.steps = 0

    def _end_epoch(self, model: nn.Module) -> None:
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
            "learning_rate": self.rate,
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
            self.stopped = True

    # -- the state -----------------------------------------------------------------------------------------------------

    def _write_if_due(self) -> None:
        if self.saves is None or not self.saves.due():
            return
        outcome, trainer, now = self.outcome, self.trainer, time.perf_counter()
        tensors = named("weights.", trained_state(trainer.model)) | named("best.", outcome.best_state)
        for epoch, kept in outcome.kept.items():
            tensors |= named(f"kept.{epoch}.", kept)
        tensors |= moments(trainer.optimizer)
        if self.average is not None:
            tensors |= {f"average.{number}": average for number, average in enumerate(self.average.averages)}
        for name, values in (("losses", trainer.losses), ("norms", trainer.norms)):
            tensors |= {name: torch.stack(values)} if values else {}
        tensors |= named("draws.begin.", self.at_begin) | named("draws.now.", draws())
        tensors["draws.batch"] = self.collate.before
        facts = {
            "done": self.done,
            "steps": self.steps,
            "curve": outcome.curve,
            "kept": sorted(outcome.kept),
            "best_epoch": outcome.best_epoch,
            "best_loss": outcome.best_loss,
            "reference": self.reference,
            "waited": self.waited,
            "stopped": self.stopped,
            "rate": self.rate,
            "scheduler": trainer.lr_scheduler.state_dict(),
            "averaged": self.average and self.average.steps,
            "seconds": outcome.seconds + now - self.start,
            "epoch_seconds": now - self.began,
        }
        self.saves.write(tensors, facts)

    def resume(self) -> None:
        """Take up the state that was left, if there is one; before training begins."""
        if self.saves is None or (found := self.saves.read()) is None:
            return
        tensors, facts = self.resumed = found
        outcome, trainer, source = self.outcome, self.trainer, str(self.saves.path)
        load_strictly(trainer.model, below("weights.", tensors), trained_names(trainer.model), source)
        if self.average is not None:
            self.average.steps = facts["averaged"]
            for number, average in enumerate(self.average.averages):
                average.copy_(tensors[f"average.{number}"])
        for name, values in (("losses", trainer.losses), ("norms", trainer.norms)):
            values += list(tensors[name].to(trainer.args.device)) if name in tensors else []
        outcome.curve = facts["curve"]
        if self.tracker is not None:
            for row in outcome.curve:
                self.tracker.record(row)
        outcome.best_epoch, outcome.best_loss = facts["best_epoch"], facts["best_loss"]
        outcome.best_state = below("best.", tensors)
        outcome.kept = {epoch: below(f"kept.{epoch}.", tensors) for epoch in facts["kept"]}
        outcome.seconds = facts["seconds"]
        self.reference, self.waited, self.stopped = facts["reference"], facts["waited"], facts["stopped"]
        self.done, self.steps, self.rate = facts["done"], facts["steps"], facts["rate"]
        self.began = self.start - facts["epoch_seconds"]
        log.info(
            "resuming in epoch %d after its step %d, step %d of %d in all",
            len(outcome.curve) + 1, self.steps, self.done, trainer.steps,
        )  # fmt: skip
        if self.steps and self.steps == self.lengths[len(outcome.curve)]:
            set_draws(below("draws.now.", tensors))
            self.end_epoch()  # of which all was left was to validate
            self.resumed[0].update(named("draws.now.", draws()))
        trainer.epoch, trainer.skipped, trainer.done = len(outcome.curve), self.steps, self.done


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
    saves: Saves | None = None,
    tracker: Tracker | None = None,
    before: dict | None = None,
) -> Outcome:
    """Train ``model`` on ``examples`` and restore the epoch with the lowest validation loss.

    ``validate()`` is called after each epoch with the model in evaluation mode and returns at least
    ``validation_loss``. AdamW; every draw follows from ``seed`` and the number of torch threads. ``difficulty``, one
    number per example, makes the epochs those of a curriculum; the schedule is over the steps that these have. The
    training's state is written to ``saves``, and resumed from there: the outcome is the same to the bit on a processor.
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
        tokens = [len(example["input_ids"]) for example in examples] if settings.group_by_length else None
        sizes, sampler = [len(one) for one in epochs], CurriculumSampler(epochs, tokens, settings.batch_size)
        log.info("curriculum: %s molecules in the epochs", ", ".join(map(str, sizes)))
    lengths = [math.ceil(size / settings.batch_size) for size in sizes]
    steps = sum(lengths)
    collating = _Collating(collate)
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
            model=model, args=arguments, train_dataset=examples, data_collator=collating,
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        average = None if settings.average is None else WeightAverage(model, settings.average)
        course = _Course(trainer, collating, settings, lengths, validate, outcome, average, saves, tracker)
        trainer.add_callback(course)
        with nullcontext() if tracker is None else tracker.following(copy(arguments), model):
            if tracker is not None and before is not None:
                tracker.record(before)
            course.resume()
            if not course.stopped and len(outcome.curve) < settings.epochs:
                trainer.train()
        outcome.seconds += time.perf_counter() - course.start
    load_strictly(model, outcome.best_state, trained_names(model), source="the best epoch")
    model.eval()
    return outcome
