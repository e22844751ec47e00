"""The continuation of a fitted regressor with pool molecules, for estimators that differentiate a training."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from chemsieve.influence.replay import Adjoint, Batches, Replay, State
from chemsieve.runtime.processes import progress
from chemsieve.training.order import CommonOrder, Order
from chemsieve.training.state import below, named

if TYPE_CHECKING:
    from chemsieve.training.saves import Saves

log = logging.getLogger(__name__)


@dataclass
class Continuation:
    """A fitted regressor whose training goes on with its ``train`` molecules and those of the pool, which follow them.

    Attributes:
        replay: of the training on all of them.
        names: SMILES of all as the encoder reads them, by which their common order knows them.
        seed: that the study's own continuation has.
        saves: where the derivative goes on from after a kill; None: nowhere.
    """

    replay: Replay
    names: Sequence[str]
    train: int
    seed: int
    saves: Saves | None = None

    def weights(self, weight: float) -> np.ndarray:
        """One for each training molecule, ``weight`` for each of the pool: (n,)."""
        return np.where(np.arange(len(self.names)) < self.train, 1.0, weight)

    def batches(self, kind: str, point: int, weight: float) -> Batches:
        """The molecules of each step, in the order that is number ``point``; the first is the seed's own.

        ``selection``: the order that all selections share, whoever of the pool is in. ``validation``: the order of
        fine-tuning, in batches of all molecules that hold as much weight as a batch of retraining holds molecules, so
        that the steps are as many.
        """
        settings, seed = self.replay.settings, self.seed + point
        tokens = [len(row) for row in self.replay.molecules.ids]
        order: CommonOrder | Order
        if kind == "selection":
            order = CommonOrder(self.names, self.train, settings.mixed_batch(tokens[: self.train]), seed)
        else:
            steps = math.ceil(self.weights(weight).sum() / settings.mixed_batch(tokens))
            size = math.ceil(len(self.names) / steps)
            order = Order(len(self.names), size, seed, tokens if settings.group_by_length else None)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return [batch for epoch in range(settings.epochs) for batch in order.batches(epoch)]

    def gradients(self, kind: str, weight: float, points: int, every: int | None) -> tuple[np.ndarray, int]:
        """Derivatives with respect to the weights of the pool's molecules (points, pool), and how many steps they took.

        Each is of a training in another order. With saves they go on where they were left.
        """
        weights, steps = self.weights(weight), 0
        done, resumed = self._left()
        for point in range(points):
            batches = self.batches(kind, point, weight)
            steps += len(batches)
            if point < len(done):
                continue
            each = _said(f"replaying training {point + 1} of {points}", self.replay.passes(len(batches), every))
            save = self._saving(done)
            done.append(self.replay.gradient(weights, batches, every, resumed, save, each)[self.train :])
            resumed = None
        return np.array(done), steps

    def _saving(self, done: list[np.ndarray]) -> Callable[[Adjoint], None]:
        """Write what has been found, where a state is due."""

        def save(adjoint: Adjoint) -> None:
            if self.saves is None or not self.saves.due(adjoint.step):
                return
            tensors = {f"done.{number}": torch.as_tensor(one) for number, one in enumerate(done)}
            parts = {name: part for name, part in vars(adjoint.state).items() if part is not None}
            tensors |= named("state.", parts) | {"weights": adjoint.sample_weights, "labels": adjoint.labels}
            facts = {"step": adjoint.step, "mean": adjoint.mean, "scale": adjoint.scale}
            self.saves.write(tensors, facts)

        return save

    def _left(self) -> tuple[list[np.ndarray], Adjoint | None]:
        """What was found before a kill: whole derivatives, and the one that was in hand."""
        found = None if self.saves is None else self.saves.read()
        if found is None:
            return [], None
        tensors, facts = found
        finished = below("done.", tensors)
        done = [finished[str(number)].numpy() for number in range(len(finished))]
        parts = {name: part.to(self.replay.device) for name, part in below("state.", tensors).items()}
        state = State(parts["weights"], parts["first"], parts["second"], parts.get("average"))
        log.info("resuming at step %d of the way back of training %d", facts["step"], len(done) + 1)
        adjoint = Adjoint(state=state, sample_weights=tensors["weights"], labels=tensors["labels"], **facts)
        return done, adjoint


def _said(what: str, total: int) -> Callable[[], object]:
    """To be called after each of so many steps: it says now and then how many were made."""
    shown = iter(progress(range(total), what, total))
    return lambda: next(shown, None)
