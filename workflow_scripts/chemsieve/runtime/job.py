"""What every script does around its work: log to the job's file and to the terminal, fix threads, end clearly."""

import hashlib
import importlib
import json
import logging
import re
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from chemsieve.errors import ChemsieveError
from chemsieve.runtime import failures
from chemsieve.runtime.files import disk_refusal, sha256
from chemsieve.runtime.locking import working
from chemsieve.runtime.processes import peak_memory_mb
from chemsieve.runtime.warm import hand_over

_OUT_OF_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|bad_alloc", re.IGNORECASE)


class _LogFile(logging.FileHandler):
    """A log file on a disk that fills up says nothing more; the terminal does."""

    def handleError(self, record):
        pass


@contextmanager
def job(snakemake, collects: Sequence[str] = ()) -> Iterator[dict]:
    """Run a script's work with logging set up; yields the rule's configuration (``params.spec``).

    Logging and warnings go to ``log[0]`` and to standard error. A :class:`ChemsieveError`, a full disk and memory that
    runs out end the job with one sentence; anything else with a traceback in the log. While it works, no other run can
    have its results folder, and it ends when its own run is gone.

    A step that the study goes on without leaves the mark of its failure (:mod:`chemsieve.runtime.failures`) and ends
    well, unless it was the machine that failed it: then the same command may succeed. It leaves a mark too where an
    input has one, except for the inputs named in ``collects``, of which the script takes those that are there.
    """
    hand_over()  # before anything heavy is imported; returns only where the job runs by itself
    began, worked = time.perf_counter(), time.process_time()
    path = Path(snakemake.log[0])
    name = snakemake.rule + "".join(f" {value}" for value in dict(snakemake.wildcards).values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers: list[logging.Handler] = [
            _LogFile(path, mode="w", encoding="utf-8"),
            logging.StreamHandler(sys.stderr),
        ]
    except OSError as error:
        sys.exit(f"[{name}] {path}: cannot be written ({error.strerror})")
    handlers[0].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handlers[1].setFormatter(logging.Formatter(f"[{name}] %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    logging.captureWarnings(True)
    # Of a library's own making, and nothing that a user could act on.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for noisy in ("httpx", "filelock", "fsspec"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    log = logging.getLogger("chemsieve")
    try:
        with working(Path("results") / snakemake.config["study"]):
            if missing := failures.first(_needed(snakemake, collects)):
                _go_on_without(snakemake, missing.of_step(snakemake.rule, dict(snakemake.wildcards)), log)
            yield json.loads(snakemake.params.spec)
    except ChemsieveError as error:
        log.error("%s", error)
        _fail(snakemake, str(error), log)
    except Exception as error:
        if said := _out_of_memory(error, snakemake.rule) or disk_refusal(error):
            log.error("%s", said)
            sys.exit(1)
        log.error("%s", traceback.format_exc())
        _fail(snakemake, f"{type(error).__name__}: {error}", log)
    seconds, busy = time.perf_counter() - began, time.process_time() - worked
    log.info("done in %.1f s, peak memory %.0f MB, processor time %.1f s", seconds, peak_memory_mb(), busy)


def _needed(snakemake, collects: Sequence[str]) -> list[str]:
    """The inputs without those that the script can do without."""
    spared = {path for name in collects for path in _listed(snakemake.input.get(name))}
    return [path for path in map(str, snakemake.input) if path not in spared]


def _listed(paths) -> list[str]:
    return [paths] if isinstance(paths, str) else list(paths or [])


def _fail(snakemake, reason: str, log: logging.Logger) -> NoReturn:
    """End a step that failed: with a mark where the study goes on without it."""
    _go_on_without(
        snakemake,
        failures.Failure(snakemake.rule, dict(snakemake.wildcards), " ".join(reason.split()), snakemake.log[0]),
        log,
    )


def _go_on_without(snakemake, failure: failures.Failure, log: logging.Logger) -> NoReturn:
    """Leave the mark of a failure and end well, or end with an error where the study needs the step."""
    # By name, so that it is no part of a step's code (see chemsieve/runtime/provenance.py): no result follows from it.
    optional = importlib.import_module("chemsieve.study.optional").optional
    if not optional(snakemake.config, snakemake.rule, dict(snakemake.wildcards)):
        if failure.cause:
            log.error("this step needs %s, which failed: %s", failure.cause, failure.reason)
        sys.exit(1)
    failures.mark(map(str, snakemake.output), failure)
    why = f"it needs {failure.cause}, which failed" if failure.cause else "it failed, and is optional (on_failure)"
    log.warning("the study goes on without this step: %s", why)
    sys.exit(0)


def _out_of_memory(error: Exception, rule: str) -> str | None:
    """A sentence where memory ran out; None where the error is another."""
    if not isinstance(error, MemoryError) and not (
        isinstance(error, RuntimeError | OSError) and _OUT_OF_MEMORY.search(str(error))
    ):
        return None
    what = re.search(r"allocate ([\d.]+ ?[A-Za-z]+)", str(error))
    wanted = f" (it asked for {what[1]} more)" if what else ""
    where = "the GPU's memory" if "CUDA" in str(error) else "memory"
    # By name, so that it is no part of a step's code (see chemsieve/runtime/provenance.py): no result follows from it.
    lighter = importlib.import_module("chemsieve.study.steps").lighter(rule)
    less = f"lower {lighter}, " if lighter else ""
    return (
        f"{where} ran out in the step {rule}{wanted}; what other steps made is kept, and the same command goes on from "
        f"here: {less}run fewer steps at a time (--cores), or use a machine with more"
    )


def goes_on(snakemake) -> bool:
    """Whether what is optional within a step is left out where it fails, in place of an error."""
    return snakemake.config["on_failure"] == "continue"


def training_state(snakemake, output: str):
    """The state of a training job, beside ``output``, under an identity made of all that the training follows from.

    It is no declared output: Snakemake would remove it when a job fails, and nothing could be resumed.
    """
    import torch

    from chemsieve.training.saves import Saves

    parts = [snakemake.params.spec, snakemake.params.code, torch.__version__, *map(str, snakemake.wildcards)]
    parts += [sha256(path) for path in snakemake.input]
    identity = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return Saves(Path(output).with_suffix(".state.safetensors"), identity, snakemake.config["compute"]["save_every"])


def optional_path(paths) -> str | None:
    """The one file of an input that a rule's function gives or leaves out (Snakemake may hand over a list)."""
    return next(iter(_listed(paths)), None)


def torch_device(spec: dict):
    """Fix torch's threads as configured (results depend on their number) and choose the device, a GPU of the job's own
    where jobs share several."""
    import torch

    from chemsieve.runtime.devices import choose_device, claim

    torch.set_num_threads(spec["compute"]["threads"])
    if spec["compute"]["device"] != "cpu":
        claim()
    return choose_device(spec["compute"]["device"])
