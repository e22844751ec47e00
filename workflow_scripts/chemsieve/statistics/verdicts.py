"""What can be said of a comparison, in words."""

import math
from dataclasses import dataclass

LEAST = 3  # units; with fewer, whatever the tests say rests on next to nothing
ALONE = "this split alone"


@dataclass(frozen=True)
class Estimate:
    """A mean difference, its simultaneous interval and what the design detects, all in the unit of the label.

    ``needed`` is the number of units that would show a difference of this size, or equivalence; None beyond a thousand.
    """

    mean: float
    low: float
    high: float
    detectable: float
    needed: int | None


@dataclass(frozen=True)
class Evidence:
    """A difference of errors, where lower is better, and what its tests say.

    Attributes:
        versus: what is compared with.
        n: units, each called ``unit``.
        alone: whether all units are of one split.
        margin: what matters in practice, in the unit of the label.
        estimate: the difference; None where the units are copies, so that nothing is known of their noise.
        differs: whether the test of a difference rejects.
        equivalent: whether that of equivalence does.
    """

    versus: str
    n: int
    unit: str
    alone: bool
    margin: float
    estimate: Estimate | None
    differs: bool = False
    equivalent: bool = False


def verdict(found: Evidence) -> str:
    """The sentence for a difference of errors."""
    made, alone_note = found.estimate, ALONE if found.alone else ""
    if found.n < LEAST:
        return _cannot(found)
    if made is None:
        return f"cannot tell: the {found.n} {found.unit}s are copies of each other"
    open_sign = made.low <= 0 <= made.high
    within = f"within {found.margin:g}"
    if found.differs:
        # A test on ranks may reject although the interval of the mean holds zero; the interval then gives no range.
        size = f"{_size(made.mean)} on average, judged by ranks" if open_sign else _range(made.low, made.high)
        direction = f"{'better' if made.mean < 0 else 'worse'} than {found.versus} by {size}"
        return _noted(direction, f"equivalent {within}" if found.equivalent else "", alone_note)
    if found.equivalent:
        return _noted(f"equivalent to {found.versus}", within, alone_note)
    if made.detectable <= found.margin and open_sign:
        return _noted(f"no difference from {found.versus} beyond noise", alone_note)
    return _cannot(found)


def _noted(text: str, *notes: str) -> str:
    said = ", ".join(note for note in notes if note)
    return f"{text} ({said})" if said else text


def _cannot(found: Evidence) -> str:
    words = f"cannot tell with {found.n} {found.unit}{'' if found.n == 1 else 's'}"
    needed = found.estimate.needed if found.estimate else None
    return words if needed is None or needed <= found.n else f"{words}; about {needed:,} would"


def _range(low: float, high: float) -> str:
    """Both ends without sign, the smaller first, to two decimals, or three where two are too few."""
    near, far = sorted((abs(low), abs(high)))
    decimals = 2 if round(near, 2) and round(near, 2) != round(far, 2) else 3
    if not round(near, decimals):
        return f"up to {_size(far)}"
    return f"{near:.{decimals}f} to {far:.{decimals}f}"


def _size(value: float) -> str:
    """Two significant digits, at least two decimals."""
    value = abs(value)
    return f"{value:.{max(2, 1 - math.floor(math.log10(value)))}f}" if value else "0"
