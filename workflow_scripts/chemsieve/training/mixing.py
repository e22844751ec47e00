"""Training on two sources: what a :class:`chemsieve.uses.Mixture` makes of labels, batches, loss, heads and epochs.

Without differences between the sources nothing here changes a number: labels are standardised by all of them, and the
loss is :func:`chemsieve.training.regression.squared_error`.

With weights w the loss is the mean of w e^2, w divided by their mean over the training molecules, so that batches of
any make-up have the gradient of the whole on average; labels are standardised by their weighted mean and deviation.
With a head of the pool's own, or epochs without the pool, labels are standardised by the target's, and those with a
head of their own by the pool's. That head begins as a copy of the target's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from chemsieve.models.descriptor_head import unpadded
from chemsieve.models.regressor import Regressor
from chemsieve.training import limits

if TYPE_CHECKING:
    from chemsieve.uses import Mixture

POOL_HEAD = "pool_head"  # the name of the pool's head below the regressor, while it trains


class Sources:
    """The training molecules of a run, by source.

    Args:
        labels: (n,) in the label's own units.
        mixture: how they are treated; None: alike.

    Attributes:
        mean, scale: by which the target's labels are standardised.
        standardised: labels of all (n,), as the loss has them.
        weights: of the squared errors (n,), with mean 1; None: all weigh the same.
        first: positions of the molecules that the head alone is trained on beforehand.
        with_pool: epochs that the pool takes part in where the target goes on without it; else 0.
    """

    def __init__(self, labels: np.ndarray, mixture: Mixture | None):
        self.mixture = None if mixture is None or mixture.plain or not mixture.pool.any() else mixture
        everyone = np.arange(len(labels))
        self.weights: np.ndarray | None = None
        self.first, self.with_pool = everyone, 0
        if self.mixture is None:
            self.mean, self.scale = float(np.mean(labels)), float(np.std(labels))
            self.standardised = (labels - self.mean) / self.scale if self.scale > 0 else labels
            return
        pool, given = self.mixture.pool, self.mixture.weights
        if given is not None:
            self.weights = given / given.mean()
        apart = self.mixture.own_head or self.mixture.with_pool is not None
        counted = np.where(pool & apart, 0.0, 1.0 if given is None else given)
        self.mean, self.scale = _moments(labels[counted > 0], counted[counted > 0])
        self.standardised = (labels - self.mean) / self.scale if self.scale > 0 else labels
        if self.mixture.own_head:
            mean, scale = _moments(labels[pool], np.ones(pool.sum()))
            # One molecule, or equal labels, have no scale.
            self.standardised[pool] = (labels[pool] - mean) / (scale if scale > 0 else self.scale)
        if self.mixture.own_head or self.mixture.with_pool == 0:
            self.first = np.flatnonzero(~pool)
        if self.mixture.with_pool is not None:
            self.with_pool = self.mixture.with_pool

    @property
    def alike(self) -> bool:
        """Whether the loss makes no difference between molecules."""
        return self.mixture is None or (self.weights is None and not self.mixture.own_head)

    def members(self, epochs: int) -> list[np.ndarray] | None:
        """Positions of the molecules of each epoch; None where each is over all."""
        if self.mixture is None or self.mixture.with_pool is None:
            return None
        everyone, target = np.arange(len(self.mixture.pool)), np.flatnonzero(~self.mixture.pool)
        return [everyone if epoch < self.mixture.with_pool else target for epoch in range(epochs)]

    def marked(self, examples: list[dict]) -> list[dict]:
        """Examples with what :class:`MarkingCollator` takes of them."""
        assert self.mixture is not None
        weights = np.ones(len(examples)) if self.weights is None else self.weights
        second = self.mixture.pool & self.mixture.own_head
        return [
            {**example, "weight": float(weight), "second": bool(of_pool)}
            for example, weight, of_pool in zip(examples, weights, second, strict=True)
        ]

    @contextmanager
    def own_head(self, model: Regressor) -> Iterator[None]:
        """The model has a head of the pool's within the block, where it is to have one."""
        if self.mixture is None or not self.mixture.own_head:
            yield
            return
        model.add_module(POOL_HEAD, copy.deepcopy(model.head))
        try:
            yield
        finally:
            delattr(model, POOL_HEAD)


def without_pool_head(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A model's tensors without those of the pool's head."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(f"{POOL_HEAD}.")}


def _moments(labels: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Weighted mean and standard deviation."""
    mean = float(np.average(labels, weights=weights))
    return mean, float(np.sqrt(np.average((labels - mean) ** 2, weights=weights)))


class MarkingCollator:
    """What ``collate`` makes of examples, with ``weights`` and ``second``, whose head is the pool's; both (batch,)."""

    def __init__(self, collate: Callable[[list[dict]], dict[str, Tensor]]):
        self.collate = collate

    def __call__(self, examples: list[dict]) -> dict[str, Tensor]:
        batch = self.collate(examples)
        batch["weights"] = torch.tensor([example["weight"] for example in examples], dtype=torch.float32)
        batch["second"] = torch.tensor([example["second"] for example in examples])
        return batch


def weighted_error(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Mean weighted squared error of a batch, each molecule predicted by the head of its source."""
    assert isinstance(model, Regressor)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    pooled = model.pooled_output(ids, mask)
    entering = model.entering_head(pooled, [] if model.head_inputs is None else unpadded(ids, mask))
    prediction = model.head(entering)
    if hasattr(model, POOL_HEAD):
        prediction = torch.where(batch["second"][:, None], getattr(model, POOL_HEAD)(entering), prediction)
    return (batch["weights"] * limits.errors(prediction.squeeze(-1), batch) ** 2).mean()
