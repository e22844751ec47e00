"""The workflow as its users have it: a copy of it in a folder, Snakemake called there, and the plan of a dry run."""

import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

from helpers import processes

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow_scripts" / "chemsieve"
SOURCES = sorted(
    path for name in ("workflow_scripts", "envs", "benchmarks", "resources") for path in (ROOT / name).rglob("*.py")
)
STUDIES = sorted(path.name for path in (ROOT / "studies").glob("*.yaml"))
RULES = sorted((ROOT / "rules").glob("*.smk"))
CONTRACT = [
    "molecules",
    "rejected",
    "splits",
    "learning_curves",
    "metrics",
    "predictions",
    "influence",
    "influence_diagnostics",
    "selections",
]
TINY = "studies/tiny.yaml"
# The study of the tests: the tiny one with fewer columns in its grid.
OVERLAY = {
    "study": "small",
    "grid": {"selections": ["none", "diversity", "influence"]},
    "selection": {"rank": []},
}
RESULTS = Path("results/small")


def copy_workflow(folder, source=ROOT):
    """Copy what the workflow needs, and nothing that a run left behind, to a folder."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("rules", "workflow_scripts", "studies", "profiles", "envs", "resources"):
        shutil.copytree(source / name, folder / name, ignore=ignored)
    for name in ("Snakefile", "config.yaml", "requirements.lock"):
        shutil.copy2(source / name, folder / name)


def study(folder):
    """The arguments that run the small study."""
    (folder / "small.yaml").write_text(yaml.safe_dump(OVERLAY), encoding="utf-8")
    return ["--configfile", TINY, "small.yaml"]


def overlay(folder, content, name="overlay.yaml"):
    """Write an overlay and give the arguments that run the small study with it on top."""
    (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")
    return [*study(folder), name]


def merged(base, change):
    """Nested settings with those of an overlay on top, as Snakemake merges them."""
    both = base | change
    for key in base.keys() & change.keys():
        if isinstance(base[key], dict) and isinstance(change[key], dict):
            both[key] = merged(base[key], change[key])
    return both


def start(folder, *arguments, cores=2, **given):
    """Start Snakemake in a folder: see :func:`helpers.processes.start`."""
    return processes.start("-m", "snakemake", "--cores", cores, *arguments, cwd=folder, **given)


def snakemake(folder, *arguments, cores=2, **given):
    """The same to its end: the completed process, with both streams in ``stdout``."""
    return processes.run("-m", "snakemake", "--cores", cores, *arguments, cwd=folder, **given)


def result_tables(folder):
    """The result tables of the small study in a folder, by name."""
    return {name: pd.read_parquet(folder / RESULTS / "tables" / f"{name}.parquet") for name in CONTRACT}


@dataclass
class Job:
    """A job of a plan as a dry run prints it."""

    rule: str
    input: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    wildcards: dict[str, str] = field(default_factory=dict)
    resources: dict[str, str] = field(default_factory=dict)


def plan(folder, *arguments):
    """The jobs that a dry run plans."""
    done = snakemake(folder, "-n", *arguments)
    assert done.returncode == 0, done.stdout
    jobs = []
    for line in done.stdout.splitlines():
        if match := re.fullmatch(r" *(?:local)?rule (\w+):", line):
            jobs.append(Job(match[1]))
        elif jobs and (match := re.fullmatch(r" {4,}(input|output): (.*)", line)):
            setattr(jobs[-1], match[1], match[2].split(", "))
        elif jobs and (match := re.fullmatch(r" {4,}(wildcards|resources): (.*)", line)):
            setattr(jobs[-1], match[1], dict(pair.split("=") for pair in match[2].split(", ")))
    # The same jobs are counted by Snakemake itself; if the two disagree, this reading of its output is wrong.
    stats_table = re.search(r"^Job stats:\n.*\n[- ]+\n((?:\w+ +\d+\n)+)", done.stdout, re.MULTILINE)
    if stats_table:
        counted = {name: int(count) for name, count in (row.split() for row in stats_table[1].splitlines())}
        counted.pop("total")
        assert counted == Counter(job.rule for job in jobs)
    else:
        assert "Nothing to be done" in done.stdout, done.stdout
    return jobs


def planned(folder, *arguments):
    """How many jobs of each rule a dry run plans."""
    return dict(Counter(job.rule for job in plan(folder, *arguments)))


def edit(path, old, new):
    """Replace a text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def append(path, text):
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
