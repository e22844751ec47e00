"""Control: the molecules that influence ranks last. If they train as well as its first, the ranking carries nothing."""

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
    """I(z) (n,): positive raises the validation loss."""
    return -needed(context.expected_gain)
