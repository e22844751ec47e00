"""Influence: the molecules whose addition lowers the validation loss most, to first order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chemsieve.selection import needed

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {}
NEEDS: tuple[str, ...] = ("influence",)
BUDGET = True


def score(pool: pd.DataFrame, context: Context, seed: int) -> np.ndarray:
    """Expected gain -I(z) (n,): positive lowers the validation loss."""
    return needed(context.expected_gain)
