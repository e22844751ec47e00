"""The order in which an epoch goes over its molecules, and the batches that it makes."""

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from chemsieve.training.batches import sent

STRETCH = 50  # batches that are sorted by length together


def grouped_by_length(lengths: Sequence[int], batch_size: int) -> list[int]:
    """Positions in a random order, by torch's global generator, in which batches hold molecules of like length.

    A random order is cut into stretches of :data:`STRETCH` batches, or fewer so that there are at least four stretches,
    and each is sorted, the longest first. The longest of all begins, so that memory that does not suffice for it runs
    out at once. (The order of ``LengthGroupedSampler`` in transformers.)
    """
    size = max(1, min(len(lengths) // (4 * batch_size), STRETCH)) * batch_size
    order = torch.randperm(len(lengths)).tolist()
    stretches = [
        sorted(order[start : start + size], key=lambda position: lengths[position], reverse=True)
        for start in range(0, len(order), size)
    ]
    first = stretches[0]
    longest = max(stretches, key=lambda stretch: lengths[stretch[0]])
    first[0], longest[0] = longest[0], first[0]
    return [position for stretch in stretches for position in stretch]


def packed(lengths: Sequence[int], tokens: int) -> list[int]:
    """How many molecules each batch takes of those that are sorted by length, the longest first.

    A batch, padded to its longest molecule, has at most so many tokens, and one molecule at least.

    Args:
        lengths: tokens of each molecule, in any order.
    """
    left, sizes = sorted(lengths, reverse=True), []
    start = 0
    while start < len(left):
        sizes.append(min(max(tokens // left[start], 1), len(left) - start))
        start += sizes[-1]
    return sizes


class Batched(Protocol):
    """What says which molecules each step of an epoch takes."""

    def steps(self, epoch: int) -> int:
        """How many batches an epoch, counted from 0, has."""

    def batches(self, epoch: int) -> list[list[int]]:
        """Positions of the molecules of each batch of an epoch, counted from 0."""


@dataclass(frozen=True)
class Order:
    """The order of each epoch's molecules.

    Attributes:
        count: number of molecules.
        seed: gives each epoch its order where it is drawn from a generator of its own, which it is where neither
            lengths nor a curriculum are given; else torch's global generator gives it.
        lengths: tokens of each molecule, to put those of like length into the same batch; ``None`` groups nothing.
        admitted: positions of the molecules of each epoch, as :func:`chemsieve.training.curriculum.admitted` gives
            them; ``None`` is all molecules in each.
        batch_tokens: tokens of a batch, padding included, in place of ``batch_size`` molecules; it takes lengths.
    """

    count: int
    batch_size: int
    seed: int
    lengths: Sequence[int] | None = None
    admitted: list[np.ndarray] | None = None
    batch_tokens: int | None = None

    def steps(self, epoch: int) -> int:
        """How many batches an epoch, counted from 0, has."""
        if self.batch_tokens is not None:
            return len(self._sizes(self._members(epoch), self.batch_tokens))
        size = self.count if self.admitted is None else len(self.admitted[epoch])
        return -(-size // self.batch_size)

    def of(self, epoch: int) -> list[int]:
        """Draw the order of an epoch, counted from 0."""
        if self.lengths is None and self.admitted is None:
            generator = torch.Generator().manual_seed(self.seed + epoch)
            return torch.randperm(self.count, generator=generator).tolist()
        positions = self._members(epoch)
        if self.lengths is None:
            chosen = torch.randperm(len(positions)).tolist()
        else:
            chosen = grouped_by_length([self.lengths[position] for position in positions], self.batch_size)
        return [positions[i] for i in chosen]

    def batches(self, epoch: int) -> list[list[int]]:
        """Draw the order of an epoch, and cut it into batches."""
        if self.batch_tokens is not None:
            return self._packed(self._members(epoch), self.batch_tokens)
        order = self.of(epoch)
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]

    def _members(self, epoch: int) -> Sequence[int]:
        return range(self.count) if self.admitted is None else self.admitted[epoch].tolist()

    def _sizes(self, positions: Sequence[int], tokens: int) -> list[int]:
        lengths = cast("Sequence[int]", self.lengths)
        return packed([lengths[position] for position in positions], tokens)

    def _packed(self, positions: Sequence[int], tokens: int) -> list[list[int]]:
        """Batches of like length in a random order, by torch's global generator, that of the longest molecules first.

        Molecules of one length change their batches from epoch to epoch; so many as a batch holds stay the same, and
        with them the number of steps, which the learning rates are over.
        """
        lengths = cast("Sequence[int]", self.lengths)
        shuffled = [positions[i] for i in torch.randperm(len(positions)).tolist()]
        order = iter(sorted(shuffled, key=lengths.__getitem__, reverse=True))
        batches = [list(itertools.islice(order, size)) for size in self._sizes(positions, tokens)]
        return [batches[0], *(batches[1 + i] for i in torch.randperm(len(batches) - 1).tolist())]


@dataclass(frozen=True)
class CommonOrder:
    """The order of trainings that are to differ in nothing but the molecules that each adds to those of all.

    A molecule's place in an epoch follows from the seed, the epoch and its own name, whatever else is trained on. The
    common molecules alone make the batches; those added are dealt out over these. So all trainings take the same number
    of steps at the same learning rates, and a molecule that two of them share is in the same step of both: common
    random numbers (Law 2015, "Simulation modeling and analysis", 5th edition, section 11.2).

    Attributes:
        names: of each molecule; those of the common molecules come first.
        common: number of these.
        batch_size: common molecules of a batch.
    """

    names: Sequence[str]
    common: int
    batch_size: int
    seed: int

    def steps(self, epoch: int) -> int:
        """How many batches an epoch has: the same in each."""
        return -(-self.common // self.batch_size)

    def batches(self, epoch: int) -> list[list[int]]:
        """Positions of the molecules of each batch, the common ones first."""
        places = [self._place(epoch, name) for name in self.names]
        shared = sorted(range(self.common), key=places.__getitem__)
        batches = [shared[start : start + self.batch_size] for start in range(0, self.common, self.batch_size)]
        for position in sorted(range(self.common, len(self.names)), key=places.__getitem__):
            batches[int(places[position] * len(batches))].append(position)
        return batches

    def _place(self, epoch: int, name: str) -> float:
        """Uniform in [0, 1)."""
        digest = hashlib.sha256(f"{self.seed}/{epoch}/{name}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48


class EpochBatches:
    """The batches of one epoch after the other, each collated while the one before it still waits for its step.

    So what the collator draws of the global generator comes before what the step before it draws (dropout, random
    features). A state holds the batch that waits; its copy is on its way to the device from when it is collated.
    """

    def __init__(
        self, examples: list[dict], collate: Callable[[list[dict]], dict], order: Batched, device: torch.device
    ):
        self.examples, self.collate, self.order, self.device = examples, collate, order, device
        self.epoch = 0  # the next to begin
        self.batches: list[list[int]] = []  # of this epoch, those that were not collated yet, the next one last
        self.waiting: dict[str, Tensor] | None = None
        self.on_device: dict[str, Tensor] = {}  # the same

    def next(self) -> dict[str, Tensor]:
        """The next batch, on the device."""
        if self.waiting is None:
            self._begin_epoch()
        batch = self.on_device  # an epoch has at least one
        self._wait(self._collated())
        return batch

    def _begin_epoch(self) -> None:
        # Nobody uses this number. torch's DataLoader draws it for its worker processes at the start of an epoch, and
        # the results that the project reports were made with it: all later draws depend on it.
        torch.empty((), dtype=torch.int64).random_()
        self.batches = self.order.batches(self.epoch)[::-1]
        self.epoch += 1
        self._wait(self._collated())

    def _wait(self, batch: dict[str, Tensor] | None) -> None:
        self.waiting = batch
        self.on_device = {name: sent(tensor, self.device) for name, tensor in (batch or {}).items()}

    def _collated(self) -> dict[str, Tensor] | None:
        """The epoch's next batch, or ``None`` after its last."""
        taken = self.batches.pop() if self.batches else None
        return self.collate([self.examples[position] for position in taken]) if taken else None

    def tensors(self) -> dict[str, Tensor]:
        """Where this stands, for a state."""
        waiting = {f"waiting.{name}": tensor for name, tensor in (self.waiting or {}).items()}
        return {
            "epoch": torch.tensor(self.epoch),
            "positions": torch.tensor([position for batch in self.batches for position in batch], dtype=torch.int64),
            "sizes": torch.tensor([len(batch) for batch in self.batches], dtype=torch.int64),
            **waiting,
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on where :meth:`tensors` was taken."""
        sizes = tensors["sizes"].tolist()
        self.epoch, self.batches = int(tensors["epoch"]), [part.tolist() for part in tensors["positions"].split(sizes)]
        waiting = {name.removeprefix("waiting."): t for name, t in tensors.items() if name.startswith("waiting.")}
        self._wait(waiting or None)
