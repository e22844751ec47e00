"""Counts of circular substructures (Morgan fingerprints; Rogers and Hahn 2010, 10.1021/ci100050t)."""

from collections.abc import Sequence

import numpy as np

from chemsieve.errors import ChemsieveError

RADIUS = 2  # bonds around an atom
SIZE = 2048


def morgan(smiles: Sequence[str], size: int = SIZE) -> np.ndarray:
    """How often each substructure of radius 2 occurs in molecules, as log(1 + count); without chirality.

    Args:
        smiles: (n,) SMILES.
        size: columns that all substructures are folded to.

    Returns:
        (n, ``size``) float32.

    Raises:
        ChemsieveError: RDKit cannot read a SMILES.
    """
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=size)
    values = np.empty((len(smiles), size), dtype=np.float32)
    for position, text in enumerate(smiles):
        molecule = Chem.MolFromSmiles(text)
        if molecule is None:
            raise ChemsieveError(f"morgan: RDKit cannot read the SMILES {text!r} of molecule {position}")
        values[position] = generator.GetCountFingerprintAsNumPy(molecule)
    return np.log1p(values)
