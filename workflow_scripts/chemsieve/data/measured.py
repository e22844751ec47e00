"""Labels as they were measured: which rows of a file count, with what relation, in which unit.

A label is a number with a relation: measured (``=``), or a limit, below or above which the value lies (``<``, ``>``).
Light to import, since the configuration is checked against the tables here whenever the workflow starts.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MEASURED, BELOW, ABOVE = "=", "<", ">"
EXCLUDE, AT_LIMIT, CENSORED = "exclude", "at_limit", "censored"  # values of `censored`
NONE, LOG10, MINUS_LOG10 = "none", "log10", "minus_log10"  # values of `transform`

# As they are written, to what they mean; ~ is a measured value with a shrug.
_RELATIONS = {
    **dict.fromkeys(("=", "==", "~", "≈", ""), MEASURED),
    **dict.fromkeys(("<", "<=", "=<", "<<", "≤", "＜"), BELOW),
    **dict.fromkeys((">", ">=", "=>", ">>", "≥", "＞"), ABOVE),
}
_OPPOSITE = {MEASURED: MEASURED, BELOW: ABOVE, ABOVE: BELOW}
_QUOTES = "'\" \t\u00a0"

# Powers of ten, so that 1000 nM is 1e-6 mol/L and its logarithm -6, to the bit.
MOLAR = {"mol/L": 0, "M": 0, "mM": -3, "mmol/L": -3, "uM": -6, "umol/L": -6, "nM": -9, "nmol/L": -9, "pM": -12}
BY_MASS = {"g/L": 0, "mg/mL": 0, "mg/L": -3, "ug/mL": -3, "ug.mL-1": -3, "ug/L": -6, "ng/mL": -6}
UNITS = (*MOLAR, *BY_MASS)

Condition = Any  # of `where`: a number, a text, or a list of these


def unit_of(text: str) -> str | None:
    """The unit that a text names, as ``UNITS`` writes it; None where it is none of them."""
    plain = text.strip(_QUOTES).replace("µ", "u").replace("μ", "u").replace("/l", "/L").replace("/ml", "/mL")
    return plain if plain in UNITS else None


def finite(text: str) -> float | None:
    """The number that a text is, or None where it is none, infinite or not a number."""
    try:
        value = float(text.replace("\u2212", "-"))  # a minus as typesetting writes it
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None  # Python reads 1_0 as ten


# -- columns -----------------------------------------------------------------------------------------------------------


def columns(table: Mapping[str, Any]) -> list[str]:
    """The columns that a section of the configuration names beside those of the SMILES, the label and the fold."""
    named = [table.get("relation"), unit_column(table), *conditions(table)]
    return list(dict.fromkeys(name for name in named if name))


def unit_column(table: Mapping[str, Any]) -> str | None:
    """The column of the labels' units; None where the unit is the same for all, or not said."""
    named = table.get("measured_in")
    return named if named and unit_of(named) is None else None


def conditions(table: Mapping[str, Any]) -> dict[str, Condition]:
    """What ``where`` demands, by column."""
    return {column: wanted for column, wanted in (table.get("where") or {}).items() if wanted is not None}


def refusal(cell: str, column: str, wanted: Condition, number: Callable[[str], float | None] = finite) -> str:
    """Why a cell does not meet a condition of ``where``; empty where it does.

    Two numbers (null: no limit on that side) are a closed range; any other list names what the cell may be, a single
    value what it must be. Numbers are equal as numbers (7.4 is 7.40), all else as text, white space around it aside.

    Args:
        number: reads a cell as a number.
    """
    text = cell.strip()
    if (limits := bounds(wanted)) is not None:
        low, high = limits
        value = number(text)
        if value is None:
            return f"{column} is {text!r}, and no number"
        return "" if low <= value <= high else f"{column} is {text}, outside {low:g} to {high:g}"
    for one in wanted if isinstance(wanted, list) else [wanted]:
        known = str(one).lower() if isinstance(one, bool) else str(one).strip()
        if text == known or (isinstance(one, bool) and text.lower() == known):
            return ""
        expected, value = finite(known), number(text)
        if expected is not None and expected == value:
            return ""
    return f"{column} is {text!r}"


def bounds(wanted: Condition) -> tuple[float, float] | None:
    """The closed range that a condition is; None where it is none.

    The command line hands numbers over as texts, which is why a text that is a number counts as one.
    """
    if not isinstance(wanted, list) or len(wanted) != 2:
        return None
    ends = []
    for one, open_end in zip(wanted, (-math.inf, math.inf), strict=True):
        if one is None or one == "null":
            ends.append(open_end)
        elif isinstance(one, bool) or (value := finite(str(one))) is None:
            return None
        else:
            ends.append(value)
    return ends[0], ends[1]


