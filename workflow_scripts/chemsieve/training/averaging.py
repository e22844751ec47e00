"""A moving average of the weights along training (Polyak and Juditsky 1992; Tarvainen and Valpola 2017)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of a model's trainable parameters, float32 or wider, beside the parameters that training moves.

    With ``decay`` d, each :meth:`update` makes it d times itself plus 1 - d times the weights; d rises to its value
    over the first steps, so that the start, which nothing was learned in, is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.decay, self.steps = decay, 0
        self.parameters: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self.averages = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        share = 1 - min(self.decay, self.steps / (self.steps + 9))
        torch._foreach_lerp_(self.averages, self.parameters, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the averaged weights, for as long as the block runs."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            moved = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(moved)
