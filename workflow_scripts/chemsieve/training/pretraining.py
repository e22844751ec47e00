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
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chemsieve.errors import ChemsieveError
from chemsieve.models.checkpoints import load_strictly
from chemsieve.models.molformer.modeling import masked_mean
from chemsieve.runtime.processes import progress
from chemsieve.training.batches import MaskingCollator, by_length, pad
from chemsieve.training.loop import low_precision
from chemsieve.training.state import below, moments, named, read_state, set_moments, write_state

log = logging.getLogger(__name__)

BUCKET = 50  # batches that are sorted by length together
AT_ONCE = 64  # molecules measured together; of long ones more would take gigabytes
PARTS = ("target_mean", "target_scale")  # names in a state


@dataclass(frozen=True)
class Settings:
    """Hyperparameters. ``properties_weight`` and ``weights`` (by table) multiply losses beside the masked tokens' loss.

    ``unmasked`` is the share of a batch's molecules that nothing is masked in.
    """

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    gradient_clip: float
    precision: str
    properties_weight: float
    unmasked: float
    evaluate_every: int
    save_every: int
    weights: dict[str, float] = field(default_factory=dict)


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
        return self.vectors[name][self.rows[positions]].astype(np.float32)

    def part(self, positions: np.ndarray) -> "Corpus":
        """Some of the molecules."""
        rows = None if self.rows is None else self.rows[positions]
        return Corpus([self.ids[i] for i in positions], self.properties[positions], self.vectors, rows)


Moments = dict[str, tuple[np.ndarray, np.ndarray]]  # means and standard deviations, of properties and by table


