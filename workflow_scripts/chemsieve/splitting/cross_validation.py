"""Repeated cross-validation: each split seed is one fold of one repeat."""

from collections.abc import Sequence

import numpy as np

from chemsieve.splitting import Folds

OPTIONS: dict = {
    "folds": {
        "type": "integer",
        "minimum": 2,
        "default": 5,
        "description": "test folds of a repeat; split seed s is fold s % folds of repeat s // folds",
    }
}
USES_COLUMN = False


def split(smiles: Sequence[str], fractions: tuple[float, float, float], seed: int, folds: int = 5) -> Folds:
    """Positions of the training, validation and test molecules of one fold; SMILES are not read.

    Split seeds 0 to 24 are five times five folds (Ash et al. 2025, 10.1021/acs.jcim.5c01609). The test molecules are
    one fold of a shuffling that all folds of the repeat share, so that a repeat tests each molecule once and the
    fraction for test is not used; of the rest, validation and training keep the proportion of their fractions.
    """
    repeat, fold = divmod(seed, folds)
    parts = np.array_split(np.random.RandomState(repeat).permutation(len(smiles)), folds)
    # From the fold after the test fold on, so that validation molecules too differ between folds.
    rest = np.concatenate([*parts[fold + 1 :], *parts[:fold]])
    used = fractions[0] + fractions[1]
    n_validation = round(len(rest) * fractions[1] / used) if used else 0
    return rest[n_validation:].tolist(), rest[:n_validation].tolist(), parts[fold].tolist()
