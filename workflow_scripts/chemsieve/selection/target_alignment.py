"""Similarity to the target's training set in the embedding space of the fine-tuned model.

Training molecules, not validation molecules, so that early stopping and choice do not use the same few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chemsieve.selection._blocks import blocks

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {"k": {"type": "integer", "minimum": 1}}
NEEDS: tuple[str, ...] = ("embeddings",)
BUDGET = True


def score(pool: pd.DataFrame, context: Context, seed: int, k: int = 5) -> np.ndarray:
    """Mean cosine (n,), -1 to 1, to the k nearest training molecules (all of them where there are fewer)."""
    known, candidates = context.embeddings()
    directions = _directions(known.astype(np.float64)).T
    nearest = [np.sort(_directions(block) @ directions, axis=1)[:, -k:].mean(axis=1) for block in blocks(candidates)]
    return np.concatenate(nearest)


def _directions(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
