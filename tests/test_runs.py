"""Who may write into a results folder, and what a job says when the disk or the memory is at its end."""

import os
import resource
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from chemsieve.errors import ChemsieveError
from chemsieve.runtime import job, locking
from chemsieve.runtime.files import remove_partial, write_text
from chemsieve.runtime.locking import hold
from chemsieve.study.steps import STEPS
from helpers import processes, workflow
from helpers.workflow import RESULTS, ROOT, snakemake, study


def python(program, *arguments, **options):
    """A Python process that can import the package."""
    return processes.start("-c", program, *arguments, environment={"PYTHONPATH": ROOT / "workflow_scripts"}, **options)


def gone(process, seconds=10.0):
    """Whether a process that is not ours ends in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        if (
            Path(f"/proc/{process}/stat").exists()
            and Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] == "Z"
        ):
            return True
        time.sleep(0.05)
    return False


# -- locks -------------------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from chemsieve.runtime.locking import hold
kept = hold(sys.argv[1])
print("held", flush=True)
time.sleep(99)
"""
WORK = """
import sys, time
from chemsieve.runtime.locking import working
with working(sys.argv[1]):
    print("working", flush=True)
    time.sleep(99)
"""
RUN_WITH_JOB = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WORK!r}, sys.argv[1]])"


def test_a_folder_that_a_run_has_is_refused_by_name_and_free_when_the_run_is_killed(tmp_path):
    with python(HOLD, tmp_path) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ChemsieveError) as refusal:
            hold(tmp_path)
        said = str(refusal.value)
        assert said.startswith(f"results folder {tmp_path}: another run is writing to it (process {other.pid} on ")
        assert "\n" not in said
        other.kill()
    hold(tmp_path).close()  # nothing is to be removed by hand
    kept = hold(tmp_path)
    with pytest.raises(ChemsieveError, match=f"process {os.getpid()} "):
        hold(tmp_path)
    hold(tmp_path / "other study").close()
    kept.close()


def test_a_job_keeps_other_runs_out_and_ends_when_its_own_run_is_killed(tmp_path, monkeypatch):
    monkeypatch.delenv(locking.RUN, raising=False)
    monkeypatch.setattr(locking, "PATIENCE", 0.3)
    with python(RUN_WITH_JOB, tmp_path) as run:
        assert run.stdout.readline() == "working\n"
        with pytest.raises(ChemsieveError, match="jobs of a run that was killed still write to it"):
            hold(tmp_path)
        monkeypatch.setattr(locking, "PATIENCE", 20.0)
        run.kill()
        hold(tmp_path).close()  # waits for the job, which ends by itself
        assert "the run that this job belongs to is gone" in run.stdout.read()


POOL = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from chemsieve.runtime.locking import working
with working(sys.argv[1]), ProcessPoolExecutor(1) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(99)
"""


def test_what_a_killed_job_forked_ends_with_it(tmp_path):
    with python(POOL, tmp_path) as killed:
        worker = int(killed.stdout.readline())
        killed.kill()
        killed.wait()
        hold(tmp_path).close()
        assert gone(worker)


def test_a_job_that_starts_after_its_run_was_killed_ends(tmp_path):
    ended = processes.start("-c", "")
    ended.wait()
    with python(WORK, tmp_path) as lives:
        assert lives.stdout.readline() == "working\n"
        time.sleep(0.7)
        assert lives.poll() is None
        lives.kill()
    os.environ[locking.RUN] = str(ended.pid)
    try:
        with python(WORK, tmp_path) as orphan:
            assert orphan.wait(timeout=20) == 1
    finally:
        del os.environ[locking.RUN]


WRITE = """
import sys, time
from pathlib import Path
from chemsieve.runtime.files import write_atomically
def write(temporary):
    temporary.write_text("half of it")
    (temporary.parent / ".tmpAb3Z9x").write_text("what safetensors writes to before it renames")
    print(temporary, flush=True)
    time.sleep(99)
