"""The rows of a file that have a molecule and a label, the refused ones of later steps among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chemsieve.audit.rounding import decimals_of
from chemsieve.data import chemistry
from chemsieve.data.acceptance import structure
from chemsieve.data.molecules import finite

if TYPE_CHECKING:
    import pandas as pd
    from rdkit import Chem


@dataclass(frozen=True)
class Labelled:
    """Molecules with labels, in the order of their file.

    ``rows`` (n,) are 0-based rows of the file, ``smiles`` (n,) as given, ``values`` (n,) labels, ``decimals`` the most
    that a label is written with, ``inchikeys`` (n,) empty where there is none, ``parents`` (n,) first blocks of the
    parent molecule's InChIKey.
    """

    rows: np.ndarray
    smiles: np.ndarray
    values: np.ndarray
    decimals: int
    inchikeys: np.ndarray
    parents: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, positions: np.ndarray) -> Labelled:
        """The molecules at ``positions`` (0-based); the decimals stay those of the file."""
        keys = self.inchikeys[positions], self.parents[positions]
        return Labelled(self.rows[positions], self.smiles[positions], self.values[positions], self.decimals, *keys)

    @property
    def molecules(self) -> list[Chem.Mol]:
        """The molecules themselves, made anew, since thousands of them take as many times ten kilobytes."""
        return [chemistry.accepted(text) for text in self.smiles]


def read(frame: pd.DataFrame) -> Labelled:
    """Rows of :func:`chemsieve.data.reading.read_labelled` that are a molecule and whose label is a number."""
    kept, texts, keys, parents = [], [], [], []
    for row, smiles, text in zip(frame["row"], frame["smiles"], frame["label_text"], strict=True):
        value, molecule = finite(text), structure(smiles).molecule
        if value is not None and molecule is not None:
            kept.append((int(row), smiles.strip(), value))
            texts.append(text)
            keys.append(chemistry.inchikey(molecule))
            parents.append(chemistry.parent_block(molecule, chemistry.block_of(keys[-1])))
    return Labelled(
        rows=np.array([row for row, *_ in kept], dtype=np.int64),
        smiles=np.array([smiles for _, smiles, _ in kept], dtype=object),
        values=np.array([value for *_, value in kept], dtype=float),
        decimals=decimals_of(texts),
        inchikeys=np.array(keys, dtype=object),
        parents=np.array(parents, dtype=object),
    )
