"""docs/tables.md: every table and column, from the declarations.

python -m chemsieve.tables.reference [--check] FILE
"""

import argparse
import sys
from pathlib import Path

from chemsieve.tables.declaration import FLAG, INTEGER, REAL, TEXT, Table
from chemsieve.tables.declared import DECLARED

_WORDS = {TEXT: "text", INTEGER: "integer", REAL: "number", FLAG: "yes or no"}
_HEAD = """# Tables

<!-- Made by `make reference` from workflow_scripts/chemsieve/tables/declared; do not edit. -->

A study's results are Parquet files, `results/{study}/tables/{table}.parquet`. Each carries what stands here as metadata
of its columns. A column in *italics* may be missing a value in some rows.

| table | one row per |
|---|---|
"""
_BETWEEN = """
## Between steps

These tables pass between steps, or are made on demand, elsewhere below `results/{study}/` or in a model folder.
"""


def page() -> str:
    """The page: a list of the result tables, then each table's columns."""
    results = {name: table for name, table in DECLARED.items() if table.made}
    rows = [f"| [`{name}`](#{name}) | {table.row} |\n" for name, table in results.items()]
    between = {name: table for name, table in DECLARED.items() if not table.made}
    return "".join(
        [_HEAD, *rows, *_sections(results, "##"), _BETWEEN, *_sections(between, "###")],
    )


def _sections(tables: dict[str, Table], level: str) -> list[str]:
    return [_section(name, table, level) for name, table in tables.items()]


def _section(name: str, table: Table, level: str) -> str:
    lines = [
        f"\n{level} {name}\n\n",
        f"One row per {table.row}.\n\n",
        "| column | type | unit | meaning |\n|---|---|---|---|\n",
    ]
    for column, declared in table.columns.items():
        shown = f"*{column}*" if declared.nullable else column
        meaning = declared.description.replace("|", r"\|")
        lines.append(f"| {shown} | {_WORDS.get(declared.type, str(declared.type))} | {declared.unit} | {meaning} |\n")
    return "".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="fail where the file is not what would be written")
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    if not given.check:
        given.file.write_text(page(), encoding="utf-8")
    elif not given.file.is_file() or given.file.read_text(encoding="utf-8") != page():
        sys.exit(f"{given.file} is not what the declarations say; make reference writes it")


if __name__ == "__main__":
    main()
