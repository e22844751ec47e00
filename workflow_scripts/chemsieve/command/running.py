"""A run of Snakemake: started, followed by one line, and what went wrong as one sentence.

Snakemake writes into a file, which is read as it grows: nothing that it says is lost, and it does not depend on who
looks.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TextIO

from chemsieve.command import timing
from chemsieve.command.studies import SNAKEFILE
from chemsieve.runtime.files import check_folder
from chemsieve.study.plan import Plan

DONE, FAILED, BAD_INPUT = 0, 1, 2  # exit statuses
# Steps that read what the user gave: a sentence of theirs is a mistake in it.
READING = {
    "data",
    "download_target",
    "encoder",
    "sizes",
    "split",
    "treat_pool",
    "audit",
    "audit_labels",
    "audit_shift",
    "mlm",
}
_EVERY = 0.5  # seconds between two looks
_LINE_EVERY = 30.0  # seconds between two lines where there is no terminal

_JOBS = re.compile(r"(\w+) +(\d+)")
_STARTED = re.compile(r"(?:local)?(?:rule|checkpoint) (\w+):")
_ID = re.compile(r" +jobid: (\d+)")
_FINISHED = re.compile(r"Finished jobid: (\d+)(?: \(Rule: (\w+)\))?")
_COUNTED = re.compile(r"(\d+) of (\d+) steps \(\d+%\) done")
_ERROR = re.compile(r"Error in (?:local)?rule (\w+):")
_LOG = re.compile(r" +log: (\S.*?)(?: \(check log file\(s\) for error details\))?")
_MISSING = re.compile(r"missing: .+")
_SAID = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ ERROR (.*)")
_NOISE = re.compile(
    r"WorkflowError|[A-Za-z]*Exception|Exiting|Shutting|Complete log|Elapsed time| *File \"|At least one|$"
)


def command(paths: Sequence[str], targets: Sequence[str], *options: str) -> list[str]:
    """Snakemake's command line for a study: options, targets, then the study's files."""
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE)),
        *options,
        *targets,
        *("--configfile", *map(str, paths)),
    ]


def planned(paths: Sequence[str], targets: Sequence[str]) -> tuple[Counter, str]:
    """How many jobs of each rule are left to do for some targets, and what Snakemake said where it could not plan."""
    done = subprocess.run(
        command(paths, targets, "--dry-run"), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    state = State()
    for line in (done.stdout + done.stderr).splitlines():
        state.read(line)
    return state.jobs, "" if done.returncode == 0 else state.sentence()


@dataclass
class State:
    """What is known of a run from the lines that Snakemake wrote."""

    jobs: Counter = field(default_factory=Counter)
    finished: Counter = field(default_factory=Counter)
    running: dict[str, str] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)  # rule, log
    missing: list[str] = field(default_factory=list)
    last: list[str] = field(default_factory=list)
    _table: bool = False
    _rule: str = ""
    _error: str = ""

    def read(self, line: str) -> None:
        """Take one line into account."""
        if line == "Job stats:":
            self._table = True
            self.jobs.clear()
        elif self._table and (match := _JOBS.fullmatch(line.strip())):
            if match[1] == "total":
                self.total, self._table = int(match[2]), False
            elif match[1] != "job":
                self.jobs[match[1]] += int(match[2])
        elif match := _STARTED.fullmatch(line):
            self._rule, self._error = match[1], ""
        elif match := _ERROR.fullmatch(line):
            self._error, self._rule = match[1], ""
            self.failed.append((match[1], ""))
        elif match := _ID.fullmatch(line):
            if self._rule:
                self.running[match[1]] = self._rule
            elif self._error:
                self.running.pop(match[1], None)
        elif self._error and (match := _LOG.fullmatch(line)):
            self.failed[-1] = (self._error, match[1].split(", ")[0])
        elif match := _FINISHED.match(line):
            rule = self.running.pop(match[1], match[2] or "")
            self.finished[rule] += 1
        elif match := _COUNTED.fullmatch(line):
            self.done, self.total = int(match[1]), int(match[2])
        elif _MISSING.fullmatch(line):
            self.missing.append(line)
        if line.strip() and not _NOISE.match(line):
            self.last = [*self.last[-20:], line.strip()]

    def left(self, seconds: float, expected: dict[str, float]) -> float | None:
        """Seconds that are left: those of the finished jobs, in proportion to what is expected; None if too few are."""
        over = sum(expected.get(rule, 0) * n for rule, n in self.finished.items())
        whole = sum(expected.get(rule, 0) * n for rule, n in self.jobs.items())
        return seconds * max(0.0, whole - over) / over if over > 0 and self.done >= 3 else None

    def line(self, seconds: float, expected: dict[str, float]) -> str:
        """The one line: step, done of total, time left."""
        running = Counter(self.running.values())
        at = ", ".join(f"{rule} x{n}" if n > 1 else rule for rule, n in running.items()) or "starting"
        left = self.left(seconds, expected)
        more = f", about {duration(left)} left" if left is not None else ""
        return f"{self.done} of {self.total or '?'} steps, {duration(seconds)}{more}: {at}"

    def sentence(self) -> str:
        """What went wrong, in one sentence: that of the first job that failed, else the last words of Snakemake."""
        for rule, log in self.failed:
            if said := sentence_of(Path(log)):
                return said
            return f"the step {rule} failed{f'; see {log}' if log else ''}"
        return next((line for line in reversed(self.last) if " " in line), "Snakemake ended with an error")

    def is_bad_input(self) -> bool:
        """Whether what went wrong is a mistake in what the user gave."""
        if self.failed:
            rule, log = self.failed[0]
            said = sentence_of(Path(log))
            return rule in READING and bool(said) and not said.startswith("an unforeseen error")
        return self.sentence().startswith(("configuration:", "selection.", "influence.", "target", "pool", "predict"))


def sentence_of(log: Path) -> str:
    """The error that a job's log ends with; empty where there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found = [(number, match[1]) for number, line in enumerate(lines) if (match := _SAID.fullmatch(line))]
    if not found:
        return ""
    number, said = found[0]
    if not said.startswith("Traceback"):
        return said
    last = next((line for line in reversed(lines[number:]) if line.strip() and not line.startswith(" ")), "")
    return f"an unforeseen error: {last} (the whole is in {log})"


