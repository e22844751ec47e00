"""What a change reruns, and what it does not."""

from collections import Counter

import pytest

from helpers.workflow import OVERLAY, RESULTS, append, edit, overlay, plan, planned, snakemake, study

TABLES_OF_RUNS = {
    **{"metrics_table": 1, "comparisons_table": 1, "learning_curves_table": 1, "failures_table": 1},
    **{"report": 1, "all": 1},
}


@pytest.mark.slow
def test_second_run_has_nothing_to_do(workspace):
    done = snakemake(workspace, "all", *study(workspace))
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in done.stdout


@pytest.mark.slow
def test_touched_files_rerun_nothing(workspace):
    for path in workspace.rglob("*"):
        if path.is_file() and path.relative_to(workspace).parts[0] not in ("results", ".snakemake"):
            path.touch()
    assert planned(workspace, "all", *study(workspace)) == {}


def test_comments_and_docstrings_rerun_nothing(workspace):
    package = workspace / "workflow_scripts" / "chemsieve"
    append(workspace / "config.yaml", "\n# A remark.\n")
    append(workspace / "Snakefile", "\n# A remark.\n")
    append(workspace / "rules" / "finetune.smk", "\n# A remark.\n")
    append(workspace / "workflow_scripts" / "finetune.py", "\n# A remark.\n")
    append(package / "training" / "loop.py", "\n# A remark.\n")
    edit(next(package.rglob("lissa.py")), '"""LiSSA', '"""A remark on LiSSA')
    assert planned(workspace, "all", *study(workspace)) == {}


# Two values that change places are a change too, though Snakemake compares parameters as a set.
@pytest.mark.parametrize("options", [pytest.param({"rank": 3}, marks=pytest.mark.slow), {"rank": 16, "alpha": 2}])
def test_option_of_a_method_reruns_its_cells(workspace, options):
    jobs = plan(workspace, "all", *overlay(workspace, {"grid": {"methods": {"lora": options}}}))
    assert Counter(job.rule for job in jobs) == {"finetune_on_selection": 3, "effective_config": 1} | TABLES_OF_RUNS
    cells = {(j.wildcards["method"], j.wildcards["strategy"]) for j in jobs if j.rule == "finetune_on_selection"}
    assert cells == {("lora", strategy) for strategy in OVERLAY["grid"]["selections"]}


def test_budget_reruns_its_selection_and_what_trains_on_it(workspace):
    change = {"selection": {"strategies": {"diversity": {"budget": {"count": 12}}}}}
    jobs = plan(workspace, "all", *overlay(workspace, change))
    expected = {
        "selection": 1,
        "finetune_on_selection": 4,
        "selections_table": 1,
        "selected": 1,
        "validate_influence": 1,
    }
    assert Counter(job.rule for job in jobs) == expected | {"effective_config": 1} | TABLES_OF_RUNS
    assert {j.wildcards["strategy"] for j in jobs if "strategy" in j.wildcards} == {"diversity"}
    assert {j.wildcards["method"] for j in jobs if "method" in j.wildcards} == {"full", "bitfit", "lora", "ia3"}


SCORED_AGAIN = {"influence": 4, "aggregate_influence": 2, "influence_tables": 1, "validate_influence": 1}
SCORED_AGAIN |= {"failures_table": 1}
CHOSEN_AGAIN = {
    "selection": 2,
    "selections_table": 1,
    "selected": 1,
    "validate_influence": 1,
    "finetune_on_selection": 5,
} | TABLES_OF_RUNS


@pytest.mark.parametrize(
    ("estimator", "options", "expected"),
    [
        pytest.param("lissa", {"depth": 7}, SCORED_AGAIN | {"report": 1, "all": 1}, marks=pytest.mark.slow),
        # Selections read its scores.
        pytest.param("shapley", {"permutations": 22}, SCORED_AGAIN | CHOSEN_AGAIN, marks=pytest.mark.slow),
    ],
)
def test_option_of_an_estimator_reruns_its_scores_and_who_reads_them(workspace, estimator, options, expected):
    change = {"influence": {"estimators": {estimator: options}}}
    jobs = plan(workspace, "all", *overlay(workspace, change))
    assert Counter(job.rule for job in jobs) == expected | {"effective_config": 1}
    assert {j.wildcards["estimator"] for j in jobs if "estimator" in j.wildcards} == {estimator}
    strategies = {j.wildcards["strategy"] for j in jobs if "strategy" in j.wildcards}
    assert strategies == ({"influence", "influence_bottom"} if estimator == "shapley" else set())


