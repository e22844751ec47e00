"""V-optimal design: the molecules whose measurement makes predictions of the target's own molecules surest.

At each step the one that lowers most the summed variance of the linearised model's predictions for training and
validation molecules (Yu, Bi and Tresp 2006, 10.1145/1143844.1143980). It reads no label of the pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chemsieve.selection import _posterior

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = _posterior.OPTIONS
NEEDS: tuple[str, ...] = _posterior.NEEDS
BUDGET = True


def score(pool: pd.DataFrame, context: Context, seed: int, damping: float | None = None) -> np.ndarray:
    """What each takes off that sum at the moment of choice (n,), in units of the prior's variance; positive helps."""
    from chemsieve.influence.posterior import falls

    return _posterior.chosen(context, falls, damping, seed)