def run(
    model: nn.Module,
    encoder: nn.Module,
    width: int,
    train: Corpus,
    held: Corpus,
    collate: MaskingCollator,
    settings: Settings,
    seed: int,
    device: torch.device,
    state: str | Path,
    record: Callable[[dict], None] = lambda row: None,
) -> tuple[list[dict], float]:
    """Train ``model`` (a masked-language model around ``encoder``, ``width`` wide) in place.

    Args:
        held: the held-out molecules to measure on.
        collate: masks the molecules of a batch.
        state: file of the resumable state; one left by a run with other settings is ignored. A run's identity is made
            of its settings, seed, molecules, properties and shapes, but not of the vectors in its tables: these may
            grow while it stands still, and it goes on with them, by the means and deviations that it began with.
        record: is told each row of the curve, of a resumed run those before too.

    Returns:
        The curve: at each evaluation ``step``, ``train_loss``, ``learning_rate``, and on the held-out molecules
        ``validation_loss``, ``masked_accuracy``, ``properties_r2`` (None without properties), ``targets_r2`` (the mean
        over tables, None without any) and ``targets_r2_NAME``; and the seconds spent.

    Raises:
        ChemsieveError: the loss is not finite.
    """
    torch.manual_seed(seed)
    both = nn.ModuleDict({"model": model, "heads": _heads(width, train)}).to(device)
    optimizer = torch.optim.AdamW(_groups(both, settings.weight_decay), lr=settings.learning_rate, fused=True)
    identity = _identity(both, settings, collate.probability, train, seed)
    step, curve, spent, losses, moments = _restore(state, both, optimizer, identity)
    moments = moments or _moments(train)
    batches = _Batches(train.ids, settings.batch_size, seed)
    bfloat16 = low_precision(settings.precision, device)
    log.info("matrix products in %s", "bfloat16" if bfloat16 else "float32")
    began = time.perf_counter()
    hidden: list[Tensor] = []  # of the forward pass just made: tokens and properties share it
    handle = encoder.register_forward_hook(lambda module, given, output: hidden.append(output.last_hidden_state))

    def measured(at: int) -> None:
        figures = _evaluate(both, encoder, held, collate, moments, seed, device)
        train_loss = torch.stack(losses).mean().item() if losses else None
        curve.append({"step": at, "train_loss": train_loss, "learning_rate": _rate(settings, at)} | figures)
        record(curve[-1])
        log.info(
            "step %d of %d: held-out loss %.4f, accuracy %.4f, R2 of properties %s, of targets %s",
            at, settings.steps, figures["validation_loss"], figures["masked_accuracy"], figures["properties_r2"],
            figures["targets_r2"],
        )  # fmt: skip
        losses.clear()

    for row in curve:
        record(row)
    if not curve:
        measured(0)
    for number in progress(range(step, settings.steps), "pretraining", settings.steps - step):
        both.train()
        positions = batches.at(number)
        torch.manual_seed((seed * 1_000_003 + number) % 2**63)
        inputs = _masked([train.ids[i] for i in positions], collate, settings.unmasked)
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        targets = {name: torch.as_tensor(t, device=device) for name, t in _targets(train, positions, moments).items()}
        for group in optimizer.param_groups:
            group["lr"] = _rate(settings, number)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss, others = _losses(both, encoder, hidden, inputs, targets)
        (loss + sum(_weight(settings, name) * other for name, other in others.items())).backward()
        nn.utils.clip_grad_norm_(both.parameters(), settings.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
        done = number + 1
        if done % 50 == 0 and not math.isfinite(losses[-1].item()):
            raise ChemsieveError(f"pretraining diverged near step {done}: lower pretrain.learning_rate")
        if done % settings.evaluate_every == 0 or done == settings.steps:
            measured(done)
        if done % settings.save_every == 0 or done == settings.steps:
            elapsed = spent + time.perf_counter() - began
            _save(state, both, optimizer, identity, done, curve, elapsed, losses, moments)
    handle.remove()
    both.eval()
    return curve, spent + time.perf_counter() - began


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


def _targets(corpus: Corpus, positions: np.ndarray, moments: Moments) -> dict[str, np.ndarray]:
    """Standardised properties and vectors of molecules, as the heads are called."""
    given = {"properties": corpus.properties[positions]} if "properties" in moments else {}
    given |= _of_tables({name: corpus.vector(name, positions) for name in corpus.vectors})
    return {name: _standardised(values, *moments[name]) for name, values in given.items()}


def _losses(
    both: nn.ModuleDict, encoder: nn.Module, hidden: list[Tensor], inputs: dict, targets: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the masked tokens, 0 without any; and each head's mean squared error over what is known."""
    hidden.clear()
    if (inputs["labels"] != -100).any():
        loss = both["model"](**inputs).loss
    else:
        encoder(inputs["input_ids"], inputs["attention_mask"])
        loss = hidden[0].new_zeros(())
    pooled = masked_mean(hidden[0].float(), inputs["attention_mask"]) if targets else None
    others = {}
    for name, target in targets.items():
        known = target.isfinite()
        error = torch.where(known, both["heads"][name](pooled).float() - target.nan_to_num(), 0.0)
        others[name] = error.square().sum() / known.sum().clamp(min=1)
    return loss, others


def _moments(corpus: Corpus) -> Moments:
    """Means and standard deviations of each column, over finite values; the deviation of a constant column is 1."""
    moments = {}
    if corpus.properties.shape[1]:
        moments["properties"] = np.nanmean(corpus.properties, axis=0), np.nanstd(corpus.properties, axis=0)
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
        moments[f"targets_{name}"] = mean, np.sqrt(variance)
    return {
        name: (np.nan_to_num(mean).astype(np.float32), np.where(np.nan_to_num(s) > 0, s, 1.0).astype(np.float32))
        for name, (mean, s) in moments.items()
    }


def _standardised(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Bounded, since a few freak molecules lie a hundred deviations out and would rule the loss."""
    return np.clip((values - mean) / scale, -6, 6).astype(np.float32)


def _groups(module: nn.Module, weight_decay: float) -> list[dict]:
    """Weight decay on matrices alone."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]


def _rate(settings: Settings, step: int) -> float:
    """Linear warm-up, then a cosine to a tenth."""
    warm = max(settings.warmup * settings.steps, 1)
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    share = (step - warm) / max(settings.steps - warm, 1)
    return settings.learning_rate * (0.55 + 0.45 * math.cos(math.pi * min(share, 1.0)))


class _Batches:
    """Batches of like length in a random order that follows from seed, epoch and step."""

    def __init__(self, ids: Sequence[Sequence[int]], batch_size: int, seed: int):
        self.lengths = np.array([len(row) for row in ids])
        self.batch_size, self.seed = min(batch_size, len(ids)), seed
        self.per_epoch = len(ids) // self.batch_size  # the rest of an epoch's order is left out, another one each time
        self.epoch, self.order = -1, []

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
    moments: Moments,
    seed: int,
    device: torch.device,
) -> dict:
    """Figures on the held-out molecules, in float32; the same masks each time. The heads predict unmasked molecules."""
    both.eval()
    generator = torch.Generator().manual_seed(seed)
    total = right = masked = 0.0
    errors: dict[str, list[np.ndarray]] = {name: [] for name in moments}
    truths: dict[str, list[np.ndarray]] = {name: [] for name in moments}
    for positions in by_length(held.ids, AT_ONCE):
        batch = collate([{"input_ids": held.ids[i]} for i in positions], generator)
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        labels = batch.pop("labels")
        chosen = labels != -100
        logits = both["model"](**batch).logits[chosen].float()
        total += F.cross_entropy(logits, labels[chosen], reduction="sum").item()
        right += (logits.argmax(-1) == labels[chosen]).sum().item()
        masked += chosen.sum().item()
        if not moments:
            continue
        tokens, mask = (t.to(device) for t in pad([held.ids[i] for i in positions], collate.pad_id))
        pooled = masked_mean(encoder(tokens, mask).last_hidden_state, mask)
        for name, target in _targets(held, positions, moments).items():
            errors[name].append((both["heads"][name](pooled).cpu().numpy() - target) ** 2)
            truths[name].append(target)
    found = {name: _r2(np.concatenate(errors[name]), np.concatenate(truths[name])) for name in moments}
    of_tables = {name: r2 for name, r2 in found.items() if name != "properties"}
    return {
        "validation_loss": total / masked,
        "masked_accuracy": right / masked,
        "properties_r2": found.get("properties"),
        "targets_r2": float(np.mean(list(of_tables.values()))) if of_tables else None,
        **{name.replace("targets_", "targets_r2_", 1): r2 for name, r2 in of_tables.items()},
    }


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
    counts = np.zeros(size * size)
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


# -- state -------------------------------------------------------------------------------------------------------------


def _identity(both: nn.Module, settings: Settings, masking: float, train: Corpus, seed: int) -> str:
    """What a state must share with a run that resumes it: settings, seed, molecules, properties, shapes.

    Not the tables' vectors: of how many molecules a teacher has told by now is no part of what is being made.
    """
    lengths = np.array([len(row) for row in train.ids], dtype=np.int64)
    shapes = {name: list(tensor.shape) for name, tensor in both.state_dict().items()}
    checksum = zlib.crc32(lengths.tobytes()) ^ zlib.crc32(np.ascontiguousarray(train.properties).tobytes())
    return json.dumps([asdict(settings), masking, seed, len(train), checksum, shapes], sort_keys=True)


def _save(
    path: str | Path,
    both: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: str,
    step: int,
    curve: list[dict],
    seconds: float,
    losses: list[Tensor],
    standard: Moments,
) -> None:
    """One file, whole or absent: weights, the optimiser's moments, the targets' moments, and where the run stands."""
    tensors = named("weights.", both.state_dict()) | moments(optimizer)
    for name, pair in standard.items():
        tensors |= {f"{part}.{name}": torch.from_numpy(array) for part, array in zip(PARTS, pair, strict=True)}
    tensors["losses"] = torch.stack(losses) if losses else torch.zeros(0)
    facts = {"step": step, "curve": curve, "seconds": seconds}
    write_state(path, identity, tensors, facts)


def _restore(
    path: str | Path, both: nn.Module, optimizer: torch.optim.Optimizer, identity: str
) -> tuple[int, list[dict], float, list[Tensor], Moments]:
    """Step, curve, seconds, losses since the last evaluation and moments, of the state left, if it is this run's."""
    if (found := read_state(path, identity)) is None:
        return 0, [], 0.0, [], {}
    tensors, facts = found
    load_strictly(both, below("weights.", tensors), source=str(path))
    set_moments(optimizer, tensors)
    log.info("resuming at step %d", facts["step"])
    means, scales = (below(f"{part}.", tensors) for part in PARTS)
    standard = {name: (mean.numpy(), scales[name].numpy()) for name, mean in means.items()}
    return facts["step"], facts["curve"], facts["seconds"], list(tensors["losses"]), standard
