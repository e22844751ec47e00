"""Warm starts: import torch, transformers and peft once per workflow run, not once per job.

Importing them takes five seconds of a processor, and a study has dozens of short jobs. While a workflow runs jobs on
its own machine, a server process that holds the libraries (and nothing of this project, so that code is never stale)
forks a child per job, which runs the job's script as it would have run by itself: same files, environment, output,
exit status. A job whose server is not ready, or has another interpreter, runs by itself.

If the job's own process is killed, its connection closes and the child ends; if the workflow ends, so does the server.

    python warm.py SOCKET PARENT_PID        serve, until the parent is gone
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tempfile

ADDRESS = "CHEMSIEVE_WARM"
_STARTING = ".starting"
KILLED = (
    "the job's process was killed; where nobody did it, the system did, because memory ran out (dmesg says so): what "
    "other steps made is kept, and the same command goes on from here; run fewer steps at a time (--cores), or use a "
    "machine with more memory"
)


def socket_folder() -> tempfile.TemporaryDirectory | None:
    """A folder for the server's socket, ``socket`` in it; None where there is none with a path that is short enough.

    The system takes 107 bytes (macOS 103) as a socket's path, and a batch system's ``TMPDIR`` may have more.
    """
    import tempfile

    for parent in (None, "/tmp"):
        with contextlib.suppress(OSError):
            folder = tempfile.TemporaryDirectory(prefix="chemsieve-", dir=parent)
            if len(os.fsencode(f"{folder.name}/socket{_STARTING}")) <= 103:
                return folder
            folder.cleanup()
    return None


def hand_over() -> None:
    """Let the server run this script, where there is one, and exit with its status; otherwise return."""
    address = os.environ.get(ADDRESS)
    if not address or not os.path.exists(address):
        return
    request = {
        "python": sys.executable,
        "arguments": sys.argv,
        "folder": os.getcwd(),
        "environment": {name: value for name, value in os.environ.items() if name != ADDRESS},
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(address)
            socket.send_fds(connection, [b"+"], [0, 1, 2])
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = connection.makefile("rb").readline()
        except OSError:
            return
    if answer == b"refused\n":
        return
    if not answer:
        step = Path(sys.argv[0]).suffixes[0].removeprefix(".")  # tmpabc.finetune.py
        print(f"[{step}] {KILLED}", file=sys.stderr, flush=True)
    sys.exit(int(answer) if answer else 1)


def _run(connection: socket.socket, request: dict, files: list[int]) -> None:
    """In the forked child: become the job, run its script, report its status. Does not return."""
    status = 1
    try:
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = request["arguments"]
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        with contextlib.suppress(OSError):
            connection.sendall(f"{status}\n".encode())
        os._exit(status)


def _end_with(connection: socket.socket) -> None:
    """End this process when the job's own process is gone."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    os._exit(1)


def _receive(connection: socket.socket) -> tuple[dict, list[int]]:
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    text = b""
    while not text.endswith(b"\n"):
        part = connection.recv(65536)
        if not part:
            raise OSError("the job went away")
        text += part
    return json.loads(text), files


def serve(address: str, parent: int) -> None:
    """Import the heavy libraries, then fork a child per request until the process ``parent`` is gone."""
    import pandas
    import pyarrow.parquet
    import tokenizers
    import torch
    import torch.optim
    import transformers.modeling_utils
    import transformers.optimization
    from rdkit import Chem

    with contextlib.suppress(ImportError):
        import peft  # noqa: F401
    _ = Chem, pandas, pyarrow.parquet, tokenizers, torch, transformers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Snakemake handles it; jobs end with their own processes
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the system
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # Bound under another name first: jobs take the name's existence as readiness.
        listener.bind(f"{address}{_STARTING}")
        listener.listen(64)
        os.rename(f"{address}{_STARTING}", address)
        while os.getppid() == parent:
            if not select.select([listener], [], [], 1.0)[0]:
                continue
            connection, _ = listener.accept()
            files: list[int] = []
            with connection:
                try:
                    connection.settimeout(10)
                    request, files = _receive(connection)
                    connection.settimeout(None)
                    if request["python"] != sys.executable:
                        connection.sendall(b"refused\n")
                    elif os.fork() == 0:
                        listener.close()
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        _run(connection, request, files)
                except OSError:
                    pass  # the job is gone, or runs by itself
                finally:
                    for file in files:
                        os.close(file)
    # The parent was killed: it would have removed them.
    os.unlink(address)
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(address))


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))  # this folder's modules would hide the standard library's
    serve(sys.argv[1], int(sys.argv[2]))
