"""The molecules that a model was trained on: which is nearest to another, and whether it is that very one."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from rdkit import Chem

from chemsieve.audit import fingerprints
from chemsieve.data.chemistry import block_of, parse
from chemsieve.tables import read_table, write_table


def training_table(molecules: pd.DataFrame) -> pd.DataFrame:
    """The table ``model_training`` of rows of ``molecules``."""
    # They were read once already.
    bits = _bits([cast("Chem.Mol", parse(text)) for text in molecules["canonical_smiles"]])
    return pd.DataFrame(
        {
            "molecule_id": molecules["molecule_id"].to_numpy(),
            "canonical_smiles": molecules["canonical_smiles"].to_numpy(),
            "identifier": molecules["identifier"].to_numpy(),
            "inchikey_block": molecules["inchikey"].map(block_of).to_numpy(),
            "fingerprint": [row.tobytes() for row in np.packbits(bits, axis=1)],
        }
    )


class Neighbours:
    """Looks molecules up among those of a table ``model_training``."""

    def __init__(self, table: pd.DataFrame):
        self.ids = table["molecule_id"].to_numpy(dtype=object)
        self.smiles = table["canonical_smiles"].to_numpy(dtype=object)
        # Folders of earlier releases have no identifiers.
        known = table["identifier"] if "identifier" in table else pd.Series([None] * len(table))
        self.names = np.array([name if isinstance(name, str) else "" for name in known], dtype=object)
        packed = np.frombuffer(b"".join(table["fingerprint"]), np.uint8).reshape(len(table), -1)
        self.bits = np.unpackbits(packed, axis=1)
        # The first of several; without an InChIKey nothing equals anything.
        pairs = zip(table["inchikey_block"], self.ids, strict=True)
        self.by_block = {block: identity for block, identity in reversed(list(pairs)) if block}

    def nearest(self, molecules: Sequence[Chem.Mol]) -> tuple[np.ndarray, np.ndarray]:
        """Place (n,) of the most similar training molecule of each, the first of equals, and how similar it is."""
        ((positions, distances),) = fingerprints.nearest(_bits(molecules), self.bits, ["tanimoto"], 1)
        return positions[:, 0], 1 - distances[:, 0]

    def same(self, blocks: Sequence[str]) -> list[str]:
        """Id of the training molecule with the same first block of the InChIKey, or an empty text."""
        return [self.by_block.get(block, "") for block in blocks]


def _bits(molecules: Sequence[Chem.Mol]) -> np.ndarray:
    return fingerprints.bits_of(molecules, *fingerprints.SIMILARITY)


def write(table: pd.DataFrame, path: str | Path) -> None:
    """Write a table ``model_training``."""
    write_table(table, path, "model_training")


def read(*paths: str | Path) -> Neighbours:
    """The neighbours in files of the table ``model_training``; a molecule that is in several counts once."""
    return Neighbours(pd.concat([read_table(path) for path in paths]).drop_duplicates("molecule_id"))
