"""The embedded data set: made from hand-written building blocks, so that the workflow runs without any download.

Building blocks are joined by common reactions; both stand in ``resources/embedded/``. The label is Crippen's logP plus
Gaussian measurement noise, a property that a model can learn from structure and whose true value is known. The pool is
a positive control in three thirds, of which a good selection prefers the first and avoids the last:

* ``like_target``: further products of the same reactions and blocks, with the same noise;
* ``other_chemistry``: peptides, glycosides, lipids, steroid esters, nucleosides, silyl ethers and phosphates, labelled
  as correctly as the target;
* ``corrupted_label``: like the target, but the label is the true one shifted by 2 to 4 log units (uniform): down where
  the truth is above the mean of the target set, up elsewhere.

Sources: logP contributions of Wildman and Crippen, J. Chem. Inf. Comput. Sci. 39 (1999) 868, as RDKit implements them.
"""

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors, rdChemReactions, rdMolDescriptors

from chemsieve.data import chemistry
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.data_files import project_data
from chemsieve.runtime.files import write_text
from chemsieve.tables import write_table

SMILES, LABEL = "smiles", "crippen_logp_with_noise"
GROUPS = ("like_target", "other_chemistry", "corrupted_label")

HEAVY_ATOMS = (16, 28)
WEIGHT = (220.0, 400.0)  # g/mol
CORRUPTION = (2.0, 4.0)  # least and most distance of a corrupted label from the truth, in log units


class Reaction(NamedTuple):
    """The classes of the two reactants, and the reaction SMARTS."""

    first: str
    second: str
    smarts: str


@dataclass(frozen=True)
class Library:
    """Building blocks (SMILES, by class) and the reactions that join them, by name, in the order of their turns.

    A block has one site at which its reactions happen, as far as possible, so that a reaction has one product.
    """

    blocks: dict[str, list[str]]
    reactions: dict[str, Reaction]


@cache
def library(name: str) -> Library:
    """The library ``target``, or ``other``: chemistry that the target has nothing of."""
    folder = project_data("embedded")
    blocks: dict[str, list[str]] = {}
    for row in _rows(folder / "building_blocks.csv", name):
        blocks.setdefault(row["class"], []).append(row["smiles"])
    reactions = {
        row["reaction"]: Reaction(row["first"], row["second"], row["smarts"])
        for row in _rows(folder / "reactions.csv", name)
    }
    return Library(blocks, reactions)


def _rows(path: Path, name: str) -> list[dict[str, str]]:
    """The rows of one library."""
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["library"] == name]


