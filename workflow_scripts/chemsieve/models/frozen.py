"""An encoder as it comes from its folder, whose output serves as features of molecules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chemsieve.models import backbone, embeddings, encoders, tokenization

if TYPE_CHECKING:
    import numpy as np
    import torch


class FrozenEncoder:
    """The encoder of an encoder folder, in evaluation mode, with the random features that the folder holds.

    Raises:
        ChemsieveError: the folder lacks a file, or its weights do not fit.
    """

    def __init__(self, folder: str | Path, family: str, device: torch.device):
        self.encoder = encoders.load(family).backbone(backbone.load_masked_lm(folder, family))
        self.tokenizer = backbone.load_tokenizer(folder)
        self.device = device

    def features(self, smiles: Sequence[str]) -> np.ndarray:
        """(n, hidden) float32: the mean over tokens of the last layer, of (n,) SMILES as the encoder reads them."""
        ids = tokenization.encode(self.tokenizer, smiles)
        return embeddings.pooled(self.encoder, ids, tokenization.special_id(self.tokenizer, "pad"), self.device)