write_atomically(sys.argv[1], write)
"""


def test_what_a_killed_process_left_half_written_is_removed_and_what_another_writes_is_not(tmp_path):
    (tmp_path / "inner").mkdir()
    write_text(tmp_path / "inner" / "whole.json", "{}")
    with python(WRITE, tmp_path / "inner" / "a") as killed, python(WRITE, tmp_path / "b") as lives:
        left, kept = (Path(process.stdout.readline().strip()) for process in (killed, lives))
        killed.kill()
        killed.wait()
        assert left.exists()
        assert set(remove_partial(tmp_path)) == {left, left.parent / ".tmpAb3Z9x"}
        assert not left.exists()
        assert kept.read_text() == "half of it"
        lives.kill()
        lives.wait()
        assert set(remove_partial(tmp_path)) == {kept, kept.parent / ".tmpAb3Z9x"}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["whole.json"]


@pytest.mark.slow
def test_runs_at_once_do_not_corrupt_each_other(fresh):
    """The same study twice and another one, in one folder."""
    given = study(fresh)
    names = ("small", "small", "other")
    runs = [
        workflow.start(fresh, f"results/{name}/embedded/target.csv", *given, "--config", f"study={name}", cores=1)
        for name in names
    ]
    said = [run.communicate()[0] for run in runs]
    codes = [run.returncode for run in runs]
    assert codes[2] == 0, said[2]
    assert 0 in codes[:2], said[0] + said[1]
    for code, text in zip(codes, said, strict=True):
        if code:
            assert text.count("results folder results/small: another run is writing to it (process ") == 1
            assert "Traceback" not in text
    again = snakemake(fresh, str(RESULTS / "embedded" / "target.csv"), *given)
    assert "Nothing to be done" in again.stdout, again.stdout
    one, two = ((fresh / "results" / name / "embedded" / "target.csv").read_bytes() for name in names[1:])
    assert one == two
    with hold(fresh / RESULTS):
        refused = snakemake(fresh, str(RESULTS / "encoder" / "config.json"), *given)
    assert refused.returncode != 0
    assert refused.stdout.count(f"another run is writing to it (process {os.getpid()} on ") == 1
    assert "Traceback" not in refused.stdout
    assert not (fresh / RESULTS / "encoder" / "config.json").exists()


# -- memory ------------------------------------------------------------------------------------------------------------


def cuda():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 1 GiB")


def bad_alloc():
    raise RuntimeError("std::bad_alloc")


GREEDY = {
    "torch": (
        lambda: torch.empty(10**15),
        "memory ran out in the step mlm (it asked for 4000000000000000 bytes more); ",
    ),
    "numpy": (lambda: np.empty(10**15), "memory ran out in the step mlm (it asked for 7.11 PiB more); "),
    "pyarrow": (lambda: pa.allocate_buffer(10**15), "memory ran out in the step mlm"),
    "python": (lambda: bytearray(10**16), "memory ran out in the step mlm; "),
    "cuda": (cuda, "the GPU's memory ran out in the step mlm (it asked for 20.00 MiB more); "),
    "c++": (bad_alloc, "memory ran out in the step mlm; "),
}


@pytest.mark.parametrize("library", GREEDY)
def test_memory_that_runs_out_is_one_sentence_with_the_step_and_what_to_change(library):
    ask, begins = GREEDY[library]
    with pytest.raises((MemoryError, RuntimeError)) as error:
        ask()
    said = job._out_of_memory(error.value, "mlm")
    assert said.startswith(begins)
    assert "lower mlm.batch_size, run fewer steps at a time" in said
    assert "\n" not in said


def test_other_errors_are_not_taken_for_memory():
    for error in (
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("out of memory"),
        OSError(28, "x"),
    ):
        assert job._out_of_memory(error, "mlm") is None


def test_every_step_has_its_script():
    scripts = {path.stem for path in (ROOT / "workflow_scripts").glob("*.py")}
    named = {declared.script or rule for rule, declared in STEPS.items() if rule != "all"}
    assert named == scripts


JOB = """
import json, resource, sys
from types import SimpleNamespace
from chemsieve.runtime.job import job
snakemake = SimpleNamespace(
    log=["results/a/logs/mlm.log"], rule="mlm", wildcards={"seed": "0"}, config={"study": "a"},
    params=SimpleNamespace(spec="{}"), input=[], output=[],
)
with job(snakemake) as spec:
    import torch
    resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
    held = [torch.empty(2**28) for _ in range(64)]  # not touched: granted, and not taken
