"""Label-error score: how far a label lies from the prediction of a model that has not seen the pool.

It asks which label is wrong, not which molecule lowers the validation loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {}
NEEDS: tuple[str, ...] = ("labels", "predictions")
BUDGET = True


def score(pool: pd.DataFrame, context: Context, seed: int) -> np.ndarray:
    """-|label - prediction - median| (n,) over the scaled median absolute deviation: no unit, small residuals first."""
    difference = pool["label"].to_numpy(dtype=float) - context.predictions()
    distance = np.abs(difference - np.median(difference))
    scale = 1.4826 * np.median(distance)  # of a normal distribution: its standard deviation
    return -distance / (scale if scale > 0 else 1.0)
