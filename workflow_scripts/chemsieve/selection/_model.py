"""What the fine-tuned encoder makes of molecules, for strategies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from chemsieve.regressor import Regressor


def embeddings(model: Regressor, ids: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> np.ndarray:
    """Pooled outputs of the encoder (n, hidden), in evaluation mode, in the order given."""
    import torch

    from chemsieve.molformer.modeling import masked_mean
    from chemsieve.training.batches import by_length, pad

    model.to(device).eval()
    result = np.empty((len(ids), model.head.in_features))
    with torch.no_grad():
        for batch in by_length(ids, 64):
            tokens, mask = (part.to(device) for part in pad([ids[j] for j in batch], pad_id))
            hidden = model.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
            result[batch] = masked_mean(hidden, mask).double().cpu().numpy()
    return result