"""


def test_a_job_without_memory_ends_with_its_sentence(tmp_path):
    with python(JOB, cwd=tmp_path) as done:
        said, _ = done.communicate(timeout=120)
    assert done.returncode == 1
    assert said.startswith("[mlm 0] memory ran out in the step mlm (it asked for 1073741824 bytes more); "), said
    assert said.count("\n") == 1
    log = (tmp_path / "results/a/logs/mlm.log").read_text(encoding="utf-8")
    assert "memory ran out in the step mlm" in log
    hold(tmp_path / "results/a").close()


# -- the disk ----------------------------------------------------------------------------------------------------------

FULL = """
import resource, sys
from pathlib import Path
import pandas as pd, torch
from chemsieve.models.checkpoints import write_tensors
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import write_json, write_text
from chemsieve.tables import write_table
from chemsieve.training.saves import Saves
folder = Path(sys.argv[1])
tensors = {"a": torch.rand(100_000)}
frame = pd.DataFrame({"molecule_id": [f"target-{hash(str(i))}" for i in range(50_000)], "label": torch.rand(50_000)})
writers = {
    "model.safetensors": lambda path: write_tensors(tensors, path),
    "state.safetensors": lambda path: Saves(path, "", 0).write(tensors, {}),
    "table.parquet": lambda path: write_table(frame, path, "labels"),
    "report.html": lambda path: write_text(path, "<p>" * 100_000),
    "facts.json": lambda path: write_json(path, ["a" * 99] * 9_999),
}
for name, write in writers.items():
    write(folder / name)
before = {name: (folder / name).read_bytes() for name in writers}
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for name, write in writers.items():
    try:
        write(folder / name)
    except ChemsieveError as error:
        print(error)
assert {path.name for path in folder.iterdir()} == set(writers)
assert before == {name: (folder / name).read_bytes() for name in writers}
"""


def test_a_file_that_the_system_cuts_off_is_one_sentence_whatever_is_written(tmp_path):
    with python(FULL, tmp_path) as done:
        said, _ = done.communicate(timeout=120)
    assert done.returncode == 0, said
    names = ["model.safetensors", "state.safetensors", "table.parquet", "report.html", "facts.json"]
    assert said.splitlines() == [f"{tmp_path / name}: cannot be written (File too large)" for name in names]


def test_a_full_disk_outside_our_own_writes_is_one_sentence(tmp_path):
    program = JOB.replace(
        "import torch\n", "import errno\n    raise OSError(errno.ENOSPC, 'No space', '/tmp/scratch')\n"
    )
    with python(program, cwd=tmp_path) as done:
        said, _ = done.communicate(timeout=60)
    assert (done.returncode, said) == (1, "[mlm 0] /tmp/scratch: cannot be written (No space left on device)\n")


@pytest.mark.slow
def test_a_study_goes_on_once_there_is_room_again(fresh):
    given = ["results/small/encoder/model.safetensors", *study(fresh)]

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    full = snakemake(fresh, *given, preexec_fn=little_room)
    assert full.returncode != 0
    said = "[encoder] results/small/encoder/model.safetensors: cannot be written (File too large)"
    assert full.stdout.count(said) == 1, full.stdout
    assert "Traceback" not in full.stdout
    done = snakemake(fresh, *given)
    assert done.returncode == 0, done.stdout
    assert not list((fresh / RESULTS).rglob("*.partial"))
