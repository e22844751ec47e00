"""What several splitters share."""

from collections.abc import Iterable, Sequence

from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.DataStructs import ExplicitBitVect

from chemsieve.data import chemistry
from chemsieve.errors import ChemsieveError
from chemsieve.splitting import Folds


def molecules(smiles: Sequence[str]) -> list[Chem.Mol]:
    """(n,) molecules of (n,) SMILES, atom maps left out: those of a scaffold would make it another.

    Raises:
        ChemsieveError: RDKit cannot read one. (DeepChem's scaffold splitter drops such a molecule without a word, its
            others crash.)
    """
    parsed = []
    for position, text in enumerate(smiles):
        molecule = chemistry.parse(text.strip())
        if molecule is None:
            raise ChemsieveError(f"splitting: RDKit cannot read the SMILES {text!r} of molecule {position}")
        parsed.append(molecule)
    return parsed


def fingerprints(smiles: Sequence[str]) -> list[ExplicitBitVect]:
    """(n,) Morgan fingerprints of radius 2 and 1,024 bits, without chirality (ECFP4).

    The same bits as ``AllChem.GetMorganFingerprintAsBitVect(molecule, 2, 1024)``, which DeepChem calls and RDKit has
    deprecated.
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    return [generator.GetFingerprint(molecule) for molecule in molecules(smiles)]


def fill(groups: Iterable[Sequence[int]], fractions: tuple[float, float, float], n: int) -> Folds:
    """Fill training, then validation, then test with whole groups of positions, in the order given.

    A group that does not fit is passed on, and later, smaller groups still may fit. The limits stay fractions: they
    are not rounded to whole molecules.
    """
    train_limit, validation_limit = fractions[0] * n, (fractions[0] + fractions[1]) * n
    train: list[int] = []
    validation: list[int] = []
    test: list[int] = []
    for group in groups:
        if len(train) + len(group) <= train_limit:
            train += group
        elif len(train) + len(validation) + len(group) <= validation_limit:
            validation += group
        else:
            test += group
    return train, validation, test


def cuts(fractions: tuple[float, float, float], n: int) -> tuple[int, int]:
    """End of training and end of validation among ``n`` ordered molecules, both rounded down.

    The second is the rounded sum of two fractions, not a sum of two rounded numbers, and in binary arithmetic 0.7 + 0.2
    is below 0.9: 1,000 molecules give 700 and 899.
    """
    return int(fractions[0] * n), int((fractions[0] + fractions[1]) * n)
