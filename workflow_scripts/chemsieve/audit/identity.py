"""Which molecules are in two places, and how near test molecules lie to training molecules."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from chemsieve.audit import fingerprints
from chemsieve.data.chemistry import block_of

# What two molecules can have in common: column of the table ``molecules``, or how to make it from one.
LEVELS = {
    "canonical SMILES": lambda frame: frame["canonical_smiles"],
    "InChIKey": lambda frame: frame["inchikey"],
    "InChIKey first block": lambda frame: frame["inchikey"].map(block_of),
    "parent": lambda frame: frame["parent"],
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
        ``place``, ``other``, ``level``, ``molecules`` of the place that have an equal in the other, ``of`` how many. An
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


def prints_of(molecules: pd.DataFrame) -> pd.DataFrame:
    """Bits by which similarity is measured (ECFP4), packed into 256 bytes, per ``molecule_id``."""
    return pd.DataFrame(fingerprints.packed(molecules["smiles"], *fingerprints.SIMILARITY), molecules["molecule_id"])


def nearest_training(parts: dict[str, pd.DataFrame], prints: pd.DataFrame) -> pd.DataFrame:
    """The most similar training molecule of each other molecule.

    Args:
        parts: as :func:`places` returns them.
        prints: as :func:`prints_of` returns them.

    Returns:
        ``molecule_id``, ``fold`` (validation, test or pool), ``nearest_id``, ``similarity`` (Tanimoto, 0 to 1).
    """
    known, size = parts["train"]["molecule_id"].to_numpy(), fingerprints.SIMILARITY[1]
    theirs, frames = np.unpackbits(prints.loc[known].to_numpy(), axis=1, count=size), []
    for fold in ("validation", "test", "pool"):
        ids = parts[fold]["molecule_id"].to_numpy()
        if not len(ids):
            continue
        places, distances = np.empty(len(ids), np.int64), np.empty(len(ids))
        for some, ours in fingerprints.unpacked(prints.loc[ids].to_numpy(), size):
            ((found, values),) = fingerprints.nearest(ours, theirs, ["tanimoto"], 1)
            places[some], distances[some] = found[:, 0], values[:, 0]
        columns = {"nearest_id": known[places], "similarity": 1 - distances}
        frames.append(pd.DataFrame({"molecule_id": ids, "fold": fold} | columns))
    return pd.concat(frames, ignore_index=True)
