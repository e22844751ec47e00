"""Numbers and lists in words, as they stand in texts and tables of the page."""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

MISSING = "–"


def number(value: Any, digits: int = 4, sign: bool = False) -> str:
    """A number of any kind with ``digits`` significant digits, whole ones in full; a dash where it is missing."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    plus = "+" if sign else ""
    value = float(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):{plus},d}"
    if abs(value) < 1e-4 or abs(value) >= 1e7:
        return f"{value:{plus}.{digits - 1}e}"
    return f"{value:{plus},.{_decimals(value, digits)}f}"


def short(value: Any, digits: int = 4) -> str:
    """A number with at most ``digits`` significant digits and no zeros behind; a dash where it is missing."""
    if value is None or value is pd.NA or value != value:
        return MISSING
    return f"{float(value):.{digits}g}"


def spread(mean: float, sd: float, digits: int = 4) -> str:
    """``mean ± sd`` with the decimals that ``digits`` of the mean have; the mean alone where there is no ``sd``."""
    decimals = _decimals(mean, digits)
    if math.isnan(mean):
        return MISSING
    return f"{mean:.{decimals}f}" if math.isnan(sd) else f"{mean:.{decimals}f} ± {sd:.{decimals}f}"


def between(value: float, low: float, high: float) -> str:
    """``value (low to high)`` with as many decimals as are worth reading; the value alone without an interval."""
    if math.isnan(value):
        return MISSING
    if math.isnan(low):
        return number(value, 3)
    decimals = 3 if high <= low else min(4, max(0, 1 - math.floor(math.log10(high - low))))
    return f"{value:.{decimals}f} ({low:.{decimals}f} to {high:.{decimals}f})"


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return MISSING if math.isnan(share) else f"{100 * share:.1f} %"


def count(n: int, singular: str, plural: str | None = None) -> str:
    """``1 run``, ``2 runs``."""
    return f"{n:,} {singular if n == 1 else plural or singular + 's'}"


def listing(names: Iterable[object]) -> str:
    """``a, b and c``."""
    words = [str(name) for name in names]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _decimals(value: float, digits: int) -> int:
    if not value or math.isnan(value):
        return digits - 1
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))
