"""What the workflow says of a mistake, before anything runs."""

import re

import pytest
import yaml

from helpers.workflow import RESULTS, overlay, plan, snakemake, study

MISTAKES = {
    "unknown key": (
        {"grid": {"mthods": {}}},
        "configuration: unknown key 'grid.mthods'; did you mean 'methods'?",
    ),
    "mistyped strategy": (
        {"selection": {"run": ["none", "divrsity"]}},
        "configuration: selection.run: unknown name 'divrsity'; did you mean 'diversity'?",
    ),
    "wrong column": (
        {"pool": {"source": "file", "path": "mine.csv", "smiles": "structur", "label": "logp"}},
        "pool file mine.csv: there is no column 'structur' among 'structure', 'logp'; did you mean 'structure'?",
    ),
    "no file": (
        {"target": {"source": "file", "path": "other.csv", "smiles": "structure", "label": "logp"}},
        "target file other.csv: there is no such file",
    ),
    "unreadable file": (
        {"target": {"source": "file", "path": "rules", "smiles": "structure", "label": "logp"}},
        "target file rules: the file cannot be read (Is a directory)",
    ),
}


@pytest.mark.parametrize("place", [pytest.param("command line", marks=pytest.mark.slow), "file"])
@pytest.mark.parametrize(
    "mistake",
    [name if name in ("unknown key", "no file") else pytest.param(name, marks=pytest.mark.slow) for name in MISTAKES],
)
def test_mistake_is_one_sentence_before_anything_runs(fresh, mistake, place):
    content, sentence = MISTAKES[mistake]
    (fresh / "mine.csv").write_text("structure,logp\nCCO,1\n", encoding="utf-8")
    if place == "file":
        arguments = overlay(fresh, content)
    else:
        given = [
            f"{key}={yaml.safe_dump(value, default_flow_style=True, width=1000)}" for key, value in content.items()
        ]
        arguments = [*study(fresh), "--config", *(text.strip() for text in given)]
    done = snakemake(fresh, "all", *arguments)
    assert done.returncode != 0
    assert [line for line in done.stdout.splitlines() if sentence in line] == [sentence]
    assert "Traceback" not in done.stdout
    assert not (fresh / "results").exists()


@pytest.mark.slow
def test_numbers_on_the_command_line_are_numbers(fresh):
    arguments = [*study(fresh), "--config", "seeds=[5, 6]", "grid={methods: {lora: {rank: 3}}}", "mlm={patience: null}"]
    jobs = plan(fresh, "all", *arguments)
    assert {job.wildcards["seed"] for job in jobs if "seed" in job.wildcards} == {"5", "6"}


@pytest.mark.slow
def test_budget_above_the_pool_stops_before_anything_trains(fresh):
    change = {"selection": {"strategies": {"random": {"budget": {"count": 31}}}}}
    done = snakemake(fresh, "all", *overlay(fresh, change))
    assert done.returncode != 0
    sentence = r"selection\.strategies\.random\.budget: count 31 is more than the \d+ molecules of the pool"
    said = [line for line in done.stdout.splitlines() if re.search(sentence, line)]
    assert len(said) == 1, done.stdout
    assert "Traceback" not in done.stdout
    models = ("mlm", "finetune", "selected", "influence")
    assert [
        path for name in models for path in (fresh / RESULTS).glob(f"runs/*/*/*/{name}/**/*") if path.is_file()
    ] == []


def test_budget_above_a_pool_that_stands_stops_before_any_job(workspace):
    change = {"selection": {"strategies": {"random": {"budget": {"count": 31}}}}, "finetune": {"learning_rate": 0.1}}
    done = snakemake(workspace, "all", *overlay(workspace, change))
    assert done.returncode != 0
    assert done.stdout.count("selection.strategies.random.budget: count 31 is more than the") == 1, done.stdout
    assert "Execute" not in done.stdout
    assert "Traceback" not in done.stdout