# -- labels ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Label:
    """A label in the study's unit with its relation; without a value, why (``reason``) and what was found (``detail``).

    Reasons are ``no_label``, ``censored``, ``unit`` and ``not_positive``.
    """

    value: float = math.nan
    relation: str = MEASURED
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Scale:
    """How the labels of a file are read.

    Attributes:
        censored: ``exclude`` labels that are limits, take them ``at_limit``, or as what they are (``censored``).
        measured_in: the unit of all labels, or None where it is not said, or a column says it.
        by_column: whether a column says it.
        transform: ``none``, ``log10`` or ``minus_log10``, of the number in mol/L where the unit is said.
    """

    censored: str = EXCLUDE
    measured_in: str | None = None
    by_column: bool = False
    transform: str = NONE

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "Scale":
        """From a section of the configuration; keys that it lacks are as by default."""
        named, column = table.get("measured_in"), unit_column(table)
        constant = unit_of(named) if named else None
        return cls(table.get("censored") or EXCLUDE, constant, column is not None, table.get("transform") or NONE)

    @property
    def plain(self) -> bool:
        """Whether a label is the number in its cell."""
        return self.transform == NONE and self.measured_in is None and not self.by_column

    def read(self, text: str, relation: str, unit: str, weight: Callable[[], float]) -> Label:
        """The label of a row.

        Args:
            text: its cell, of which a relation may be the beginning (``<0.1``), with a decimal point.
            relation: the cell of the relation's column; empty without one.
            unit: the cell of the unit's column; empty without one.
            weight: molecular weight of the molecule as it is written, in g/mol; asked for where the unit is a mass.
        """
        written, number = _divided(text)
        value = finite(number)
        if value is None:
            limit = _RELATIONS[written] != MEASURED and number and number[0] not in "<>=~"
            what = f"a limit, and {number!r} no finite number" if limit else "no finite number"
            return Label(reason="no_label", detail=f"the label {text!r} is {what}")
        said = relation.strip(_QUOTES)
        if said not in _RELATIONS:
            return Label(
                reason="no_label", detail=f"the relation {relation!r} of the label {text!r} is none of <, >, =, ~"
            )
        meant = {_RELATIONS[written], _RELATIONS[said]} - {MEASURED} or {MEASURED}
        if len(meant) > 1:
            return Label(
                reason="no_label", detail=f"the label {text!r} and its relation {relation!r} contradict each other"
            )
        (found,) = meant
        if found != MEASURED and self.censored == EXCLUDE:
            side = "below" if found == BELOW else "above"
            return Label(reason="censored", detail=f"the value lies {side} {number}, and was not measured")
        return self._scaled(value, found, unit, weight)

    def _scaled(self, value: float, relation: str, unit: str, weight: Callable[[], float]) -> Label:
        power, mass = 0, 1.0
        if self.by_column or self.measured_in:
            known = unit_of(unit) if self.by_column else self.measured_in
            if known is None:
                return Label(reason="unit", detail=f"the unit {unit!r} is none of {', '.join(UNITS)}")
            power = (MOLAR | BY_MASS)[known]
            mass = weight() if known in BY_MASS else 1.0
        if self.transform == NONE:
            return Label(value / mass / 10**-power, relation)
        if value <= 0:
            return Label(reason="not_positive", detail=f"{value:g} has no logarithm")
        logarithm = math.log10(value / mass) + power
        if self.transform == LOG10:
            return Label(logarithm, relation)
        return Label(-logarithm, _OPPOSITE[relation])


def _divided(text: str) -> tuple[str, str]:
    """The relation that a cell begins with, empty where it has none, and the rest."""
    stripped = text.strip()
    for length in (2, 1):
        for quoted in (stripped, stripped.lstrip(_QUOTES)):
            if (written := quoted[:length]) and written in _RELATIONS:
                return written, quoted[length:].strip(_QUOTES)
    whole = len(stripped) > 2 and stripped[0] == stripped[-1] and stripped[0] in "'\""
    return "", stripped[1:-1] if whole else stripped


# -- repeats -----------------------------------------------------------------------------------------------------------

FIRST, MEAN, MEDIAN = "first", "mean", "median"  # values of `repeats`


@dataclass(frozen=True)
class Repeats:
    """What becomes of several rows of one molecule.

    Attributes:
        policy: the label is that of the ``first`` row, or the ``mean`` or ``median`` of all.
        apart: none is used where two labels lie further apart than this; None: all are.
    """

    policy: str = FIRST
    apart: float | None = None

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "Repeats":
        """From a section of the configuration; keys that it lacks are as by default."""
        return cls(table.get("repeats") or FIRST, table.get("drop_if_apart"))

    def label(self, values: Sequence[float]) -> float:
        """The label of a molecule, of the labels of its rows in their order."""
        if self.policy == FIRST or len(values) == 1:
            return values[0]
        return statistics.fmean(values) if self.policy == MEAN else statistics.median(values)
