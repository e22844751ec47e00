"""Where the time of a study goes: its steps, and what is not computation.

python benchmarks/study.py                                            the embedded study
python benchmarks/study.py --configfile studies/tiny.yaml             any other

Runs the whole study in a copy of the workflow, so that no earlier result is reused. Overhead is the share of the cores'
time that no job's own work fills: Snakemake's planning and scheduling, starting processes, importing, and cores that
wait because no job is ready. What a job imports itself, after the libraries that the warm server holds, is measured
once and counted as overhead for every job.

The last line is one JSON object: wall_seconds, cores, jobs, job_seconds (sum), processor_seconds (in which a job had a
core: on a machine with other work they say what the study would take without it), import_seconds_per_job, overhead
(share), peak_mb, detectable (the smallest difference that the tests of the selections would probably show, of the pair
of which they show the least, the median and the most), decided and compared (pairs of selections whose verdict is
another than "cannot tell", and all of them).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from summarise import markdown, times

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("Snakefile", "config.yaml", "rules", "workflow_scripts", "studies", "profiles", "envs", "resources")
HEAVY = "import torch, transformers, peft, tokenizers, pandas, pyarrow.parquet, torch.optim"
HEAVY += "; from rdkit import Chem; from transformers import get_scheduler"
OWN = "import chemsieve.runtime.job, chemsieve.study.runs, chemsieve.tables, chemsieve.training.run"


def own_imports() -> float:
    """Seconds that a job spends on imports in a process that holds the heavy libraries."""
    program = f"import time\n{HEAVY}\nt = time.perf_counter()\n{OWN}\nprint(time.perf_counter() - t)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow_scripts")}
    command = [sys.executable, "-c", program]
    runs = (subprocess.run(command, env=environment, check=True, capture_output=True, text=True) for _ in range(2))
    return min(float(run.stdout) for run in runs)  # the first may compile


def shown(table: Path) -> dict:
    """What the comparisons of the selections show, and would show."""
    if not table.exists():
        return {}
    rows = pd.read_parquet(table)
    rows = rows[rows["family"] == "selections"]
    detectable = rows["detectable"].dropna()
    of_pairs = {name: float(detectable.agg(name)) for name in ("max", "median", "min")} if len(detectable) else None
    decided = int((~rows["verdict"].str.startswith("cannot tell")).sum())
    return {"detectable": of_pairs, "decided": decided, "compared": len(rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--configfile", nargs="*", default=[])
    parser.add_argument("--config", nargs="*", default=[])
    parser.add_argument("--keep", type=Path, help="an empty or new folder to work in, which stays")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) if arguments.keep is None else arguments.keep
        copy.mkdir(parents=True, exist_ok=True)
        for name in NEEDED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        command = [sys.executable, "-m", "snakemake", "all", "--cores", str(arguments.cores)]
        if arguments.configfile:
            command += ["--configfile", *arguments.configfile]
        command += ["--config", *arguments.config, "study=timed"]
        began = time.perf_counter()
        subprocess.run(command, cwd=copy, check=True, stdout=sys.stderr)
        wall = time.perf_counter() - began
        steps = times(copy / "results/timed/logs")
        power = shown(copy / "results/timed/tables/comparisons.parquet")
    print(markdown(steps) + "\n")
    jobs, seconds, imports = int(steps["jobs"].sum()), float(steps["total"].sum()), own_imports()
    report = {
        "wall_seconds": wall,
        "cores": arguments.cores,
        "jobs": jobs,
        "job_seconds": seconds,
        "processor_seconds": float(steps["processor"].sum()),
        "import_seconds_per_job": imports,
        "overhead": 1 - (seconds - jobs * imports) / (arguments.cores * wall),
        "peak_mb": float(steps["peak_mb"].max()),
        **power,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
