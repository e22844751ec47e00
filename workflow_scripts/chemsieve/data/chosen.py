"""The molecules of the pool that a selection chose."""

import pandas as pd


def chosen(selection: pd.DataFrame, pool: pd.DataFrame) -> pd.DataFrame:
    """Rows of the pool that the table ``selection`` marks as selected.

    In the pool's order, whatever the ranking, so that equal selections train alike.
    """
    return pool[pool["molecule_id"].isin(selection.loc[selection["selected"], "molecule_id"])]
