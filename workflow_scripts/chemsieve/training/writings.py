"""Several SMILES of one molecule: fresh ones in training, and predictions averaged over them.

Sources: Bjerrum 2017 (1703.07076) and Arús-Pous et al. 2019 (10.1186/s13321-019-0393-0) for randomised SMILES; Kimber
et al. 2021 (2111.02121) for averaging predictions over them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from rdkit import Chem
from tokenizers import Tokenizer
from torch import Tensor

from chemsieve.data.acceptance import Reader
from chemsieve.models import tokenization
from chemsieve.training.batches import RegressionCollator


class Writer:
    """Token ids of random SMILES of molecules.

    A SMILES of more than ``max_tokens`` tokens, or one that the encoder does not read whole, gives way to the SMILES
    that the molecule came with.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int):
        self.tokenizer, self.reader = tokenizer, Reader(tokenizer, max_tokens)

    def rewrite(self, smiles: Sequence[str], seeds: Sequence[int]) -> list[list[int]]:
        """One random SMILES of each molecule, tokenised."""
        written = [
            Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(text), 1, randomSeed=int(seed) % (2**31 - 1) + 1)[0]
            for text, seed in zip(smiles, seeds, strict=True)
        ]
        return [
            tokenization.encode(self.tokenizer, [text])[0] if reading.reason else reading.ids
            for reading, text in zip(self.reader.read(written), smiles, strict=True)
        ]

    def several(self, smiles: Sequence[str], count: int, seed: int = 0) -> list[list[list[int]]]:
        """``count`` tokenised SMILES of each molecule: the given ones, then random ones; (count, molecules)."""
        draw = np.random.default_rng(seed)
        more = [self.rewrite(smiles, draw.integers(2**31, size=len(smiles))) for _ in range(count - 1)]
        return [tokenization.encode(self.tokenizer, smiles), *more]


class RewritingCollator:
    """As :class:`RegressionCollator`, of examples ``{"smiles", "label"}``, each time in another writing."""

    def __init__(self, writer: Writer, pad_id: int):
        self.writer, self.plain = writer, RegressionCollator(pad_id)

    def __call__(self, examples: list[dict]) -> dict[str, Tensor]:
        seeds = torch.randint(2**31 - 1, (len(examples),)).tolist()
        rows = self.writer.rewrite([example["smiles"] for example in examples], seeds)
        return self.plain([{"input_ids": ids, "label": e["label"]} for ids, e in zip(rows, examples, strict=True)])
