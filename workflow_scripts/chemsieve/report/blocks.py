"""What a section of the page consists of. Blocks hold plain text; ``templates/blocks.html.j2`` makes HTML of them and
escapes it, so that no text from the data becomes markup.
"""

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from chemsieve.report.words import MISSING, number

LONG = 40  # characters; a cell with more is wide and wrapped
WORDS = 12  # characters; words with more are wrapped where there is no room, numbers and names are not
_DIGITS = "+-0123456789"
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]\d+)?( %)?( ± [\d.]+)?|" + MISSING)


class Block:
    """A part of a section."""

    @property
    def kind(self) -> str:
        """What the template knows the block by: the name of its class."""
        return type(self).__name__


@dataclass(frozen=True)
class Section:
    """A section of the page: where links point, its heading, and its blocks."""

    anchor: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Paragraph(Block):
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Heading(Block):
    """A heading inside a section."""

    text: str


@dataclass(frozen=True)
class Alarm(Block):
    """A paragraph that stands out."""

    text: str


@dataclass(frozen=True)
class Answer(Block):
    """What the reader came for, in sentences, and what they rest on."""

    texts: Sequence[str]
    basis: str


@dataclass(frozen=True)
class Code(Block):
    """A command to copy, and what it does."""

    text: str
    command: str


@dataclass(frozen=True)
class Terms(Block):
    """A list of terms: where links point, the term, and what it means."""

    entries: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Bullets(Block):
    """An unordered list."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Files(Block):
    """An unordered list of files beside the page: path relative to it, name, and what follows the name."""

    entries: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Tiles(Block):
    """A row of (number, what it counts)."""

    values: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Folded(Block):
    """Blocks that are shown on request."""

    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Cell:
    """Text of a table, and what it means where that needs saying.

    ``kind`` is ``number`` where it stands to the right, ``words`` or ``long`` where it may be wrapped, or empty.
    """

    text: str
    kind: str
    note: str = ""


@dataclass(frozen=True)
class Table(Block):
    """A table that can be sorted, copied and filtered; a sortable one is long, and scrolls.

    The first ``shown`` columns are seen at first.
    """

    caption: str
    header: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    sortable: bool = False
    shown: int = 0


@dataclass(frozen=True)
class Figure(Block):
    """A figure with one sentence on how to read it; the identifier is unique on the page, the height in pixels."""

    identifier: str
    figure: go.Figure
    reading: str
    height: int
    title: str = ""

    @property
    def heading(self) -> str:
        """The figure's title; where it has none of its own, what its axes show."""
        axes = (self.figure.layout.yaxis.title.text, self.figure.layout.xaxis.title.text)
        named = [html.unescape(text) for text in axes if text]
        made = self.title or " against ".join(named) or re.split(r"[.:;]", self.reading)[0]
        return made[:1].upper() + made[1:]


@dataclass(frozen=True)
class Card:
    """A molecule, its name and lines below it; ``image`` is a base64 SVG, empty where RDKit cannot draw the SMILES."""

    smiles: str
    name: str
    lines: Sequence[str]
    image: str


@dataclass(frozen=True)
class Gallery(Block):
    """Cards of molecules, whose images have this size in pixels."""

    cards: Sequence[Card]
    width: int
    height: int


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    sortable: bool = False,
    shown: int | None = None,
    notes: Sequence[str] = (),
) -> Table:
    """A table of plain values; numbers, and text that reads as one, stand to the right, as does what is above them.

    Args:
        shown: columns that are seen at first, all by default; a button below the table shows the others.
        notes: what each column means, for who rests on its heading.
    """
    texts = [[value if isinstance(value, str) else number(value) for value in row] for row in rows]
    kinds = [_kind(text) for text in texts[0]] if texts else [""] * len(header)
    told = notes or [""] * len(header)
    names = [Cell(name, kind, note) for name, kind, note in zip(header, kinds, told, strict=True)]
    return Table(
        caption, names, [[Cell(text, _kind(text)) for text in row] for row in texts], sortable, shown or len(names)
    )


def _kind(text: str) -> str:
    if _NUMBER.fullmatch(text):
        return "number"
    if len(text) > LONG:
        return "long"
    return "words" if len(text) > WORDS and " " in text and text[0] not in _DIGITS else ""
