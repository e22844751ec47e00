"""Metrics against values worked out by hand."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chemsieve.errors import ChemsieveError
from chemsieve.statistics.evaluation import evaluate_runs, regression_metrics


def test_hand_computed_values():
    # Errors 1, 0, -2, 1: squares sum to 6, absolute values to 4. Labels 1..4 vary by 5 about their mean.
    metrics = regression_metrics(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 2.0, 1.0, 5.0]))
    assert metrics["mse"] == pytest.approx(6 / 4)
    assert metrics["rmse"] == pytest.approx((6 / 4) ** 0.5)
    assert metrics["mae"] == pytest.approx(4 / 4)
    assert metrics["r2"] == pytest.approx(1 - 6 / 5)
    # Ranks of the predictions: 2.5, 2.5, 1, 4, with variation 4.5 and co-variation 1.5 about the mean rank 2.5.
    assert metrics["spearman"] == pytest.approx(1.5 / (5 * 4.5) ** 0.5)


def test_perfect_and_reversed_predictions():
    label = np.array([-1.0, 0.0, 3.0])
    assert regression_metrics(label, label) == pytest.approx(
        {"mse": 0, "rmse": 0, "mae": 0, "r2": 1, "spearman": 1}, abs=1e-12
    )
    assert regression_metrics(label, -label)["spearman"] == pytest.approx(-1)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])  # the mean of equal decimals is not always equal to them
def test_undefined_correlations_are_none(value):
    constant, varied = np.full(7, value), np.arange(7.0)
    assert regression_metrics(constant, varied)["r2"] is None
    assert regression_metrics(constant, varied)["spearman"] is None
    assert regression_metrics(varied, constant)["spearman"] is None
    assert regression_metrics(varied, np.full(7, 3.0))["r2"] == pytest.approx(0)


def test_one_molecule_has_errors_only():
    metrics = regression_metrics(np.array([1.0]), np.array([3.0]))
    assert metrics == {"mse": 4, "rmse": 2, "mae": 2, "r2": None, "spearman": None}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_named(value):
    good, bad = np.array([1.0, 2.0]), np.array([1.0, value])
    with pytest.raises(ChemsieveError, match="label of molecule 1"):
        regression_metrics(bad, good)
    with pytest.raises(ChemsieveError, match="prediction of molecule 1"):
        regression_metrics(good, bad)


@pytest.mark.parametrize(("labels", "predictions"), [(2, 3), (0, 0)])
def test_lengths_that_cannot_be_compared(labels, predictions):
    with pytest.raises(ChemsieveError, match="cannot be compared"):
        regression_metrics(np.zeros(labels), np.zeros(predictions))


def test_errors_of_numbers_in_single_precision_are_summed_in_double():
    single = np.float32([0.1, 0.2, 0.7])
    label, prediction = [float(value) for value in single], [float(value) for value in single[::-1]]
    expected = sum((one - other) ** 2 for one, other in zip(label, prediction, strict=True)) / 3
    for one, other in ((single, np.array(prediction)), (np.array(label), single[::-1]), (single, single[::-1])):
        assert regression_metrics(one, other)["mse"] == pytest.approx(expected, rel=1e-14)


def predicted(*rows):
    return pd.DataFrame(rows, columns=["run_id", "fold", "molecule_id", "prediction"])


LABELS = pd.Series({"a": 1.0, "b": 2.0, "c": 4.0, "d": 0.0})
RUNS = predicted(
    ("two", "test", "d", 3.0),
    ("one", "validation", "b", 2.5),
    ("one", "test", "a", 1.0),
    ("one", "validation", "c", 3.5),
    ("one", "test", "c", 1.0),
    ("two", "validation", "a", 0.0),
)


def test_each_run_is_evaluated_on_validation_and_test_with_the_labels_of_its_molecules():
    facts = [{"run_id": "two", "method": "full"}, {"run_id": "one", "method": "lora"}]
    table, labelled = evaluate_runs(RUNS, LABELS, facts)
    assert table[["run_id", "method", "fold"]].to_numpy().tolist() == [
        ["two", "full", "validation"],
        ["two", "full", "test"],
        ["one", "lora", "validation"],
        ["one", "lora", "test"],
    ]
    assert table["mse"].tolist() == pytest.approx([1.0, 9.0, 0.25, 4.5])
    assert labelled.drop(columns="label").equals(RUNS)
    assert labelled["label"].tolist() == [0.0, 2.0, 1.0, 4.0, 4.0, 1.0]


def test_a_prediction_without_label_and_a_run_without_predictions_are_named():
    with pytest.raises(ChemsieveError, match="molecule b has a prediction but no label"):
        evaluate_runs(RUNS, LABELS.drop(["b", "c"]), [])
    with pytest.raises(ChemsieveError, match="run three has no validation predictions"):
        evaluate_runs(RUNS, LABELS, [{"run_id": "one"}, {"run_id": "three"}])


def test_libraries_load_on_the_first_call_only():
    code = "import sys, chemsieve.statistics.evaluation; sys.exit('sklearn' in sys.modules or 'scipy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1] / "workflow_scripts")
