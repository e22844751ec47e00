"""Looks at a study that grows by replicates until its questions are answered.

Whoever looks at each of several sizes and stops at the first that shows something errs more often than a single look
would. So the error probability is spent over the looks, in proportion to the replicates that each adds (alpha spending:
Lan and DeMets 1983, 10.1093/biomet/70.3.659; the linear function is of Kim and DeMets 1987, 10.1093/biomet/74.1.149).
Each look has what it adds for itself. The sum bounds the error of all looks together whatever test is made and however
the looks depend on each other; boundaries from a joint normal distribution would gain little with few looks, and
replicates are too few for them.
"""

from collections.abc import Sequence

from chemsieve.errors import ChemsieveError


def level(alpha: float, looks: Sequence[int] | None, units: int) -> float:
    """Error probability of the look at a number of units (splits, or the seeds of one).

    Args:
        alpha: of all looks together.
        looks: numbers of units, ascending; without them there is one look, at whatever there is.
        units: how many there are. Where some were lost it is less than the look was meant to have.

    Raises:
        ChemsieveError: there are more than the last look has.
    """
    if not looks:
        return alpha
    reached = next((place for place, size in enumerate(looks) if units <= size), None)
    if reached is None:
        raise ChemsieveError(f"configuration: statistics.looks: none of {list(looks)} has {units} replicates")
    before = looks[reached - 1] if reached else 0
    return alpha * (looks[reached] - before) / looks[-1]


def place(looks: Sequence[int] | None, units: int) -> str:
    """``look 2 of 3`` in words; empty without looks."""
    if not looks:
        return ""
    return f"look {sum(size < units for size in looks) + 1} of {len(looks)}"
