"""Random selection: the control that every strategy has to beat at the same budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {}
NEEDS: tuple[str, ...] = ()
BUDGET = True


def score(pool: pd.DataFrame, context: Context, seed: int) -> np.ndarray:
    """Uniform random numbers (n,)."""
    return np.random.default_rng(seed).random(len(pool))
