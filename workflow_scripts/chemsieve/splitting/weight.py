"""Division by molecular weight, lightest to training, as DeepChem 2.8.0's ``MolecularWeightSplitter``."""

from collections.abc import Sequence

import numpy as np
from rdkit.Chem import rdMolDescriptors

from chemsieve.splitting import Folds
from chemsieve.splitting._common import cuts, molecules

OPTIONS: dict = {}
USES_COLUMN = False


def split(smiles: Sequence[str], fractions: tuple[float, float, float], seed: int) -> Folds:
    """Positions of the training, validation and test molecules by increasing exact (monoisotopic) mass.

    The seed has no effect. Molecules of exactly equal mass come in the order of numpy's default sort, as in DeepChem;
    it is not stable and differs between processors, which matters only where such a tie spans the end of a fold.
    """
    order = np.argsort([rdMolDescriptors.CalcExactMolWt(molecule) for molecule in molecules(smiles)]).tolist()
    train_end, validation_end = cuts(fractions, len(smiles))
    return order[:train_end], order[train_end:validation_end], order[validation_end:]