def make(
    target_count: int, pool_count: int, noise: float, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Make the target set, the pool and the truth about the pool; equal arguments give equal tables.

    Args:
        target_count: molecules of the target set.
        pool_count: molecules of the pool, divided over the three groups as evenly as possible.
        noise: standard deviation of the measurement noise, in log units.
        seed: of the choice of products, the noise, the corruption and the order.

    Returns:
        The target and the pool (columns ``smiles``, canonical, and ``crippen_logp_with_noise``, log units with two
        decimals), no two rows of them the same molecule by the first block of the InChIKey; and the control
        (``molecule_id``, ``group``, ``true_label``) with one line per pool row, in the order of the pool.

    Raises:
        ChemsieveError: the building blocks have fewer products than asked for.
    """
    rng = np.random.default_rng(seed)
    counts = [len(range(position, pool_count, len(GROUPS))) for position in range(len(GROUPS))]
    like_count, other_count, corrupted_count = counts
    seen: set[str] = set()
    # Reactions take turns; the shuffle gives target and pool the same mixture of them.
    products = _products(library("target"), target_count + like_count + corrupted_count, seen, rng)
    products = [products[position] for position in rng.permutation(len(products))]
    other = _products(library("other"), other_count, seen, rng)

    target = pd.DataFrame({SMILES: products[:target_count]})
    true_target = _logp(target[SMILES])
    target[LABEL] = _rounded(true_target + rng.normal(0.0, noise, target_count))

    held_out = products[target_count:]
    smiles = held_out[:like_count] + other + held_out[like_count:]
    group = np.repeat(GROUPS, counts)
    truth = _logp(smiles)
    label = truth + rng.normal(0.0, noise, pool_count)
    # Towards the mean and past it, so that the range of the labels does not give the wrong ones away.
    shift = rng.uniform(*CORRUPTION, pool_count) * np.where(truth > true_target.mean(), -1.0, 1.0)
    label = _rounded(np.where(group == "corrupted_label", truth + shift, label))

    order = rng.permutation(pool_count)
    pool = pd.DataFrame({SMILES: np.array(smiles, dtype=object)[order], LABEL: label[order]})
    control = pd.DataFrame(
        {
            "molecule_id": [f"pool-{row}" for row in range(pool_count)],
            "group": group[order],
            "true_label": truth[order],
        }
    )
    return target, pool, control


def write(folder: str | Path, target_count: int, pool_count: int, noise: float, seed: int) -> None:
    """Write ``target.csv``, ``pool.csv`` and ``control.parquet`` of :func:`make` into a folder, each atomically."""
    target, pool, control = make(target_count, pool_count, noise, seed)
    for name, frame in (("target.csv", target), ("pool.csv", pool)):
        write_text(Path(folder) / name, frame.to_csv(index=False, float_format="%.2f", lineterminator="\n"))
    write_table(control, Path(folder) / "control.parquet", "pool_control")


def _products(source: Library, count: int, seen: set[str], rng: np.random.Generator) -> list[str]:
    """Canonical SMILES of ``count`` new products, one reaction after the other; ``seen`` gains their first blocks."""
    streams = [
        _react(reaction.smarts, source.blocks[reaction.first], source.blocks[reaction.second], rng)
        for reaction in source.reactions.values()
    ]
    found: list[str] = []
    while streams and len(found) < count:
        for stream in list(streams):
            if len(found) == count:
                break
            # Each turn takes the reaction's next product that is new and of the right size.
            for mol in stream:
                block = chemistry.first_block(mol)
                if block not in seen and _right_size(mol):
                    seen.add(block)
                    found.append(chemistry.canonical_smiles(mol))
                    break
            else:
                streams.remove(stream)
    if len(found) < count:
        raise ChemsieveError(
            f"embedded data set: the building blocks have {len(found)} products and {count} are asked for"
        )
    return found


def _react(smarts: str, first: Sequence[str], second: Sequence[str], rng: np.random.Generator) -> Iterator[Chem.Mol]:
    """The product of each pair of blocks, in random order; where a pair has several, the alphabetically first."""
    reaction = rdChemReactions.ReactionFromSmarts(smarts)
    pairs = list(itertools.product(map(chemistry.accepted, first), map(chemistry.accepted, second)))
    for position in rng.permutation(len(pairs)):
        with rdBase.BlockLogs():
            names = {Chem.MolToSmiles(products[0]) for products in reaction.RunReactants(pairs[position])}
            mols = [mol for mol in map(Chem.MolFromSmiles, sorted(names)) if mol is not None]
        if mols:
            yield min(mols, key=chemistry.canonical_smiles)


def _rounded(labels: np.ndarray) -> np.ndarray:
    """Labels with two decimals, and none of them -0.00."""
    return labels.round(2) + 0.0


def _right_size(mol: Chem.Mol) -> bool:
    fewest, most = HEAVY_ATOMS
    lightest, heaviest = WEIGHT
    weight = Descriptors.MolWt(mol)  # type: ignore[attr-defined]  # missing from RDKit's stubs
    return fewest <= mol.GetNumHeavyAtoms() <= most and lightest <= weight <= heaviest


def _logp(smiles: list[str] | pd.Series) -> np.ndarray:
    """Crippen logP of each SMILES, float64."""
    return np.array([rdMolDescriptors.CalcCrippenDescriptors(chemistry.accepted(text))[0] for text in smiles])
