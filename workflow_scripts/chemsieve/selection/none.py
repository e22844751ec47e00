"""Control: no pool molecule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {}
NEEDS: tuple[str, ...] = ()
BUDGET = False


def score(pool: pd.DataFrame, context: Context, seed: int) -> np.ndarray:
    return np.zeros(len(pool))
