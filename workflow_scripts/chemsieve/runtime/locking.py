"""Who writes into a results folder: one run at a time, and nobody once a run is gone.

The locks are the system's (``flock``): they end with the process that holds them, however it ends, so that a killed run
leaves nothing to remove, and a run that lives is never taken for a killed one. Both lie in ``.lock`` in the folder.
"""

import contextlib
import fcntl
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from chemsieve.errors import ChemsieveError

log = logging.getLogger(__name__)

RUN = "CHEMSIEVE_RUN"  # process id of the run, for jobs on its machine
PATIENCE = 15.0  # seconds for which a run waits for the jobs of one that was killed; they end within two


def _open(results: str | Path, name: str) -> IO[str]:
    folder = Path(results) / ".lock"
    folder.mkdir(parents=True, exist_ok=True)
    return open(folder / name, "a+", encoding="utf-8")


def _locked(file: IO[str], how: int) -> bool:
    """Whether the lock is had; it counts as had where the file system knows no locks."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        log.warning("%s: this file system has no locks (%s): start one run at a time", file.name, error.strerror)
    return True


def hold(results: str | Path) -> IO[str]:
    """Take a results folder for a run, until the returned file is closed or the process ends.

    Raises:
        ChemsieveError: another run has it, or jobs of one that was killed still write there.
    """
    file = _open(results, "run")
    if not _locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
        file.seek(0)
        with file:
            raise ChemsieveError(
                f"results folder {results}: another run is writing to it ({_owner(file.read())}); wait until it has "
                "ended, or give this study a name of its own (the key study)"
            )
    file.truncate(0)
    owner = {"process": os.getpid(), "machine": socket.gethostname(), "since": f"{datetime.now():%Y-%m-%d %H:%M:%S}"}
    file.write(json.dumps(owner))
    file.flush()
    with _open(results, "jobs") as jobs:
        until = time.monotonic() + PATIENCE
        while not _locked(jobs, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if time.monotonic() > until:
                file.close()
                raise ChemsieveError(
                    f"results folder {results}: jobs of a run that was killed still write to it; end them (on a "
                    "cluster: cancel them), then start again"
                )
            time.sleep(0.2)
    return file


def _owner(text: str) -> str:
    try:
        owner = json.loads(text)
        return f"process {owner['process']} on {owner['machine']}, since {owner['since']}"
    except (ValueError, KeyError, TypeError):
        return "which has only begun"


@contextlib.contextmanager
def working(results: str | Path) -> Iterator[None]:
    """Be one of a run's jobs: keep other runs out, and end when the run is gone, with all processes forked."""
    run = os.environ.get(RUN)
    _watch(int(run) if run else None)
    with _open(results, "jobs") as file:
        _locked(file, fcntl.LOCK_SH)

        def in_child() -> None:
            # A fork has the lock as long as it has the file, and no thread of its parent's.
            file.close()
            _watch(None)

        os.register_at_fork(after_in_child=in_child)
        yield


def _watch(run: int | None) -> None:
    threading.Thread(target=_end_with, args=(os.getppid(), run), daemon=True).start()


def _end_with(parent: int, run: int | None) -> None:
    """End this process when the process ``parent`` has, or ``run``. What it writes is whole or absent at any time."""
    while os.getppid() == parent and _lives(run):
        time.sleep(0.5)
    print("the run that this job belongs to is gone: the job ends", file=sys.stderr, flush=True)
    os._exit(1)


def _lives(process: int | None) -> bool:
    if process is None:
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
