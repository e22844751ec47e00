"""A study on a SLURM cluster, disturbed, against the same study on this machine: equal tables, to the bit.

benchmarks/slurm_one_node.sh start                                   where there is no cluster at hand (see there)
python benchmarks/slurm.py --configfile studies/tiny.yaml            the tiny study
python benchmarks/slurm.py                                           the embedded study

Run it where `sbatch` works, with the packages of requirements-cluster.lock installed, from a folder that the nodes see
(--work). What happens, each with a check of its own:

1. the study runs on this machine;
2. it is submitted through profiles/slurm; one of its running submissions is cancelled (`scancel`), the script of
   another is killed (SIGKILL, where it runs on this machine), and Snakemake submits both again;
3. Snakemake is interrupted as by Ctrl-C: no submission of its run stays in the queue;
4. the same command ends the study, and every table equals that of step 1 but for measured times and memory.

The last line is one JSON object.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("Snakefile", "config.yaml", "rules", "workflow_scripts", "studies", "profiles", "envs", "resources")
MEASURED = ["seconds", "evaluation_seconds", "train_seconds", "peak_memory_mb"]
FAILED = ("CANCELLED", "FAILED", "OUT_OF_MEMORY", "TIMEOUT", "NODE_FAIL")


def copy(folder: Path) -> Path:
    """The workflow without results, in a new folder."""
    folder.mkdir(parents=True)
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Run:
    """One `snakemake --profile profiles/slurm` with what SLURM knows of it."""

    def __init__(self, folder: Path, arguments: list[str], log: Path):
        self.log = log
        command = [sys.executable, "-m", "snakemake", "all", "--profile", "profiles/slurm", *arguments]
        with log.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def name(self) -> str:
        """The name that all submissions of this run carry."""
        found = re.search(r"SLURM run ID: (\S+)", self.text())
        return found[1] if found else "none-yet"

    def queued(self, *states: str) -> dict[str, str]:
        """Submissions in the queue, in the given states or any: id and rule or group."""
        chosen = ["--states", ",".join(states)] if states else []
        rows = output_of("squeue", "--noheader", "--name", self.name, *chosen, "--format=%i %k").splitlines()
        return dict(row.strip().split(" ", 1) for row in rows)

    def history(self) -> pd.DataFrame:
        """All submissions as accounting has them: id, state, comment."""
        fields = ["--noheader", "--parsable2", "--format=JobIDRaw,State,Comment,ReqMem,MaxRSS,ElapsedRaw"]
        rows = output_of("sacct", "--name", self.name, "--starttime=now-2days", *fields).splitlines()
        parts = [row.split("|") for row in rows]
        return pd.DataFrame(parts, columns=["job", "state", "comment", "asked", "used", "seconds"])

    def failure(self, job: str) -> str | None:
        """The state in which a submission failed; None where it did not, or not yet."""
        states = self.history().set_index("job")["state"]
        return next((state for state in states[states.index == job] if state.startswith(FAILED)), None)

    def wait_for(self, what: str, condition, seconds: float):
        """Wait for a condition of the run to hold; what it gave.

        Raises:
            RuntimeError: Snakemake ended before, or time is up.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            # Accounting and queue of a busy cluster do not always answer.
            with contextlib.suppress(subprocess.CalledProcessError):
                if found := condition():
                    return found
            if self.process.poll() is not None:
                raise RuntimeError(f"Snakemake ended before {what}:\n{self.text()[-3000:]}")
            time.sleep(0.5)
        raise RuntimeError(f"waited {seconds:.0f} s for {what}:\n{self.text()[-3000:]}")


def kill_script(job: str) -> bool:
    """SIGKILL to the scripts that a submission runs on this machine; whether there was one."""
    found = False
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SLURM_JOB_ID") == job and ".snakemake/scripts/" in " ".join(process.cmdline()):
                process.kill()
                found = True
    return found


def disturb(run: Run, patience: float) -> dict:
    """Cancel one running submission and kill the script of another; both must be submitted again."""
    done: dict[str, str] = {}
    for how in ("cancelled", "killed"):

        def victim():
            running = run.queued("RUNNING")
            return next(((job, what) for job, what in running.items() if what not in done.values()), None)

        job, what = run.wait_for("a running submission", victim, patience)
        if how == "cancelled":
            time.sleep(5)  # well into its work
            subprocess.run(["scancel", job], check=True)
        else:
            run.wait_for(f"a script of {job} on this machine", lambda job=job: kill_script(job), patience)
        state = run.wait_for(f"the end of {job}", lambda job=job: run.failure(job), patience)
        print(f"{how} {job} ({what}): {state}", file=sys.stderr)

        def again(job=job, what=what):
            return next(
                (later for later, other in run.queued().items() if other == what and int(later) > int(job)), None
            )

        later = run.wait_for(f"{what} to be submitted again", again, patience)
        print(f"submitted again as {later}", file=sys.stderr)
        done[how] = what
    return done


