"""A fine-tuned regressor as a plain one: adapters become part of the weights, so that nothing else loads them."""

import torch
from torch import nn

from chemsieve.models.kernel_head import KernelHead
from chemsieve.models.regressor import Regressor, Scaling


@torch.no_grad()
def merge(model: Regressor) -> Regressor:
    """Put LoRA's updates and (IA)3's scaling vectors into the weights, in place.

    What is left has the modules of :class:`Regressor` on the bare encoder. Predictions stay as they are but for
    rounding, since a scaled weight times an input is not rounded as a scaled product is.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [(name, m) for name, m in model.encoder.named_modules() if isinstance(m, BaseTunerLayer)]
    for name, layer in adapted:
        layer.merge(safe_merge=True)  # refuses weights that are not finite
        model.encoder.set_submodule(name, layer.get_base_layer())
    if isinstance(model.pooled, Scaling):
        # Dropout stands between the vector and the head; it multiplies each component too, so that the order is free.
        if model.head_inputs is None:
            model.head.weight.mul_(model.pooled.scale)
        elif isinstance(model.head_inputs, KernelHead):
            model.head_inputs.rescale_pooled(model.pooled.scale)
        else:
            model.head_inputs.first.weight[:, : len(model.pooled.scale)].mul_(model.pooled.scale)
        model.pooled = nn.Identity()
    return model.eval()
