"""RDKit's two-dimensional descriptors of molecules."""

from collections.abc import Sequence

import numpy as np

from chemsieve.errors import ChemsieveError

LARGEST = 1e6  # no descriptor of a drug-like molecule but Ipc comes near it


def descriptor_names() -> list[str]:
    """Names of RDKit's two-dimensional descriptors (``rdkit.Chem.Descriptors.descList``), in the order of columns."""
    from rdkit.Chem import Descriptors

    return [name for name, _ in Descriptors.descList]


def descriptors(smiles: Sequence[str]) -> np.ndarray:
    """All two-dimensional descriptors of RDKit, about 7 ms for a drug-like molecule.

    ``Ipc`` grows exponentially with size (7e30 in Lipophilicity), so that column holds log(1 + Ipc). A value that is
    not finite (partial charges of an atom that Gasteiger's parameters lack) or larger than 1e6 in magnitude becomes
    NaN: the models put the median of their training molecules in its place.

    Args:
        smiles: (n,) SMILES.

    Returns:
        (n, d) float64, columns as in :func:`descriptor_names`, each in the descriptor's own unit.

    Raises:
        ChemsieveError: RDKit cannot read a SMILES.
    """
    from rdkit import Chem
    from rdkit.Chem import Descriptors

    names = descriptor_names()
    values = np.empty((len(smiles), len(names)))
    for position, text in enumerate(smiles):
        molecule = Chem.MolFromSmiles(text)
        if molecule is None:
            raise ChemsieveError(f"descriptors: RDKit cannot read the SMILES {text!r} of molecule {position}")
        found = Descriptors.CalcMolDescriptors(molecule, missingVal=np.nan, silent=True)
        values[position] = [found[name] for name in names]
    ipc = names.index("Ipc")
    values[:, ipc] = np.log1p(values[:, ipc])
    values[~(np.abs(values) <= LARGEST)] = np.nan
    return values
