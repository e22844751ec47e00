"""What is done about the pool's labels in a split, as the configuration says, with every consequence counted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from chemsieve.audit import tracing
from chemsieve.audit.neighbour_rule import Rule
from chemsieve.audit.tracing import Found
from chemsieve.errors import ChemsieveError

# Values of pool.labels and pool.leaks that ask for something.
AS_GIVEN, RELABEL, DROP = "as_given", "relabel_from_training", "drop"
HELD_OUT = ("validation", "test")
_COUNTS = {"dropped": 0, "relabelled": 0, "mean_change": 0.0, "largest_change": 0.0}


def dependence(found: Found, sources: pd.DataFrame, molecules: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Which pool labels were computed from validation or test labels of a split.

    Args:
        found: the rule.
        sources: the table ``label_sources``.
        molecules: the table ``molecules``.
        split: ``molecule_id`` and ``fold``.

    Returns:
        Per row of ``sources``, for each fold, whether no choice among equally near molecules avoids it (``validation``,
        ``test``), and whether the choice that was found uses it (``validation_used``, ``test_used``).
    """
    rows_of = molecules.set_index("molecule_id")["label_rows"]  # in the target's file
    records, columns = sources.to_dict("records"), {}
    for fold in HELD_OUT:
        rows = set(rows_of[split.loc[split["fold"] == fold, "molecule_id"]].explode())
        columns[fold] = [tracing.must_use(found, record, rows) for record in records]
        columns[f"{fold}_used"] = [
            record["match"] != tracing.OTHER and any(row in rows for row in record["used"]) for record in records
        ]
    return pd.DataFrame(columns, index=sources.index, dtype=bool)


def treat_split(
    molecules: pd.DataFrame, split: pd.DataFrame, found: Found | None, sources: pd.DataFrame, labels: str, leaks: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pool of one split.

    Where labels are to be computed anew, the rule that was found is applied to the training molecules alone; where
    none was found, the mean of the five nearest by Tanimoto similarity of ECFP4 (:class:`Rule` as it is by default).

    Args:
        molecules: the table ``molecules``.
        split: ``molecule_id`` and ``fold``.
        found: the rule of the pool's labels, if one was found.
        sources: the table ``label_sources``; empty without a rule.
        labels: ``as_given`` or ``relabel_from_training``.
        leaks: ``drop`` leaves out molecules whose labels, used as given, were computed from validation or test labels.

    Returns:
        The table ``labelled``, and one row of ``dropped``, ``relabelled``, ``mean_change``, ``largest_change``.

    Raises:
        ChemsieveError: no pool molecule is left.
    """
    pool = molecules[molecules["source"] == "pool"]
    counts = dict(_COUNTS)
    if labels == RELABEL:
        train = molecules[molecules["molecule_id"].isin(split.loc[split["fold"] == "train", "molecule_id"])]
        made = tracing.reproduce(
            found.rule if found else Rule(),
            list(pool["smiles"]),
            list(train["smiles"]),
            train["label"].to_numpy(),
        )
        change = np.abs(made - pool["label"].to_numpy(dtype=float))
        pool = pool.assign(label=made)
        counts |= {"relabelled": len(pool), "mean_change": float(change.mean()), "largest_change": float(change.max())}
    elif leaks == DROP and found:
        depends = dependence(found, sources, molecules, split)
        leaking = set(sources.loc[depends.any(axis=1), "row"])
        kept = pool[pool["label_rows"].map(leaking.isdisjoint)]
        counts["dropped"] = len(pool) - len(kept)
        pool = kept
    if pool.empty:
        raise ChemsieveError(
            "pool.leaks: every pool label depends on validation or test labels, so that no molecule is left; "
            "pool.labels: relabel_from_training computes them anew"
        )
    return pool[["molecule_id", "encoder_smiles", "label"]], pd.DataFrame([counts])


def counted(leaks: pd.DataFrame, treated: pd.DataFrame, labels: str, policy: str) -> pd.DataFrame:
    """The table ``pool_treatment``: counts per split of what leaks and of what was done.

    Args:
        leaks: counts per split, as :func:`chemsieve.audit.survey.survey` returns them.
        treated: the table ``treatment`` of every split; empty where pools are used as they were accepted.
        labels: the configuration's ``pool.labels``.
        policy: the configuration's ``pool.leaks``.
    """
    if len(treated):
        table = leaks.merge(treated, on=["splitter", "split_seed"], validate="one_to_one")
    else:
        table = leaks.assign(**_COUNTS)
    return table.assign(labels=labels, leaks=policy, kept=table["accepted"] - table["dropped"])
