"""One influence score per molecule from several checkpoints of the same model."""

import pandas as pd


def over_checkpoints(scores: pd.DataFrame, how: str) -> pd.DataFrame:
    """The table ``influence`` with ``checkpoint`` -1: the ``mean`` over checkpoints, or the ``last`` checkpoint's.

    Rows keep the order of the first checkpoint. All rows must belong to one model and one estimator.
    """
    if how == "last":
        result = scores[scores["checkpoint"] == scores["checkpoint"].max()].copy()
    else:
        order = scores.drop_duplicates("molecule_id").drop(columns=["influence", "expected_gain"])
        means = scores.groupby("molecule_id", sort=False)["influence"].mean()
        result = order.assign(influence=means.loc[order["molecule_id"]].to_numpy())
        result["expected_gain"] = -result["influence"]
    return result.assign(checkpoint=-1)
