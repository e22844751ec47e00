"""Profiles, what jobs ask for, groups, a GPU for each job; not SLURM itself (benchmarks/slurm.py)."""

import importlib.util
import os
import re
import select
import signal
import subprocess
import tomllib
from collections import Counter

import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement

from chemsieve.errors import ChemsieveError
from chemsieve.runtime import devices
from chemsieve.study import resources, steps
from chemsieve.study.configuration import normalise
from helpers import processes
from helpers.workflow import RESULTS, ROOT, plan, snakemake, study

PROFILES = sorted(path.parent.name for path in (ROOT / "profiles").glob("*/config.yaml"))
EXECUTORS = {"slurm": "snakemake_executor_plugin_slurm", "kubernetes": "snakemake_executor_plugin_kubernetes"}
RULES = re.findall(r"(?m)^ *rule (\w+):$", "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk")))


def submissions(output):
    """What a dry run would submit: Counter of groups and of single rules, local ones left out."""
    groups = Counter(re.findall(r"^\[.*\] Group job (\w+) \(jobs", output, re.MULTILINE))
    singles = Counter(re.findall(r"^rule (\w+):$", output, re.MULTILINE))
    return groups, Counter({rule: n for rule, n in singles.items() if rule not in LOCAL})


LOCAL = {"all", "effective_config", "download_target", "encoder"}


def without_plugin(folder, name):
    """The profile as a machine without its executor plugin can read it: the settings that are Snakemake's own."""
    given = yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text(encoding="utf-8"))
    foreign = ("executor", f"{name}-", "default-storage-")
    kept = {key: value for key, value in given.items() if not key.startswith(foreign)}
    (folder / "plain" / name).mkdir(parents=True, exist_ok=True)
    (folder / "plain" / name / "config.yaml").write_text(yaml.safe_dump(kept), encoding="utf-8")
    return f"plain/{name}"


@pytest.fixture(scope="module")
def on_slurm(copied):
    """The dry run of the tiny study by the slurm profile's own settings."""
    done = snakemake(
        copied, "-n", "all", "--profile", without_plugin(copied, "slurm"), "--configfile", "studies/tiny.yaml"
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["local", "multi_gpu", "shared_gpu"])
def test_profiles_of_one_machine_plan_the_study(copied, name):
    jobs = plan(copied, "all", "--profile", f"profiles/{name}", "--configfile", "studies/tiny.yaml")
    assert Counter(job.rule for job in jobs)["report"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXECUTORS))
def test_profiles_of_clusters_plan_the_study(copied, tmp_path, name):
    if importlib.util.find_spec(EXECUTORS[name]) is None:
        pytest.skip(f"{EXECUTORS[name]} is not installed (requirements-cluster.lock)")
    storage = ["--default-storage-prefix", str(tmp_path)] if name == "kubernetes" else []
    done = snakemake(
        copied, "-n", "all", "--profile", f"profiles/{name}", *storage, "--configfile", "studies/tiny.yaml"
    )
    assert done.returncode == 0, done.stdout
    assert submissions(done.stdout)[0]["tables"] == 1


def test_every_profile_is_known_here():
    assert set(PROFILES) == {"default", "local", "gpu", "multi_gpu", "shared_gpu", *EXECUTORS}
    one, several, shared = (
        yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text(encoding="utf-8"))
        for name in ("gpu", "multi_gpu", "shared_gpu")
    )
    assert one == several | {"resources": {"gpu": 1}} == shared | {"resources": {"gpu": 1}}
    assert set(shared["resources"]) == {"gpu_jobs"}


def test_every_rule_says_what_it_needs(copied):
    # Parsed as Snakemake does, since a rule may be of a study that the tiny one is not.
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk")}
    for text in sources.values():
        for part in re.split(r"(?m)^(?= *rule \w+:$)", text)[1:]:
            name = re.match(r" *rule (\w+):", part)[1]
            assert f'**needs("{name}")' in part, name
    for rule in RULES:
        steps.step(rule)


def test_small_jobs_are_grouped(on_slurm):
    groups, singles = submissions(on_slurm)
    jobs = int(re.search(r"^total +(\d+)$", on_slurm, re.MULTILINE)[1])
    expected = {"data": 1, "split": 1, "audit": 1, "baselines": 1, "scores": 2, "selection": 1, "cells": 4}
    assert groups == expected | {"retrain": 2, "tables": 1}
    assert singles == {"embeddings": 1, "mlm": 1, "finetune": 2, "gram": 4, "influence": 8}
    assert (jobs, groups.total() + singles.total()) == (102, 30)


def configuration(name=None):
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    return config | normalise(config)


SMALL = resources.Sizes(512, 64, 300, 384, 2, 2_700_000)
LARGE = resources.Sizes(48, 6, 36, 768, 12, 44_400_000)


