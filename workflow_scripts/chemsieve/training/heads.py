"""Heads beside that of the masked tokens: what is known of a molecule, predicted from the mean of the last layer.

Each head is linear and learns computed properties (ChemBERTa-2 MTR, Ahmad et al. 2022, 2209.01712) or given vectors, a
teacher's for example (Hinton et al. 2015, 1503.02531, with features in the place of logits). The heads themselves are
left behind. Pretraining has them, and adaptation where it is told to.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from chemsieve.models.molformer.modeling import MolformerForMaskedLM, masked_mean
from chemsieve.training.batches import MaskingCollator, by_length, masked_places, pad, padded

AT_ONCE = 64  # molecules measured together; of long ones more would take gigabytes
BOUND = 6  # deviations from the mean


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


def of_table(name: str) -> str:
    """What the head of a table is called, whatever that is called."""
    return f"targets_{name}"


def linear(width: int, corpus: Corpus) -> nn.ModuleDict:
    """A linear head for the properties, if there are any, and for each table, from torch's global generator."""
    sizes = {"properties": corpus.properties.shape[1]}
    sizes |= {of_table(name): table.shape[1] for name, table in corpus.vectors.items()}
    return nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items() if size})


@contextmanager
def last_outputs(encoder: nn.Module) -> Iterator[list[Tensor]]:
    """What the encoder gave last, as a list of one, for as long as the block runs: heads predict from it too."""
    hidden: list[Tensor] = []

    def keep(module: nn.Module, given: tuple, output) -> None:
        hidden[:] = [output.last_hidden_state]

    handle = encoder.register_forward_hook(keep)
    try:
        yield hidden
    finally:
        handle.remove()


def masked(rows: Sequence[Sequence[int]], collate: MaskingCollator, unmasked: float) -> dict[str, Tensor]:
    """A batch in which a share of the molecules, drawn afresh, has nothing masked; ``chosen`` are its masked places."""
    inputs = collate([{"input_ids": row} for row in rows])
    if whole := round(unmasked * len(rows)):
        chosen = torch.randperm(len(rows))[:whole]
        inputs["input_ids"][chosen] = pad(rows, collate.pad_id)[0][chosen]
        inputs["labels"][chosen] = -100
    return inputs | {"chosen": masked_places(inputs["labels"])}


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
        standard[of_table(name)] = mean, np.sqrt(variance)
    return {
        name: (np.nan_to_num(mean).astype(np.float32), np.where(np.nan_to_num(s) > 0, s, 1.0).astype(np.float32))
        for name, (mean, s) in standard.items()
    }


def _standardised(values: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Bounded, since a few freak molecules lie a hundred deviations out and would rule the loss."""
    return np.clip((values - mean) / scale, -BOUND, BOUND).astype(np.float32)


def targets(corpus: Corpus, positions: np.ndarray, standard: Standard) -> dict[str, np.ndarray]:
    """Standardised properties and vectors of molecules, as the heads are called."""
    given = {"properties": corpus.properties[positions]} if "properties" in standard else {}
    given |= {of_table(name): corpus.vector(name, positions) for name in corpus.vectors}
    return {name: _standardised(values, *standard[name]) for name, values in given.items()}


def losses(
    model: nn.Module,
    heads: nn.ModuleDict,
    encoder: nn.Module,
    hidden: list[Tensor],
    inputs: dict,
    wanted: dict[str, Tensor],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the masked tokens, 0 without any; and each head's mean squared error over what is known.

    Args:
        hidden: of :func:`last_outputs`.
        inputs: a batch of :func:`masked`.
        wanted: its :func:`targets`.
    """
    if len(inputs["chosen"]):
        # Other families look at the labels of all tokens.
        ours = isinstance(model, MolformerForMaskedLM)
        loss = model(**{name: tensor for name, tensor in inputs.items() if ours or name != "chosen"}).loss
    else:
        encoder(inputs["input_ids"], inputs["attention_mask"])
        loss = hidden[0].new_zeros(())
    pooled = masked_mean(hidden[0].float(), inputs["attention_mask"]) if wanted else None
    others = {}
    for name, target in wanted.items():
        known = target.isfinite()
        error = torch.where(known, heads[name](pooled).float() - target.nan_to_num(), 0.0)
        others[name] = error.square().sum() / known.sum().clamp(min=1)
    return loss, others


@torch.no_grad()
def fit_linearly(
    heads: nn.ModuleDict, encoder: nn.Module, corpus: Corpus, pad_id: int, standard: Standard, device: torch.device
) -> None:
    """Set each head to the ridge regression on what the encoder gives as it is, penalty by leave-one-out errors.

    Heads of random weights would first drag an encoder that knows something into what they happen to be (Kumar et al.
    2022, 2202.10054). What is unknown of a molecule counts as the mean. The least penalty is that of noise of a tenth
    of each number's size, as dropout and random features bring it in training: heads that stand less are of no use.
    """
    from sklearn.linear_model import RidgeCV

    order, means = [], []
    for positions in by_length(corpus.ids, AT_ONCE) if standard else ():
        tokens, mask = padded([corpus.ids[i] for i in positions], pad_id, device)
        means.append(masked_mean(encoder(tokens, mask).last_hidden_state, mask))
        order.append(positions)
    if not means:
        return
    features = torch.cat(means).double().cpu().numpy()
    penalties = np.logspace(-2, 1, 13) * len(features) * np.square(features).mean()
    for name, values in targets(corpus, np.concatenate(order), standard).items():
        solved = RidgeCV(penalties).fit(features, np.nan_to_num(values.astype(np.float64)))
        head = cast("nn.Linear", heads[name])
        # Of one column scikit-learn gives a vector.
        head.weight.copy_(torch.from_numpy(solved.coef_.reshape(head.weight.shape)))
        head.bias.copy_(torch.from_numpy(np.reshape(solved.intercept_, head.bias.shape)))


@dataclass(frozen=True)
class Fit:
    """How well a head predicts: the mean squared error of what is known, None where nothing is, and R2."""

    error: float | None
    r2: float


@torch.no_grad()
def fits(
    heads: nn.ModuleDict, encoder: nn.Module, held: Corpus, pad_id: int, standard: Standard, device: torch.device
) -> dict[str, Fit]:
    """How well each head predicts molecules in which nothing is masked, as the heads are called."""
    predicted: dict[str, list[Tensor]] = {name: [] for name in standard}
    truths: dict[str, list[np.ndarray]] = {name: [] for name in standard}
    for positions in by_length(held.ids, AT_ONCE) if standard else ():
        tokens, mask = padded([held.ids[i] for i in positions], pad_id, device)
        pooled = masked_mean(encoder(tokens, mask).last_hidden_state, mask)
        for name, target in targets(held, positions, standard).items():
            predicted[name].append(heads[name](pooled))
            truths[name].append(target)
    found = {}
    for name in standard:
        truth = np.concatenate(truths[name])
        found[name] = _fit((torch.cat(predicted[name]).cpu().numpy() - truth) ** 2, truth)
    return found


def _fit(squares: np.ndarray, truth: np.ndarray) -> Fit:
    """R2 of all columns together: the mean of their own would be ruled by those that hardly vary in the sample."""
    known = np.isfinite(truth).any(axis=0)
    if not known.any():
        return Fit(None, math.nan)
    spread = np.nanvar(truth[:, known], axis=0).sum()
    r2 = float(1 - np.nanmean(squares[:, known], axis=0).sum() / spread) if spread else math.nan
    return Fit(float(np.nanmean(squares)), r2)
