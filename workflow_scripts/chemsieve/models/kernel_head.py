"""A regression head that compares a molecule with the training molecules: Gaussian kernel regression, differentiable.

What is compared are the encoder's pooled output, descriptors and fingerprint counts, each of the blocks scaled to a
variance of one over the training molecules. The coefficients are those of kernel ridge regression (Saunders et al.
1998; Rasmussen and Williams 2006, 2.2), so that the encoder below is trained as in deep kernel learning (Wilson et al.
2016, 1511.02222).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from chemsieve.models.descriptor_head import CLIP, Described, Featuriser
from chemsieve.models.molformer.dropout import Dropout


class KernelHead(Described):
    """Kernel values between molecules and centres, exp(-gamma d^2).

    ``centres`` (centres, width + the featuriser's) are the training molecules as :meth:`inputs` has them, in half
    precision: what they are rounded to is what everything is computed with. ``blocks`` are the weights of pooled
    output, descriptors and counts; ``ridge`` is what the coefficients were solved with.
    """

    centres: Tensor
    pooled_centre: Tensor
    pooled_inverse: Tensor
    blocks: Tensor
    gamma: Tensor
    ridge: Tensor

    def __init__(self, width: int, featuriser: Featuriser, dropout: float):
        super().__init__(featuriser)
        self.dropout = Dropout(dropout)  # on the encoder's output
        self.register_buffer("pooled_centre", torch.zeros(width))
        self.register_buffer("pooled_inverse", torch.zeros(width))
        self.register_buffer("blocks", torch.ones(3))
        self.register_buffer("gamma", torch.zeros((), dtype=torch.float64))
        self.register_buffer("ridge", torch.zeros((), dtype=torch.float64))
        self.register_buffer("centres", torch.zeros(1, width + featuriser.width, dtype=torch.float16))

    @property
    def out_features(self) -> int:
        """Kernel values of a molecule: one for each centre."""
        return len(self.centres)

    def resize(self, count: int) -> None:
        """Make room for so many centres."""
        self.centres = self.centres.new_zeros(count, self.centres.shape[1])

    @torch.no_grad()
    def scale(self, pooled: Tensor, ids: Sequence[Sequence[int]]) -> None:
        """Take the scales from the training molecules: their pooled outputs (molecules, width), and token ids."""
        self.standardise(ids)
        pooled = pooled.double()
        spread = pooled.std(0, correction=0)
        varies = spread > 1e-9
        self.pooled_centre.copy_(pooled.mean(0))
        self.pooled_inverse.copy_(torch.where(varies, 1 / spread.clamp_min(1e-9), torch.zeros_like(spread)))
        self.blocks.fill_(1.0)
        for number, block in enumerate(self._split(self.inputs(pooled.to(self.centre), ids).double())):
            # Of counts, which are not centred, the variance: distances know of no common part.
            square = float((block - block.mean(0)).square().sum(1).mean()) if block.shape[1] else 0.0
            self.blocks[number] = square**-0.5 if square > 0 else 0.0

    @torch.no_grad()
    def rescale_pooled(self, factor: Tensor) -> None:
        """Expect pooled outputs before they were multiplied by ``factor`` (width,), nowhere zero."""
        self.pooled_centre.div_(factor)
        self.pooled_inverse.mul_(factor)

    def inputs(self, pooled: Tensor, ids: Sequence[Sequence[int]]) -> Tensor:
        """What is compared, (molecules, columns of ``centres``), of pooled outputs and token ids."""
        seen = self.seen(ids).to(pooled.dtype)
        own = ((pooled - self.pooled_centre) * self.pooled_inverse).clamp(-CLIP, CLIP)
        parts = self._split(torch.cat([self.dropout(own), seen], dim=1))
        return torch.cat([part * weight for part, weight in zip(parts, self.blocks, strict=True)], dim=1)

    def _split(self, values: Tensor) -> tuple[Tensor, ...]:
        """The blocks of a table of inputs: pooled output, descriptors, counts."""
        width, folded = len(self.pooled_centre), self.featuriser.folded
        return values.split([width, values.shape[1] - width - folded, folded], dim=1)

    def forward(self, pooled: Tensor, ids: Sequence[Sequence[int]]) -> Tensor:
        """(molecules, centres) of the pooled output (molecules, width) and the token ids of the same molecules.

        Never in low precision, whose rounding is as large as the squared distances between like molecules.
        """
        with torch.autocast(pooled.device.type, enabled=False):
            pooled = pooled.to(self.pooled_centre.dtype)
            return kernel(self.inputs(pooled, ids), self.centres.to(pooled.dtype), self.gamma)


def kernel(left: Tensor, right: Tensor, gamma: Tensor) -> Tensor:
    """exp(-gamma |x - y|^2), (rows of ``left``, rows of ``right``)."""
    squares = left.square().sum(1)[:, None] + right.square().sum(1)[None, :] - 2 * left @ right.T
    return torch.exp(-gamma.to(left.dtype) * squares.clamp_min(0.0))
