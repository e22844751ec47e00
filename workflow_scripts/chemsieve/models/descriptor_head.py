"""A regression head that sees descriptors and fingerprints of the molecule beside the encoder's pooled output.

They are computed from the token ids that the encoder reads, so that nobody who calls the regressor, be it training,
influence or a model folder, hands over anything more. How the SMILES was written makes no difference to them.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from rdkit import Chem
from tokenizers import Tokenizer
from torch import Tensor, nn

from chemsieve.data.descriptors import descriptor_names, descriptors
from chemsieve.data.morgan import morgan
from chemsieve.errors import ChemsieveError
from chemsieve.models.molformer.dropout import Dropout

CLIP = 5.0  # standard deviations; a molecule unlike all others must not decide a prediction alone
LEAST = 2  # training molecules in which a column of the fingerprint must differ from nothing
REMEMBERED = 100_000  # molecules whose numbers are kept, 3 kB each


class Featuriser:
    """RDKit's descriptors, and counts of Morgan fingerprints of radius 2 folded to ``folded`` columns, of token ids."""

    def __init__(self, tokenizer: Tokenizer, with_descriptors: bool, folded: int):
        self.tokenizer, self.with_descriptors, self.folded = tokenizer, with_descriptors, folded
        self.width = with_descriptors * len(descriptor_names()) + folded
        self._of_ids = lru_cache(REMEMBERED)(self._of_tokens)
        self._of_molecule = lru_cache(REMEMBERED)(self._computed)

    def __call__(self, ids: Sequence[Sequence[int]]) -> np.ndarray:
        """(molecules, ``width``) float32, NaN where a descriptor is missing: descriptors, then log(1 + counts)."""
        return np.stack([self._of_ids(tuple(row)) for row in ids])

    def _of_tokens(self, ids: tuple[int, ...]) -> np.ndarray:
        smiles = self.tokenizer.decode(list(ids), skip_special_tokens=True).replace(" ", "")
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None:
            raise ChemsieveError(
                f"finetune.head: the encoder reads {smiles!r}, which is no SMILES to compute descriptors of"
            )
        return self._of_molecule(Chem.MolToSmiles(molecule))

    def _computed(self, smiles: str) -> np.ndarray:
        parts = [np.empty(0)]
        if self.with_descriptors:
            parts.append(descriptors([smiles])[0])
        if self.folded:
            parts.append(morgan([smiles], self.folded)[0])
        return np.concatenate(parts).astype(np.float32)


class Described(nn.Module):
    """What a head sees of molecules beside the pooled output, standardised.

    ``centre`` and ``inverse`` standardise what the featuriser gives: those of the training molecules, which
    :meth:`standardise` sets, so that a checkpoint carries them. A column that tells training molecules apart in no way
    is left out, by an inverse of zero.
    """

    centre: Tensor
    inverse: Tensor

    def __init__(self, featuriser: Featuriser):
        super().__init__()
        self.featuriser = featuriser
        self.register_buffer("centre", torch.zeros(featuriser.width))
        self.register_buffer("inverse", torch.zeros(featuriser.width))

    def standardise(self, ids: Sequence[Sequence[int]]) -> None:
        """Take means and deviations from the token ids of the training molecules."""
        values = self.featuriser(ids).astype(np.float64)
        described = values.shape[1] - self.featuriser.folded
        centre, inverse = np.zeros(values.shape[1]), np.zeros(values.shape[1])
        known = np.isfinite(values[:, :described])
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, values[:, :described], 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, values[:, :described] - mean, 0.0) ** 2).sum(axis=0) / count)
        varies = spread > 1e-9 * np.maximum(np.abs(mean), 1.0)
        centre[:described] = mean
        inverse[:described][varies] = 1.0 / spread[varies]
        inverse[described:] = (values[:, described:] > 0).sum(axis=0) >= LEAST
        self.centre.copy_(torch.from_numpy(centre))
        self.inverse.copy_(torch.from_numpy(inverse))

    def seen(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """(molecules, the featuriser's width) of token ids, within ``CLIP`` standard deviations."""
        raw = torch.from_numpy(self.featuriser(ids)).to(self.centre)
        return ((raw - self.centre) * self.inverse).nan_to_num(0.0).clamp(-CLIP, CLIP)


class DescriptorHead(Described):
    """Two layers over [pooled output; standardised descriptors; logarithms of fingerprint counts]."""

    def __init__(self, width: int, featuriser: Featuriser, hidden: int, dropout: float):
        super().__init__(featuriser)
        self.first = nn.Linear(width + featuriser.width, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.second = nn.Linear(hidden, hidden)
        self.dropout = Dropout(dropout)

    @property
    def out_features(self) -> int:
        """Numbers that it gives of a molecule."""
        return self.second.out_features

    def forward(self, pooled: Tensor, ids: Sequence[Sequence[int]]) -> Tensor:
        """(molecules, ``hidden``) of the pooled output (molecules, width) and the token ids of the same molecules."""
        hidden = self.first(torch.cat([pooled, self.seen(ids).to(pooled.dtype)], dim=1))
        hidden = self.dropout(nn.functional.gelu(self.norm(hidden)))
        return nn.functional.gelu(self.second(hidden))


def unpadded(input_ids: Tensor, attention_mask: Tensor) -> list[list[int]]:
    """Token ids of each molecule of a padded batch, without the padding."""
    lengths = attention_mask.bool().sum(dim=1).tolist()
    return [row[:length] for row, length in zip(input_ids.tolist(), lengths, strict=True)]
