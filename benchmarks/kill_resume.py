"""Kill a study at random moments, start it again each time, and compare all that it leaves with an undisturbed run.

    python benchmarks/kill_resume.py [--kills 32] [--seed 0] [--cores 2]

The study is `studies/tiny.yaml` with fewer cells, longer trainings and a pretraining, to its report. SIGKILL goes to a
job's process, to Snakemake alone, or to the whole process group; at any moment, once a training has left a state within
an epoch, or while a file is being written (its temporary file is there). After each kill the same command is given
again, at once. A study that ends before there were enough kills is compared, and another one begun.

Prints a row per kill and a line per comparison; the exit status is 1 where anything differs, a finished step was made
again, or a temporary file is left.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).parent.parent
RESULTS = Path("results/killed")
# Measured, and so never the same; everything else in every table must be.
MEASURED = {"seconds", "evaluation_seconds", "train_seconds", "peak_memory_mb"}
# Every kind of step, few of each.
OVERLAY = {
    "study": "killed",
    "compute": {"save_every": 0.3},
    "mlm": {"epochs": 40, "patience": None},  # long enough to be killed within
    "finetune": {"epochs": 40, "patience": None, "checkpoints": [40]},
    "influence": {"run": ["exact", "shapley", "lissa"], "origins": ["adapted"]},
    "validation": {"seeds": [0], "training": {"epochs": 40}},
    "selection": {"run": ["none", "uncertainty", "influence"], "rank": ["residual"]},
    "grid": {
        "run": ["bitfit", "lora"],
        "selections": ["none", "influence"],
        "methods": {name: {"training": {"epochs": 40}} for name in ("bitfit", "lora")},
    },
    "pretrain": {
        "corpus": "corpus.smi", "held_out": 0.2, "steps": 120, "batch_size": 16, "evaluate_every": 40, "save_every": 10,
    },
}  # fmt: skip
TARGETS = ["all", "pretrain"]
# Trainings, and where their states lie.
PLACES = {
    "mlm": "/mlm/",
    "finetune": "/finetune/",
    "finetune_on_selection": "/selected/",
    "retrain": "/validation/",
    "pretrain": "/pretrain/",
}
VICTIMS = ("job", "snakemake", "group")
MOMENTS = ("any", "any", "epoch", "write")
ALKYLS = ["C" * n for n in range(1, 13)]
CORPUS = [f"{a}{core}{b}" for a in ALKYLS for b in ALKYLS for core in ("O", "N", "OC(=O)", "c1ccc(cc1)")]


def copy_workflow(folder: Path) -> None:
    """What the workflow needs, and nothing that a run left behind."""
    for name in ("rules", "workflow_scripts", "studies", "profiles", "envs", "resources"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml", "requirements.lock"):
        shutil.copy2(ROOT / name, folder / name)
    (folder / "overlay.yaml").write_text(yaml.safe_dump(OVERLAY), encoding="utf-8")
    (folder / "corpus.smi").write_text("\n".join(CORPUS) + "\n", encoding="utf-8")


def start(folder: Path, cores: int, log: Path, *more: str) -> subprocess.Popen:
    """The command that a user gives, each time the same, in a session of its own."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), *TARGETS]
    with open(log, "w", encoding="utf-8") as output:
        return subprocess.Popen(
            [*command, "--configfile", "studies/tiny.yaml", "overlay.yaml", *more],
            cwd=folder, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


@dataclass
class Kill:
    """A kill and what became of it."""

    victim: str
    moment: str
    running: list[str]
    partial: int
    lost: dict[str, float]  # seconds, by rule of what was struck
    resumed: str = ""


# -- what runs ---------------------------------------------------------------------------------------------------------


def jobs_of(run: psutil.Process) -> dict[str, tuple[float, list[psutil.Process]]]:
    """Running scripts, by temporary name: when they began, and their processes (a job's own, and the forked one)."""
    found: dict[str, tuple[float, list[psutil.Process]]] = {}
    forked = []
    try:
        for process in run.children():
            line = process.cmdline()
            script = next((Path(part).name for part in line if ".snakemake/scripts/" in part), None)
            if script:
                found[script] = process.create_time(), [process]
            elif any(part.endswith("warm.py") for part in line):
                forked = process.children()
    except psutil.NoSuchProcess:
        pass
    if found and forked:  # which job is whose child is of no interest: either may be killed
        next(iter(found.values()))[1].extend(forked)
    return found


def rule_of(script: str) -> str:
    return script.split(".")[1]


def files(folder: Path, pattern: str) -> Iterator[Path]:
    return (folder / RESULTS).rglob(pattern)


def partial(folder: Path) -> list[Path]:
    return list(files(folder, ".*.partial"))


def states(folder: Path) -> dict[Path, float]:
    found = {}
    for path in files(folder, "*state.safetensors"):
        try:
            found[path] = path.stat().st_mtime
        except FileNotFoundError:
            continue
    return found


def wait_for(moment: str, folder: Path, run: subprocess.Popen, log: Path, steps: int, delay: float) -> str | None:
    """Wait until something of the kind happens; the moment that it was, or ``None`` where the run ended before.

    Any moment is one when ``steps`` steps have ended in this run and ``delay`` seconds more have gone by. Where nothing
    of the kind happens for two minutes, any moment will do.
    """
    process = psutil.Process(run.pid)
    steps, delay = (steps, delay) if moment == "any" else (0, 0.0)
    while run.poll() is None and not (jobs_of(process) and log.read_text("utf-8").count("Finished jobid") >= steps):
        time.sleep(0.05)
    until = time.monotonic() + delay
    while run.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    began, patience = time.time(), time.monotonic() + 120
    while run.poll() is None and moment != "any" and time.monotonic() < patience:
        if moment == "epoch" and any(written > began for written in states(folder).values()):
            time.sleep(random.uniform(0, 0.25))
            break
        if moment == "write" and partial(folder):
            break
        time.sleep(0.002)
    else:
        moment = "any"
    return moment if run.poll() is None else None


def kill(victim: str, moment: str, folder: Path, run: subprocess.Popen) -> Kill | None:
    """SIGKILL; what was running, and the seconds of work that are lost with it."""
    process = psutil.Process(run.pid)
    jobs = jobs_of(process)
    now = time.time()
    chosen = random.choice(sorted(jobs)) if jobs else None
    if victim == "job":
        if chosen is None:
            return None
        random.choice(jobs[chosen][1]).kill()
        struck = {chosen}
    elif victim == "snakemake":
        process.kill()
        struck = set(jobs)
    else:
        os.killpg(run.pid, signal.SIGKILL)
        struck = set(jobs)
    left = len(partial(folder))
    run.wait()
    lost = {}
    for script in struck:
        began, rule = jobs[script][0], rule_of(script)
        if rule in PLACES:
            kept = (written for path, written in states(folder).items() if PLACES[rule] in str(path))
            began = max([began, *(written for written in kept if began < written <= now)])
        lost[rule] = max(lost.get(rule, 0.0), now - began)
    return Kill(victim, moment, sorted(rule_of(script) for script in jobs), left, lost)


# -- what a log says ---------------------------------------------------------------------------------------------------


def told(log: Path) -> tuple[set[str], set[str]]:
    """Jobs that a run began, and those that it finished, as rule and wildcards."""
    names, finished, begun, rule = {}, set(), set(), ""
    number = None
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := re.fullmatch(r"(?:local)?rule (\w+):", line):
            rule, number = match[1], None
        elif match := re.fullmatch(r"    jobid: (\d+)", line):
            number = match[1]
            names[number] = rule
            begun.add(number)
        elif (match := re.fullmatch(r"    wildcards: (.*)", line)) and number:
            names[number] = f"{rule} {match[1]}"
        elif match := re.match(r"Finished jobid: (\d+)", line):
            finished.add(match[1])
    return {names[n] for n in begun}, {names[n] for n in finished if n in names}


def resumed(log: Path) -> str:
    """Where trainings were taken up."""
    text = log.read_text(encoding="utf-8", errors="replace")
    found = re.findall(r"\[(\w+)[^\]]*\] resuming at step (\d+) of (\d+)", text)
    return ", ".join(f"{rule} {step}/{steps}" for rule, step, steps in found)


# -- comparison --------------------------------------------------------------------------------------------------------


def differences(folder: Path, expected: Path) -> list[str]:
    """In what the results differ: tables column by column, all other files but logs byte by byte."""
    said = []

    def names(root: Path) -> set[Path]:
        base = root / RESULTS
        found = {path.relative_to(base) for path in base.rglob("*") if path.is_file()}
        return {path for path in found if path.parts[0] not in ("logs", ".lock")}

    one, two = names(folder), names(expected)
    said += [f"{path}: only in one of them" for path in sorted(one ^ two)]
    for path in sorted(one & two):
        a, b = folder / RESULTS / path, expected / RESULTS / path
        if path.suffix == ".parquet":
            left, right = pq.read_table(a), pq.read_table(b)
            if left.schema != right.schema:
                said.append(f"{path}: schema")
            for column in left.column_names:
                same = repr(left[column].to_pylist()) == repr(right[column].to_pylist())  # repr: to the bit
                if column not in MEASURED and not same:
                    said.append(f"{path}: column {column}")
        elif path.name == "run.json":
            left, right = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in (a, b))
            said += [
                f"{path}: {key}" for key in (left.keys() | right.keys()) - MEASURED if left.get(key) != right.get(key)
            ]
        elif path.suffix == ".safetensors" and a.read_bytes() != b.read_bytes():
            said.append(f"{path}: bytes")
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--within", type=float, default=3, help="seconds from the end of a step to a kill, at most")
    parser.add_argument("--undisturbed", type=Path, help="the undisturbed run (FOLDER/whole) of an earlier call")
    parser.add_argument("--keep", type=Path, help="a new folder to keep the runs in")
    given = parser.parse_args()
    random.seed(given.seed)
    base = given.keep or Path(tempfile.mkdtemp(prefix="kill-resume-"))
    base.mkdir(exist_ok=bool(given.keep is None))
    whole = given.undisturbed or base / "whole"
    if given.undisturbed is None:
        copy_workflow(whole)
        began = time.perf_counter()
        if start(whole, given.cores, base / "whole.txt").wait():
            print((base / "whole.txt").read_text(encoding="utf-8")[-3000:])
            return 1
        print(f"undisturbed: {time.perf_counter() - began:.0f} s")
    tables = len(list((whole / RESULTS).rglob("*.parquet")))
    print(f"to compare: {tables} tables and {len(list(files(whole, '*.safetensors')))} files of weights")
    plan = [(victim, moment) for moment in MOMENTS for victim in VICTIMS]
    plan = [plan[i % len(plan)] for i in range(given.kills)]
    random.shuffle(plan)
    kills: list[Kill] = []
    failures: list[str] = []
    rounds = 0
    print("\n| kill | SIGKILL to | aimed at | running | half-written files | lost, s | then taken up at epoch/step |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    while len(kills) < given.kills:
        rounds += 1
        folder = base / f"killed-{rounds}"
        copy_workflow(folder)
        finished: set[str] = set()
        last: Kill | None = None
        for number in range(1000):
            log = base / f"killed-{rounds}-{number}.txt"
            run = start(folder, given.cores, log)
            this = None
            if len(kills) < given.kills:
                victim, aim = plan[len(kills)]
                steps, delay = random.choice((0, 1, 1, 2)), random.uniform(0, given.within)
                while this is None and (moment := wait_for(aim, folder, run, log, steps, delay)):
                    this = kill(victim, moment, folder, run)
            run.wait()
            began_again, done = told(log)
            failures += [f"{log.name}: made again: {name}" for name in sorted(began_again & finished)]
            finished |= done
            if last is not None:
                last.resumed = resumed(log)
                print(
                    f"| {len(kills)} | {last.victim} | {last.moment} | "
                    f"{', '.join(last.running)} | {last.partial} | "
                    f"{', '.join(f'{rule} {lost:.1f}' for rule, lost in last.lost.items())} | {last.resumed} |",
                    flush=True,
                )
            last = this
            if this is not None:
                kills.append(this)
            elif run.returncode == 0:
                break
            else:
                failures.append(f"{log.name}: ended with {run.returncode} though nobody killed it")
                break
        said = differences(folder, whole)
        left = [*partial(folder), *states(folder)]
        failures += [f"round {rounds}: {sentence}" for sentence in said]
        failures += [f"round {rounds}: left behind: {path.relative_to(folder)}" for path in left]
        print(f"\nround {rounds}: {len(kills)} kills so far; differences: {len(said)}; left behind: {len(left)}\n")
    halves, inside = sum(k.partial > 0 for k in kills), sum(bool(k.resumed) for k in kills)
    print(
        f"{len(kills)} kills in {rounds} studies, {halves} of them with a file half-written, {inside} of them taken up"
    )
    print("inside a training")
    print(f"left out of the comparison as measured: {', '.join(sorted(MEASURED))}")
    for failure in failures:
        print(f"FAILED {failure}")
    if given.keep is None and not failures:
        shutil.rmtree(base)
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
