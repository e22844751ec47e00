"""A fine-tuned regressor as a plain one: adapters become part of the weights, so that nothing else loads them.

A few adapters depend on their input in more than a matrix product, and stay.
"""

import torch
from torch import nn

from chemsieve.methods._parts import SHARED
from chemsieve.models.kernel_head import KernelHead
from chemsieve.models.regressor import Regressor, Scaling


@torch.no_grad()
def merge(model: Regressor) -> Regressor:
    """Put LoRA's updates, (IA)3's scaling vectors and what else can be merged into the weights, in place.

    What is left has the modules of :class:`Regressor` on the bare encoder, unless :func:`is_merged` says otherwise.
    Predictions stay as they are but for rounding, since a scaled weight times an input is not rounded as a scaled
    product is.
    """
    for name, layer in _adapted(model):
        try:
            layer.merge(safe_merge=True)  # refuses weights that are not finite
        except NotImplementedError:
            continue
        model.encoder.set_submodule(name, layer.get_base_layer())
    if is_merged(model):
        model.made = frozenset()
        if hasattr(model.encoder, SHARED):
            delattr(model.encoder, SHARED)
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


def is_merged(model: Regressor) -> bool:
    """Whether no layer has an adapter."""
    return not _adapted(model)


def _adapted(model: Regressor) -> list:
    """Layers with an adapter, each with its name below the encoder."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [(name, m) for name, m in model.encoder.named_modules() if isinstance(m, BaseTunerLayer)]
