"""A study that is killed in every way goes on, and ends with the tables of one that was left alone."""

import contextlib
import os
import signal
import time

import pandas as pd
import psutil
import pytest

from helpers import workflow
from helpers.workflow import CONTRACT, RESULTS, overlay, result_tables, snakemake

pytestmark = pytest.mark.slow


def jobs_of(process):
    """The scripts that a run of Snakemake has running."""
    try:
        children = psutil.Process(process.pid).children()
        return [child for child in children if any(".snakemake/scripts/" in part for part in child.cmdline())]
    except psutil.NoSuchProcess:
        return []


def interrupted(folder, arguments, victim, ready):
    """Start a run, and when ``ready`` is there and a job runs, SIGKILL a job, Snakemake alone, or the whole group."""
    with open(folder / "killed.txt", "w", encoding="utf-8") as output:
        process = workflow.start(folder, *arguments, stdout=output, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while not (ready.exists() and jobs_of(process)) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(1)  # into the steps that follow
        while not (jobs := jobs_of(process)) and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None, (folder / "killed.txt").read_text(encoding="utf-8")
        if victim == "job":
            jobs[0].kill()
        elif victim == "snakemake":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(timeout=120) != 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


MEASURED = ["seconds", "evaluation_seconds", "train_seconds", "peak_memory_mb"]


def test_killed_study_resumes_to_the_same_results(fresh, finished):
    # A part of the study, so that its runs are among those of the undisturbed one.
    part = {
        "selection": {"run": ["none", "influence"]},
        "influence": {"run": ["shapley"], "origins": ["adapted"]},
        "validation": {"run": False},
        "grid": {"run": ["lora"], "selections": ["influence"]},
        "baselines": {"run": ["svr"]},
    }
    arguments = ["all", *overlay(fresh, part)]
    replicate = fresh / RESULTS / "runs" / "scaffold" / "0" / "0"
    last = replicate / "finetune" / "adapted" / "run.json"
    interrupted(fresh, arguments, "group", last)
    assert last.exists()
    assert not (fresh / RESULTS / "report.html").exists()
    finished_before = {
        p: p.stat().st_mtime_ns for p in [*replicate.glob("mlm/*"), *replicate.glob("finetune/adapted/*")]
    }

    # The same command goes on, at once, with nothing to remove or unlock.
    for victim in ("snakemake", "job"):
        interrupted(fresh, arguments, victim, last)
    # Every job by itself this time: a job that is forked with its libraries imported computes the same.
    resumed = snakemake(fresh, "all", *overlay(fresh, part | {"compute": {"warm_start": False}}, "resumed.yaml"))
    assert resumed.returncode == 0, resumed.stdout

    assert len(finished_before) >= 4 + 6
    assert {path: path.stat().st_mtime_ns for path in finished_before} == finished_before
    assert not [path for name in ("*.partial", "*state.safetensors") for path in (fresh / RESULTS).rglob(name)]
    undisturbed = result_tables(finished)
    for name in CONTRACT:
        found = pd.read_parquet(fresh / RESULTS / "tables" / f"{name}.parquet")
        expected = undisturbed[name]
        if "run_id" in expected:
            runs = {"baseline/full/none", "adapted/full/none", "adapted/full/influence", "adapted/lora/influence"}
            runs |= set() if name == "learning_curves" else {"descriptors/svr/none"}
            runs |= {"adapted/mlm/none"} if name == "learning_curves" else set()
            assert set(found["run_id"]) == {f"scaffold/0/0/{run}" for run in runs}
            expected = expected[expected["run_id"].isin(found["run_id"])]
        if "estimator" in expected:
            expected = expected.query("estimator == 'shapley' and origin == 'adapted'")
        if "strategy" in expected:
            expected = expected.query("strategy in ['none', 'influence']")
        columns = [column for column in expected.columns if column not in MEASURED]
        keys = [
            c for c in columns if c in ("run_id", "strategy", "stage", "epoch", "fold", "checkpoint", "molecule_id")
        ]
        keys += ["source", "row"] if name == "rejected" else []
        pd.testing.assert_frame_equal(
            found[columns].sort_values(keys, ignore_index=True),
            expected[columns].sort_values(keys, ignore_index=True),
            check_exact=True,
        )
