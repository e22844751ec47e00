"""What every script does around its work: log to the job's file and to the terminal, fix threads, end clearly."""

import json
import logging
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chemsieve.errors import ChemsieveError
from chemsieve.processes import peak_memory_mb
from chemsieve.warm import hand_over


@contextmanager
def job(snakemake) -> Iterator[dict]:
    """Run a script's work with logging set up; yields the rule's configuration (``params.spec``).

    Logging and warnings go to ``log[0]`` and to standard error. A :class:`ChemsieveError` ends the job with its one
    sentence; anything else with a traceback in the log.
    """
    hand_over()  # before anything heavy is imported; returns only where the job runs by itself
    began = time.perf_counter()
    path = Path(snakemake.log[0])
    name = snakemake.rule + "".join(f" {value}" for value in dict(snakemake.wildcards).values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers = [logging.FileHandler(path, mode="w", encoding="utf-8"), logging.StreamHandler(sys.stderr)]
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
        yield json.loads(snakemake.params.spec)
    except ChemsieveError as error:
        log.error("%s", error)
        sys.exit(1)
    except Exception:
        log.error("%s", traceback.format_exc())
        sys.exit(1)
    log.info("done in %.1f s, peak memory %.0f MB", time.perf_counter() - began, peak_memory_mb())


def optional_path(paths) -> str | None:
    """The one file of an input that a rule's function gives or leaves out (Snakemake may hand over a list)."""
    if not paths:
        return None
    return paths if isinstance(paths, str) else paths[0]


def torch_device(spec: dict):
    """Fix torch's threads as configured (results depend on their number) and choose the device, a GPU of the job's own
    where jobs share several."""
    import torch

    from chemsieve.devices import claim
    from chemsieve.training.loop import choose_device

    torch.set_num_threads(spec["compute"]["threads"])
    if spec["compute"]["device"] != "cpu":
        claim()
    return choose_device(spec["compute"]["device"])
