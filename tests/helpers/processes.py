"""Processes that a test starts: a Python of this environment, with both of its streams as one text."""

import os
import subprocess
import sys


def start(*arguments, python=sys.executable, environment=None, **options):
    """Start a Python with these arguments; both of its streams are ``stdout``.

    ``environment`` changes that of the tests, where a value of None leaves a variable out; the rest is of
    ``subprocess.Popen``.
    """
    changed = {name: value for name, value in (os.environ | (environment or {})).items() if value is not None}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": changed} | options
    return subprocess.Popen([str(python), *map(str, arguments)], **options)


def run(*arguments, **given):
    """The same to its end: the completed process."""
    with start(*arguments, **given) as process:
        said, _ = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, said)
