"""MC-dropout uncertainty: where the model disagrees with itself (Gal and Ghahramani 2016, 1506.02142)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {"passes": {"type": "integer", "minimum": 2, "description": "forward passes with dropout"}}
NEEDS: tuple[str, ...] = ("model",)
BUDGET = True


def score(pool: pd.DataFrame, context: Context, seed: int, passes: int = 20) -> np.ndarray:
    """Standard deviation over the passes (n,), in label units."""
    return context.predict_passes(passes, seed).std(axis=0)
