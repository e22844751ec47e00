"""The rows of a file that have a molecule and a label, the refused ones of later steps among them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from chemsieve.audit.rounding import decimals_of
from chemsieve.data import chemistry
from chemsieve.data.acceptance import structure
from chemsieve.data.measured import Scale

if TYPE_CHECKING:
    import pandas as pd
    from rdkit import Chem


_COLUMNS = {"row": 0, "smiles": "", "label_text": "", "relation_text": "", "unit_text": "", "outside": None}
_DECIMALS = 6  # of a logarithm or of a converted number, of which the cell does not say how many it has


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


def read(frame: pd.DataFrame, scale: Scale | None = None) -> Labelled:
    """Rows of :func:`chemsieve.data.reading.read_table` that are a molecule and whose label is a number.

    Args:
        frame: the rows; those that do not meet a condition of ``where`` are left out.
        scale: how labels are read; as they stand by default.
    """
    scale = scale or Scale()
    kept, texts, keys, parents = [], [], [], []
    columns = [frame[name] if name in frame else [empty] * len(frame) for name, empty in _COLUMNS.items()]
    for row, smiles, text, relation, unit, outside in zip(*columns, strict=True):
        molecule = structure(smiles).molecule if outside is None else None
        if molecule is None:
            continue
        label = scale.read(text, relation, unit, partial(chemistry.weight, molecule))
        if not label.reason:
            kept.append((int(row), smiles.strip(), label.value))
            texts.append(text if scale.plain else f"{label.value:.{_DECIMALS}f}")
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
