"""Pretraining of an encoder by masked-language modelling on a corpus, resumable after a kill.

MoLFormer's recipe (Ross et al. 2022, 2106.09553): 15 % masking, rotary embedding, random features drawn afresh at each
step. Beside it, optionally, the regression of computed properties on the mean of the last layer (ChemBERTa-2 MTR, Ahmad
et al. 2022, 2209.01712) and of given vectors, a teacher's for example (Hinton et al. 2015, 1503.02531, with features in
the place of logits), whose heads are left behind. Every draw follows from the seed and the number of the step, so that
a run killed and resumed ends, on the same machine, with the same weights.
"""

import json
import logging
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from chemsieve.models.molformer.modeling import masked_mean
from chemsieve.training.batches import MaskingCollator, by_length, pad
from chemsieve.training.held_out import masked_figures
from chemsieve.training.loop import Conditions, Training, low_precision, train
from chemsieve.training.optimisers import optimiser
from chemsieve.training.saves import SavesBySteps
from chemsieve.training.state import below, named

log = logging.getLogger(__name__)

BUCKET = 50  # batches that are sorted by length together
AT_ONCE = 64  # molecules measured together; of long ones more would take gigabytes
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


@dataclass
class Corpus:
    """Token ids of molecules; their properties (n, properties), which may have no columns; and tables of vectors.

    A table is an array (rows, numbers), mapped into memory as a rule, NaN where nothing is known; ``rows`` are those of
    the molecules, and may be left out where there is no table.
    """

    ids: Sequence[Sequence[int]]
    properties: np.ndarray
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def vector(self, name: str, positions: np.ndarray) -> np.ndarray:
        """Vectors (positions, numbers) of a table, float32."""
        rows = cast("np.ndarray", self.rows)  # there where a table is
        return self.vectors[name][rows[positions]].astype(np.float32)

    def part(self, positions: np.ndarray) -> "Corpus":
        """Some of the molecules."""
        rows = None if self.rows is None else self.rows[positions]
        return Corpus([self.ids[i] for i in positions], self.properties[positions], self.vectors, rows)


# Means and standard deviations by which properties and vectors are standardised, of the properties and by table.
Standard = dict[str, tuple[np.ndarray, np.ndarray]]


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
    heads = _heads(model.config.hidden_size, corpus)
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
    with training.watching():
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
    # What the encoder gave in the forward pass just made: the heads predict from it too.
    hidden: list[Tensor] = field(default_factory=list)

    @cached_property
    def batches(self) -> "_Batches":
        return _Batches(self.corpus.ids, self.settings.batch_size, self.conditions.seed)

    @cached_property
    def standard(self) -> Standard:
        return standardisation(self.corpus)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The encoder's last output is kept in ``hidden`` for as long as the block runs."""

        def keep(module: nn.Module, given: tuple, output) -> None:
            self.hidden[:] = [output.last_hidden_state]

        handle = self.encoder.register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()

    def batch(self, step: int) -> dict[str, Tensor]:
        positions = self.batches.at(step)
        # What a step draws follows from its number: masks, and then dropout and random features.
        torch.manual_seed((self.conditions.seed * 1_000_003 + step) % 2**63)
        batch: dict[str, Tensor | np.ndarray] = {}
        batch |= _masked([self.corpus.ids[i] for i in positions], self.collate, self.settings.unmasked)
        batch |= named("heads.", _targets(self.corpus, positions, self.standard))
        return {name: torch.as_tensor(values).to(self.conditions.device) for name, values in batch.items()}

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        targets = below("heads.", batch)
        inputs = {name: tensor for name, tensor in batch.items() if not name.startswith("heads.")}
        loss, others = _losses(self.model, self.encoder, self.hidden, inputs, targets)
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


def _heads(width: int, corpus: Corpus) -> nn.ModuleDict:
    """A linear head for the properties, if there are any, and for each table."""
    sizes = {"properties": corpus.properties.shape[1]} | _of_tables(
        {name: table.shape[1] for name, table in corpus.vectors.items()}
    )
    return nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items() if size})


def _of_tables(given: dict) -> dict:
    """Keys that stand for tables, whatever these are called."""
    return {f"targets_{name}": value for name, value in given.items()}


def _weight(settings: Settings, name: str) -> float:
    return settings.properties_weight if name == "properties" else settings.weights[name.removeprefix("targets_")]


def _masked(rows: Sequence[Sequence[int]], collate: MaskingCollator, unmasked: float) -> dict[str, Tensor]:
    """A batch in which a share of the molecules, drawn afresh, has nothing masked."""
    inputs = collate([{"input_ids": row} for row in rows])
    if whole := round(unmasked * len(rows)):
        chosen = torch.randperm(len(rows))[:whole]
        inputs["input_ids"][chosen] = pad(rows, collate.pad_id)[0][chosen]
        inputs["labels"][chosen] = -100
    return inputs


