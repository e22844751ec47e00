"""Label-error score: influence of a molecule on its own loss after the refit (Koh and Liang 2017, 1703.04730).

From the Gram matrix at the last kept checkpoint. It asks which label is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {"damping": {"type": "number", "exclusiveMinimum": 0}}
NEEDS: tuple[str, ...] = ("labels", "gram")
BUDGET = True
AIMS_AT_VALIDATION = False


def score(pool: pd.DataFrame, context: Context, seed: int, damping: float = 1.0) -> np.ndarray:
    """-self-influence (n,), in squared standardised label units: molecules whose label fits first."""
    from chemsieve.influence.kernel import refit, self_influence

    kernel = context.kernels()[-1].needs_pool("self_influence")
    return -self_influence(refit(kernel, damping))
