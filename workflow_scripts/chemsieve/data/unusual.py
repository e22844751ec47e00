"""What is a molecule that RDKit reads and hardly one of the kind that a model is for, and labels that stand for none.

Found in every study and listed in the audit; refused where the configuration says so (``unusual: refuse``).
"""

import functools
from collections.abc import Iterable

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize

from chemsieve.data import chemistry

FLAG, REFUSE = "flag", "refuse"  # values of `unusual`
NO_CARBON, METAL, MIXTURE, SENTINEL = "no_carbon", "metal", "mixture", "sentinel"
WORDS = {
    NO_CARBON: "have no carbon (salts, water, gases)",
    METAL: "hold a metal that is no counterion by itself",
    MIXTURE: "are mixtures of two organic molecules, neither a usual counterion or solvent",
    SENTINEL: "have a label such as 9999 or -999, which stands for none",
}
LARGE = 8  # heavy atoms of an organic fragment above which it is no counterion
FAR = 5.0  # ranges of the other labels (5 to 95 %) beyond which a label of nines is no measurement
_COUNTERIONS = {"Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba", "Zn", "Al"}
# Metals and half-metals but B, Si, Ge, As, Se, Te, which are in molecules of the usual kind.
_METALS = {
    *range(3, 5), *range(11, 14), *range(19, 32), *range(37, 51), *range(55, 84), *range(87, 113)
}  # fmt: skip


def kind(mol: Chem.Mol) -> str:
    """``no_carbon``, ``metal`` or ``mixture``; empty for a molecule of the usual kind, salts and hydrates included."""
    if not any(atom.GetAtomicNum() == 6 for atom in mol.GetAtoms()):
        return NO_CARBON
    if any(_unusual_metal(atom) for atom in mol.GetAtoms() if atom.GetAtomicNum() in _METALS):
        return METAL
    return MIXTURE if len(Chem.GetMolFrags(mol)) > 1 and _large_fragments(mol) > 1 else ""


def _unusual_metal(atom: Chem.Atom) -> bool:
    return atom.GetDegree() > 0 or atom.GetSymbol() not in _COUNTERIONS


def _large_fragments(mol: Chem.Mol) -> int:
    """Different organic fragments of some size, without RDKit's counterions, acids and solvents."""
    with rdBase.BlockLogs():
        rest = _remover().remove(mol)
    found = set()
    for fragment in Chem.GetMolFrags(rest, asMols=True, sanitizeFrags=False):
        carbons = sum(atom.GetAtomicNum() == 6 for atom in fragment.GetAtoms())
        if carbons and fragment.GetNumHeavyAtoms() >= LARGE:
            found.add(Chem.MolToSmiles(fragment))
    return len(found)


@functools.cache
def _remover() -> rdMolStandardize.FragmentRemover:
    return rdMolStandardize.FragmentRemover()


def kind_of(smiles: str) -> str:
    """:func:`kind` of a SMILES that was accepted, by a look at its text where that tells."""
    if "." not in smiles and "[" not in smiles and ("C" in smiles.replace("Cl", "") or "c" in smiles):
        return ""
    return kind(chemistry.accepted(smiles))


def sentinels(labels: Iterable[float]) -> set[float]:
    """Labels of nines (999, -9999, ...) that lie far outside all others."""
    values = np.array([value for value in labels if np.isfinite(value)])
    nines = np.array([_nines(value) for value in values], dtype=bool)
    others = values[~nines]
    if not nines.any() or len(others) < 3:
        return set()
    low, high = np.quantile(others, [0.05, 0.95])
    margin = FAR * max(high - low, 1e-9)
    return {float(value) for value in set(values[nines]) if value > high + margin or value < low - margin}


def _nines(value: float) -> bool:
    """Whether a number is 999, 9999 and so on, of either sign."""
    digits = f"{abs(value):.0f}"
    return value == round(value) and len(digits) >= 3 and set(digits) == {"9"}
