"""Curriculum by length of SMILES: easy, that is short, molecules first.

A curriculum admits difficulty up to d_min + (d_max - d_min) * e / E at epoch e of E; a selection is one such cut,
so that a `threshold` of -d keeps the molecules of at most d characters.
"""

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
    """-length of the SMILES (n,), in characters."""
    return -pool["encoder_smiles"].str.len().to_numpy(dtype=float)
