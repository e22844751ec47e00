"""Influence and MC-dropout uncertainty, combined by rank, in the spirit of ISAL (Liu et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chemsieve.selection import needed

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {
    "weight": {"type": "number", "minimum": 0, "maximum": 1, "description": "of influence"},
    "passes": {"type": "integer", "minimum": 2},
}
NEEDS: tuple[str, ...] = ("influence", "model")
BUDGET = True


def score(pool: pd.DataFrame, context: Context, seed: int, weight: float = 0.5, passes: int = 20) -> np.ndarray:
    """weight x rank by expected gain + (1 - weight) x rank by dropout's spread (n,), ranks as fractions in 0 to 1."""
    from scipy.stats import rankdata

    gain = needed(context.expected_gain)
    if not np.isfinite(gain).all():
        return gain  # ranks would hide what is not finite; the caller refuses it
    spread = context.predict_passes(passes, seed).std(axis=0)
    return (weight * rankdata(gain) + (1 - weight) * rankdata(spread)) / len(pool)
