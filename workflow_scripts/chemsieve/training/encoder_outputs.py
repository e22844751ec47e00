"""What the encoder gives of many molecules, for what is trained on top of it alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from chemsieve.models.regressor import Regressor
from chemsieve.training.batches import by_length, padded, sent

FORWARD = 64  # molecules of one pass of the encoder


@torch.no_grad()
def encoder_outputs(model: Regressor, ids: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Tensor:
    """What the encoder gives in evaluation mode, (molecules, hidden) float32, in the order of ``ids``.

    The model is left in the mode that it was in.
    """
    training = model.training
    model.eval()
    outputs = torch.empty(len(ids), model.encoder.config.hidden_size, device=device)
    for rows in by_length(ids, FORWARD):
        inputs, mask = padded([ids[i] for i in rows], pad_id, device)
        outputs[sent(torch.from_numpy(rows), device)] = model.pooled_output(inputs, mask).float()
    model.train(training)
    return outputs
