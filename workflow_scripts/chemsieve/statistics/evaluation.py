"""How well predictions agree with labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chemsieve.data.measured import ABOVE, BELOW
from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    import pandas as pd


def regression_metrics(label: np.ndarray, prediction: np.ndarray) -> dict[str, float | None]:
    """Errors and correlations of the predictions.

    Args:
        label: (n,) labels, n at least 1.
        prediction: (n,) predictions in the unit of the labels.

    Returns:
        ``mse`` (squared unit of the labels), ``rmse`` and ``mae`` (their unit), ``r2`` (coefficient of determination;
        None where the labels are constant, which includes a single molecule) and ``spearman`` (rank correlation, equal
        values at their mean rank; None where either side is constant). From scikit-learn and scipy.

    Raises:
        ChemsieveError: no molecules, unequal lengths, or a value that is not finite.
    """
    # Imported here: they take longer to load than most commands that import this module take to run.
    from scipy.stats import spearmanr
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    label, prediction = np.asarray(label, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if label.ndim != 1 or label.shape != prediction.shape or len(label) == 0:
        raise ChemsieveError(f"metrics: {label.shape} labels and {prediction.shape} predictions cannot be compared")
    for name, values in (("label", label), ("prediction", prediction)):
        if not np.isfinite(values).all():
            position = int(np.argmin(np.isfinite(values)))
            raise ChemsieveError(
                f"metrics: the {name} of molecule {position} is {values[position]}, not a finite number"
            )
    constant_labels, constant_predictions = np.ptp(label) == 0, np.ptp(prediction) == 0
    mse = float(mean_squared_error(label, prediction))
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "mae": float(mean_absolute_error(label, prediction)),
        "r2": None if constant_labels else float(r2_score(label, prediction)),
        "spearman": None if constant_labels or constant_predictions else float(spearmanr(label, prediction).statistic),
    }


def evaluate_runs(predictions: pd.DataFrame, labels: pd.Series, facts: list[dict]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics per run and fold, and the predictions with their labels.

    Args:
        predictions: table ``run_predictions`` of all runs.
        labels: label by ``molecule_id``.
        facts: one ``run.json`` per run; its values are repeated beside the metrics.

    Raises:
        ChemsieveError: a predicted molecule has no label, or a run no predictions.
    """
    import pandas as pd

    unknown = predictions.loc[~predictions["molecule_id"].isin(labels.index), "molecule_id"]
    if len(unknown):
        raise ChemsieveError(f"metrics: molecule {unknown.iloc[0]} has a prediction but no label")
    predictions = predictions.assign(label=labels.loc[predictions["molecule_id"]].to_numpy())
    by_run = dict(list(predictions.groupby(["run_id", "fold"], sort=False)))
    records = []
    for run in facts:
        for fold in ("validation", "test"):
            if (run["run_id"], fold) not in by_run:
                raise ChemsieveError(f"metrics: run {run['run_id']} has no {fold} predictions")
            rows = by_run[run["run_id"], fold]
            records.append(run | {"fold": fold} | regression_metrics(rows["label"], rows["prediction"]))
    return pd.DataFrame(records), predictions


def evaluate_limits(predictions: pd.DataFrame, labels: pd.Series, relations: pd.Series) -> pd.DataFrame:
    """The table ``limits``: how test predictions of molecules go with the limits that are known of them.

    Args:
        predictions: table ``run_predictions`` of all runs.
        labels, relations: label and relation by ``molecule_id``; a relation that is missing is that of a measured one.
    """
    import pandas as pd

    side = relations.map({BELOW: -1, ABOVE: 1}).fillna(0).astype(int)
    test = predictions[predictions["fold"] == "test"]
    names = test["molecule_id"]
    error = test["prediction"].to_numpy() - labels.loc[names].to_numpy()
    bound = side.loc[names].to_numpy()
    met = bound * error > 0
    rows = test.assign(limit=bound != 0, met=met, squared=np.where(met, 0.0, error) ** 2).groupby("run_id", sort=False)
    return pd.DataFrame(
        {
            "limits": rows["limit"].sum(),
            "met": rows["met"].sum(),
            "measured": rows["limit"].size() - rows["limit"].sum(),
            "censored_rmse": rows["squared"].mean() ** 0.5,
        }
    ).reset_index()
