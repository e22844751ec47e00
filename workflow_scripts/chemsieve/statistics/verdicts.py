"""What can be said of a comparison, in words."""

import math

LEAST = 3  # units; with fewer, whatever the tests say rests on next to nothing
ALONE = "this split alone"


def verdict(
    versus: str,
    n: int,
    unit: str,
    mean: float,
    interval: tuple[float, float],
    differs: bool,
    equivalent: bool,
    identical: bool,
    margin: float,
    detectable: float,
    needed: int | None,
    alone: bool,
) -> str:
    """The sentence for a difference of errors, where lower is better.

    Args:
        versus: what is compared with.
        n: units, each called ``unit``.
        mean: mean difference; ``interval`` its simultaneous one, ``margin`` what matters in practice, ``detectable``
            what the design detects, all in the unit of the label.
        differs: whether the test of a difference rejects; ``equivalent``, whether that of equivalence does.
        identical: whether the units are copies, so that nothing is known of their noise.
        needed: units that would tell; None where so many as to be out of the question.
        alone: whether all units are of one split.
    """
    alone_note = ALONE if alone else ""
    if n < LEAST:
        return _cannot(n, unit, needed)
    if identical:
        return f"cannot tell: the {n} {unit}s are copies of each other"
    low, high = interval
    # By ranks a difference may be told that the interval of the mean does not tell.
    size = f"{_size(mean)} on average, judged by ranks" if low <= 0 <= high else _range(low, high)
    if differs:
        direction = f"{'better' if mean < 0 else 'worse'} than {versus} by {size}"
        return _noted(direction, f"equivalent within {margin:g}" if equivalent else "", alone_note)
    if equivalent:
        return _noted(f"equivalent to {versus}", f"within {margin:g}", alone_note)
    if detectable <= margin and low <= 0 <= high:
        return _noted(f"no difference from {versus} beyond noise", alone_note)
    return _cannot(n, unit, needed)


def _noted(text: str, *notes: str) -> str:
    said = ", ".join(note for note in notes if note)
    return f"{text} ({said})" if said else text


def _cannot(n: int, unit: str, needed: int | None) -> str:
    told = f"cannot tell with {n} {unit}{'' if n == 1 else 's'}"
    return told if needed is None or needed <= n else f"{told}; about {needed:,} would"


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
