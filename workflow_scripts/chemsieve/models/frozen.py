"""An encoder as it comes from its folder, whose output serves as features of molecules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chemsieve.models import backbone, embeddings, encoders, tokenization

if TYPE_CHECKING:
    import numpy as np
    import torch
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel


class FrozenEncoder:
    """An encoder, in evaluation mode, with its tokenizer; its random features are those that its weights came with."""

    def __init__(self, encoder: PreTrainedModel, tokenizer: Tokenizer, device: torch.device):
        self.encoder, self.tokenizer, self.device = encoder, tokenizer, device

    def features(self, smiles: Sequence[str]) -> np.ndarray:
        """(n, hidden) float32: the mean over tokens of the last layer, of (n,) SMILES as the encoder reads them."""
        ids = tokenization.encode(self.tokenizer, smiles)
        return embeddings.pooled(self.encoder, ids, tokenization.special_id(self.tokenizer, "pad"), self.device)


def of_folder(folder: str | Path, family: str, device: torch.device) -> FrozenEncoder:
    """The encoder of an encoder folder.

    Raises:
        ChemsieveError: the folder lacks a file, or its weights do not fit.
    """
    encoder = encoders.load(family).backbone(backbone.load_masked_lm(folder, family))
    return FrozenEncoder(encoder, backbone.load_tokenizer(folder), device)
