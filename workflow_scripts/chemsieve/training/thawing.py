"""Gradual unfreezing: layers are trained one after the other, from the head down (Howard and Ruder 2018, 1801.06146).

What is not yet trained needs no gradient, so that the backward pass ends above it. Which layers rest follows from the
epoch alone, so that a training that was interrupted needs nothing more to go on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from chemsieve.training.layers import depths

log = logging.getLogger(__name__)


class Thawing:
    """When each trained parameter of a model begins to be trained.

    Args:
        every: epochs after which the next layer down is trained too; None: all are from the first.
        epochs: of the training, at most.

    Attributes:
        epochs: after so many all parameters are trained.
    """

    def __init__(self, model: nn.Module, every: int | None, epochs: int):
        parameters, depth = dict(model.named_parameters()), depths(model)
        top = max(depth.values(), default=0)
        self.waits = [] if every is None else [(parameters[name], every * (top - own)) for name, own in depth.items()]
        self.epochs = max((wait for _, wait in self.waits), default=0)
        if self.epochs >= epochs:
            never = sum(parameter.numel() for parameter, wait in self.waits if wait >= epochs)
            log.warning(
                "gradual unfreezing: %d parameters, of the lowest layers, are never trained; "
                "the first epoch with all is %d, and the last %d",
                never, self.epochs + 1, epochs,
            )  # fmt: skip

    @contextmanager
    def at(self, epoch: int) -> Iterator[None]:
        """What rests in an epoch, counted from 1, asks for no gradient within the block."""
        resting = [parameter for parameter, wait in self.waits if wait >= epoch]
        for parameter in resting:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in resting:
                parameter.requires_grad_(True)
