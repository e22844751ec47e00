"""What a process says of itself: memory, device, user."""

from __future__ import annotations

import getpass
import logging
import os
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Sized

log = logging.getLogger(__name__)

SAY_EVERY = 30.0  # seconds between lines of progress in a log


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MB (1e6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


def name_user() -> None:
    """Give the user a name, in ``USER``, where the system knows none for its number.

    So it is in a container that runs under its caller's number. Snakemake and libraries ask for the name of the user
    and end with a traceback where there is none.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"user{os.getuid()}"


def progress(items: Iterable, description: str, total: int | None = None) -> Iterable:
    """``items``, with a progress bar where standard error is a terminal, and a line in the log now and then elsewhere.

    ``total`` is their number, where they do not know it themselves.
    """
    if not sys.stderr.isatty():
        return _said(items, description, len(items) if total is None and isinstance(items, Sized) else total)
    from tqdm import tqdm

    return tqdm(items, desc=description, total=total, leave=False)


def _said(items: Iterable, description: str, total: int | None) -> Iterator:
    began = said = time.perf_counter()
    for done, item in enumerate(items):
        now = time.perf_counter()
        if done and now - said >= SAY_EVERY:
            said = now
            if total:
                left = (now - began) / done * (total - done)
                log.info("%s: %d of %d (%.0f%%), about %.0f s left", description, done, total, 100 * done / total, left)
            else:
                log.info("%s: %d", description, done)
        yield item


def device_name(device) -> str:
    """``cpu``, or the GPU's own name."""
    import torch

    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
