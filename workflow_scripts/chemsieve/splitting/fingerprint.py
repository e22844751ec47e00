"""Folds that are as unlike each other as possible, as DeepChem 2.8.0's ``FingerprintSplitter``."""

from collections.abc import Sequence

import numpy as np
from rdkit import DataStructs

from chemsieve.errors import ChemsieveError
from chemsieve.splitting import Folds
from chemsieve.splitting._common import fingerprints

OPTIONS: dict = {}
USES_COLUMN = False


def split(smiles: Sequence[str], fractions: tuple[float, float, float], seed: int) -> Folds:
    """Positions of the training, validation and test molecules, in the order in which they were assigned.

    Training is parted from the rest first, then test from validation, by Tanimoto similarity of Morgan fingerprints
    (radius 2, 1,024 bits). The training and validation sizes are rounded down. The seed has no effect.

    Raises:
        ChemsieveError: the training fraction rounds down to no molecule (DeepChem divides by zero).
    """
    n = len(smiles)
    train_size, validation_size = int(fractions[0] * n), int(fractions[1] * n)
    test_size = n - train_size - validation_size
    if train_size == 0:
        raise ChemsieveError(f"splitter fingerprint: the train fold of {n} molecules is empty")
    prints = fingerprints(smiles)
    train, rest = _part(prints, train_size, validation_size + test_size)
    if validation_size == 0:
        return train, [], rest
    if test_size == 0 or fractions[2] == 0:
        return train, rest, []
    test, validation = _part([prints[i] for i in rest], test_size, validation_size)
    return train, [rest[i] for i in validation], [rest[i] for i in test]


def _part(prints: list, size: int, other_size: int) -> tuple[list[int], list[int]]:
    """Part ``prints`` into two groups of the given sizes, the first molecule in the first group.

    The group that is less full in proportion takes the molecule whose largest similarity to the other group is
    smallest, the first such molecule among equals.
    """
    if other_size == 0:
        return list(range(len(prints))), []
    groups: tuple[list[int], list[int]] = ([0], [])
    # Largest similarity of each molecule to each group; infinite once assigned, so that argmin passes it over.
    similarity = np.zeros((2, len(prints)))
    similarity[0] = DataStructs.BulkTanimotoSimilarity(prints[0], prints)
    similarity[:, 0] = np.inf
    for _ in range(len(prints) - 1):
        group = 0 if len(groups[0]) / size <= len(groups[1]) / other_size else 1
        chosen = int(np.argmin(similarity[1 - group]))
        groups[group].append(chosen)
        np.maximum(similarity[group], DataStructs.BulkTanimotoSimilarity(prints[chosen], prints), out=similarity[group])
        similarity[:, chosen] = np.inf
    return groups
