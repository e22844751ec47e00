"""Weights of molecules by their source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chemsieve.uses import AUTO

if TYPE_CHECKING:
    from chemsieve.uses import Given


def fixed(weight: float | str) -> float | None:
    """The weight as a number; None where the closed form chooses it."""
    return None if weight == AUTO else float(weight)


def weights(given: Given, weight: float | str) -> np.ndarray | None:
    """The weight of each training molecule (n,): 1 for the target's; None where all weigh the same."""
    known = fixed(weight)
    value = given.weight() if known is None else known
    return None if value == 1 else np.where(given.pool, value, 1.0)