# The embedded study (benchmarks/results/demands.json), and the full-size check with its own settings.
@pytest.mark.parametrize(
    ("rule", "memory", "seconds"),
    [("finetune", 641, 8.0), ("finetune_on_selection", 707, 12.0), ("mlm", 817, 7.9), ("gram", 1309, 10.9),
     ("influence", 677, 12.5), ("retrain", 669, 10.3), ("selection", 620, 6.8), ("baseline", 481, 3.3),
     ("report", 542, 2.5), ("audit_shift", 565, 3.2), ("audit", 480, 1.0), ("comparisons_table", 427, 6.1)],
)  # fmt: skip
def test_resources_exceed_the_measured_embedded_study_and_are_not_silly(rule, memory, seconds):
    mb, minutes = resources.ask(steps.step(rule).takes(SMALL, configuration()))
    assert memory + resources.RUNNER_MB < mb < 4 * (memory + resources.RUNNER_MB)
    assert seconds < minutes * 60 <= 30 * 60


@pytest.mark.parametrize(
    ("rule", "memory", "seconds"),
    [("finetune", 1974, 39.0), ("mlm", 1558, 17.0), ("influence", 4043, 189.0), ("finetune_on_selection", 1763, 39.5)],
)
def test_resources_follow_the_encoder(rule, memory, seconds):
    config = configuration()
    full = yaml.safe_load((ROOT / "studies" / "full_size_check.yaml").read_text(encoding="utf-8"))
    for section in ("mlm", "finetune", "influence"):
        given = full[section]
        given = (
            given | {"estimators": config["influence"]["estimators"] | given["estimators"]}
            if "estimators" in given
            else given
        )
        config[section] = config[section] | given
    mb, minutes = resources.ask(steps.step(rule).takes(LARGE, config))
    assert memory + resources.RUNNER_MB < mb < 4 * memory
    assert seconds < minutes * 60 < 30 * seconds + 600


def test_resources_grow_with_the_attempt_and_the_molecules():
    config = configuration()
    once, twice = (resources.ask(steps.step("gram").takes(SMALL, config), attempt) for attempt in (1, 2))
    assert twice == pytest.approx((2 * once[0], 2 * once[1]), abs=1)
    many = resources.Sizes(30_000, 4_000, 300_000, 384, 2, 2_700_000)
    for rule in ("finetune", "finetune_on_selection", "influence", "data", "selection"):
        few, more = steps.step(rule).takes(SMALL, config), steps.step(rule).takes(many, config)
        assert more[0] > few[0], rule
        assert more[1] > 10 * few[1], rule


def test_sizes_are_those_of_the_tables_where_they_stand(tmp_path):
    config = configuration()
    before = resources.sizes(config, tmp_path, ROOT / "resources" / "encoder")
    assert (before.train, before.pool, before.hidden) == (318, 360, 384)
    assert before.parameters == pytest.approx(2_683_777, rel=0.03)  # as the metrics table counts them
    for name, rows in (("tables/molecules", 1250), ("data/pool", 1000)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"row": range(rows)}).to_parquet(tmp_path / f"{name}.parquet")
    after = resources.sizes(config, tmp_path)
    assert (after.train, after.query, after.pool) == (30, 10, 1000)
    assert after.hidden == 768  # no encoder is known: as large as MoLFormer-XL


# GPUs.

HOLD = """
import os, sys
from chemsieve.runtime.devices import claim
name = claim(sys.argv[1])
print(name, os.environ["CUDA_VISIBLE_DEVICES"], claim(sys.argv[1]), flush=True)
sys.stdin.read()
"""


def test_no_two_jobs_share_a_gpu_and_a_killed_one_leaves_its_own(tmp_path):
    names = ["4", "7", "GPU-5a"]
    environment = {"PYTHONPATH": ROOT / "workflow_scripts", devices.VARIABLE: ",".join(names)}
    jobs = [
        processes.start("-c", HOLD, tmp_path, environment=environment, stdin=subprocess.PIPE, stderr=None)
        for _ in range(5)
    ]
    holding, waiting = {}, jobs
    try:
        for how in (None, signal.SIGKILL, None):
            while len(holding) < 3:
                ready, _, _ = select.select([job.stdout for job in waiting], [], [], 60)
                job = next(job for job in waiting if job.stdout in ready)
                taken = job.stdout.readline().split()
                assert taken == [taken[0]] * 3
                assert taken[0] not in holding
                holding[taken[0]], waiting = job, [other for other in waiting if other is not job]
            assert set(holding) == set(names)
            # The others wait while all are taken.
            assert select.select([job.stdout for job in waiting], [], [], 1.5)[0] == [] if waiting else True
            if waiting:
                leaves = holding.pop("7")
                leaves.send_signal(how) if how else leaves.stdin.close()
                leaves.wait(30)
    finally:
        for job in jobs:
            job.kill()
            job.wait()


