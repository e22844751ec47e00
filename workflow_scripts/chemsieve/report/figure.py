"""Figures: their shared look, and how they are put into the page.

A figure travels as a block of JSON that the page's script draws, so that the theme (light or dark) is chosen where
the page is read and is not repeated in each figure.
"""

import html
from collections.abc import Iterable

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chemsieve.report.blocks import Figure

GREY = "#8a8f98"
# Middle tones, which show on white and on dark grey.
_PALETTE = [
    "#4c8bf5",
    "#e8833a",
    "#2fa36b",
    "#c2549d",
    GREY,
    "#d64550",
    "#b8902f",
    "#3aa8b8",
    "#8a6fd8",
    "#7a9a3a",
]
# Light enough at both ends for CELL_TEXT to be read on every cell, in either theme.
SEQUENTIAL = [[0, "#6fa8cc"], [0.5, "#f1ecdf"], [1, "#e58f74"]]
CELL_TEXT = {"size": 11, "color": "#1d2430"}
_KNOWN = {
    "adapted": "#4c8bf5",
    "baseline": "#e8833a",
    "target": "#4c8bf5",
    "pool": "#e8833a",
    "test": "#4c8bf5",
    "validation": GREY,
    "train": "#2fa36b",
    "full": "#4c8bf5",
    "like_target": "#2fa36b",
    "other_chemistry": GREY,
    "corrupted_label": "#d64550",
}


def plain(text: object) -> str:
    """Text for a figure: plotly reads some HTML tags in names, categories and hover text."""
    return html.escape(str(text), quote=False)


def colours(names: list[str]) -> dict[str, str]:
    """A colour for each name: the one it has everywhere on the page, or the next that is free."""
    chosen = {name: _KNOWN[name] for name in names if name in _KNOWN}
    free = [colour for colour in _PALETTE if colour not in chosen.values()] or _PALETTE
    others = [name for name in names if name not in chosen]
    return {**chosen, **{name: free[i % len(free)] for i, name in enumerate(others)}}


def axis(title: str, **options: object) -> dict[str, object]:
    """An axis with a title; options as plotly's."""
    return {"title": {"text": plain(title)}, **options}


def around(*values: Iterable[float]) -> list[float]:
    """Range of an axis that holds the values: plotly starts an axis of grouped points at zero by itself."""
    found = np.concatenate([np.asarray(part, dtype=float) for part in values])
    low, high = np.nanmin(found), np.nanmax(found)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return [float(low - margin), float(high + margin)]


def whiskers(means: pd.DataFrame) -> dict[str, object]:
    """Error bars from ``low`` to ``high`` around ``mean``."""
    return {
        "type": "data",
        "symmetric": False,
        "array": (means["high"] - means["mean"]).tolist(),
        "arrayminus": (means["mean"] - means["low"]).tolist(),
        "thickness": 1,
        "width": 3,
    }


def categories(title: str, names: list[str]) -> dict[str, object]:
    """A category axis in the order of ``names``, which are never read as numbers or dates."""
    return axis(title, type="category", categoryorder="array", categoryarray=[plain(name) for name in names])


def drawn(identifier: str, figure: go.Figure, reading: str, height: int = 380, title: str = "") -> Figure:
    """The figure as a block of the page, with one sentence on how to read it, and a title where it has one of its own.

    The identifier is given rather than generated: plotly would draw a random one.
    """
    figure.layout.template = None  # the page's script brings one that fits the reader's theme
    return Figure(identifier, figure, reading, height, title)
