"""What fails and is optional leaves a mark: never scores, never an end of the study, and never in silence."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from chemsieve.errors import ChemsieveError
from chemsieve.influence import aggregation, datamodelling
from chemsieve.runtime import failures, job
from chemsieve.study import optional
from chemsieve.study.runs import read_facts
from chemsieve.tables import TABLES, read_table, write_table
from helpers.workflow import CONTRACT, RESULTS, overlay, planned, snakemake

AXES = {"splitter": "scaffold", "split_seed": "0", "seed": "1", "origin": "baseline", "checkpoint": "2"}
LISSA = failures.Failure("influence", {**AXES, "estimator": "lissa"}, "it diverged", "results/s/logs/influence.log")


@pytest.fixture
def config():
    """The embedded study's configuration."""
    return yaml.safe_load((Path(__file__).parent.parent / "config.yaml").read_text(encoding="utf-8"))


def test_a_mark_is_read_back_and_nobody_takes_it_for_a_result(tmp_path):
    paths = [tmp_path / name for name in ("scores.parquet", "run.json", "model.safetensors")]
    failures.mark(map(str, paths), LISSA)
    assert [failures.of(path) for path in paths] == [LISSA] * 3
    with pytest.raises(ChemsieveError, match="not a readable Parquet file"):
        read_table(paths[0])
    assert set(read_facts(paths[1])) == {failures.KEY}
    assert failures.present(map(str, [*paths, tmp_path / "other"])) == [str(tmp_path / "other")]


def test_a_result_table_is_marked_and_can_be_read_without_rows(tmp_path):
    path = tmp_path / "tables" / "comparisons.parquet"
    failures.mark([str(path)], LISSA)
    assert failures.of(path) == LISSA
    table = pd.read_parquet(path)
    assert list(table) == list(TABLES["comparisons"])
    assert not len(table)
    write_table(table, path, "comparisons")
    assert failures.of(path) is None, "an empty table is a result"


