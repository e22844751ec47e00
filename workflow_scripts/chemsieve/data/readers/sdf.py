"""SD files: records of a molecule and its data items. The SMILES is RDKit's, of the molecule; the label is an item.

Records are divided here and given to RDKit one by one, so that one that it cannot read is a row with a problem, and
its neighbours stay what they are. So is one whose SMILES would leave out what makes it another molecule or several: an
atom list, an attachment point, a repeating unit.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from chemsieve.data.readers import UNPARSABLE, Layout, Row
from chemsieve.data.readers._files import opened_text, require
from chemsieve.errors import ChemsieveError

_ITEM = re.compile(r">.*?<([^>]*)>")  # the header line of a data item: > 25 <NAME> (1)
_LONGEST_RECORD = 2_000_000  # characters; a molecule of 999 atoms has 100,000


def check(path: str | Path, source: str, columns: Sequence[str], layout: Layout) -> None:
    """Look for a record with each of the data items ``columns``; see :mod:`chemsieve.data.readers`."""
    seen: dict[str, None] = {}
    with opened_text(path, source, layout.encoding) as (name, text):
        for record in _records(text):
            seen |= dict.fromkeys(_items(record))
            if seen.keys() >= set(columns):
                return
    _found(name, columns, list(seen))


def rows(path: str | Path, source: str, columns: Sequence[str], layout: Layout, whole: bool = True) -> Iterator[Row]:
    """Title, SMILES and data items, record by record; see :mod:`chemsieve.data.readers`.

    An item that a record lacks is an empty cell. The file is read for the names of its items first.
    """
    from rdkit import rdBase

    items: dict[str, None] = {}
    records = 0
    with opened_text(path, source, layout.encoding) as (name, text):
        for record in _records(text):
            records += 1
            items |= dict.fromkeys(_items(record))
        if not records:
            raise ChemsieveError(f"{name}: the file is empty")
        _found(name, columns, list(items))
    own = [column if column not in items else f"{column}_of_record" for column in ("title", "smiles")]
    yield Row([*own, *items])
    with opened_text(path, source, layout.encoding) as (name, text):
        for record in _records(text):
            with rdBase.BlockLogs():
                written, detail = _smiles(record)
            found = _items(record)
            cells = [record[0].strip(), written, *(found.get(item, "") for item in items)]
            yield Row(cells, written, UNPARSABLE if detail else "", detail)


def _smiles(record: list[str]) -> tuple[str, str]:
    """RDKit's SMILES of a record's molecule; or an empty one, and why there is none."""
    from rdkit import Chem

    from chemsieve.data.chemistry import unsaid

    title, size = record[0].strip()[:60], sum(map(len, record))
    if size > _LONGEST_RECORD:
        return "", f"a record of {size} characters {title!r}"
    molecule = Chem.MolFromMolBlock("".join(_block(record)))
    if molecule is None:
        return "", f"RDKit cannot read the record {title!r}"
    if left_open := unsaid(molecule):
        return "", f"the record {title!r} is no single molecule: {left_open}"
    return Chem.MolToSmiles(molecule), ""


def _found(name: str, columns: Sequence[str], seen: list[str]) -> None:
    require(name, columns, seen, "" if seen else "; no record has a data item")


def _records(text: TextIO) -> Iterator[list[str]]:
    """Lines of each record, up to its $$$$; what follows the last one is a record unless it is blank."""
    record: list[str] = []
    for number, line in enumerate(text):
        line = line.rstrip("\r\n") + "\n"
        record.append(line if number else line.removeprefix("\ufeff"))
        if line.startswith("$$$$"):
            yield record[:-1] or ["\n"]
            record = []
    if any(line.strip() for line in record):
        yield record


def _block(record: list[str]) -> list[str]:
    """The connection table: the lines up to M  END."""
    ends = (number for number, line in enumerate(record) if line.startswith("M  END"))
    return record[: next(ends, len(record)) + 1]


def _items(record: list[str]) -> dict[str, str]:
    """Data items by name: the lines below the item's header, up to a blank one, joined."""
    items: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in record[len(_block(record)) :]:
        if line.startswith(">") and (match := _ITEM.match(line)):
            current = items.setdefault(match[1], [])
        elif not line.strip():
            current = None
        elif current is not None:
            current.append(line.rstrip("\n"))
    return {name: "\n".join(lines) for name, lines in items.items()}
