"""The device that a job computes on: the configured one, and its own place where several jobs share the GPUs.

Whoever starts the jobs lists the GPUs in an environment variable, as CUDA_VISIBLE_DEVICES would, one as often as it has
places for jobs. A job takes the first place that no other job of this user has, and holds it by a lock of the operating
system until its process ends, however it ends: nothing is left behind that somebody would have to clear.
"""

from __future__ import annotations

import fcntl
import getpass
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    import torch

VARIABLE = "CHEMSIEVE_GPUS"
log = logging.getLogger(__name__)
_held: list = []


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is the GPU where there is one.

    Raises:
        ChemsieveError: a GPU is asked for and there is none.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise ChemsieveError("compute.device is cuda, but this machine shows torch no GPU")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def visible() -> list[str]:
    """The GPUs that jobs of this process may use, by index or UUID: as CUDA_VISIBLE_DEVICES says, or nvidia-smi.

    Raises:
        ChemsieveError: nvidia-smi fails.
    """
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [name for name in os.environ["CUDA_VISIBLE_DEVICES"].replace(" ", "").split(",") if name]
    if (program := shutil.which("nvidia-smi")) is None:
        return []
    command = [program, "--query-gpu=index", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChemsieveError(f"nvidia-smi does not list the GPUs: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.split()


def share(count: int) -> str:
    """The value of :data:`VARIABLE` by which ``count`` jobs at a time have a GPU each.

    Raises:
        ChemsieveError: there are fewer.
    """
    found = visible()
    if len(found) < count:
        raise ChemsieveError(f"resources: gpu={count} jobs are to have a GPU each, but this machine shows {len(found)}")
    return ",".join(found[:count])


def spread(count: int) -> str:
    """The value of :data:`VARIABLE` by which ``count`` jobs at a time share all GPUs, as evenly as they can.

    Raises:
        ChemsieveError: there is no GPU.
    """
    found = visible()
    if not found:
        raise ChemsieveError(f"resources: gpu_jobs={count} jobs are to share the GPUs, but this machine shows none")
    return ",".join(found[number % len(found)] for number in range(count))


def claim(folder: str | Path | None = None) -> str | None:
    """Take a place on one of the listed GPUs for the rest of this process, waiting while all are taken.

    Sets CUDA_VISIBLE_DEVICES, which counts until CUDA is first used. A second call keeps the first's GPU.

    Args:
        folder: of the locks; by default one of this user below the folder for temporary files.

    Returns:
        The GPU; None where none are listed.
    """
    names = [name for name in os.environ.get(VARIABLE, "").split(",") if name]
    if _held or not names:
        return _held[0][0] if _held else None
    folder = Path(folder or Path(tempfile.gettempdir()) / f"chemsieve-gpus-{getpass.getuser()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    waited = False
    while True:
        for number, name in enumerate(names):
            place = names[:number].count(name)  # on this GPU
            file = (folder / (re.sub(r"[^\w.-]", "_", name) + f".{place}" * bool(place))).open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            _held.append((name, file))  # open until the process ends
            os.environ["CUDA_VISIBLE_DEVICES"] = name
            log.info("GPU %s", name)
            return name
        if not waited:
            log.info("all of GPUs %s are taken; waiting", ", ".join(names))
            waited = True
        time.sleep(0.5)
