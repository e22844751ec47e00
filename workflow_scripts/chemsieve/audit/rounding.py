"""How labels are written: their decimals, and the unit that all of them are multiples of."""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation

MOST_DECIMALS = 12  # beyond that the digits are those of binary arithmetic


def decimals_of(labels: Sequence[str]) -> int:
    """Most decimals among labels as written, at most ``MOST_DECIMALS``; 1.50 has one, 1e-3 three."""
    return max((min(MOST_DECIMALS, max(0, -_exponent(text))) for text in labels), default=0)


def _exponent(text: str) -> int:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        return 0
    return int(value.normalize().as_tuple().exponent) if value.is_finite() else 0


def unit_of(values: Iterable[float], decimals: int) -> float:
    """Largest number that all values are multiples of, to ``decimals`` decimals; 0 where all are 0.

    It is the greatest common divisor of the values as whole numbers of the last decimal.
    """
    scale = 10**decimals
    return math.gcd(*(round(value * scale) for value in values)) / scale


def whole_ratio(larger: float, smaller: float, most: int = 20) -> int | None:
    """k where ``larger`` is k times ``smaller``, 2 <= k <= ``most``: what a mean of k values does to a unit.

    Not 10, which is only one more decimal.
    """
    if not larger or not smaller:
        return None
    ratio = larger / smaller
    k = round(ratio)
    return k if 2 <= k <= most and k != 10 and math.isclose(ratio, k, rel_tol=1e-9) else None
