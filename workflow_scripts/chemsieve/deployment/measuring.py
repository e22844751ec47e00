"""What to measure next, as a list for the bench: a selection's molecules, and what each is expected to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chemsieve.audit import fingerprints
from chemsieve.data.molecules import EXTRA
from chemsieve.deployment.lists import as_csv
from chemsieve.influence.posterior import along, prior_variance
from chemsieve.runtime.files import write_text
from chemsieve.selection import needed
from chemsieve.selection._posterior import posterior
from chemsieve.tables import TABLES

if TYPE_CHECKING:
    from chemsieve.selection import Context


def described(
    pool: pd.DataFrame,
    molecules: pd.DataFrame,
    selection: pd.DataFrame,
    context: Context,
    damping: float | None,
    seed: int,
) -> pd.DataFrame:
    """The selected molecules, first choice first.

    Args:
        pool: as it was selected from.
        molecules: the table of that name; of target molecules the structures are read.
        selection: the table ``selections`` of one strategy.
        context: with what :mod:`chemsieve.selection.v_optimal` needs.
        damping: as that strategy's; ``seed`` too.

    Returns:
        ``rank``, ``identifier`` (the user's own), ``id``, ``smiles`` as given, other columns of the user's own that
        ``molecules`` has, ``sd_fall``, ``target_sd_before``, ``target_sd_after`` and ``own_sd`` in label units (see
        docs/measure_next.md), ``nearest_known`` (by its own name where it has one), ``nearest_smiles`` and
        ``tanimoto``.
    """
    chosen = selection[selection["selected"]].sort_values("rank")
    ids = list(chosen["molecule_id"])
    start = posterior(context, damping, seed)
    scale = _label_units(context, start)
    totals, own = along(start, pd.Index(pool["molecule_id"]).get_indexer(ids))
    deviations = np.sqrt(totals / start.targets) * scale
    known = pd.concat([needed(context.training), needed(context.validation)])["molecule_id"]
    table = molecules.set_index("molecule_id")
    rows = table.loc[ids]
    places, distances = _nearest(rows["smiles"], table.loc[known, "smiles"])
    theirs = [name for name in rows if name not in {*TABLES["molecules"], *EXTRA}]
    own_names = table["identifier"] if "identifier" in table else pd.Series(None, table.index, dtype=object)
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(ids) + 1),
            "identifier": own_names[ids].to_numpy(),
            "id": ids,
            "smiles": rows["smiles"].to_numpy(),
            **{name: rows[name].to_numpy() for name in theirs},
            "sd_fall": deviations[:-1] - deviations[1:],
            "target_sd_before": deviations[:-1],
            "target_sd_after": deviations[1:],
            "own_sd": np.sqrt(own) * scale,
            "nearest_known": own_names[known].fillna(known.set_axis(known)).to_numpy()[places],
            "nearest_smiles": table.loc[known, "smiles"].to_numpy()[places],
            "tanimoto": 1 - distances,
        }
    )


def _label_units(context: Context, start) -> float:
    """What a deviation in units of the prior's is in label units."""
    kernel = context.kernels()[-1]
    _, query, _ = kernel.parts
    standardised = float(np.std(needed(context.training)["label"]))
    return float(np.sqrt(prior_variance(start, kernel.residuals[query]))) * standardised


def _nearest(smiles: pd.Series, known: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """The known molecule that is nearest to each, as its position, and its Tanimoto distance."""
    size = fingerprints.SIMILARITY[1]
    ours, theirs = (
        np.unpackbits(fingerprints.packed(texts, *fingerprints.SIMILARITY), axis=1, count=size)
        for texts in (smiles, known)
    )
    ((places, distances),) = fingerprints.nearest(ours, theirs, ["tanimoto"], 1)
    return places[:, 0], distances[:, 0]


def write(listed: pd.DataFrame, path: str | Path) -> None:
    """The list as CSV, whole or not at all: see :func:`chemsieve.deployment.lists.as_csv`."""
    write_text(path, as_csv(listed))
