"""What an encoder says of molecules: the masked mean of its last layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn


def pooled(encoder: nn.Module, ids: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> np.ndarray:
    """(n, hidden) float64 mean over tokens of the last layer, in evaluation mode, for ``ids`` of (n,) molecules."""
    import torch

    from chemsieve.molformer.modeling import masked_mean
    from chemsieve.training.batches import by_length, pad

    encoder.to(device).eval()
    result = np.empty((len(ids), encoder.config.hidden_size))
    with torch.no_grad():
        for batch in by_length(ids, 64):
            tokens, mask = (part.to(device) for part in pad([ids[i] for i in batch], pad_id))
            hidden = encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
            result[batch] = masked_mean(hidden, mask).double().cpu().numpy()
    return result
