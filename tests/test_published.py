"""Published figures beside ours: the right runs, their interval, and words where there is nothing to compare."""

import math

import pandas as pd
import pytest

from chemsieve import config as configuration
from chemsieve.errors import ChemsieveError
from chemsieve.report.published import MEASURES, ours, row, section, summarised
from chemsieve.report.study import Study

FULL = {"origin": "adapted", "method": "full", "selection": "none"}
LORA = {"origin": "adapted", "method": "lora", "selection": "random"}


def study(published=None, seeds=(0, 1, 2)):
    """A study of two configurations whose errors are written down here."""
    errors = {"full": [1.0, 2.0, 3.0], "lora": [0.5, 1.5, 2.0]}
    metrics = pd.DataFrame(
        {"splitter": "random", "split_seed": 0, "seed": seed, **run, "fold": fold}
        | {"rmse": errors[run["method"]][seed] + 100 * (fold == "validation"), "n_selected": 7}
        for seed in seeds
        for run in (FULL, LORA)
        for fold in ("validation", "test")
    )
    curves = pd.DataFrame(
        {"run_id": ["a", "a", "b", "a"], "stage": ["mlm"] * 3 + ["regression"], "validation_loss": [0.5, 0.4, 0.6, 0.1]}
    )
    tables = dict.fromkeys(name for name in Study.__annotations__ if name != "config")
    return Study(**tables | {"config": {"published": published}, "metrics": metrics, "learning_curves": curves})


def test_values_are_those_of_the_test_fold_of_the_run_that_is_named():
    assert ours(study(), {"measure": "rmse", "run": LORA}).tolist() == [0.5, 1.5, 2.0]
    assert ours(study(), {"measure": "n_selected", "run": LORA}).tolist() == [7, 7, 7]
    assert ours(study(), {"measure": "rmse", "run": LORA | {"selection": "influence"}}).empty
    assert ours(study(), {"measure": "rmse"}).empty


def test_improvement_is_paired_by_replicate_and_in_percent():
    found = ours(study(), {"measure": "rmse_improvement", "run": LORA})
    assert sorted(found) == pytest.approx([25, 100 / 3, 50])


def test_masked_language_loss_is_the_best_of_each_run():
    assert ours(study(), {"measure": "mlm_loss"}).tolist() == [0.4, 0.6]


def test_interval_is_the_t_interval_and_below_three_the_range():
    # t(0.975, 2) = 4.302653 (tables of Student's distribution); the standard deviation of 1, 2, 3 is 1.
    assert summarised(pd.Series([1.0, 2.0, 3.0])) == pytest.approx((2, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert summarised(pd.Series([1.0, 2.0])) == (1.5, 1.0, 2.0)
    mean, low, high = summarised(pd.Series([1.0]))
    assert mean == 1
    assert math.isnan(low)
    assert math.isnan(high)


def test_the_section_names_leaks_and_what_was_not_run():
    figures = [
        {"what": "LoRA <best>", "printed": 0.083, "measure": "rmse", "run": LORA, "leak": True},
        {"what": "per-molecule", "printed": 1.5, "measure": "mse", "run": None, "remark": "no such step"},
    ]
    published = {"source": "a course", "leaks": ["It reads the test set."], "differences": [], "figures": figures}
    assert section(study()) is None
    page = "".join(section(study(published)).blocks)
    assert "It reads the test set." in page
    assert "LoRA &lt;best&gt;" in page
    assert row(study(published), figures[0])[3:7] == ("1.333", "-0.5640", "3.231", "3")
    assert row(study(published), figures[0])[-1] == "leaks as published"
    assert row(study(published), figures[1])[-1] == "no such step; not run here"


@pytest.mark.parametrize("measure", [*MEASURES, "nonsense"])
def test_the_schema_knows_the_measures(measure):
    published = {"source": "a", "leaks": [], "differences": []}
    published["figures"] = [{"what": "x", "printed": 1.0, "measure": measure}]
    if measure != "nonsense":
        configuration._check(published, configuration.published.SCHEMA, "published")
        return
    with pytest.raises(ChemsieveError, match="measure"):
        configuration._check(published, configuration.published.SCHEMA, "published")
