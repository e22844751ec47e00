"""Pretraining of an encoder by masked-language modelling on a corpus, resumable after a kill.

MoLFormer's recipe (Ross et al. 2022, 2106.09553): 15 % masking, rotary embedding, random features drawn afresh at each
step. Beside it, optionally, the regression of computed properties on the mean of the last layer (ChemBERTa-2 MTR, Ahmad
et al. 2022, 2209.01712), whose head is left behind. Every draw follows from the seed and the number of the step, so
that a run killed and resumed ends, on the same machine, with the same weights.
"""

import json
import logging
import math
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chemsieve.checkpoints import load_strictly
from chemsieve.errors import ChemsieveError
from chemsieve.molformer.modeling import masked_mean
from chemsieve.processes import progress
from chemsieve.training.batches import MaskingCollator, by_length, pad
from chemsieve.training.loop import low_precision
from chemsieve.training.state import below, moments, named, read_state, set_moments, write_state

log = logging.getLogger(__name__)

BUCKET = 50  # batches that are sorted by length together


@dataclass(frozen=True)
class Settings:
    """Hyperparameters. ``properties_weight`` is that of the properties' loss beside the masked tokens' loss."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: float = 0.02
    gradient_clip: float = 1.0
    precision: str = "auto"
    properties_weight: float = 1.0
    evaluate_every: int = 500
    save_every: int = 250


@dataclass
class Corpus:
    """Token ids of molecules, and their properties (n, properties), which may have no columns."""

    ids: Sequence[Sequence[int]]
    properties: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


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
        state: file of the resumable state; one left by a run with other settings is ignored.
        record: is told each row of the curve, of a resumed run those before too.

    Returns:
        The curve: at each evaluation ``step``, ``train_loss``, ``learning_rate``, and on the held-out molecules
        ``validation_loss``, ``masked_accuracy`` and ``properties_r2`` (None without properties); and the seconds spent.

    Raises:
        ChemsieveError: the loss is not finite.
    """
    mean, scale = _moments(train.properties)
    torch.manual_seed(seed)
    head = nn.Linear(width, train.properties.shape[1]) if train.properties.shape[1] else nn.Identity()
    both = nn.ModuleDict({"model": model, "properties": head}).to(device)
    optimizer = torch.optim.AdamW(_groups(both, settings.weight_decay), lr=settings.learning_rate, fused=True)
    identity = _identity(both, settings, collate.probability, train, seed)
    step, curve, spent, losses = _restore(state, both, optimizer, identity)
    batches = _Batches(train.ids, settings.batch_size, seed)
    bfloat16 = low_precision(settings.precision, device)
    log.info("matrix products in %s", "bfloat16" if bfloat16 else "float32")
    began = time.perf_counter()
    hidden: list[Tensor] = []  # of the forward pass just made: tokens and properties share it
    handle = encoder.register_forward_hook(lambda module, given, output: hidden.append(output.last_hidden_state))

    def measured(at: int) -> None:
        figures = _evaluate(both, encoder, held, collate, mean, scale, seed, device)
        train_loss = torch.stack(losses).mean().item() if losses else None
        curve.append({"step": at, "train_loss": train_loss, "learning_rate": _rate(settings, at)} | figures)
        record(curve[-1])
        log.info(
            "step %d of %d: held-out loss %.4f, accuracy %.4f, R2 of properties %s",
            at, settings.steps, figures["validation_loss"], figures["masked_accuracy"], figures["properties_r2"],
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
        inputs = {k: v.to(device) for k, v in collate([{"input_ids": train.ids[i]} for i in positions]).items()}
        targets = torch.as_tensor(_standardised(train.properties[positions], mean, scale), device=device)
        for group in optimizer.param_groups:
            group["lr"] = _rate(settings, number)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            loss, properties_loss = _losses(both, hidden, inputs, targets)
        (loss + settings.properties_weight * properties_loss).backward()
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
            _save(state, both, optimizer, identity, done, curve, elapsed, losses)
    handle.remove()
    both.eval()
    return curve, spent + time.perf_counter() - began


def _losses(both: nn.ModuleDict, hidden: list[Tensor], inputs: dict, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the masked tokens, and mean squared error of the standardised properties (0 without any)."""
    hidden.clear()
    loss = both["model"](**inputs).loss
    if not targets.shape[1]:
        return loss, loss.new_zeros(())
    predicted = both["properties"](masked_mean(hidden[0].float(), inputs["attention_mask"]))
    known = targets.isfinite()
    error = torch.where(known, predicted.float() - targets.nan_to_num(), 0.0)
    return loss, error.square().sum() / known.sum().clamp(min=1)


def _moments(properties: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of the columns, over finite values; the deviation of a constant column is 1."""
    if not properties.shape[1]:
        return np.zeros(0, np.float32), np.ones(0, np.float32)
    mean, scale = np.nanmean(properties, axis=0), np.nanstd(properties, axis=0)
    return np.nan_to_num(mean), np.where(np.nan_to_num(scale) > 0, scale, 1.0)


def _standardised(properties: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Bounded, since a few freak molecules lie a hundred deviations out and would rule the loss."""
    return np.clip((properties - mean) / scale, -6, 6).astype(np.float32)


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
    chosen = np.sort(np.random.default_rng(seed).permutation(len(corpus))[:count])
    return Corpus([corpus.ids[i] for i in chosen], corpus.properties[chosen])


@torch.no_grad()
def _evaluate(
    both: nn.ModuleDict,
    encoder: nn.Module,
    held: Corpus,
    collate: MaskingCollator,
    mean: np.ndarray,
    scale: np.ndarray,
    seed: int,
    device: torch.device,
) -> dict:
    """Figures on the held-out molecules, in float32; the same masks each time. Properties are predicted unmasked."""
    both.eval()
    generator = torch.Generator().manual_seed(seed)
    total = right = masked = 0.0
    squares = []
    targets = _standardised(held.properties, mean, scale)
    for positions in by_length(held.ids, 256):
        batch = collate([{"input_ids": held.ids[i]} for i in positions], generator)
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        labels = batch.pop("labels")
        chosen = labels != -100
        logits = both["model"](**batch).logits[chosen].float()
        total += F.cross_entropy(logits, labels[chosen], reduction="sum").item()
        right += (logits.argmax(-1) == labels[chosen]).sum().item()
        masked += chosen.sum().item()
        if targets.shape[1]:
            tokens, mask = (t.to(device) for t in pad([held.ids[i] for i in positions], collate.pad_id))
            pooled = masked_mean(encoder(tokens, mask).last_hidden_state, mask)
            squares.append((both["properties"](pooled).cpu().numpy() - targets[positions]) ** 2)
    result = {"validation_loss": total / masked, "masked_accuracy": right / masked, "properties_r2": None}
    if squares:
        # Of all properties together: the mean of their R2 would be ruled by those that hardly vary in the sample.
        errors = np.nanmean(np.concatenate(squares), axis=0)
        result["properties_r2"] = float(1 - np.nansum(errors) / np.nansum(np.nanvar(targets, axis=0)))
    return result


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
    for positions in by_length(held.ids, 256):
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
    """What a state must share with a run that resumes it: settings, seed, molecules, shapes."""
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
) -> None:
    """One file, whole or absent: weights, moments, and where the run stands."""
    tensors = named("weights.", both.state_dict()) | moments(optimizer)
    tensors["losses"] = torch.stack(losses) if losses else torch.zeros(0)
    facts = {"step": step, "curve": curve, "seconds": seconds}
    write_state(path, identity, tensors, facts)


def _restore(
    path: str | Path, both: nn.Module, optimizer: torch.optim.Optimizer, identity: str
) -> tuple[int, list[dict], float, list[Tensor]]:
    """Step, curve, seconds and losses since the last evaluation, of the state that was left, if it is this run's."""
    if (found := read_state(path, identity)) is None:
        return 0, [], 0.0, []
    tensors, facts = found
    load_strictly(both, below("weights.", tensors), source=str(path))
    set_moments(optimizer, tensors)
    log.info("resuming at step %d", facts["step"])
    return facts["step"], facts["curve"], facts["seconds"], list(tensors["losses"])