def _targets(corpus: Corpus, positions: np.ndarray, standard: Standard) -> dict[str, np.ndarray]:
    """Standardised properties and vectors of molecules, as the heads are called."""
    given = {"properties": corpus.properties[positions]} if "properties" in standard else {}
    given |= _of_tables({name: corpus.vector(name, positions) for name in corpus.vectors})
    return {name: _standardised(values, *standard[name]) for name, values in given.items()}


def _losses(
    both: nn.ModuleDict, encoder: nn.Module, hidden: list[Tensor], inputs: dict, targets: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the masked tokens, 0 without any; and each head's mean squared error over what is known."""
    if (inputs["labels"] != -100).any():
        loss = both["model"](**inputs).loss
    else:
        encoder(inputs["input_ids"], inputs["attention_mask"])
        loss = hidden[0].new_zeros(())
    pooled = masked_mean(hidden[0].float(), inputs["attention_mask"]) if targets else None
    heads, others = cast("nn.ModuleDict", both["heads"]), {}
    for name, target in targets.items():
        known = target.isfinite()
        error = torch.where(known, heads[name](pooled).float() - target.nan_to_num(), 0.0)
        others[name] = error.square().sum() / known.sum().clamp(min=1)
    return loss, others


def standardisation(corpus: Corpus) -> Standard:
    """Means and standard deviations of each column, over finite values; the deviation of a constant column is 1."""
    standard = {}
    if corpus.properties.shape[1]:
        standard["properties"] = np.nanmean(corpus.properties, axis=0), np.nanstd(corpus.properties, axis=0)
    for name, table in corpus.vectors.items():
        count, total, squares = (np.zeros(table.shape[1]) for _ in range(3))
        for low in range(0, len(corpus), 8192):
            values = corpus.vector(name, np.arange(low, min(low + 8192, len(corpus)))).astype(np.float64)
            count += np.isfinite(values).sum(axis=0)
            total += np.nansum(values, axis=0)
            squares += np.nansum(values**2, axis=0)
        mean = total / np.maximum(count, 1)
        variance = squares / np.maximum(count, 1) - mean**2
        # Below what rounding leaves of equal numbers a column is constant.
        variance[variance < 1e-12 * mean**2] = 0.0
        standard[f"targets_{name}"] = mean, np.sqrt(variance)
    return {
        name: (np.nan_to_num(mean).astype(np.float32), np.where(np.nan_to_num(s) > 0, s, 1.0).astype(np.float32))
        for name, (mean, s) in standard.items()
    }


def _standardised(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Bounded, since a few freak molecules lie a hundred deviations out and would rule the loss."""
    return np.clip((values - mean) / scale, -6, 6).astype(np.float32)


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
    masked = (
        collate([{"input_ids": held.ids[i]} for i in positions], generator)
        for positions in by_length(held.ids, AT_ONCE)
    )
    figures = masked_figures(both["model"], masked, conditions.device)
    heads = cast("nn.ModuleDict", both["heads"])
    found = _r2_of_heads(heads, encoder, held, collate.pad_id, standard, conditions.device) if standard else {}
    of_tables = {name: r2 for name, r2 in found.items() if name != "properties"}
    return {
        **figures,
        "properties_r2": found.get("properties"),
        "targets_r2": float(np.mean(list(of_tables.values()))) if of_tables else None,
        **{name.replace("targets_", "targets_r2_", 1): r2 for name, r2 in of_tables.items()},
    }


def _r2_of_heads(
    heads: nn.ModuleDict, encoder: nn.Module, held: Corpus, pad_id: int, standard: Standard, device: torch.device
) -> dict[str, float]:
    """R2 of each head's predictions, as the heads are called."""
    errors: dict[str, list[np.ndarray]] = {name: [] for name in standard}
    truths: dict[str, list[np.ndarray]] = {name: [] for name in standard}
    for positions in by_length(held.ids, AT_ONCE):
        tokens, mask = (t.to(device) for t in pad([held.ids[i] for i in positions], pad_id))
        pooled = masked_mean(encoder(tokens, mask).last_hidden_state, mask)
        for name, target in _targets(held, positions, standard).items():
            errors[name].append((heads[name](pooled).cpu().numpy() - target) ** 2)
            truths[name].append(target)
    return {name: _r2(np.concatenate(errors[name]), np.concatenate(truths[name])) for name in standard}


def _r2(squares: np.ndarray, truth: np.ndarray) -> float:
    """R2 of all columns together: the mean of their own would be ruled by those that hardly vary in the sample."""
    known = np.isfinite(truth).any(axis=0)
    if not known.any():
        return math.nan
    spread = np.nanvar(truth[:, known], axis=0).sum()
    return float(1 - np.nanmean(squares[:, known], axis=0).sum() / spread) if spread else math.nan


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
