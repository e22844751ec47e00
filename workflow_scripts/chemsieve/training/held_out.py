"""What a masked-language model is measured by on held-out molecules."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chemsieve.training.batches import masked_places, sent


@torch.no_grad()
def masked_figures(model: nn.Module, batches: Iterable[dict[str, Tensor]], device: torch.device) -> dict[str, float]:
    """``validation_loss``, the mean cross-entropy (nats) of the masked tokens of all batches, and ``masked_accuracy``.

    Args:
        model: in the mode that it is to be measured in.
        batches: as :class:`chemsieve.training.batches.MaskingCollator` makes them.
    """
    # Read once, after the last batch: each look waits for a GPU.
    total, right = torch.zeros((2,), dtype=torch.float64, device=device)
    masked = 0
    for batch in batches:
        chosen = masked_places(batch["labels"])
        inputs = {name: sent(tensor, device) for name, tensor in batch.items() if name != "labels"}
        labels = sent(batch["labels"].flatten()[chosen], device)
        logits = model(**inputs).logits.flatten(0, 1).index_select(0, sent(chosen, device)).float()
        total += F.cross_entropy(logits, labels, reduction="sum").double()
        right += (logits.argmax(-1) == labels).sum()
        masked += len(chosen)
    return {"validation_loss": total.item() / masked, "masked_accuracy": right.item() / masked}
