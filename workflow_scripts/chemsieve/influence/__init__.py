"""Influence estimators: each module is one way to apply the inverse Hessian.

A module has ``OPTIONS`` (JSON Schema of its options) and ``solve(problem, vector, **options) -> Solution``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Solution:
    """An approximate solution x of (H + damping) x = v.

    ``half`` is the iterate at about half the iterations, for a check of convergence.
    """

    x: Tensor
    half: Tensor | None
    iterations: int
    effective_damping: float
    scale: float | None = None
