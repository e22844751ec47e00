"""A survey of every split: who is in two places, how near test lies to training, what depends on held-out labels."""

from __future__ import annotations

import pandas as pd

from chemsieve.audit import identity
from chemsieve.audit.tracing import OTHER, Found
from chemsieve.audit.treatment import HELD_OUT, dependence

COUNTS = (
    *("accepted", "computed", "validation", "test", "validation_used", "test_used"),
    *("rows", "validation_rows", "test_rows"),
)


def survey(
    molecules: pd.DataFrame, splits: pd.DataFrame, found: Found | None, sources: pd.DataFrame | None
) -> dict[str, pd.DataFrame]:
    """Tables over all splits.

    Args:
        molecules: the table ``molecules``.
        splits: the table ``splits``.
        found: the rule of the pool's labels, if one was found.
        sources: the table ``label_sources``.

    Returns:
        ``audit_identity`` and ``nearest_training`` as declared; ``leaks`` with counts per split. Of accepted pool
        molecules: all (``accepted``), those whose labels the rule gives (``computed``), those whose labels depend on
        ``validation`` and ``test`` labels whatever is chosen among ties, and with the choice that was found
        (``validation_used``, ``test_used``). Of the file: ``rows`` with a label, and those of them that depend on
        validation and test labels (``validation_rows``, ``test_rows``).
    """
    prints = identity.prints_of(molecules)
    accepted = molecules.loc[molecules["source"] == "pool", "label_rows"]
    # The molecule that a row of the pool's file gives its label to; several rows may give theirs to one.
    molecule_of = {row: molecule for molecule, rows in enumerate(accepted) for row in rows}
    tables: dict[str, list[pd.DataFrame]] = {"audit_identity": [], "nearest_training": [], "leaks": []}
    for (splitter, seed), split in splits.groupby(["splitter", "split_seed"], sort=False):
        parts = identity.places(molecules, split)
        counts = dict.fromkeys(COUNTS, 0) | {"accepted": len(accepted)}
        if found and sources is not None:
            owner = sources["row"].map(molecule_of)
            depends = dependence(found, sources, molecules, split)
            counts |= {name: owner[flags].nunique() for name, flags in depends.items()}
            counts |= {"computed": owner[sources["match"] != OTHER].nunique(), "rows": len(sources)}
            counts |= {f"{fold}_rows": int(depends[fold].sum()) for fold in HELD_OUT}
        made = {
            "audit_identity": identity.shared(parts),
            "nearest_training": identity.nearest_training(parts, prints),
            "leaks": pd.DataFrame([counts]),
        }
        for name, table in made.items():
            tables[name].append(table.assign(splitter=splitter, split_seed=seed))
    return {name: pd.concat(frames, ignore_index=True) for name, frames in tables.items()}
