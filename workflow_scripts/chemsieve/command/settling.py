"""A study that grows by replicates until its questions are answered, or time is up."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from chemsieve.command import studies
from chemsieve.command.running import duration
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import write_text
from chemsieve.statistics.verdicts import settled
from chemsieve.study import agreement
from chemsieve.study.plan import Plan
from chemsieve.tables import read_table

Json = dict[str, Any]


@dataclass(frozen=True)
class Look:
    """A look at a growing study: how many replicates it has, and what is laid over the study's files for that."""

    size: int
    change: Json


def looks(paths: Sequence[str]) -> tuple[str, list[Look]]:
    """The results folder of a study, and its looks; those replicates come first that the study names.

    Raises:
        ChemsieveError: a file cannot be read, or the study states no looks.
    """
    config = studies.prepared(studies.read(Path(path)) for path in paths)
    sizes = config["statistics"].get("looks")
    if not sizes:
        raise ChemsieveError(
            f"{paths[-1]}: when is the study looked at? State it before you see any errors, such as "
            "statistics: {looks: [3, 6, 12]}"
        )
    key, named = agreement.replicates(config)
    made = []
    for size in sizes:
        more = (seed for seed in range(size + len(named)) if seed not in named)
        seeds = [*named[:size], *islice(more, max(0, size - len(named)))]
        made.append(Look(size, {"split": {"seeds": seeds}} if key == "split.seeds" else {"seeds": seeds}))
    return Plan(config).results, made


def grown(paths: Sequence[str], look: Look, results: str) -> tuple[str, ...]:
    """The files of the study at a look: its own, and one in its results folder that says how many replicates."""
    path = Path(results) / "settle.yaml"
    text = yaml.safe_dump(look.change, sort_keys=False, default_flow_style=None)
    write_text(path, f"# The replicates that chemsieve settle has come to.\n{text}")
    return (*paths, str(path))


def open_questions(results: str) -> list[str]:
    """Comparisons that the study asks about (all, where it asks nothing) and that are not answered."""
    made = read_table(Path(results) / "tables" / "comparisons.parquet")
    asked = made[made["question"] != ""] if (made["question"] != "").any() else made
    return [
        f"{row.what} vs {row.versus} ({row.family}, {row.splitter} split): {row.verdict}"
        for row in asked.itertuples(index=False)
        if not settled(row.verdict)
    ]


def too_long(seconds: float, this_look: float, added: int, to_add: int, limit: float | None) -> str:
    """Why the next look is not taken: what it would take, by this look's seconds per replicate; empty where it is."""
    if limit is None:
        return ""
    expected = this_look / added * to_add
    if seconds + expected <= limit:
        return ""
    return f"the next look would take about {duration(expected)}, and {duration(max(0.0, limit - seconds))} are left"