def duration(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def follow(
    plan: Plan, paths: Sequence[str], targets: Sequence[str], cores: int, out: TextIO
) -> tuple[int, State, Path]:
    """Run Snakemake to its end.

    Args:
        plan: of the study.
        paths: its files.
        targets: what is to be made.
        cores: how many are used.
        out: where the line of progress goes.

    Returns:
        Snakemake's exit status, what is known of the run, and the file that has all that was said.

    Raises:
        ChemsieveError: the results folder cannot be written to.
    """
    check_folder(plan.results)
    log = Path(plan.results) / "logs" / f"run-{datetime.now():%Y%m%d-%H%M%S}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    state, expected = State(), dict[str, float]()
    shown, began, said = _Shown(out), time.monotonic(), 0
    with log.open("w", encoding="utf-8") as file, log.open(encoding="utf-8", errors="replace") as written:
        process = subprocess.Popen(
            command(paths, targets, "--cores", str(cores)),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,  # so that an interruption reaches it once, and its jobs with it
        )
        before = {name: signal.signal(name, _interrupt) for name in (signal.SIGTERM, signal.SIGHUP)}
        try:
            rest = ""
            while True:
                ended = process.poll() is not None
                rest += written.read()
                *lines, rest = rest.split("\n")
                for line in lines:
                    state.read(line)
                if state.jobs and not expected:
                    expected = timing.seconds(plan, list(state.jobs))
                # Without a terminal a line is worth it where a step has ended.
                shown.update(state.line(time.monotonic() - began, expected), force=state.done != said)
                said = state.done
                if ended:
                    break
                time.sleep(_EVERY)
        except KeyboardInterrupt:
            shown.clear()
            print("interrupted: the steps that run are being ended", file=out)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
            process.wait()
        finally:
            shown.clear()
            for name, handler in before.items():
                signal.signal(name, handler)
    return process.returncode, state, log


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


class _Shown:
    """The line of progress: in its place on a terminal, else a line now and then."""

    def __init__(self, out: TextIO):
        self.out, self.terminal, self.at = out, out.isatty(), -_LINE_EVERY

    def update(self, text: str, force: bool) -> None:
        if self.terminal:
            from shutil import get_terminal_size

            self.out.write("\r" + text[: get_terminal_size().columns - 1] + "\x1b[K")
            self.out.flush()
        elif force and time.monotonic() - self.at >= _LINE_EVERY:
            print(text, file=self.out, flush=True)
            self.at = time.monotonic()

    def clear(self) -> None:
        if self.terminal:
            self.out.write("\r\x1b[K")
            self.out.flush()
