"""AdamW for everything, or Muon for the matrices between layers and AdamW for the rest."""

from collections.abc import Callable, Sequence
from typing import overload

import torch
from torch import nn


def optimiser(
    matrices: Sequence[nn.Parameter], others: Sequence[nn.Parameter], weight_decay: float, ratio: float | None
) -> torch.optim.Optimizer:
    """An optimiser whose learning rate is one, for a schedule whose factors are the learning rates themselves.

    Args:
        matrices: what Muon steps, where it is asked for: two-dimensional, neither embeddings nor heads (Jordan et al.
            2024, https://kellerjordan.github.io/posts/muon).
        others: what AdamW steps in any case.
        weight_decay: of parameters with two dimensions or more.
        ratio: the matrices' learning rate over that of the others; ``None``: AdamW for all.
    """
    others = [*others] if ratio is not None else [*matrices, *others]
    groups = [
        {"params": [p for p in others if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in others if p.dim() <= 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=1.0, fused=True)
    if ratio is None:
        return adamw
    return _Together(adamw, torch.optim.Muon(matrices, lr=ratio, weight_decay=weight_decay))


class _Together(torch.optim.Optimizer):
    """Several optimisers of different parameters as one, with one list of groups and one state."""

    def __init__(self, *parts: torch.optim.Optimizer):
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = parts
        places = iter(self.param_groups)
        for part in parts:
            part.state = self.state
            part.param_groups = [next(places) for _ in part.param_groups]

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of each part."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss
