"""What the fine-tuned model says of molecules, for strategies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from chemsieve.regressor import Regressor


def outputs(
    model: Regressor, ids: Sequence[Sequence[int]], pad_id: int, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Pooled outputs of the encoder (n, hidden) and predictions (n,) in label units, in evaluation mode."""
    import torch

    from chemsieve.molformer.modeling import masked_mean
    from chemsieve.training.batches import by_length, pad

    model.to(device).eval()
    embeddings = np.empty((len(ids), model.head.in_features))
    with torch.no_grad():
        for batch in by_length(ids, 64):
            tokens, mask = (part.to(device) for part in pad([ids[j] for j in batch], pad_id))
            hidden = model.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
            embeddings[batch] = masked_mean(hidden, mask).double().cpu().numpy()
    weight, bias = (part.detach().double().cpu().numpy() for part in (model.head.weight[0], model.head.bias))
    return embeddings, (embeddings @ weight + bias) * float(model.label_scale) + float(model.label_mean)
