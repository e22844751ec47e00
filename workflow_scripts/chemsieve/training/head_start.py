"""The head first: train what stands on the encoder's pooled output, which is computed once, before the whole.

A fresh head's gradients say nothing yet, and disturb what the encoder has learned: Kumar et al. 2022 (2202.10054).
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import get_scheduler

from chemsieve.errors import ChemsieveError
from chemsieve.models.regressor import Regressor
from chemsieve.training.encoder_outputs import encoder_outputs
from chemsieve.training.layers import decayed_names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeadStart:
    """How the head is trained beforehand: ``epochs`` passes in batches of ``batch_size``, at linearly falling rates."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    gradient_clip: float


def train_head(
    model: Regressor,
    ids: Sequence[Sequence[int]],
    labels: Tensor,
    settings: HeadStart,
    pad_id: int,
    seed: int,
    weights: Tensor | None = None,
) -> None:
    """Train the trainable parameters of the head, and no others, by mean squared error.

    The encoder's output is that of evaluation mode; the head's dropout is on. Every draw follows from ``seed``. The
    model is left in training mode where it was in it.

    Args:
        ids: token ids of the training molecules.
        labels: their standardised labels, (molecules,), on the model's device.
        weights: of their squared errors, (molecules,), on that device too; None: all weigh the same.

    Raises:
        ChemsieveError: the training diverged.
    """
    parts = nn.ModuleList([part for part in (model.head_inputs, model.head) if part is not None])
    trained = {name: p for name, p in parts.named_parameters() if p.requires_grad}
    if not trained:
        return
    training = model.training
    outputs = encoder_outputs(model, ids, pad_id, labels.device)
    torch.manual_seed(seed)
    decayed = decayed_names(parts)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for name, p in trained.items() if name in decayed], "weight_decay": settings.weight_decay},
            {"params": [p for name, p in trained.items() if name not in decayed], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
    )
    steps = settings.epochs * -(-len(ids) // settings.batch_size)
    schedule = get_scheduler("linear", optimizer, round(settings.warmup * steps), steps)
    parts.train()
    model.dropout.train()
    for epoch in range(settings.epochs):
        losses = []
        for batch in torch.randperm(len(ids)).split(settings.batch_size):
            predicted = model.readout(outputs[batch], [ids[i] for i in batch.tolist()])
            errors = (predicted.float() - labels[batch]) ** 2
            loss = (errors if weights is None else weights[batch] * errors).mean()
            _step(loss, trained.values(), optimizer, settings.gradient_clip)
            schedule.step()
            losses.append(loss.detach())
        mean = float(torch.stack(losses).mean())
        if not mean < float("inf"):
            rate = settings.learning_rate
            raise ChemsieveError(
                f"training of the head diverged in epoch {epoch + 1}: the loss is {mean}; "
                f"lower head_learning_rate (now {rate})"
            )
    log.info("%d epochs of the head alone: training loss %.4f at the end", settings.epochs, mean)
    model.train(training)


def _step(loss: Tensor, parameters: Iterable[nn.Parameter], optimizer: torch.optim.Optimizer, clip: float) -> None:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(list(parameters), clip)
    optimizer.step()
