"""Where the workflow is run from, by whom, and how it is called: it works, or one sentence says why not."""

import getpass
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from chemsieve.processes import name_user
from test_workflow import copy_workflow

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")  # where Python looks for the user's name


def call(folder, *arguments, python=sys.executable, **environment):
    """Run a Python of this environment in a folder; the completed process with both streams in ``stdout``."""
    return subprocess.run(
        [str(python), *map(str, arguments)],
        cwd=folder,
        env={name: value for name, value in (os.environ | environment).items() if value is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the workflow below a folder that others share."""
    folder = tmp_path_factory.mktemp("places") / "workflow"
    folder.mkdir()
    copy_workflow(folder)
    return folder


# Paths.


def test_checkout_and_environment_may_lie_below_a_path_with_a_space(tmp_path):
    folder = tmp_path / "it's a place" / "workflow"
    folder.mkdir(parents=True)
    copy_workflow(folder)
    (folder.parent / "env").symlink_to(sys.prefix)
    python = folder.parent / "env" / "bin" / Path(sys.executable).name
    done = call(folder, "-m", "snakemake", "--cores", 1, "results/embedded/config.yaml", python=python)
    assert done.returncode == 0, done.stdout
    assert (folder / "results/embedded/config.yaml").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["-s", "../workflow/Snakefile"],
        ["-s", "{place}/workflow/Snakefile", "-d", "{place}/own", "--configfile", "../workflow/studies/tiny.yaml"],
        ["-s", "../link/Snakefile", "-d", "."],
    ],
    ids=["relative", "working directory", "symlink"],
)
def test_the_workflow_may_be_called_from_another_folder(copied, tmp_path, arguments):
    place = tmp_path
    (place / "workflow").mkdir()
    copy_workflow(place / "workflow", copied)
    (place / "link").symlink_to("workflow")
    (place / "own").mkdir()
    (place / "own" / "mine.csv").write_text("smiles,label\n", encoding="utf-8")
    target = "target={source: file, path: mine.csv, label: label}"
    given = [argument.format(place=place) for argument in arguments]
    done = call(
        place / "own",
        "-m",
        "snakemake",
        "--cores",
        1,
        "results/own/config.yaml",
        *given,
        "--config",
        "study=own",
        target,
    )
    assert done.returncode == 0, done.stdout
    made = yaml.safe_load((place / "own" / "results/own/config.yaml").read_text(encoding="utf-8"))
    assert made["target"]["path"] == "mine.csv"
    assert made["embedded"]["targets"] == (80 if "--configfile" in arguments else 640)
    assert not (place / "workflow" / "results").exists()


def test_a_configuration_of_the_working_directory_is_an_overlay(copied, tmp_path):
    (tmp_path / "config.yaml").write_text("study: own\nseeds: [5]\n", encoding="utf-8")
    snakefile = copied / "Snakefile"
    done = call(tmp_path, "-m", "snakemake", "-n", "-s", snakefile, "all", "--config", "study=named")
    assert done.returncode == 0, done.stdout
    assert "results/named/runs/scaffold/0/5/mlm/model.safetensors" in done.stdout
    (tmp_path / "config.yaml").write_text("samples: samples.tsv\n", encoding="utf-8")
    done = call(tmp_path, "-m", "snakemake", "-n", "-s", snakefile, "all")
    assert done.returncode != 0
    assert "configuration: unknown key 'samples'" in done.stdout


# Users.


def unknown(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")


def test_a_user_without_an_account_gets_a_name(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setenv("USER", "")  # so that it is restored
    name_user()
    assert getpass.getuser() == f"user{os.getuid()}"
    monkeypatch.setenv("LOGNAME", "somebody")
    name_user()
    assert getpass.getuser() == "somebody"


def test_a_user_without_an_account_can_run_the_workflow(copied):
    program = (
        "import pwd, sys\n"
        "def unknown(number): raise KeyError('getpwuid(): uid not found')\n"
        "pwd.getpwuid = unknown\n"
        "from snakemake.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    without = dict.fromkeys(NAMES)
    done = call(copied, "-c", program, "-n", "results/embedded/config.yaml", HOME=str(copied), **without)
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
