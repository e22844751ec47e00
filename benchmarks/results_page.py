"""Write the tables of docs/results.md and other pages from the measurements' files.

python benchmarks/results_page.py            rewrite what stands between the pages' markers
python benchmarks/results_page.py --check    end with 1 where a page is not what the files say

A measurement is one file, benchmarks/results/<name>.json, with

    command   what printed it, as a shell takes it
    commit    the commit that recorded it ("not recorded" where nobody knows)
    date      of that commit, or of the measurement
    machine   what it ran on
    columns   names of the columns
    rows      a list for each row: numbers, texts, null where a cell is empty

and, where need be, ``formats`` (a Python format for a column's numbers), ``note`` (what a reader must know of it),
``shown`` (columns, and for a column the values whose rows the page shows: null for any; the file has them all) and
``raw`` (what the command printed beside its table, as JSON).

On a page ``<!-- table: NAME -->`` and ``<!-- end -->`` stand around the command, its origin and its table.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("results.md", "measurements.md", "methods.md", "metagradient.md", "predicting.md")
PAGES = [ROOT / "docs" / name for name in NAMES]
FOLDER = ROOT / "benchmarks" / "results"
REQUIRED = ("command", "commit", "date", "machine", "columns", "rows")
OPTIONAL = ("formats", "note", "shown", "raw")
BLOCK = re.compile(r"<!-- table: (\S+) -->\n.*?<!-- end -->", re.DOTALL)


def load(path: Path) -> dict[str, Any]:
    """A measurement.

    Raises:
        ValueError: it lacks something, has something unknown, or a row is not as long as the header.
    """
    measured = json.loads(path.read_text(encoding="utf-8"))
    if missing := [key for key in REQUIRED if key not in measured]:
        raise ValueError(f"{path.name}: no {', '.join(missing)}")
    shown = measured.get("shown", {})
    named = [*measured.get("formats", {}), *shown.get("columns", []), *shown.get("rows", {})]
    if unknown := {*measured} - {*REQUIRED, *OPTIONAL} | {*named} - {*measured["columns"]}:
        raise ValueError(f"{path.name}: unknown: {', '.join(sorted(unknown))}")
    for number, row in enumerate(measured["rows"], start=1):
        if len(row) != len(measured["columns"]):
            raise ValueError(f"{path.name}: row {number}: {len(row)} cells for {len(measured['columns'])} columns")
    return measured


def cell(value: Any, form: str) -> str:
    """A value as the page shows it; blank where it is missing."""
    if value is None:
        return ""
    return format(value, form) if isinstance(value, int | float) and form else str(value).replace("|", "\\|")


def table(measured: dict[str, Any]) -> str:
    """The shown columns and rows as a Markdown table."""
    columns, formats, shown = measured["columns"], measured.get("formats", {}), measured.get("shown", {})
    names = shown.get("columns", columns)
    rows = [dict(zip(columns, row, strict=True)) for row in measured["rows"]]
    for name, kept in shown.get("rows", {}).items():
        rows = [row for row in rows if (row[name] is not None if kept is None else row[name] in kept)]
    lines = [list(names), ["---"] * len(names)]
    lines += [[cell(row[name], formats.get(name, "")) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def block(name: str) -> str:
    """What stands between the markers of a measurement."""
    measured = load(FOLDER / f"{name}.json")
    origin = f"{measured['date']}, commit {measured['commit']}; {measured['machine']}"
    part = " Shown in part." if "shown" in measured else ""
    note = f" {measured['note']}" if "note" in measured else ""
    source = f"[{name}.json](../benchmarks/results/{name}.json): {origin}.{part}{note}"
    return f"```\n{measured['command']}\n```\n\n{table(measured)}\n\n{source}\n"


def rewritten(page: str) -> str:
    """The page with every block as the files say."""
    return BLOCK.sub(lambda found: f"<!-- table: {found[1]} -->\n{block(found[1])}<!-- end -->", page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; say whether the page is up to date")
    given = parser.parse_args()
    for page in PAGES:
        try:
            before = page.read_text(encoding="utf-8")
            after = rewritten(before)
        except (OSError, ValueError) as error:
            sys.exit(str(error))
        if given.check and after != before:
            sys.exit(f"{page.relative_to(ROOT)}: not what the files say; run python benchmarks/results_page.py")
        if not given.check:
            page.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