@pytest.mark.slow
def test_the_gram_matrix_reruns_who_works_on_it(workspace):
    jobs = plan(workspace, "all", *overlay(workspace, {"influence": {"gram": {"tolerance": 0.02}}}))
    scored = {"gram": 4, "influence": 8, "aggregate_influence": 4, "influence_tables": 1, "validate_influence": 1}
    assert Counter(job.rule for job in jobs) == scored | CHOSEN_AGAIN | {"effective_config": 1}
    assert {j.wildcards["estimator"] for j in jobs if "estimator" in j.wildcards} == {"exact", "shapley"}


@pytest.mark.slow
def test_other_scores_for_selection_choose_again_and_score_nothing(workspace):
    change = {"selection": {"estimator": "lissa"}}
    assert planned(workspace, "all", *overlay(workspace, change)) == CHOSEN_AGAIN | {"effective_config": 1}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("lissa", SCORED_AGAIN | {"report": 1, "all": 1}),
        pytest.param("shapley", SCORED_AGAIN | CHOSEN_AGAIN, marks=pytest.mark.slow),
        pytest.param(
            "diversity",
            {"selection": 1, "selections_table": 1, "selected": 1, "validate_influence": 1, "finetune_on_selection": 4}
            | TABLES_OF_RUNS,
            marks=pytest.mark.slow,
        ),
        pytest.param("ia3", {"finetune_on_selection": 3} | TABLES_OF_RUNS, marks=pytest.mark.slow),
        pytest.param("tradeoff", {"report": 1, "all": 1}, marks=pytest.mark.slow),
    ],
)
def test_code_reruns_what_uses_it(workspace, module, expected):
    (path,) = (workspace / "workflow_scripts" / "chemsieve").rglob(f"{module}.py")
    append(path, "\nANOTHER_CONSTANT = 1\n")
    assert planned(workspace, "all", *study(workspace)) == expected


@pytest.mark.slow
def test_another_seed_keeps_every_finished_run(workspace):
    jobs = plan(workspace, "all", *overlay(workspace, {"seeds": [0, 1]}))
    below_seed = Counter(job.rule for job in jobs if "seed" in job.wildcards)
    assert {job.wildcards["seed"] for job in jobs if "seed" in job.wildcards} == {"1"}
    assert below_seed == {
        "mlm": 1,
        "finetune": 2,
        "gram": 4,
        "influence": 16,
        "aggregate_influence": 8,
        "selection": 7,
        "finetune_on_selection": 6 + 9,
        "baseline": 5,
    }
    others = {job.rule for job in jobs if "seed" not in job.wildcards}
    assert others == {"selections_table", "selected", "influence_tables", "effective_config", *TABLES_OF_RUNS}


@pytest.mark.slow
def test_smaller_grid_trains_nothing(workspace):
    change = {"grid": {"run": ["lora"], "selections": ["none"]}}
    assert planned(workspace, "all", *overlay(workspace, change)) == {"effective_config": 1} | TABLES_OF_RUNS


@pytest.mark.slow
def test_deleted_table_is_rebuilt_by_name_and_alone(workspace):
    folder = workspace / RESULTS / "tables"
    target = folder / "splits.parquet"
    content = target.read_bytes()
    others = {path: path.stat().st_mtime_ns for path in folder.iterdir() if path != target}
    target.unlink()
    done = snakemake(workspace, str(target.relative_to(workspace)), *study(workspace))
    assert done.returncode == 0, done.stdout
    assert "1 of 1 steps" in done.stdout
    assert target.read_bytes() == content
    assert {path: path.stat().st_mtime_ns for path in others} == others
    # It has the bytes that the report was made from.
    assert planned(workspace, "all", *study(workspace)) == {}


@pytest.mark.slow
def test_budget_and_training_changed_together_rerun_all_that_either_changes(workspace):
    change = {"selection": {"strategies": {"random": {"budget": {"count": 12}}}}, "mlm": {"learning_rate": 0.1}}
    jobs = Counter(job.rule for job in plan(workspace, "all", *overlay(workspace, change)))
    everything = Counter(job.rule for job in plan(workspace, "all", *study(workspace), "--forceall"))
    assert [jobs[rule] for rule in ("mlm", "finetune_on_selection")] == [
        everything[rule] for rule in ("mlm", "finetune_on_selection")
    ]
