"""RDKit's two-dimensional descriptors of molecules, and counts of their Morgan fragments."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

import numpy as np

from chemsieve.errors import ChemsieveError

LARGEST = 1e6  # no descriptor of a drug-like molecule but Ipc comes near it
RADIUS, FOLDED = 2, 1024  # of Morgan fragments: bonds from their centre, and columns that all are folded to


def descriptor_names() -> list[str]:
    """Names of RDKit's two-dimensional descriptors (``rdkit.Chem.Descriptors.descList``), in the order of columns."""
    from rdkit.Chem import Descriptors

    return [name for name, _ in Descriptors.descList]


def chosen_names(names: Sequence[str] | None, left_out: Sequence[str]) -> list[str]:
    """Names of some descriptors, in the order of columns.

    Args:
        names: those wanted, ``None`` for all; ``*`` in a name stands for any characters (``fr_*``).
        left_out: those not wanted after all, written likewise.

    Raises:
        ChemsieveError: RDKit has no descriptor of a name, or none is left.
    """
    known = descriptor_names()
    for key, patterns in (("descriptors", names or []), ("descriptors_left_out", left_out)):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in known):
                near = get_close_matches(pattern, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ChemsieveError(f"configuration: mlm.{key}: RDKit has no descriptor {pattern!r}{hint}")
    wanted = [name for name in known if names is None or any(fnmatchcase(name, pattern) for pattern in names)]
    found = [name for name in wanted if not any(fnmatchcase(name, pattern) for pattern in left_out)]
    if not found:
        raise ChemsieveError("configuration: mlm.descriptors_left_out: no descriptor is left to learn")
    return found


def morgan_counts(smiles: Sequence[str]) -> np.ndarray:
    """How often each Morgan fragment is in a molecule, as the logarithm of one and the count.

    Args:
        smiles: (n,) SMILES.

    Returns:
        (n, 1024) float64, fragments of radius 2 folded to so many columns.

    Raises:
        ChemsieveError: RDKit cannot read a SMILES.
    """
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=FOLDED)
    counts = [generator.GetCountFingerprintAsNumPy(_molecule(i, text)) for i, text in enumerate(smiles)]
    return np.log1p(np.array(counts, dtype=np.float64).reshape(len(smiles), FOLDED))


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
    from rdkit.Chem import Descriptors

    names = descriptor_names()
    values = np.empty((len(smiles), len(names)))
    for position, text in enumerate(smiles):
        found = Descriptors.CalcMolDescriptors(_molecule(position, text), missingVal=np.nan, silent=True)
        values[position] = [found[name] for name in names]
    ipc = names.index("Ipc")
    values[:, ipc] = np.log1p(values[:, ipc])
    values[~(np.abs(values) <= LARGEST)] = np.nan
    return values


def _molecule(position: int, text: str):
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(text)
    if molecule is None:
        raise ChemsieveError(f"descriptors: RDKit cannot read the SMILES {text!r} of molecule {position}")
    return molecule
