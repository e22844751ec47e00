"""HTML blocks. Every function takes plain text and escapes it, so that no text from the data becomes markup."""

import html
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

MISSING = "–"
LONG = 40  # characters; a cell with more is wrapped, others are not
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]\d+)?( %)?( ± [\d.]+)?|" + MISSING)


@dataclass(frozen=True)
class Section:
    """A section of the page: where links point, its heading, and its blocks of HTML."""

    anchor: str
    title: str
    blocks: list[str]


def escape(value: object) -> str:
    """Text for an element or a quoted attribute."""
    return html.escape(str(value), quote=True)


def number(value: object, digits: int = 4, sign: bool = False) -> str:
    """A number with ``digits`` significant digits, whole numbers in full; a dash where it is missing."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    plus = "+" if sign else ""
    value = float(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):{plus},d}"
    if abs(value) < 1e-4 or abs(value) >= 1e7:
        return f"{value:{plus}.{digits - 1}e}"
    return f"{value:{plus},.{_decimals(value, digits)}f}"


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


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{escape(text)}</p>"


def heading(text: str) -> str:
    """A heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def warning(text: str) -> str:
    """A paragraph that stands out."""
    return f'<p class="warning">{escape(text)}</p>'


def bullets(texts: Iterable[str]) -> str:
    """An unordered list."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def tiles(values: Iterable[tuple[str, str]]) -> str:
    """A row of (number, what it counts)."""
    inner = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for value, name in values)
    return f'<dl class="tiles">{inner}</dl>'


def folded(summary: str, *blocks: str) -> str:
    """Blocks that are shown on request."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(blocks)}</details>"


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], sortable: bool = False) -> str:
    """A table; numbers, and text that reads as one, stand to the right."""
    rows = [[value if isinstance(value, str) else number(value) for value in row] for row in rows]
    button = '<button type="button">{}</button>' if sortable else "{}"
    sides = [_side(value) for value in rows[0]] if rows else [""] * len(header)
    head = "".join(
        f'<th scope="col"{side}>{button.format(escape(name))}</th>' for name, side in zip(header, sides, strict=True)
    )
    body = "".join("<tr>" + "".join(f"<td{_side(text)}>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    marker = ' class="sortable"' if sortable else ""
    return (
        f'<div class="scroll{" tall" if sortable else ""}"><table{marker}>'
        f"<caption><span>{escape(caption)}</span></caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _side(text: str) -> str:
    if _NUMBER.fullmatch(text):
        return ' class="number"'
    return ' class="long"' if len(text) > LONG else ""


def _decimals(value: float, digits: int) -> int:
    if not value or math.isnan(value):
        return digits - 1
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))