@pytest.mark.parametrize("content", [b"", b"PAR1", b'{"chemsieve_failed": 1', b"\xff\xfe"])
def test_other_files_are_no_marks(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert failures.of(path) is None
    assert failures.of(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("rule", "wildcards", "spared"),
    [
        ("baseline", {"baseline": "svr"}, True),
        ("baseline_on_selection", {"baseline": "svr", "strategy": "random"}, True),
        ("finetune_on_selection", {"method": "lora", "strategy": "none"}, True),
        ("influence", {"origin": "adapted", "estimator": "lissa"}, True),
        ("influence", {"origin": "adapted", "estimator": "shapley"}, False),  # the selection's scores
        ("influence", {"origin": "baseline", "estimator": "shapley"}, True),
        ("aggregate_influence", {"origin": "adapted", "estimator": "shapley"}, False),
        ("gram", {"origin": "adapted", "checkpoint": "2"}, False),
        ("gram", {"origin": "baseline", "checkpoint": "2"}, True),
        ("selection", {"strategy": "diversity"}, True),
        ("selection", {"strategy": "none"}, False),  # the control of every comparison
        ("data", {}, False),
        ("finetune", {"origin": "adapted"}, False),
        ("tune", {"origin": "adapted", "method": "lora"}, True),
        ("tune", {"origin": "adapted", "method": "full"}, False),
        ("metrics_table", {}, False),
        ("comparisons_table", {}, True),
        ("retrain", {"subset": "0", "retrain_seed": "0"}, True),
    ],
)
def test_what_a_study_goes_on_without(config, rule, wildcards, spared):
    assert optional.optional(config, rule, wildcards) is spared
    assert optional.optional({**config, "on_failure": "stop"}, rule, wildcards) is False


def test_no_scores_are_needed_where_no_strategy_uses_them(config):
    config["selection"] |= {"run": ["none", "random"], "rank": []}
    config["grid"]["selections"] = ["none"]
    assert optional.optional(config, "influence", {"origin": "adapted", "estimator": "shapley"})
    assert optional.optional(config, "gram", {"origin": "adapted", "checkpoint": "2"})


def test_marks_of_what_is_needed_now_are_removed_unless_snakemake_only_looks(tmp_path, config):
    paths = [tmp_path / "runs" / "lissa" / "scores.parquet", tmp_path / "runs" / "svr" / "run.json"]
    failures.mark([str(paths[0])], LISSA)
    failures.mark([str(paths[1])], failures.Failure("baseline", {"baseline": "svr"}, "it failed", "log"))
    listed = tmp_path / "tables" / "failures.parquet"
    write_table(failures.table(map(str, paths)), listed, "failures")
    assert optional.forget(tmp_path, config, ["all"]) == []
    config["selection"]["estimator"], config["selection"]["origin"] = "lissa", "baseline"
    for looking in (["-n"], ["all", "--dry-run"], ["--report=a.html"]):
        assert optional.forget(tmp_path, config, looking) == [LISSA]
        assert paths[0].exists()
        assert listed.exists()
    assert optional.forget(tmp_path, config, ["--cores", "2", "all"]) == [LISSA]
    assert [path.exists() for path in (*paths, listed)] == [False, True, False]


def test_the_table_lists_each_step_once_and_causes_first(tmp_path):
    following = LISSA.of_step("aggregate_influence", {"origin": "baseline", "estimator": "lissa"})
    paths = [str(tmp_path / name) for name in ("b.parquet", "a.parquet", "c.json")]
    failures.mark(paths[:1], following)
    failures.mark(paths[1:], LISSA)
    table = failures.table(paths)
    assert list(table["rule"]) == ["influence", "aggregate_influence"]
    assert list(table["cause"]) == ["", "influence scaffold/0/1/baseline/2/lissa"]
    assert set(table["reason"]) == {"it diverged"}
    # What a step further on says names the first cause, too.
    assert following.of_step("selection", {}).cause == LISSA.step
    write_table(table, tmp_path / "failures.parquet", "failures")


def test_an_estimator_that_failed_has_a_row_in_the_diagnostics_that_says_so(tmp_path):
    path = tmp_path / "diagnostics.parquet"
    failures.mark([str(path)], LISSA)
    empty = pd.DataFrame({name: [] for name in TABLES["influence_diagnostics"]})
    table = aggregation.with_failures(empty, [str(path)])
    write_table(table, tmp_path / "table.parquet", "influence_diagnostics")
    (row,) = pq.read_table(tmp_path / "table.parquet").to_pylist()
    assert (row["estimator"], row["checkpoint"], row["converged"]) == ("lissa", 2, False)
    assert row["failure"] == "it diverged"
    assert row["relative_residual"] is None


def test_subsets_that_lack_a_training_are_left_out():
    rows = [
        {"splitter": "random", "split_seed": 0, "seed": 0, "subset": subset, "retrain_seed": seed}
        for subset in range(7)
        for seed in range(2)
    ]
    kept = datamodelling.complete(pd.DataFrame(rows[:-1]))
    assert set(kept["subset"]) == {0, 1, 2, 3, 4, 5}
    with pytest.raises(ChemsieveError, match="fewer than 6 subsets"):
        datamodelling.complete(pd.DataFrame(rows[:-3]))


# -- a script's work ---------------------------------------------------------------------------------------------------


class Files(list):
    """Files by number and by name, as Snakemake hands them to a script."""

    def __init__(self, **named):
        super().__init__(named.values())
        self.named = named

    def get(self, name):
        return self.named.get(name)


@pytest.fixture
def script(tmp_path, monkeypatch, config):
    """Makes what Snakemake gives a script, of a rule with one input and one output."""
    monkeypatch.chdir(tmp_path)

    def make(rule, wildcards, **changed):
        return SimpleNamespace(
            rule=rule,
            wildcards=wildcards,
            input=Files(given="given.parquet"),
            output=Files(made="made.json"),
            log=["job.log"],
            params=SimpleNamespace(spec="{}"),
            config={**config, "study": "s", **changed},
        )

    return make


def run(script, error=None, **options):
    """Exit status of a script whose work raises an error; None where it comes to its end."""
    try:
        with job.job(script, **options):
            if error is not None:
                raise error
    except SystemExit as end:
        return end.code
    return None


@pytest.mark.parametrize("error", [ChemsieveError("a label is not finite"), ZeroDivisionError("division by zero")])
def test_an_optional_step_that_fails_leaves_its_mark_and_ends_well(script, error):
    given = script("baseline", {"seed": "0", "baseline": "svr"})
    assert run(given, error) == 0
    failure = failures.of("made.json")
    assert failure.step == "baseline 0/svr"
    assert str(error) in failure.reason
    assert failure.log == "job.log"
    assert str(error) in Path("job.log").read_text()


def test_a_step_that_the_study_needs_or_that_is_to_stop_ends_with_an_error(script):
    assert run(script("finetune", {}), ChemsieveError("diverged")) == 1
    assert run(script("baseline", {"baseline": "svr"}, on_failure="stop"), ChemsieveError("failed")) == 1
    assert not Path("made.json").exists()


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device", "made.json")])
def test_what_the_machine_lacked_is_no_failure_of_the_step(script, error):
    assert run(script("baseline", {"baseline": "svr"}), error) == 1
    assert not Path("made.json").exists()


def test_what_needs_a_failed_result_is_marked_or_ends_with_the_cause(script, capsys):
    failures.mark(["given.parquet"], LISSA)
    assert run(script("finetune_on_selection", {"method": "full", "strategy": "influence"})) == 0
    assert failures.of("made.json").cause == LISSA.step
    assert run(script("finetune", {})) == 1
    assert f"this step needs {LISSA.step}, which failed: it diverged" in capsys.readouterr().err


def test_a_collecting_step_takes_what_is_there(script):
    failures.mark(["given.parquet"], LISSA)
    assert run(script("metrics_table", {}), collects=("given",)) is None


def test_a_mark_says_all_of_it_in_one_line(tmp_path):
    failures.mark([str(tmp_path / "a.json")], LISSA)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.count("\n") == 1
    assert json.loads(text)[failures.KEY]["wildcards"]["estimator"] == "lissa"


@pytest.mark.slow
def test_optional_parts_that_fail_cost_themselves_alone(workspace):
    """A diverging estimator that no selection uses, and a method that cannot train; then both mended."""
    failing = {
        "influence": {"estimators": {"lissa": {"scale": 1e-6}}},
        "grid": {"methods": {"lora": {"training": {"learning_rate": 1e30}}}},
    }
    command = ["all", *overlay(workspace, failing)]
    before = pd.read_parquet(workspace / RESULTS / "tables" / "influence.parquet")
    done = snakemake(workspace, *command)
    assert done.returncode == 0, done.stdout
    tables = {
        name: pd.read_parquet(workspace / RESULTS / "tables" / f"{name}.parquet") for name in [*CONTRACT, "failures"]
    }
    assert set(tables["influence"]["estimator"]) == set(before["estimator"]) - {"lissa"}
    kept = before[before["estimator"] != "lissa"].reset_index(drop=True)
    pd.testing.assert_frame_equal(tables["influence"].reset_index(drop=True), kept)
    lissa = tables["influence_diagnostics"].query("estimator == 'lissa'")
    assert len(lissa) == 4
    assert not lissa["converged"].any()
    assert lissa["failure"].str.contains("diverged").all()
    assert "lora" not in set(tables["metrics"]["method"])
    assert {"bitfit", "ia3"} <= set(tables["metrics"]["method"])
    own = tables["failures"].query("cause == ''")
    assert Counter(own["rule"]) == {"influence": 4, "finetune_on_selection": 3}
    page = (workspace / RESULTS / "report.html").read_text(encoding="utf-8")
    summary = page[page.index('<section id="summary"') : page.index('<section id="comparisons"')]
    assert "influence lissa: 4 steps failed" in summary
    assert "training diverged in epoch 1" in summary
    assert "missing: influence scaffold/0/0/adapted/1/lissa" in done.stdout
    assert planned(workspace, *command) == {}
    stopped = snakemake(workspace, *command, "--config", "on_failure=stop")
    assert stopped.returncode != 0
    assert "the recursion diverged" in stopped.stdout
    # Mended: what stands from before is not made again.
    jobs = planned(workspace, "all", *overlay(workspace, {"grid": failing["grid"]}))
    assert (jobs["influence"], jobs["aggregate_influence"]) == (4, 2)
