"""What an encoder says of molecules: the masked mean of its last layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel


def pooled(encoder: PreTrainedModel, ids: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> np.ndarray:
    """(n, hidden) float32 mean over tokens of the last layer, in evaluation mode, for ``ids`` of (n,) molecules."""
    return pooled_on(encoder, ids, pad_id, device).float().cpu().numpy()


def pooled_on(encoder: PreTrainedModel, ids: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Tensor:
    """The same, left on the device in the precision that the encoder computes in."""
    import torch

    from chemsieve.models.molformer.modeling import masked_mean
    from chemsieve.runtime.processes import progress
    from chemsieve.training.batches import by_length, padded, sent

    encoder.to(device).eval()  # type: ignore[arg-type]  # transformers' decorator hides the signature
    dtype = next(encoder.parameters()).dtype
    result = torch.empty(len(ids), encoder.config.hidden_size, dtype=dtype, device=device)
    with torch.no_grad():
        for batch in progress(by_length(ids, 64), "embeddings", -(-len(ids) // 64)):
            tokens, mask = padded([ids[i] for i in batch], pad_id, device)
            hidden = encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
            result[sent(torch.from_numpy(batch), device)] = masked_mean(hidden, mask)
    return result
