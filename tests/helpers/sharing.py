"""Folders that are costly to make: one for all processes of a test run."""

import os
import shutil

from filelock import FileLock


def made_once(factory, name, make):
    """A folder that the first process of this run that asks for it makes, for all of them to read.

    ``factory`` is pytest's ``tmp_path_factory``, ``make`` fills the folder that it is given.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each process has a folder of its own below the run's
        base = base.parent
    folder, whole = base / name, base / f"{name}.whole"
    with FileLock(f"{folder}.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder
