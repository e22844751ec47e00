"""Full fine-tuning: every parameter is trained."""

from torch import nn

OPTIONS: dict = {}


def apply(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(True)
