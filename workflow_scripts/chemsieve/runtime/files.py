"""Atomic writes: a file is either whole or absent, whatever kills the process."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from chemsieve.errors import ChemsieveError

_PARTIAL = ".partial"
_OF_SAFETENSORS = re.compile(r"\.tmp[A-Za-z0-9]{6}")  # it writes beside its target, under such a name, and renames
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
_OF_RUST = re.compile(r"\(os error (\d+)\)")  # safetensors and tokenizers raise errors of their own


def cache_folder() -> Path:
    """Where what can be had again is kept: ``CHEMSIEVE_CACHE``, else below ``XDG_CACHE_HOME`` or ``~/.cache``."""
    if given := os.environ.get("CHEMSIEVE_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "chemsieve"


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call ``write`` on a temporary name in the folder of ``path``, then rename it into place.

    Raises:
        ChemsieveError: the system refuses, because the disk is full or the folder cannot be written to. No temporary
            file is left then, and a file that was there stays as it was.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_PARTIAL, dir=path.parent)
        with os.fdopen(handle) as file:
            _try_lock(file)  # who lives holds it: see remove_partial
            _write(path, Path(name), write)
    except Exception as error:
        if (reason := refusal(error)) is None:
            raise
        raise ChemsieveError(f"{path}: cannot be written ({reason})") from None


def remove_partial(folder: str | Path) -> list[Path]:
    """Remove the temporary files below ``folder`` that killed processes left; those of living ones stay.

    Returns:
        The files removed.
    """
    removed, busy = [], set()
    found = sorted(Path(folder).rglob(".*"), key=lambda path: path.suffix != _PARTIAL)  # those that say who lives first
    for path in found:
        of_safetensors = _OF_SAFETENSORS.fullmatch(path.name) and path.parent not in busy
        if path.suffix != _PARTIAL and not of_safetensors:
            continue
        # NFS grants an exclusive lock only to who may write.
        with contextlib.suppress(OSError), open(path, "r+b") as file:
            if _try_lock(file):
                path.unlink()
                removed.append(path)
            else:
                busy.add(path.parent)
    return removed


def _try_lock(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def check_folder(folder: str | Path) -> None:
    """Make a folder where there is none, and write to it once.

    Raises:
        ChemsieveError: it cannot be made or written to.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
    except OSError as error:
        raise ChemsieveError(f"results folder {folder}: cannot be written to ({error.strerror})") from None


def refusal(error: Exception) -> str | None:
    """What the system said of a file that it could not write, or None where the error is another."""
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno else str(error)  # pyarrow has words of its own, too many
    match = _OF_RUST.search(str(error))
    return os.strerror(int(match[1])) if match else None


def disk_refusal(error: Exception) -> str | None:
    """A sentence where the disk is full or broken, wherever it was met; None where the error is another."""
    if not isinstance(error, OSError) or error.errno not in _FULL:
        return None
    return f"{error.filename or tempfile.gettempdir()}: cannot be written ({os.strerror(error.errno)})"


def _write(path: Path, temporary: Path, write: Callable[[Path], object]) -> None:
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files; results are shared like any other
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: str | Path, value: object) -> None:
    """Write JSON atomically, keys sorted; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def copy(source: str | Path, target: str | Path) -> None:
    """Copy a file's bytes atomically, to a file of its own.

    Never a link: Snakemake sets the times of a job's outputs, and would set those of the source with them.
    """
    write_atomically(target, lambda temporary: shutil.copyfile(source, temporary))


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