def interrupt(run: Run, patience: float) -> int:
    """Ctrl-C: Snakemake ends with an error, and nothing of the run stays in the queue. Submissions that it ended."""
    before = run.wait_for("a submission", run.queued, patience)
    os.killpg(run.process.pid, signal.SIGINT)
    if run.process.wait(patience) == 0:
        raise RuntimeError("Snakemake finished before it was interrupted")
    until = time.monotonic() + 60
    while left := run.queued("PENDING", "RUNNING"):
        if time.monotonic() > until:
            raise RuntimeError(f"still queued after the interruption: {left}")
        time.sleep(1)
    return len(before)


def differences(ours: Path, theirs: Path) -> list[str]:
    """Names of tables that differ in anything but what was measured of the machine."""
    names = {path.name for folder in (ours, theirs) for path in folder.glob("*.parquet")}
    found = []
    for name in sorted(names):
        if not ((ours / name).exists() and (theirs / name).exists()):
            found.append(f"{name}: only on one side")
            continue
        frames = [pd.read_parquet(folder / name).drop(columns=MEASURED, errors="ignore") for folder in (ours, theirs)]
        try:
            pd.testing.assert_frame_equal(*frames, check_exact=True)
        except AssertionError as error:
            found.append(f"{name}: {error}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", nargs="*", default=[])
    parser.add_argument("--config", nargs="*", default=[])
    parser.add_argument("--work", type=Path, help="a new folder that the nodes see (default: temporary)")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="of the run on this machine")
    parser.add_argument("--patience", type=float, default=900, help="seconds to wait for any one thing")
    parser.add_argument("--reference", type=Path, help="tables of the same study on this machine, in place of step 1")
    given = parser.parse_args()
    # A shell's background job ignores Ctrl-C, and whatever it starts would.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if shutil.which("sbatch") is None:
        sys.exit("there is no sbatch here: run this on a cluster, or see benchmarks/slurm_one_node.sh")
    work = given.work or Path(tempfile.mkdtemp(prefix="chemsieve-slurm-"))
    study = ["--configfile", *given.configfile] if given.configfile else []
    study += ["--config", *given.config, "study=checked"]
    tables = Path("results/checked/tables")

    local_seconds = None
    if given.reference is None:
        folder, began = copy(work / "local"), time.monotonic()
        command = [sys.executable, "-m", "snakemake", "all", "--cores", str(given.cores), *study]
        subprocess.run(command, cwd=folder, check=True, stdout=sys.stderr)
        local_seconds = time.monotonic() - began

    folder = copy(work / "slurm")
    study = ["--slurm-init-seconds-before-status-checks", "5", *study]
    began = time.monotonic()
    first = Run(folder, study, work / "first.log")
    first.wait_for("the first training", lambda: "rule mlm" in first.text() and first.queued("RUNNING"), given.patience)
    disturbed = disturb(first, given.patience)
    ended = interrupt(first, given.patience)
    print(f"interrupted; {ended} submissions ended, none is queued", file=sys.stderr)
    done_before = len(re.findall(r"Finished jobid", first.text()))

    second = Run(folder, study, work / "second.log")
    if second.process.wait() != 0:
        raise RuntimeError(f"the resumed run failed:\n{second.text()[-3000:]}")
    seconds = time.monotonic() - began
    found = differences(given.reference or work / "local" / tables, folder / tables)
    if found:
        raise RuntimeError("tables differ:\n" + "\n".join(found))

    history = pd.concat([run.history() for run in (first, second)])
    submissions = history[~history["job"].str.contains(".", regex=False)]
    report = {
        "jobs": int(re.search(r"^total +(\d+)", first.text(), re.MULTILINE)[1]),
        "submissions": len(submissions),
        "states": dict(Counter(state.split()[0] for state in submissions["state"])),
        "disturbed": disturbed,
        "ended_by_interruption": ended,
        "finished_before_interruption": done_before,
        "jobs_after_it": int(re.search(r"^total +(\d+)", second.text(), re.MULTILINE)[1]),
        "tables_equal": len(list((folder / tables).glob("*.parquet"))),
        "local_seconds": local_seconds,
        "slurm_seconds": seconds,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
