"""What the embedded study answers with other molecules and seeds, and how much of it is true.

python benchmarks/study_seeds.py --state build/seeds --runs 20       one study after the other, each finished one kept
python benchmarks/study_seeds.py --state build/seeds --runs 20 --table    the table of those that are finished

Run k is the study of benchmarks/study.py with seed k of the molecules, their labels and noise (embedded.seed) and of
the trainings and choices (seeds). Of a finished run its tables and ``run.json`` stay in the state folder; a run that
was interrupted begins anew. Molecules of two runs overlap: the building blocks have 3,245 products, of which a study
takes 2,890.

What is true follows from how the pool is made (chemsieve/data/embedded.py) and stands in TRUTHS, before any run. Each
row has the run's minutes, those of the processor (of all jobs together), the smallest detectable difference of the pair
of which the tests show the most, the median and the least, how many of the comparisons of selections have a verdict
other than "cannot tell", and how many of these state what is true, the contrary, or something that the making of the
pool does not decide. The last line is one JSON object with the rows and how many runs meet the bars.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from study import ROOT, shown
from summarise import markdown

sys.path.insert(0, str(ROOT / "workflow_scripts"))

from chemsieve.runtime.files import write_text
from chemsieve.statistics.verdicts import settled

MINUTES, DETECTABLE, DECIDED = 5, 0.03, 5  # the bars: at most, at most, at least
KEPT = ("comparisons", "metrics")  # tables of a finished run


class Truth(NamedTuple):
    """``worse`` has a higher error than ``better``, and why that follows from the pool."""

    worse: str
    better: str
    why: str


_WRONG = "a third of the pool has labels that are off by 2 to 4 log units, many times the noise of the others"
_SORTED_OUT = "of molecules whose label contradicts those of similar ones it takes none while there are others"
_ORDER = "the first and the last of one order by what a molecule does to the validation loss, which wrong labels raise"
TRUTHS = (
    Truth("all", "none", _WRONG),
    Truth("random", "none", f"{_WRONG}, and so has a third of what is drawn"),
    Truth("influence_bottom", "none", f"{_WRONG}, and these are what it takes"),
    Truth("influence_bottom", "random", f"{_WRONG}; it takes these first, a draw as many as the pool has"),
    Truth("influence_bottom", "influence", _ORDER),
    Truth("influence_bottom", "disagreement", _SORTED_OUT),
    Truth("random", "influence", _ORDER),
    Truth("all", "influence", _ORDER),
    Truth("random", "disagreement", _SORTED_OUT),
    Truth("all", "disagreement", _SORTED_OUT),
)
COLUMNS = (
    *("seed", "minutes", "processor minutes", "detectable, least", "detectable, median", "detectable, most"),
    *("compared", "decided", "true", "contrary", "not decided by the pool"),
)


def judged(comparisons: pd.DataFrame) -> dict[str, int]:
    """How many comparisons of selections are decided, and what of that is true.

    Args:
        comparisons: the table of that name.
    """
    worse = {(truth.worse, truth.better) for truth in TRUTHS}
    found = {"compared": 0, "decided": 0, "true": 0, "contrary": 0, "not decided by the pool": 0}
    for row in comparisons[comparisons["family"] == "selections"].itertuples():
        found["compared"] += 1
        if not settled(row.verdict):
            continue
        found["decided"] += 1
        pair = (row.what, row.versus)
        differs = row.verdict.startswith(("worse than", "better than"))
        stated = pair if row.verdict.startswith("worse than") else pair[::-1]
        if differs and stated in worse:
            found["true"] += 1
        elif differs and stated[::-1] in worse:
            found["contrary"] += 1
        else:
            found["not decided by the pool"] += 1
    return found


def run(seed: int, state: Path, cores: int) -> None:
    """Make a study unless it is there, and keep its tables and what benchmarks/study.py says of it."""
    kept = state / str(seed)
    if (kept / "run.json").exists():
        return
    work = state / f"{seed}.work"
    shutil.rmtree(work, ignore_errors=True)
    changes = [f"seeds=[{seed}]", f"embedded={{seed: {seed}}}"]
    command = [sys.executable, str(ROOT / "benchmarks" / "study.py"), "--keep", str(work), "--cores", str(cores)]
    done = subprocess.run([*command, "--config", *changes], check=True, stdout=subprocess.PIPE, text=True)
    kept.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copy(work / "results/timed/tables" / f"{name}.parquet", kept)
    write_text(kept / "run.json", done.stdout.strip().splitlines()[-1] + "\n")
    shutil.rmtree(work)


def row(seed: int, state: Path) -> dict[str, float]:
    """The row of a finished run."""
    said = json.loads((state / str(seed) / "run.json").read_text(encoding="utf-8"))
    detectable = shown(state / str(seed) / "comparisons.parquet")["detectable"]
    counts = judged(pd.read_parquet(state / str(seed) / "comparisons.parquet"))
    values = [seed, said["wall_seconds"] / 60, said["processor_seconds"] / 60]
    values += [detectable[name] for name in ("min", "median", "max")]
    return dict(zip(COLUMNS, [*values, *(counts[name] for name in COLUMNS[6:])], strict=True))


def meets(found: dict[str, float]) -> dict[str, bool]:
    """Which bars a run meets."""
    return {
        "minutes": found["minutes"] <= MINUTES,
        "processor minutes": found["processor minutes"] <= 2 * MINUTES,
        "detectable, median": found["detectable, median"] <= DETECTABLE,
        "verdicts": found["true"] >= DECIDED and found["contrary"] == 0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of the finished runs")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="seed of the first run; 0 is that of config.yaml")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--table", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    seeds = range(arguments.first, arguments.first + arguments.runs)
    if not arguments.table:
        for seed in seeds:
            run(seed, arguments.state, arguments.cores)
    rows = [row(seed, arguments.state) for seed in seeds if (arguments.state / str(seed) / "run.json").exists()]
    met = [meets(one) for one in rows]
    print(markdown(pd.DataFrame(rows, columns=list(COLUMNS)).round(3)) + "\n")
    met_by = {name: sum(one[name] for one in met) for name in met[0]} if met else {}
    print(json.dumps({"columns": COLUMNS, "rows": [list(one.values()) for one in rows], "met": met_by}))


if __name__ == "__main__":
    main()
