"""A study that grows until its questions are answered: what each look may spend, and the command that looks."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

from chemsieve.command import cli, main, settling, telling
from chemsieve.errors import ChemsieveError
from chemsieve.statistics import sequential
from chemsieve.statistics.comparisons import compare
from chemsieve.statistics.verdicts import settled
from chemsieve.study import agreement
from chemsieve.tables import write_table
from helpers.replicates import SETTINGS, study

LOOKS = [3, 6, 12]


def test_looks_share_the_error_probability_in_proportion_to_what_they_add():
    assert [sequential.level(0.05, LOOKS, units) for units in LOOKS] == pytest.approx([0.0125, 0.0125, 0.025])
    assert sequential.level(0.05, LOOKS, 5) == pytest.approx(0.0125)  # one of six was lost
    assert sequential.level(0.05, None, 5) == 0.05
    assert [sequential.place(LOOKS, units) for units in (3, 5, 12)] == ["look 1 of 3", "look 2 of 3", "look 3 of 3"]
    with pytest.raises(ChemsieveError, match=r"none of \[3, 6, 12\] has 13 replicates"):
        sequential.level(0.05, LOOKS, 13)


def test_who_stops_at_the_first_difference_errs_no_more_often_than_alpha():
    """Paired t tests of differences of mean zero, by SciPy; without the rule the same looks err far more often."""
    noise, studies = np.random.default_rng(0).normal(size=(20_000, LOOKS[-1])), 20_000
    p = np.array([stats.ttest_1samp(noise[:, :units], 0, axis=1).pvalue for units in LOOKS])
    spent = np.array([sequential.level(0.05, LOOKS, units) for units in LOOKS])
    error = (p < spent[:, None]).any(axis=0).mean()
    naive = (p < 0.05).any(axis=0).mean()
    three = 3 * np.sqrt(0.05 * 0.95 / studies)
    assert 0.03 < error < 0.05 + three
    assert naive > 0.09


def test_comparisons_are_made_at_the_level_of_their_look():
    metrics, splits = study(np.random.default_rng(1), 1, n_splits=6)
    whole, look = (compare(metrics, splits, SETTINGS | extra) for extra in ({}, {"looks": LOOKS}))
    assert look["level"].to_numpy() == pytest.approx(whole["level"].to_numpy() / 4)
    assert (look["high"] - look["low"] > whole["high"] - whole["low"]).all()
    with pytest.raises(ChemsieveError, match=r"statistics\.looks"):
        compare(metrics, splits, SETTINGS | {"looks": [2, 4]})


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ("better than none by 0.03 to 0.06", True),
        ("equivalent to none (within 0.05)", True),
        ("chose the same molecules as random", True),
        ("cannot tell with 3 splits: 0.02 better to 0.08 worse; about 14 would", False),
        ("no verdict: neither predicts better than the mean label (test R2 -0.1)", False),
    ],
)
def test_a_verdict_answers_or_does_not(said, answered):
    assert settled(said) is answered


@pytest.mark.parametrize(
    ("looks", "seeds", "sentence"),
    [
        ([3, 3], [0, 1, 2], "statistics.looks: each is to be larger than the one before"),
        ([3, 6], [0, 1], "statistics.looks: split.seeds has 2 entries, and the looks are at 3, 6"),
    ],
)
def test_a_study_stands_at_one_of_its_looks(looks, seeds, sentence):
    config = {"statistics": {"looks": looks}, "split": {"seeds": seeds}, "seeds": [0]}
    with pytest.raises(ChemsieveError) as raised:
        agreement.check_looks(config)
    assert sentence in str(raised.value)


@pytest.fixture
def grown(tmp_path, monkeypatch):
    """The command with a study file, and what it asks of Snakemake, whose comparisons are of errors that are made."""
    monkeypatch.chdir(tmp_path)
    asked = []

    def followed(plan, files, targets, cores):
        seeds = plan.config["split"]["seeds"]
        asked.append((seeds, [Path(target).name for target in targets]))
        if targets != ["all"]:
            means = {"none": 1.0, "random": 0.97}  # told apart by six replicates, and not by three
            metrics, splits = study(np.random.default_rng(3), 1, 0.004, means, n_splits=len(seeds))
            table = compare(metrics, splits, plan.config["statistics"])
            write_table(table, Path(plan.results) / "tables" / "comparisons.parquet", "comparisons")
        return 0

    monkeypatch.setattr(cli, "_followed", followed)
    monkeypatch.setattr(telling, "outcome", lambda plan: [])

    def settle(statistics, *options, seeds=(7, 0, 1)):
        text = {"study": "growing", "split": {"seeds": list(seeds)}, "statistics": statistics}
        Path("study.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
        return main(["settle", "study.yaml", *options])

    return settle, asked


def test_a_study_grows_to_the_look_that_answers_and_then_makes_its_report(grown, capsys):
    settle, asked = grown
    assert settle({"looks": LOOKS}) == 0
    six = [7, 0, 1, 2, 3, 4]
    assert asked == [([7, 0, 1], ["comparisons.parquet"]), (six, ["comparisons.parquet"]), (six, ["all"])]
    said = capsys.readouterr().out
    assert "look 1 of 3, 3 replicates: 1 comparisons are open" in said
    assert "look 2 of 3, 6 replicates: all questions are answered" in said
    assert "the study as it stands: study.yaml results/growing/settle.yaml" in said


def test_no_look_begins_that_would_end_after_the_time(grown, capsys):
    settle, asked = grown
    assert settle({"looks": LOOKS}, "--hours", "1e-9") == 0
    assert [targets for _, targets in asked] == [["comparisons.parquet"], ["all"]]
    said = capsys.readouterr().out
    assert "the study stops here: the next look would take about" in said
    assert "open: random vs none (selections, scaffold split): cannot tell with 3 splits" in said


def test_a_study_that_states_no_looks_is_not_grown(grown, capsys):
    settle, asked = grown
    assert settle({}) == 2
    assert "study.yaml: when is the study looked at?" in capsys.readouterr().err
    assert asked == []


def test_training_seeds_grow_where_there_is_one_split(tmp_path):
    path = tmp_path / "one.yaml"
    path.write_text("split: {splitters: [scaffold], seeds: [0]}\nstatistics: {looks: [2, 4]}\n", encoding="utf-8")
    _, looks = settling.looks([str(path)])
    assert [look.change for look in looks] == [{"seeds": [0, 1]}, {"seeds": [0, 1, 2, 3]}]


def test_the_time_of_a_look_follows_from_what_the_last_one_took_per_replicate():
    assert settling.too_long(100, 60, 3, 6, None) == ""
    assert settling.too_long(100, 60, 3, 6, 220) == ""
    assert settling.too_long(100, 60, 3, 6, 219) == "the next look would take about 2 min, and 2 min are left"
