"""D-optimal design: the molecules that the linearised model is least sure of, given those already chosen.

Greedily the largest log-determinant of the chosen molecules' covariance (MacKay 1992, 10.1162/neco.1992.4.4.590), to
compare :mod:`chemsieve.selection.v_optimal` with: it asks nothing of the target, and likes outliers.
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
AIMS_AT_VALIDATION = False


def score(pool: pd.DataFrame, context: Context, seed: int, damping: float | None = None) -> np.ndarray:
    """What measuring each tells of the weights at the moment of choice (n,), in nats; positive helps."""
    from chemsieve.influence.posterior import information

    return _posterior.chosen(context, information, damping, seed)
