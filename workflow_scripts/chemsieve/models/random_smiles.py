"""Randomised SMILES: a molecule written from a random atom along a random way, tokenised.

Sources: Bjerrum 2017 (1703.07076) and Arús-Pous et al. 2019 (10.1186/s13321-019-0393-0); Kimber et al. 2021
(2111.02121) for averaging predictions over them.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from rdkit import Chem
from tokenizers import Tokenizer

from chemsieve.data.acceptance import Reader
from chemsieve.models import tokenization


class SmilesRandomiser:
    """Token ids of randomised SMILES of molecules.

    Where a randomised SMILES has more than ``max_tokens`` tokens, or the encoder does not read it whole, the SMILES
    that the molecule came with is used in its place.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int):
        self.tokenizer, self.reader = tokenizer, Reader(tokenizer, max_tokens)

    def randomise(self, smiles: Sequence[str], seeds: Iterable[int]) -> list[list[int]]:
        """One randomised SMILES of each molecule, tokenised; the molecule's seed decides which."""
        randomised = [
            Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(text), 1, randomSeed=int(seed) % (2**31 - 1) + 1)[0]
            for text, seed in zip(smiles, seeds, strict=True)
        ]
        return [
            tokenization.encode(self.tokenizer, [text])[0] if reading.reason else reading.ids
            for reading, text in zip(self.reader.read(randomised), smiles, strict=True)
        ]

    def several(self, smiles: Sequence[str], count: int, seed: int = 0) -> list[list[list[int]]]:
        """``count`` tokenised SMILES of each molecule: the given one, then randomised ones; (count, molecules)."""
        draw = np.random.default_rng(seed)
        more = [self.randomise(smiles, draw.integers(2**31, size=len(smiles))) for _ in range(count - 1)]
        return [tokenization.encode(self.tokenizer, smiles), *more]
