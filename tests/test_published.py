"""Published figures beside ours: the right runs, their interval, and words where there is nothing to compare."""

import math
from dataclasses import replace

import pandas as pd
import pytest

from chemsieve.errors import ChemsieveError
from chemsieve.report.published import MEASURES, ours, row, section, summarised
from chemsieve.report.rendering import html
from chemsieve.report.study import Study
from chemsieve.study import configuration
from chemsieve.study.mistakes import check
from chemsieve.study.sections.published import Published
from chemsieve.study.sections.values import json_schema

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
    columns = ["run_id", "stage", "epoch", "train_loss", "masked_loss", "validation_rmse", "gradient_norm"]
    full, lora = "random/0/0/adapted/full/none", "random/0/0/adapted/lora/random"
    curves = [
        ("a", "mlm", 1, 0.9, 0.5, None, None),
        ("a", "mlm", 2, 0.7, 0.4, None, None),
        ("b", "mlm", 1, 0.8, 0.6, None, None),
        # Labels of variance 4: the squared RMSE is four times the standardised loss.
        (full, "regression", 1, 0.5, 0.25, 1.0, 3.0),
        (full, "regression", 2, 0.2, 0.0625, 0.5, 5.0),
        (lora, "regression", 1, 0.7, 0.25, 1.0, 7.0),
    ]
    curves = pd.DataFrame(curves, columns=columns)
    # Of adaptation the whole loss may be a sum of which masked tokens have a part.
    curves["validation_loss"] = curves["masked_loss"] + (curves["stage"] == "mlm")
    curves = curves.assign(evaluation_seconds=[None, None, None, 0.5, 2.0, 4.0])
    sizes = {(full, "validation"): 8, (full, "test"): 3, (lora, "validation"): 2}
    predictions = pd.DataFrame([key for key, size in sizes.items() for _ in range(size)], columns=["run_id", "fold"])
    tables = dict.fromkeys(name for name in Study.__annotations__ if name != "config")
    return Study(
        **tables
        | {"config": {"published": published}, "metrics": metrics, "learning_curves": curves}
        | {"predictions": predictions}
    )


def test_values_are_those_of_the_test_fold_of_the_run_that_is_named():
    assert ours(study(), {"measure": "rmse", "run": LORA}).tolist() == [0.5, 1.5, 2.0]
    assert ours(study(), {"measure": "n_selected", "run": LORA}).tolist() == [7, 7, 7]
    assert ours(study(), {"measure": "rmse", "run": LORA | {"selection": "influence"}}).empty
    assert ours(study(), {"measure": "rmse"}).empty


def test_descriptor_models_without_a_seed_stand_beside_the_runs():
    given = study()
    described = given.metrics.iloc[:2].assign(origin="descriptors", method="svr", seed=None, rmse=4.0)
    metrics = pd.concat([given.metrics.astype({"seed": object}), described]).astype({"seed": "Int64"})
    beside = replace(given, metrics=metrics)
    assert ours(beside, {"measure": "rmse", "run": LORA}).tolist() == [0.5, 1.5, 2.0]
    svr = {"origin": "descriptors", "method": "svr", "selection": "none"}
    assert ours(beside, {"measure": "rmse", "run": svr}).tolist() == [4.0]


def test_improvement_is_paired_by_replicate_and_in_percent():
    found = ours(study(), {"measure": "rmse_improvement", "run": LORA})
    assert sorted(found) == pytest.approx([25, 100 / 3, 50])


def test_masked_language_loss_is_the_best_of_each_run():
    assert ours(study(), {"measure": "mlm_loss"}).tolist() == [0.4, 0.6]


@pytest.mark.parametrize(
    ("measure", "epoch", "wanted"),
    [
        ("train_mse", 1, [2.0]),  # 4 times 0.5
        ("train_mse", 2, [0.8]),
        ("validation_mse", 2, [0.25]),
        ("validation_mse", 3, []),
        ("gradient_norm", None, [4.0]),
        ("evaluation_seconds", None, [1.25]),
        ("evaluated_per_second", None, [10.0]),  # the mean of 8 / 0.5 and 8 / 2
        ("mlm_train_loss", 1, [0.9, 0.8]),
        ("mlm_validation_loss", 2, [0.4]),
    ],
)
def test_figures_of_learning_curves_are_those_of_their_epoch_in_units_of_the_label(measure, epoch, wanted):
    figure = {"measure": measure, "run": FULL} | ({"epoch": epoch} if epoch else {})
    assert ours(study(), figure).tolist() == pytest.approx(wanted)


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
    page = html("section.html.j2", section=section(study(published)))
    assert "It reads the test set." in page
    assert "LoRA &lt;best&gt;" in page
    assert row(study(published), figures[0])[3:7] == ("1.333", "-0.5640", "3.231", "3")
    assert row(study(published), figures[0])[-1] == "leaks as published"
    chart = {"what": "chart", "printed": None, "measure": "train_mse", "epoch": 2, "run": FULL}
    assert row(study(published), chart)[:4] == ("chart", "training MSE, epoch 2", "–", "0.8000")
    assert row(study(published), figures[1])[-1] == "no such step; not run here"


@pytest.mark.parametrize("measure", [*MEASURES, "nonsense"])
def test_the_schema_knows_the_measures(measure):
    published = {"source": "a", "leaks": [], "differences": []}
    published["figures"] = [{"what": "x", "printed": 1.0, "measure": measure}]
    if measure != "nonsense":
        check(published, json_schema(Published), "published")
        return
    with pytest.raises(ChemsieveError, match="measure"):
        check(published, json_schema(Published), "published")


@pytest.mark.parametrize(
    ("figure", "said"),
    [({"measure": "train_mse"}, "train_mse is of one epoch"), ({"measure": "mse", "epoch": 2}, "leave epoch out")],
)
def test_a_figure_names_an_epoch_where_it_is_of_one(figure, said):
    published = {"figures": [{"what": "x", "printed": 1.0, "measure": "r2"}, {"what": "x", "printed": 1.0, **figure}]}
    with pytest.raises(ChemsieveError, match=rf"^configuration: published\.figures\.1: {said}|{said}$"):
        configuration.published.check(published)
    configuration.published.check(None)
