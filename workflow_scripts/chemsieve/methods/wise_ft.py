"""WiSE-FT: weights between the pretrained and the fully fine-tuned ones (Wortsman et al. 2022, 2109.01903).

The encoder's weights become (1 - w) times those before training plus w times those after; the head is the trained one.
w is that of ``steps`` + 1 equally spaced ones, 0 and 1 among them, with the lowest validation error; of equal ones the
largest. w = 1 is the fine-tuned model itself. Where the study has trained that already, nothing is trained here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from chemsieve.models.regressor import Regressor

OPTIONS: dict = {
    "steps": {"type": "integer", "minimum": 1, "default": 10, "description": "from the one to the other, all equal"}
}


def apply(model: Regressor, steps: int = 10) -> None:
    from chemsieve.models.kernel_head import KernelHead

    if isinstance(model.head_inputs, KernelHead):
        raise ChemsieveError("wise_ft: a kernel regression belongs to one encoder; set finetune.head.kernel to false")
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def finish(model: Regressor, start: dict[str, Tensor], error: Callable[[], float], steps: int = 10) -> dict:
    """Mix the weights in place.

    Args:
        start: the encoder's parameters before training, by name below it.
        error: RMSE on the validation molecules, of the model as it is.

    Returns:
        The weight chosen, and the error at each.
    """
    import torch

    trained = {name: parameter.detach().clone() for name, parameter in model.encoder.named_parameters()}

    @torch.no_grad()
    def mix(weight: float) -> None:
        for name, parameter in model.encoder.named_parameters():
            before, after = start[name].to(parameter.device), trained[name]
            # lerp is exact at both ends.
            parameter.copy_(torch.lerp(before, after, weight))

    curve = []
    for step in range(steps + 1):
        mix(step / steps)
        curve.append({"weight": step / steps, "validation_rmse": error()})
    best = min(curve, key=lambda point: (point["validation_rmse"], -point["weight"]))
    mix(best["weight"])
    return {"weight": best["weight"], "curve": curve}
