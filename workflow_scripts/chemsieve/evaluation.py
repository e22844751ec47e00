"""How well predictions agree with labels."""

import numpy as np

from chemsieve.errors import ChemsieveError


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
