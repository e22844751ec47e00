"""Random division, as DeepChem 2.8.0's ``RandomSplitter``."""

from collections.abc import Sequence

import numpy as np

from chemsieve.splitting import Folds
from chemsieve.splitting._common import cuts

OPTIONS: dict = {}
USES_COLUMN = False


def split(smiles: Sequence[str], fractions: tuple[float, float, float], seed: int) -> Folds:
    """Positions of the training, validation and test molecules, in shuffled order; SMILES are not read."""
    train_end, validation_end = cuts(fractions, len(smiles))
    # DeepChem seeds numpy's global generator; a generator of our own gives the same numbers and disturbs nobody.
    shuffled = np.random.RandomState(seed).permutation(len(smiles)).tolist()
    return shuffled[:train_end], shuffled[train_end:validation_end], shuffled[validation_end:]
