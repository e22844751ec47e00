"""Successive halving: many trials of a few epochs, of which the better half goes on with twice as many.

Jamieson and Talwalkar 2016 (1502.07943). A trial is trained anew with more epochs and is not continued, so that its
learning rate falls to the end of each schedule and rates are compared where a run would end; and so that a method whose
epochs differ from each other, or that changes its weights after the last, is tried as it will train.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chemsieve.errors import ChemsieveError

LEAST = 2  # trials of the last rung: with one there is nothing left to compare


@dataclass(frozen=True)
class Measured:
    """What a trial gave.

    Attributes:
        error: on validation molecules; infinite where there is none.
        epochs: that were trained, which patience may have cut short.
        seconds: of training.
        failure: why there is no error; empty where there is one.
    """

    error: float
    epochs: int
    seconds: float
    failure: str = ""


@dataclass(frozen=True)
class Trial:
    """A value at a rung: ``rung`` counts from 0, ``number`` is the value's position, ``allowed`` are its epochs."""

    rung: int
    number: int
    value: float
    allowed: int
    measured: Measured


def learning_rates(own: float, trials: int, factor: float) -> list[float]:
    """(trials,) rates, ascending, each ``factor`` times the one before; ``own`` is the middle one, or the upper middle.

    Twelve significant digits, so that the same rates follow on every machine.
    """
    return [float(f"{own * factor**power:.12g}") for power in range(-(trials // 2), trials - trials // 2)]


def rungs(trials: int, epochs: int) -> list[tuple[int, int]]:
    """How many values each rung trains, and for how many epochs: half as many, rounded up, for twice as long.

    The last rung has :data:`LEAST` values, or three of five, and all ``epochs``.
    """
    counts = [trials]
    while math.ceil(counts[-1] / 2) >= LEAST and counts[-1] > LEAST:
        counts.append(math.ceil(counts[-1] / 2))
    return [(count, math.ceil(epochs / 2**left)) for left, count in zip(range(len(counts))[::-1], counts, strict=True)]


def successive_halving(
    values: Sequence[float], epochs: int, measure: Callable[[int, int, float, int], Measured]
) -> tuple[list[Trial], Trial]:
    """All trials, in the order in which they were made, and the one that is chosen.

    Args:
        values: to try; of equal errors the earlier value is better.
        epochs: of the last rung.
        measure: trains at a rung (from 0) a value, given by its position and itself, for some epochs.

    Raises:
        ChemsieveError: no value of the first rung has an error; the reason of the first is told.
    """
    made: list[Trial] = []
    left, best = list(range(len(values))), None
    for rung, (count, allowed) in enumerate(rungs(len(values), epochs)):
        here = [
            Trial(rung, number, values[number], allowed, measure(rung, number, values[number], allowed))
            for number in left[:count]
        ]
        made += here
        ranked = sorted(
            (trial for trial in here if math.isfinite(trial.measured.error)),
            key=lambda trial: (trial.measured.error, trial.number),
        )
        if not ranked:
            break
        best = ranked[0]
        left = [trial.number for trial in ranked]
    if best is None:
        raise ChemsieveError(f"no learning rate could be tried: {made[0].measured.failure}")
    return made, best
