"""The most diverse molecules to test, as DeepChem 2.8.0's ``MaxMinSplitter``."""

from collections.abc import Sequence

from rdkit import DataStructs
from rdkit.SimDivFilters.rdSimDivPickers import MaxMinPicker

from chemsieve.splitting import Folds
from chemsieve.splitting._common import cuts, fingerprints

OPTIONS: dict = {}
USES_COLUMN = False


def split(smiles: Sequence[str], fractions: tuple[float, float, float], seed: int) -> Folds:
    """Ascending positions of the training, validation and test molecules.

    The MaxMin picker (Ashton et al. 2002) on the Dice distance of Morgan fingerprints (radius 2, 1,024 bits) fills
    test first, from a molecule that the seed chooses; it then goes on from these for validation. The rest is training.
    A test fold that rounds down to nothing still gets one molecule.
    """
    n = len(smiles)
    train_end, validation_end = cuts(fractions, n)
    prints = fingerprints(smiles)

    def distance(i: int, j: int) -> float:
        return 1 - DataStructs.DiceSimilarity(prints[i], prints[j])

    picker = MaxMinPicker()
    test = list(picker.LazyPick(distance, n, n - validation_end, seed=seed))
    picked = list(picker.LazyPick(distance, n, n - train_end, firstPicks=test, seed=seed))
    return sorted(set(range(n)) - {*test, *picked}), sorted({*picked} - {*test}), sorted(test)
