"""The rows of a file that have a molecule and a label, the refused ones of later steps among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chemsieve.audit.rounding import decimals_of
from chemsieve.data import chemistry
from chemsieve.data.molecules import finite

if TYPE_CHECKING:
    import pandas as pd
    from rdkit import Chem


@dataclass(frozen=True)
class Labelled:
    """Molecules with labels, in the order of their file.

    ``rows`` (n,) are 0-based rows of the file, ``values`` (n,) labels, ``decimals`` the most that a label is written
    with, ``inchikeys`` (n,) empty where there is none, ``parents`` (n,) first blocks of the parent molecule's InChIKey.
    """

    rows: np.ndarray
    molecules: list[Chem.Mol]
    values: np.ndarray
    decimals: int
    inchikeys: np.ndarray
    parents: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, positions: np.ndarray) -> Labelled:
        """The molecules at ``positions`` (0-based); the decimals stay those of the file."""
        chosen = [self.molecules[i] for i in positions]
        parts = (array[positions] for array in (self.inchikeys, self.parents))
        return Labelled(self.rows[positions], chosen, self.values[positions], self.decimals, *parts)


def read(frame: pd.DataFrame) -> Labelled:
    """Rows of :func:`chemsieve.data.reading.read_labelled` that parse and whose label is a finite number."""
    kept = []
    for row, smiles, text in zip(frame["row"], frame["smiles"], frame["label_text"], strict=True):
        value, molecule = finite(text), chemistry.parse(smiles.strip())
        if value is not None and molecule is not None:
            kept.append((int(row), molecule, value, text))
    keys = [chemistry.inchikey(molecule) for _, molecule, _, _ in kept]
    parents = [chemistry.parent_block(part[1], chemistry.block_of(key)) for part, key in zip(kept, keys, strict=True)]
    return Labelled(
        rows=np.array([row for row, *_ in kept], dtype=np.int64),
        molecules=[molecule for _, molecule, _, _ in kept],
        values=np.array([value for *_, value, _ in kept], dtype=float),
        decimals=decimals_of([text for *_, text in kept]),
        inchikeys=np.array(keys, dtype=object),
        parents=np.array(parents, dtype=object),
    )
