"""What benchmarks/study_seeds.py counts as true of the embedded study."""

import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def seeds():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import study_seeds

        yield study_seeds
        for name in ("study_seeds", "study", "summarise"):
            sys.modules.pop(name, None)


def judged(seeds, *rows):
    table = pd.DataFrame(rows, columns=["what", "versus", "verdict"]).assign(family="selections")
    return {name: count for name, count in seeds.judged(table).items() if count}


def test_a_statement_is_true_whichever_side_it_is_made_of(seeds):
    found = judged(
        seeds,
        ("all", "none", "worse than none by 0.09 to 0.18"),
        ("influence", "random", "better than random by 0.03 to 0.06"),
        ("influence_bottom", "influence", "cannot tell with 6 splits: 0.02 better to 0.08 worse"),
    )
    assert found == {"compared": 3, "decided": 2, "true": 2}


def test_the_contrary_and_what_the_pool_does_not_decide_are_counted_apart(seeds):
    found = judged(
        seeds,
        ("random", "none", "better than none by 0.01 to 0.02 (less than the margin of 0.05)"),
        ("influence", "none", "worse than none by 0.01 to 0.02"),
        ("disagreement", "none", "equivalent to none (within 0.05)"),
        ("influence", "disagreement", "no verdict: neither predicts better than the mean label (test R2 0.01)"),
    )
    assert found == {"compared": 4, "decided": 3, "contrary": 1, "not decided by the pool": 2}


def test_other_families_are_not_counted(seeds):
    table = pd.DataFrame({"family": ["adaptation"], "what": "adapted", "versus": "baseline", "verdict": ["worse than"]})
    assert not any(seeds.judged(table).values())


def test_no_truth_contradicts_another(seeds):
    """What is worse than another is not better than it by any chain of them."""
    below = {(one.worse, one.better) for one in seeds.TRUTHS}
    assert len(below) == len(seeds.TRUTHS)
    names = {name for pair in below for name in pair}
    while added := {(a, d) for a, b in below for c, d in below if b == c} - below:
        below |= added
    assert not any((name, name) in below for name in names)
