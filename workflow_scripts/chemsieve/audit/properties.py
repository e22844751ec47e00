"""Computed properties by which two sets of molecules are compared."""

from collections.abc import Callable, Sequence

import numpy as np
from rdkit import Chem
from rdkit.Chem import Descriptors, rdMolDescriptors

PROPERTIES: dict[str, Callable[[Chem.Mol], float]] = {
    "molecular weight": Descriptors.MolWt,  # type: ignore[attr-defined]  # missing from RDKit's stubs
    "Crippen logP": lambda molecule: rdMolDescriptors.CalcCrippenDescriptors(molecule)[0],
    "polar surface area": rdMolDescriptors.CalcTPSA,
    "hydrogen-bond donors": rdMolDescriptors.CalcNumHBD,
    "hydrogen-bond acceptors": rdMolDescriptors.CalcNumHBA,
    "rotatable bonds": rdMolDescriptors.CalcNumRotatableBonds,
    "rings": rdMolDescriptors.CalcNumRings,
    "aromatic rings": rdMolDescriptors.CalcNumAromaticRings,
    "fraction of sp3 carbon": rdMolDescriptors.CalcFractionCSP3,
    "molar refractivity": lambda molecule: rdMolDescriptors.CalcCrippenDescriptors(molecule)[1],
    "heavy atoms": lambda molecule: molecule.GetNumHeavyAtoms(),
    "formal charge": Chem.GetFormalCharge,
}


def properties_of(molecules: Sequence[Chem.Mol]) -> np.ndarray:
    """(n, len(PROPERTIES)) float64, each in RDKit's own unit."""
    return np.array([[float(f(m)) for f in PROPERTIES.values()] for m in molecules]).reshape(-1, len(PROPERTIES))