@pytest.mark.slow
def test_jobs_have_a_gpu_each(workspace, monkeypatch):
    """A pretended nvidia-smi lists three GPUs, of which the profile shares two; training finds none behind it."""
    program = workspace / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{workspace}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(workspace))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    targets = [str(RESULTS / f"runs/scaffold/0/0/finetune/{origin}/run.json") for origin in ("baseline", "adapted")]
    arguments = ["--profile", "profiles/multi_gpu", "--forcerun", "finetune", *study(workspace)]
    done = snakemake(workspace, *targets, *arguments)
    assert done.returncode == 0, done.stdout
    taken = re.findall(r"\[finetune scaffold 0 0 (\w+)\] GPU (\S+)", done.stdout)
    assert sorted(origin for origin, _ in taken) == ["adapted", "baseline"]
    assert {gpu for _, gpu in taken} <= {"0", "1"}
    # More than there are is refused before a job starts.
    done = snakemake(workspace, *targets, "--profile", "profiles/multi_gpu", "--resources", "gpu=4", *arguments[2:])
    assert done.returncode != 0
    assert "gpu=4 jobs are to have a GPU each, but this machine shows 3" in done.stdout
    assert "Traceback" not in done.stdout


def test_as_many_jobs_share_a_gpu_as_it_has_places(tmp_path):
    """Of five jobs and two GPUs, one with two places and one with one, three hold a place and two wait."""
    environment = {"PYTHONPATH": ROOT / "workflow_scripts", devices.VARIABLE: "0,1,0"}
    jobs = [
        processes.start("-c", HOLD, tmp_path, environment=environment, stdin=subprocess.PIPE, stderr=None)
        for _ in range(5)
    ]
    try:
        taken, waiting = [], jobs
        while len(taken) < 3:
            ready, _, _ = select.select([job.stdout for job in waiting], [], [], 60)
            taken += [job.stdout.readline().split()[0] for job in waiting if job.stdout in ready]
            waiting = [job for job in waiting if job.stdout not in ready]
        assert sorted(taken) == ["0", "0", "1"]
        assert select.select([job.stdout for job in waiting], [], [], 1.5)[0] == []
    finally:
        for job in jobs:
            job.kill()
            job.wait()


def test_places_are_spread_over_the_visible_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-1")
    assert devices.spread(5) == "3,GPU-1,3,GPU-1,3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ChemsieveError, match="gpu_jobs=4 jobs are to share the GPUs, but this machine shows none"):
        devices.spread(4)


# As a training job asks, and it waits until it sees another one, or for two seconds.
SHARING = """
rule all:
    input: expand("done/{n}", n=range(4))

rule train:
    output: touch("done/{n}")
    resources: gpu=1, gpu_jobs=1
    shell: "mkdir -p now && touch now/{wildcards.n} && sleep 2 && ls now | wc -l >> seen && rm now/{wildcards.n}"
"""


@pytest.mark.slow
def test_no_more_jobs_use_a_gpu_at_a_time_than_the_profile_says(copied, tmp_path, monkeypatch):
    (tmp_path / "Snakefile").write_text(SHARING, encoding="utf-8")
    profile = ["--profile", str(ROOT / "profiles" / "shared_gpu"), "--resources", "gpu_jobs=2"]
    done = snakemake(tmp_path, *profile, cores=4)
    assert done.returncode == 0, done.stdout
    assert max(int(line) for line in (tmp_path / "seen").read_text(encoding="utf-8").split()) == 2
    # Every job that may use a GPU asks for a place, where a GPU is shown, and no other one does.
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0\\n'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = snakemake(copied, "-n", "all", *profile, "--configfile", "studies/tiny.yaml")
    assert done.returncode == 0, done.stdout
    asking = set(re.findall(r"(?m)^(?:local)?rule (\w+):\n(?:    .*\n)*?    resources: .*gpu_jobs=1", done.stdout))
    assert {"mlm", "finetune", "gram", "influence", "finetune_on_selection", "retrain"} <= asking
    assert asking <= {rule for rule in RULES if steps.step(rule).gpu}


def test_without_a_list_nothing_is_claimed(tmp_path, monkeypatch):
    monkeypatch.delenv(devices.VARIABLE, raising=False)
    assert devices.claim(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_shared_gpus_are_those_that_are_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-1")
    assert devices.share(2) == "3,GPU-1"
    with pytest.raises(ChemsieveError, match="gpu=4 jobs are to have a GPU each, but this machine shows 2"):
        devices.share(4)


def test_executors_are_pinned_beside_the_lock_and_not_in_it():
    def pins(name):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        return dict(line.split("#")[0].strip().split("==") for line in lines if line.split("#")[0].strip())

    base, added = pins("requirements.lock"), pins("requirements-cluster.lock")
    assert base.keys().isdisjoint(added)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert wanted["cluster"]
    for requirement in map(Requirement, wanted["cluster"]):
        assert added[requirement.name] in requirement.specifier
