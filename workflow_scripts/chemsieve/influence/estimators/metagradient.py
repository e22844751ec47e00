"""Influence through training: the derivative of the query loss after training with respect to each molecule's weight.

The quiet continuation of the fitted regressor is made with every pool molecule at one weight, and differentiated in
reverse, step by step through the optimiser (:mod:`chemsieve.influence.replay`). So nothing is linearised but the
weights, there is no curvature matrix and no damping, and one way back scores the whole pool. The loss with a subset in
and the rest out is predicted by the sum of its members' scores, but for a constant.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from chemsieve.influence.estimators import Scores

if TYPE_CHECKING:
    from chemsieve.influence.continuation import Continuation

KERNEL = False
NEEDS_POOL = False
REPLAYS = True
OPTIONS: dict = {
    "replay": {
        "enum": ["selection", "validation"],
        "default": "selection",
        "description": "the training that is replayed: that of selections in the steps that they share "
        "(selection.training), or that of validate_influence (validation.training), whose molecules come in an order "
        "of each subset's own",
    },
    "weight": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "description": "of each pool molecule, where a training molecule weighs 1: about the share of the pool that is "
        "chosen",
    },
    "points": {
        "type": "integer",
        "minimum": 1,
        "description": "trainings whose derivatives are averaged, each in another order of the molecules; the first is "
        "in the order of the study's own seed",
    },
    "every": {
        "type": ["integer", "null"],
        "minimum": 1,
        "description": "steps between two kept states, which bounds memory; null: the root of the number of steps",
    },
}


def score(
    continuation: Continuation,
    replay: str = "selection",
    weight: float = 0.5,
    points: int = 1,
    every: int | None = None,
) -> Scores:
    """The derivative for every pool molecule (n,), the mean over ``points``."""
    found, steps = continuation.gradients(replay, weight, points, every)
    return Scores(
        influence=found.mean(axis=0),
        half=found[: points // 2].mean(axis=0) if points > 1 else None,
        errors=found.std(axis=0, ddof=1) / math.sqrt(points) if points > 1 else None,
        damping=None,
        iterations=steps,
        converged=True,
        solver="replayed training",
    )
