"""Which molecules stand in two places, and how near test molecules lie to training molecules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from rdkit import Chem

from chemsieve.audit import fingerprints
from chemsieve.data.chemistry import block_of

# What two molecules can have in common: column of the table ``molecules``, or how to make it from one.
LEVELS = {
    "canonical SMILES": lambda frame: frame["canonical_smiles"],
    "InChIKey": lambda frame: frame["inchikey"],
    "InChIKey first block": lambda frame: frame["inchikey"].map(block_of),
    "encoder input": lambda frame: frame["encoder_smiles"],
    "scaffold": lambda frame: frame["scaffold"],
}
# Each with the place in which its molecules are looked for.
PAIRS = (
    ("pool", "train"),
    ("pool", "validation"),
    ("pool", "test"),
    ("validation", "train"),
    ("test", "train"),
    ("test", "validation"),
)


def shared(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Molecules of one place that are in another.

    Args:
        parts: as :func:`places` returns them.

    Returns:
        ``place``, ``other``, ``level``, ``molecules`` of the place that have an equal in the other, ``of`` so many. An
        empty value (no scaffold, no InChIKey) equals nothing.
    """
    return pd.DataFrame(list(_shared(parts)))


def places(molecules: pd.DataFrame, split: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of ``molecules`` of the pool and of each fold."""
    folds = split.set_index("molecule_id")["fold"].reindex(molecules["molecule_id"]).to_numpy()
    parts = {fold: molecules[folds == fold] for fold in ("train", "validation", "test")}
    return parts | {"pool": molecules[molecules["source"] == "pool"]}


def _shared(parts: dict[str, pd.DataFrame]) -> Iterator[dict]:
    for place, other in PAIRS:
        for level, key in LEVELS.items():
            ours, theirs = key(parts[place]), key(parts[other])
            same = ours.isin(set(theirs) - {""})
            yield {
                "place": place,
                "other": other,
                "level": level,
                "molecules": int(same.sum()),
                "of": len(ours),
            }


def bits(smiles: Sequence[str]) -> np.ndarray:
    """(n, 2048) bits by which similarity is measured (ECFP4)."""
    return fingerprints.bits_of([Chem.MolFromSmiles(text) for text in smiles], *fingerprints.SIMILARITY)


def nearest_training(parts: dict[str, pd.DataFrame], prints: pd.Series) -> pd.DataFrame:
    """The most similar training molecule of each other molecule.

    Args:
        parts: as :func:`places` returns them.
        prints: row of bits per ``molecule_id``.

    Returns:
        ``molecule_id``, ``fold`` (validation, test or pool), ``nearest_id``, ``similarity`` (Tanimoto, 0 to 1).
    """
    known = parts["train"]["molecule_id"].to_numpy()
    theirs, frames = np.stack(prints[known].to_list()), []
    for fold in ("validation", "test", "pool"):
        ids = parts[fold]["molecule_id"].to_numpy()
        if not len(ids):
            continue
        ((positions, distances),) = fingerprints.nearest(np.stack(prints[ids].to_list()), theirs, ["tanimoto"], 1)
        columns = {"nearest_id": known[positions[:, 0]], "similarity": 1 - distances[:, 0]}
        frames.append(pd.DataFrame({"molecule_id": ids, "fold": fold} | columns))
    return pd.concat(frames, ignore_index=True)
