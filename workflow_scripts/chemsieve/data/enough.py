"""Whether the molecules that were accepted are enough for what the configuration asks of them.

Asked once the tables ``molecules`` and ``rejected`` stand, so that they can be read where the answer is no, and before
anything is trained.
"""

import logging
from typing import Any

import pandas as pd

from chemsieve.data.molecules import check_pool, check_target, why
from chemsieve.errors import ChemsieveError
from chemsieve.influence import capacity
from chemsieve.study import budgets

# Of the configuration, what most often cures a reason.
_KEYS = {
    "unparsable": "pool.smiles",
    "no_label": "pool.label",
    "too_long": "encoder.max_tokens",
    "unknown_token": "encoder.unknown_tokens",
    "where": "pool.where",
    "censored": "pool.censored",
    "unit": "pool.measured_in",
    "not_positive": "pool.transform",
    "contradiction": "pool.drop_if_apart",
    **dict.fromkeys(("no_carbon", "metal", "mixture", "sentinel"), "pool.unusual"),
}


def check(config: dict[str, Any], molecules: pd.DataFrame, rejected: pd.DataFrame) -> None:
    """Check the sizes of target and pool.

    Args:
        config: of the study.
        molecules, rejected: the tables of those names.

    Raises:
        ChemsieveError: the target is too small or has one label, the pool is empty, a budget asks for more than the
            pool has (the sentence counts the reasons of the rows that were refused), or an estimator for less.
    """
    check_target(molecules, rejected)
    check_pool(molecules, rejected)
    sizes = molecules["source"].value_counts()
    try:
        budgets.check(budgets.of(config), int(sizes["pool"]))
    except ChemsieveError as error:
        raise ChemsieveError(f"{error}{_lost(rejected, int(sizes['pool']))}") from None
    both = int(sizes["target"]), int(sizes["pool"])
    capacity.check_pool(config, *both)
    for sentence in capacity.stand_ins(config, *both):
        logging.getLogger(__name__).warning(sentence)


def _lost(rejected: pd.DataFrame, accepted: int) -> str:
    """What became of the other rows of the pool's file, and what to change."""
    reasons = rejected.loc[rejected["source"] == "pool", "reason"].value_counts()
    if reasons.empty:
        return ""
    key = _KEYS.get(reasons.index[0])
    see = f" and look at {key}" if key else ""
    return (
        f", for {reasons.sum():,} of the {accepted + reasons.sum():,} rows of its file are not used"
        f"{why(rejected, 'pool')}: lower the budget{see}; tables/rejected.parquet has each of them"
    )


def counts(molecules: pd.DataFrame, rejected: pd.DataFrame) -> dict[str, dict[str, int]]:
    """How many rows of each file were accepted, and refused for which reason."""
    outcomes = pd.concat([molecules.assign(reason="accepted"), rejected])
    return {
        str(source): {str(reason): int(number) for reason, number in rows["reason"].value_counts(sort=False).items()}
        for source, rows in outcomes.groupby("source", sort=False)
    }
