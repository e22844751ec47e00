"""Training a regressor whose head is a kernel regression: closed form for the head, held-out losses for the encoder.

The head's coefficients follow from the encoder in closed form, and reproduce the training labels, so that a training
loss would teach the encoder nothing. It is trained on the loss of each molecule by the coefficients of a regression on
four fifths of the others (cross-fitting), with scales, kernel width and ridge held fixed; the head is solved anew after
each epoch.
"""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from chemsieve.errors import ChemsieveError
from chemsieve.models.descriptor_head import unpadded
from chemsieve.models.kernel_head import KernelHead, kernel
from chemsieve.models.regressor import Regressor
from chemsieve.training.encoder_outputs import encoder_outputs

log = logging.getLogger(__name__)

GAMMAS = (0.05, 0.1, 0.2, 0.4)  # of squared distances whose mean between training molecules is two a block
RIDGES = (0.03, 0.1, 0.3, 1.0)
FOLDS = 5
MOST = 10_000  # training molecules: their matrix takes 800 MB


class KernelFit:
    """The head of ``model`` as the training molecules determine it.

    Args:
        ids: token ids of the training molecules, which become the head's centres in this order.
        labels: their standardised labels, (molecules,).
        seed: of the folds.

    Raises:
        ChemsieveError: there are too many molecules, or the method leaves no head to solve for.
    """

    def __init__(self, model: Regressor, ids: Sequence[Sequence[int]], labels: Tensor, pad_id: int, seed: int):
        if not isinstance(model.head_inputs, KernelHead):
            raise TypeError("the regressor's head is no kernel regression")
        if len(ids) > MOST:
            raise ChemsieveError(f"finetune.head.kernel: {len(ids)} training molecules are more than its {MOST}")
        if not model.head.weight.requires_grad:
            raise ChemsieveError("finetune.head.kernel: the method must train the head (head: all)")
        self.model, self.head, self.ids, self.pad_id = model, model.head_inputs, ids, pad_id
        self.labels = labels.double()
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(ids)))
        self.folds = (order % min(FOLDS, len(ids))).to(labels.device)
        self._held_out: Tensor | None = None  # coefficients by fold, once they are asked for
        self._solved_for: float | None = None

    def start(self, others: Sequence[Sequence[int]], labels: Tensor) -> None:
        """Take scales from the training molecules; width and ridge are those with the lowest error on others.

        Args:
            others: token ids of validation molecules.
            labels: their standardised labels, (molecules,).
        """
        outputs = self._outputs(self.ids)
        self.head.scale(outputs, self.ids)
        self._place(outputs)
        centres = self.head.centres.double()
        compared = self.head.inputs(self._outputs(others), others).double()
        errors = {}
        for gamma in GAMMAS:
            self.head.gamma.fill_(gamma)
            matrix, across = kernel(centres, centres, self.head.gamma), kernel(compared, centres, self.head.gamma)
            for ridge in RIDGES:
                predicted = across @ _solved(matrix, self.labels, ridge)
                errors[gamma, ridge] = float((predicted - labels.double()).square().mean())
        gamma, ridge = min(errors, key=lambda pair: errors[pair])
        log.info("kernel head: gamma %g, ridge %g, validation loss %.4f", gamma, ridge, errors[gamma, ridge])
        self.head.gamma.fill_(gamma)
        self.head.ridge.fill_(ridge)
        self._solve()

    def refresh(self) -> None:
        """Solve for the head anew, where the encoder has changed since, on what it gives of the training molecules."""
        if self._solved_for != self._encoder_sum():
            self._place(self._outputs(self.ids))
            self._solve()

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Mean squared error of a batch, each molecule predicted without its own fold; ``rows`` are its places.

        ``model`` is the one that this was made for.
        """
        pooled = self.model.pooled_output(batch["input_ids"], batch["attention_mask"])
        values = self.head(pooled, unpadded(batch["input_ids"], batch["attention_mask"]))
        predicted = (values * self._coefficients()[self.folds[batch["rows"]]]).sum(1)
        return ((predicted - batch["labels"]) ** 2).mean()

    def _coefficients(self) -> Tensor:
        """Coefficients without each fold, (folds, molecules), zero in the fold itself.

        They follow from what a checkpoint has of the head, so that a resumed training has the same.
        """
        if self._held_out is None:
            matrix, ridge = self._matrix(), float(self.head.ridge)
            found = torch.zeros(int(self.folds.max()) + 1, len(self.ids), dtype=torch.float64, device=matrix.device)
            for fold in range(len(found)):
                kept = self.folds != fold
                if kept.any():
                    found[fold, kept] = _solved(matrix[kept][:, kept], self.labels[kept], ridge)
            self._held_out = found.to(self.model.head.weight.dtype)
        return self._held_out

    def _matrix(self) -> Tensor:
        centres = self.head.centres.double()
        return kernel(centres, centres, self.head.gamma)

    @torch.no_grad()
    def _solve(self) -> None:
        self._held_out = None
        found = _solved(self._matrix(), self.labels, float(self.head.ridge))
        self.model.head.weight.copy_(found[None])
        self.model.head.bias.zero_()
        self._solved_for = self._encoder_sum()

    @torch.no_grad()
    def _encoder_sum(self) -> float:
        """A number that every step of training changes."""
        parts = (*self.model.encoder.state_dict().values(), *self.model.pooled.state_dict().values())
        return sum(torch.stack([value.double().sum() for value in parts]).tolist())

    @torch.no_grad()
    def _place(self, outputs: Tensor) -> None:
        """Make the training molecules the head's centres."""
        if len(self.head.centres) != len(self.ids):
            self.model.resize_kernel(len(self.ids))
        self.head.centres.copy_(self.head.inputs(outputs, self.ids))

    @torch.no_grad()
    def _outputs(self, ids: Sequence[Sequence[int]]) -> Tensor:
        return encoder_outputs(self.model, ids, self.pad_id, self.labels.device)


def _solved(matrix: Tensor, labels: Tensor, ridge: float) -> Tensor:
    """Coefficients (n,) of kernel ridge regression on ``matrix`` (n, n)."""
    ridged = matrix + ridge * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    return torch.cholesky_solve(labels[:, None], torch.linalg.cholesky(ridged))[:, 0]
