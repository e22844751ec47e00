"""Division by Bemis-Murcko scaffold, as DeepChem 2.8.0's ``ScaffoldSplitter``."""

from collections.abc import Sequence

from rdkit.Chem.Scaffolds.MurckoScaffold import MurckoScaffoldSmiles

from chemsieve.splitting import Folds
from chemsieve.splitting._common import fill, molecules

OPTIONS: dict = {}
USES_COLUMN = False


def split(smiles: Sequence[str], fractions: tuple[float, float, float], seed: int) -> Folds:
    """Positions of the training, validation and test molecules; molecules of one scaffold stay together.

    Scaffolds (Bemis and Murcko 1996, without chirality; acyclic molecules share the empty one) go from the one with
    the most molecules to the one with the fewest; among equals, the one that appears last in the file goes first.
    The seed has no effect.
    """
    groups: dict[str, list[int]] = {}
    for position, molecule in enumerate(molecules(smiles)):
        groups.setdefault(MurckoScaffoldSmiles(mol=molecule), []).append(position)
    ordered = sorted(groups.values(), key=lambda group: (len(group), group[0]), reverse=True)
    return fill(ordered, fractions, len(smiles))
