"""What a masked-language model is measured by on held-out molecules."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@torch.no_grad()
def masked_figures(model: nn.Module, batches: Iterable[dict[str, Tensor]], device: torch.device) -> dict[str, float]:
    """``validation_loss``, the mean cross-entropy (nats) of the masked tokens of all batches, and ``masked_accuracy``.

    Args:
        model: in the mode that it is to be measured in.
        batches: as :class:`chemsieve.training.batches.MaskingCollator` makes them.
    """
    total = right = masked = 0.0
    for batch in batches:
        inputs = {name: tensor.to(device) for name, tensor in batch.items()}
        labels = inputs.pop("labels")
        chosen = labels != -100
        logits = model(**inputs).logits[chosen].float()
        total += F.cross_entropy(logits, labels[chosen], reduction="sum").item()
        right += (logits.argmax(-1) == labels[chosen]).sum().item()
        masked += chosen.sum().item()
    return {"validation_loss": total / masked, "masked_accuracy": right / masked}
