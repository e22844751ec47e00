"""Pretraining of an encoder by masked-language modelling on a corpus, resumable after a kill.

MoLFormer's recipe (Ross et al. 2022, 2106.09553): 15 % masking, rotary embedding, random features drawn afresh at each
step. Beside it, optionally, the regression of computed properties and of given vectors by heads that are left behind
(:mod:`chemsieve.training.heads`). Every draw follows from the seed and the number of the step, so that a run killed and
resumed ends, on the same machine, with the same weights.
"""

import json
import logging
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from chemsieve.training.batches import MaskingCollator, by_length, pad, sent
from chemsieve.training.heads import (
    AT_ONCE,
    Corpus,
    Standard,
    fits,
    last_outputs,
    linear,
    losses,
    masked,
    standardisation,
    targets,
)
from chemsieve.training.held_out import masked_figures
from chemsieve.training.loop import Conditions, Training, low_precision, train
from chemsieve.training.optimisers import optimiser
from chemsieve.training.saves import SavesBySteps
from chemsieve.training.state import below, named

log = logging.getLogger(__name__)

BUCKET = 50  # batches that are sorted by length together
PARTS = ("target_mean", "target_scale")  # names in a state


@dataclass(frozen=True)
class Settings:
    """Hyperparameters. ``properties_weight`` and ``weights`` (by table) multiply losses beside the masked tokens' loss.

    ``unmasked`` is the share of a batch's molecules that nothing is masked in. With ``matrix_learning_rate`` Muon steps
    the matrices of the encoder's linear layers, at this rate; without, AdamW steps them as it does all the rest.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    final_rate: float
    gradient_clip: float
    precision: str
    properties_weight: float
    unmasked: float
    evaluate_every: int
    save_every: int
    weights: dict[str, float] = field(default_factory=dict)
    matrix_learning_rate: float | None = None


def run(
    model: PreTrainedModel,
    encoder: nn.Module,
    corpus: Corpus,
    held: Corpus,
    collate: MaskingCollator,
    settings: Settings,
    conditions: Conditions,
    state: str | Path,
) -> tuple[list[dict], float]:
    """Train ``model`` (a masked-language model around ``encoder``) in place.

    Args:
        corpus: the molecules to train on.
        held: the held-out molecules to measure on.
        collate: masks the molecules of a batch.
        state: file of the resumable state; one left by a run with other settings is ignored. A run's identity is made
            of its settings, seed, molecules, properties and shapes, but not of the vectors in its tables: these may
            grow while it stands still, and it goes on with them, by the means and deviations that it began with.

    Returns:
        The curve: at each evaluation ``step``, ``train_loss``, ``learning_rate``, and on the held-out molecules
        ``validation_loss``, ``masked_accuracy``, ``properties_r2`` (None without properties), ``targets_r2`` (the mean
        over tables, None without any) and ``targets_r2_NAME``; and the seconds spent.

    Raises:
        ChemsieveError: the loss is not finite.
    """
    torch.manual_seed(conditions.seed)
    heads = linear(model.config.hidden_size, corpus)
    both = nn.ModuleDict({"model": model, "heads": heads}).to(conditions.device)
    optimizer = _optimiser(both, encoder, settings)
    training = _Pretraining(
        model=both,
        optimizer=optimizer,
        schedule=LambdaLR(optimizer, lambda step: _rate(settings, step)),
        round_ends=sorted(
            {0, *range(settings.evaluate_every, settings.steps, settings.evaluate_every), settings.steps}
        ),
        gradient_clip=settings.gradient_clip,
        bfloat16=low_precision(settings.precision, conditions.device),
        encoder=encoder,
        corpus=corpus,
        held=held,
        collate=collate,
        settings=settings,
        conditions=conditions,
    )
    identity = _identity(both, settings, collate.probability, corpus, conditions.seed)
    saves = SavesBySteps(Path(state), identity, settings.save_every, steps=settings.steps)
    with last_outputs(encoder) as training.hidden:
        progress = train(training, replace(conditions, saves=saves))
    both.eval()
    return progress.curve, progress.seconds


@dataclass(kw_only=True)
class _Pretraining(Training):
    """A training whose rounds are intervals of steps; ``model`` has ``model``, the encoder's, and ``heads``."""

    model: nn.ModuleDict
    encoder: nn.Module
    corpus: Corpus
    held: Corpus
    collate: MaskingCollator
    settings: Settings
    conditions: Conditions
    # What the encoder gave in the forward pass just made.
    hidden: list[Tensor] = field(default_factory=list)

    @cached_property
    def batches(self) -> "_Batches":
        return _Batches(self.corpus.ids, self.settings.batch_size, self.conditions.seed)

    @cached_property
    def standard(self) -> Standard:
        return standardisation(self.corpus)

    def batch(self, step: int) -> dict[str, Tensor]:
        positions = self.batches.at(step)
        # What a step draws follows from its number: masks, and then dropout and random features.
        torch.manual_seed((self.conditions.seed * 1_000_003 + step) % 2**63)
        batch: dict[str, Tensor | np.ndarray] = {}
        batch |= masked([self.corpus.ids[i] for i in positions], self.collate, self.settings.unmasked)
        batch |= named("heads.", targets(self.corpus, positions, self.standard))
        return {name: sent(torch.as_tensor(values), self.conditions.device) for name, values in batch.items()}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        inputs = {name: tensor for name, tensor in batch.items() if not name.startswith("heads.")}
        heads = cast("nn.ModuleDict", self.model["heads"])
        loss, others = losses(self.model["model"], heads, self.encoder, self.hidden, inputs, below("heads.", batch))
        return loss, loss + sum(_weight(self.settings, name) * other for name, other in others.items())

    def validate(self) -> dict[str, float | None]:
        return _evaluate(self.model, self.encoder, self.held, self.collate, self.standard, self.conditions)

    def end_round(self, row: dict[str, float | None]) -> dict[str, float | None]:
        step = self.progress.step
        log.info(
            "step %d of %d: held-out loss %.4f, accuracy %.4f, R2 of properties %s, of targets %s",
            step, self.settings.steps, row["validation_loss"], row["masked_accuracy"], row["properties_r2"],
            row["targets_r2"],
        )  # fmt: skip
        left_out = ("gradient_norm", "seconds", "evaluation_seconds")
        return {"step": step} | {name: value for name, value in row.items() if name not in left_out}

    def diverged(self, loss: float) -> str:
        return f"pretraining diverged near step {self.progress.step}: lower pretrain.learning_rate"

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"{part}.{name}": torch.from_numpy(array)
            for name, pair in self.standard.items()
            for part, array in zip(PARTS, pair, strict=True)
        }

    def load(self, tensors: dict[str, Tensor], facts: dict) -> None:
        means, scales = (below(f"{part}.", tensors) for part in PARTS)
        self.standard = {name: (mean.numpy(), scales[name].numpy()) for name, mean in means.items()}


