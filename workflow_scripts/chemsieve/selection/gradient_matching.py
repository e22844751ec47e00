"""TracIn: products of gradients with the validation gradient over checkpoints (Pruthi et al. 2020, 2002.08484)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {}
NEEDS: tuple[str, ...] = ("labels", "gram")
BUDGET = True


def score(pool: pd.DataFrame, context: Context, seed: int) -> np.ndarray:
    """Sum over kept checkpoints of rate x gradient of the molecule's loss . gradient of the validation loss (n,).

    Positive lowers the validation loss; the learning rate is the mean of the epoch that ended in the checkpoint.
    """
    total = np.zeros(len(pool))
    for kernel, rate in zip(context.kernels(), context.rates(), strict=True):
        _, q, p = kernel.needs_pool("gradient_matching").parts
        residuals = kernel.residuals
        total += rate * 4 * residuals[p] * (kernel.matrix[p, q] @ residuals[q]) / kernel.query
    return total
