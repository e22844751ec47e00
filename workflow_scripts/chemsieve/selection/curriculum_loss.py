"""Curriculum by loss: molecules that the fine-tuned model predicts well first.

As ``curriculum``, with the model's own loss for the difficulty: a ``threshold`` of -d keeps losses up to d.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {}
NEEDS: tuple[str, ...] = ("labels", "predictions")
BUDGET = True


def score(pool: pd.DataFrame, context: Context, seed: int) -> np.ndarray:
    """-(label - prediction)^2 (n,), in squared label units."""
    return -((pool["label"].to_numpy(dtype=float) - context.predictions()) ** 2)
