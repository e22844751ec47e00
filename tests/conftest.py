"""Shared by all tests: a tiny MoLFormer, molecules, one finished study, one browser."""

import os
import shutil

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: torch's threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

from helpers.sharing import made_once
from helpers.tiny import TINY
from helpers.workflow import copy_workflow, snakemake, study

# The same few examples everywhere, and none kept; a busy machine is no finding.
settings.register_profile(
    "chemsieve",
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("chemsieve")


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
    """An encoder folder of a tiny MoLFormer with random weights."""
    from chemsieve.models import backbone

    folder = tmp_path_factory.mktemp("encoder")
    backbone.prepare(folder, {"family": "molformer", "architecture": TINY, "seed": 0})
    return folder


@pytest.fixture
def corpora():
    """Molecules to pretrain on and molecules held out, with vectors of a teacher."""
    from helpers import pretraining

    return pretraining.corpora()


# -- one finished study ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """The workflow as it is now, so that all tests see the same one though somebody edits theirs meanwhile."""
    return made_once(tmp_path_factory, "sources", copy_workflow)


@pytest.fixture(scope="session")
def finished(sources, tmp_path_factory):
    """A folder in which the small study ran to its report. Read it only; `workspace` is a copy to change."""

    def make(folder):
        copy_workflow(folder, sources)
        done = snakemake(folder, "all", *study(folder))
        assert done.returncode == 0, done.stdout

    return made_once(tmp_path_factory, "finished", make)


@pytest.fixture
def workspace(finished, tmp_path):
    """A copy of the finished folder, times of its files included."""
    return shutil.copytree(finished, tmp_path / "workspace")


@pytest.fixture
def fresh(sources, tmp_path):
    """A folder in which nothing ran yet."""
    folder = tmp_path / "fresh"
    copy_workflow(folder, sources)
    study(folder)
    return folder


@pytest.fixture(scope="module")
def copied(sources, tmp_path_factory):
    """A folder in which nothing ran yet, for the tests of a file that plan or write what is their own."""
    folder = tmp_path_factory.mktemp("copied") / "workflow"
    copy_workflow(folder, sources)
    return folder


# -- one browser -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium():
    """A browser that is started once."""
    from chemsieve.report.browser import browser, installed

    if installed() is None:
        pytest.skip("no Chromium or Chrome on this machine")
    with browser() as started:
        yield started
