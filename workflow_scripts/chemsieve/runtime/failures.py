"""Optional parts of a study that failed: a mark stands in place of their results, and the rest goes on without them.

One descriptor model, one strategy, one estimator or one cell of the grid is not the study. Where such a step fails and
``on_failure`` is ``continue``, each of its outputs holds a mark: one line of JSON that names the step and the reason.
No reader takes it for a result, since it is neither Parquet nor safetensors; a result table is an empty table with the
mark in its metadata, so that whoever reads the tables can. A step that needs what is marked is marked in turn, with the
first cause. Tables are collected without what is marked, and the table ``failures`` lists it.

A mark stands, as a result would, until something changes that the step follows from, or until the study can no longer
do without it (:mod:`chemsieve.study.optional`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chemsieve.runtime.files import write_text

if TYPE_CHECKING:
    import pandas as pd

KEY = "chemsieve_failed"
_START = f'{{"{KEY}"'.encode()


@dataclass(frozen=True)
class Failure:
    """A step that gave no result: its rule, its place on the study's axes, and why.

    ``cause`` is empty where the step itself failed; otherwise it names the step whose result it needed.
    """

    rule: str
    wildcards: dict[str, str]
    reason: str
    log: str
    cause: str = ""

    @property
    def part(self) -> str:
        """Where the step stands on the study's axes."""
        return "/".join(self.wildcards.values())

    @property
    def step(self) -> str:
        """Rule and place, in words."""
        return f"{self.rule} {self.part}".strip()

    def of_step(self, rule: str, wildcards: Mapping[str, str]) -> Failure:
        """The failure that this one is for a step that needed its result."""
        return Failure(rule, dict(wildcards), self.reason, self.log, self.cause or self.step)


def mark(paths: Iterable[str], failure: Failure) -> None:
    """Write the mark of a failure in the place of each output of its step."""
    content = asdict(failure)
    for path in map(Path, paths):
        if path.parent.name == "tables":
            from chemsieve.tables import write_empty

            write_empty(path, path.stem, {KEY: json.dumps(content)})
        else:
            write_text(path, json.dumps({KEY: content}) + "\n")


def of(path: str | Path) -> Failure | None:
    """The failure whose mark stands in a file; None where the file is a result, or is not there."""
    path = Path(path)
    try:
        if path.parent.name == "tables" and path.suffix == ".parquet":
            from pyarrow.parquet import read_schema

            found = (read_schema(path).metadata or {}).get(KEY.encode())
            return Failure(**json.loads(found)) if found else None
        with path.open("rb") as file:
            if file.read(len(_START)) != _START:
                return None
        return Failure(**json.loads(path.read_text(encoding="utf-8"))[KEY])
    except (OSError, ValueError):  # what reads it will say what is wrong
        return None


def first(paths: Iterable[str]) -> Failure | None:
    """The first failure among some files, or None."""
    return next(filter(None, map(of, paths)), None)


def present(paths: Iterable[str]) -> list[str]:
    """Those files that are results, in their order."""
    return [path for path in paths if of(path) is None]


def table(paths: Iterable[str], others: Iterable[Failure] = ()) -> pd.DataFrame:
    """The table ``failures``: a row for each step among whose files is a mark, causes before what they cost.

    ``others`` are failures that left no mark.
    """
    import pandas as pd

    from chemsieve.tables import TABLES

    found = {failure.step: (failure, "") for failure in others}
    for path in paths:
        if failure := of(path):
            found.setdefault(failure.step, (failure, str(path)))
    rows = [
        {"rule": f.rule, "part": f.part, "reason": f.reason, "cause": f.cause, "log": f.log, "file": path}
        for f, path in sorted(found.values(), key=lambda pair: (pair[0].cause != "", pair[0].step))
    ]
    return pd.DataFrame(rows, columns=list(TABLES["failures"]))
