"""Monte-Carlo dropout: predictions with dropout left on (Gal and Ghahramani 2016, 1506.02142)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from chemsieve.errors import ChemsieveError
from chemsieve.models.regressor import Regressor
from chemsieve.runtime.processes import progress
from chemsieve.training.batches import by_length, pad


@torch.no_grad()
def passes(
    model: Regressor, ids: Sequence[Sequence[int]], pad_id: int, count: int, seed: int, device: torch.device
) -> np.ndarray:
    """Predictions (count, molecules) in label units, each pass with its own dropout masks.

    Only dropout is switched on: the random features stay fixed, so that the spread is dropout's alone.

    Raises:
        ChemsieveError: the model has no dropout, so that every pass would be the same.
    """
    model.to(device).eval()
    layers = [m for m in model.modules() if isinstance(m, nn.Dropout) and m.p > 0]
    if not layers:
        raise ChemsieveError("uncertainty: the model has no dropout; set finetune.dropout above 0")
    for layer in layers:
        layer.train()
    torch.manual_seed(seed)
    result = np.empty((count, len(ids)))
    for i in progress(range(count), "passes with dropout"):
        for batch in by_length(ids, 64):
            tokens, mask = pad([ids[j] for j in batch], pad_id)
            standardised = model(tokens.to(device), mask.to(device)).double().cpu()
            result[i, batch] = (standardised * model.label_scale.cpu() + model.label_mean.cpu()).numpy()
    model.eval()
    return result
