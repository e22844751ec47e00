"""What can be said of a comparison, in words.

One rule decides, by the interval that stands beside the words: beyond zero it is a difference, within the margin it is
equivalence, and otherwise nothing can be told. Before it come the cases in which no interval could mean anything.
"""

import math
from dataclasses import dataclass

LEAST = 3  # units; with fewer, whatever the tests say rests on next to nothing
ALONE = "this split alone"
EXPLORATORY = "exploratory"


@dataclass(frozen=True)
class Estimate:
    """A mean difference, its simultaneous interval and what the design detects, all in the unit of the label.

    ``needed`` is the number of units that would show a difference of this size, or equivalence; None beyond a thousand.
    ``median`` is that of all pairwise averages (Hodges and Lehmann), whose sign must not contradict the mean's.
    """

    mean: float
    low: float
    high: float
    detectable: float
    needed: int | None
    median: float | None = None


@dataclass(frozen=True)
class Evidence:
    """A difference of errors, where lower is better, and what is known about it.

    Attributes:
        versus: what is compared with.
        n: units, which are splits, or the seeds of one.
        alone: whether all units are of one split.
        margin: what matters in practice, in the unit of the label.
        estimate: the difference; None where the units are copies, so that nothing is known of their noise.
        same: why both sides have the same errors throughout, in words; empty where they do not.
        unlearned: R2 of either side, where neither predicts better than the mean label; else None.
        molecules: test molecules of a split, where they are too few for the margin; else None.
        molecules_needed: how many would do.
        exploratory: whether nobody asked.
    """

    versus: str
    n: int
    alone: bool
    margin: float
    estimate: Estimate | None
    same: str = ""
    unlearned: tuple[float, float] | None = None
    molecules: int | None = None
    molecules_needed: int | None = None
    exploratory: bool = False


def verdict(found: Evidence) -> str:
    """The sentence for a difference of errors."""
    made, margin = found.estimate, found.margin
    notes = [ALONE if found.alone else "", EXPLORATORY if found.exploratory else ""]
    if found.same and found.n:
        return found.same
    if found.n < LEAST or (made is None and found.molecules is not None):
        return _noted(_cannot(found), EXPLORATORY if found.exploratory else "")
    if made is None:
        return f"cannot tell: the {units(found.n, found.alone)} gave the same errors, so that their noise is unknown"
    if found.unlearned is not None:
        one, other = (f"{r2:.2f}" for r2 in found.unlearned)
        values = one if one == other else f"{one} and {other}"
        return _noted(f"no verdict: neither predicts better than the mean label (test R2 {values})", *notes)
    if not made.low <= 0 <= made.high:
        if made.median is not None and made.median * made.mean < 0:
            mean, typical = ("better", "worse") if made.mean < 0 else ("worse", "better")
            return _noted(f"cannot tell: {mean} than {found.versus} on average, but {typical} typically", *notes)
        direction = f"{'better' if made.mean < 0 else 'worse'} than {found.versus} by {size_range(made.low, made.high)}"
        small = f"less than the margin of {margin:g}" if max(-made.low, made.high) < margin else ""
        return _noted(direction, small, *notes)
    if -margin < made.low and made.high < margin:
        return _noted(f"equivalent to {found.versus}", f"within {margin:g}", *notes)
    return _noted(_cannot(found), EXPLORATORY if found.exploratory else "")


def settled(said: str) -> bool:
    """Whether a verdict answers its question: a difference, equivalence, or the same molecules."""
    return not said.startswith(("cannot tell", "no verdict"))


def units(n: int, alone: bool) -> str:
    """``5 splits``, or ``5 seeds of one split``, which are no independent replicates of a method."""
    if alone:
        return f"{n} seed{'' if n == 1 else 's'} of one split"
    return f"{n} split{'' if n == 1 else 's'}"


def both_ways(low: float, high: float) -> str:
    """An interval that holds zero: how much better, and how much worse it may be."""
    return f"{_size(low)} better to {_size(high)} worse"


def size_range(low: float, high: float) -> str:
    """Both ends without sign, the smaller first, to two decimals, or three where two are too few."""
    near, far = sorted((abs(low), abs(high)))
    decimals = 2 if round(near, 2) and round(near, 2) != round(far, 2) else 3
    if not round(near, decimals):
        return f"up to {_size(far)}"
    return f"{near:.{decimals}f} to {far:.{decimals}f}"


def _noted(text: str, *notes: str) -> str:
    said = ", ".join(note for note in notes if note)
    return f"{text} ({said})" if said else text


def _cannot(found: Evidence) -> str:
    words, made = f"cannot tell with {units(found.n, found.alone)}", found.estimate
    if found.n >= LEAST and made:
        words += f": {both_ways(made.low, made.high)}"
    if found.molecules is not None:
        needed = "" if found.molecules_needed is None else f", about {found.molecules_needed:,} would do"
        return f"{words}; {found.molecules} test molecules are too few for a margin of {found.margin:g}{needed}"
    more = made.needed if made else None
    return words if more is None or more <= found.n else f"{words}; about {more:,} would"


def _size(value: float) -> str:
    """Two significant digits, at least two decimals."""
    value = abs(value)
    return f"{value:.{max(2, 1 - math.floor(math.log10(value)))}f}" if value else "0"