def _weight(settings: Settings, name: str) -> float:
    return settings.properties_weight if name == "properties" else settings.weights[name.removeprefix("targets_")]


def _optimiser(both: nn.ModuleDict, encoder: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    inside = {
        parameter
        for module in encoder.modules()
        if isinstance(module, nn.Linear)
        for parameter in module.parameters(recurse=False)
        if parameter.dim() == 2
    }
    parameters = [p for p in both.parameters() if p.requires_grad]
    matrices, others = ([p for p in parameters if (p in inside) == wanted] for wanted in (True, False))
    rate = settings.matrix_learning_rate
    ratio = None if rate is None else rate / settings.learning_rate
    return optimiser(matrices, others, settings.weight_decay, ratio)


def _rate(settings: Settings, step: int) -> float:
    """Linear warm-up, then a cosine to the final share."""
    warm = max(settings.warmup * settings.steps, 1)
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    share = (step - warm) / max(settings.steps - warm, 1)
    least = settings.final_rate
    return settings.learning_rate * (least + (1 - least) * (1 + math.cos(math.pi * min(share, 1.0))) / 2)


class _Batches:
    """Batches of like length in a random order that follows from seed, epoch and step."""

    def __init__(self, ids: Sequence[Sequence[int]], batch_size: int, seed: int):
        self.lengths = np.array([len(row) for row in ids])
        self.batch_size, self.seed = min(batch_size, len(ids)), seed
        self.per_epoch = len(ids) // self.batch_size  # the rest of an epoch's order is left out, another one each time
        self.epoch = -1
        self.order: list[np.ndarray] = []

    def at(self, step: int) -> np.ndarray:
        """Positions of the batch of a step."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self.epoch:
            self.epoch, self.order = epoch, list(self._epoch(np.random.default_rng([self.seed, epoch])))
        return self.order[place]

    def _epoch(self, generator: np.random.Generator) -> Iterator[np.ndarray]:
        order = generator.permutation(len(self.lengths))[: self.per_epoch * self.batch_size]
        batches = []
        for bucket in np.array_split(order, range(BUCKET * self.batch_size, len(order), BUCKET * self.batch_size)):
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")]
            batches += np.split(bucket, len(bucket) // self.batch_size)
        for place in generator.permutation(len(batches)):
            yield batches[place]


def sample(corpus: Corpus, count: int, seed: int) -> Corpus:
    """At most ``count`` molecules, drawn with ``seed``."""
    return corpus.part(np.sort(np.random.default_rng(seed).permutation(len(corpus))[:count]))


@torch.no_grad()
def _evaluate(
    both: nn.ModuleDict,
    encoder: nn.Module,
    held: Corpus,
    collate: MaskingCollator,
    standard: Standard,
    conditions: Conditions,
) -> dict[str, float | None]:
    """Figures on the held-out molecules, in float32; the same masks each time. The heads predict unmasked molecules."""
    generator = torch.Generator().manual_seed(conditions.seed)
    batches = (
        collate([{"input_ids": held.ids[i]} for i in positions], generator)
        for positions in by_length(held.ids, AT_ONCE)
    )
    figures = masked_figures(both["model"], batches, conditions.device)
    heads = cast("nn.ModuleDict", both["heads"])
    measured = fits(heads, encoder, held, collate.pad_id, standard, conditions.device)
    found = {name: fit.r2 for name, fit in measured.items()}
    of_tables = {name: r2 for name, r2 in found.items() if name != "properties"}
    return {
        **figures,
        "properties_r2": found.get("properties"),
        "targets_r2": float(np.mean(list(of_tables.values()))) if of_tables else None,
        **{name.replace("targets_", "targets_r2_", 1): r2 for name, r2 in of_tables.items()},
    }


def bigram_baseline(train: Corpus, held: Corpus, collate: MaskingCollator, seed: int) -> dict:
    """Loss and accuracy of guessing each masked held-out token from the token before it, as it really is.

    Counts of the training molecules, one added to each; the masks are those of the evaluation. A model that has learned
    no more than which token follows which does no better.
    """
    size = collate.vocabulary
    counts: np.ndarray = np.zeros(size * size)
    for low in range(0, len(train), 100_000):
        pairs = [np.asarray(row[:-1]) * size + np.asarray(row[1:]) for row in train.ids[low : low + 100_000]]
        counts += np.bincount(np.concatenate(pairs), minlength=size * size)
    counts = counts.reshape(size, size) + 1
    logs = np.log(counts / counts.sum(axis=1, keepdims=True))
    generator = torch.Generator().manual_seed(seed)
    losses, right = [], []
    for positions in by_length(held.ids, AT_ONCE):
        rows = [held.ids[i] for i in positions]
        labels = collate([{"input_ids": row} for row in rows], generator)["labels"].numpy()
        truth = pad(rows, collate.pad_id)[0].numpy()
        row, column = np.nonzero(labels != -100)
        before, label = truth[row, column - 1], labels[row, column]
        losses.append(-logs[before, label])
        right.append(logs[before].argmax(axis=1) == label)
    return {"loss": float(np.concatenate(losses).mean()), "accuracy": float(np.concatenate(right).mean())}


def _identity(both: nn.Module, settings: Settings, masking: float, train: Corpus, seed: int) -> str:
    """What a state must share with a run that resumes it: settings, seed, molecules, properties, shapes.

    Not the tables' vectors: of how many molecules a teacher has told by now is no part of what is being made.
    """
    lengths = np.array([len(row) for row in train.ids], dtype=np.int64)
    shapes = {name: list(tensor.shape) for name, tensor in both.state_dict().items()}
    checksum = zlib.crc32(lengths.tobytes()) ^ zlib.crc32(np.ascontiguousarray(train.properties).tobytes())
    return json.dumps([asdict(settings), masking, seed, len(train), checksum, shapes], sort_keys=True)
