"""Support vector regression on features of molecules, with a Gaussian kernel (Smola and Schölkopf 2004)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from chemsieve.baselines import _pipeline
from chemsieve.baselines._pipeline import Model, one_or_several

NUMBERS = ("support", "coefficients", "intercept", "gamma")
_IN_MEMORY = 6000  # molecules of which the kernel of all pairs is held: 290 MB
_AT_ONCE = 1024  # molecules of which the kernels to all support vectors are held
_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
OPTIONS: dict = {
    "C": one_or_several(_POSITIVE, [5, 10], "penalty on errors beyond epsilon"),
    "epsilon": one_or_several(
        {"type": "number", "minimum": 0}, [0.1, 0.2], "error without penalty, in standard deviations of the label"
    ),
    "gamma": one_or_several(
        {"anyOf": [_POSITIVE, {"const": "scale"}]},
        0.003,
        "kernel exp(-gamma |x - x'|^2) of standardised features; scale is one over the sum of their variances",
    ),
}


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    validation_features: np.ndarray,
    validation_labels: np.ndarray,
    seed: int,
    blocks: Sequence[int] = (),
    weights: np.ndarray | None = None,
    **options: object,
) -> Model:
    """Fit ``sklearn.svm.SVR``; the seed has no effect.

    On thousands of columns the kernel of all pairs of molecules is made by matrix products beforehand, where it fits
    into memory: faster than the library's own sums, and the same within the solver's tolerance.

    Features are (n, d) and (m, d), labels (n,) and (m,); blocks, weights, preparation, choice and errors as in
    :func:`chemsieve.baselines._pipeline.fit`.
    """
    from sklearn.svm import SVR

    data = (features, labels, validation_features, validation_labels)
    if features.ndim == 2 and features.shape[1] > _pipeline.WIDE and len(features) <= _IN_MEMORY:
        return _pipeline.fit(_wide(), OPTIONS, data, options, blocks, weights)
    return _pipeline.fit(lambda **chosen: SVR(cache_size=500, **chosen), OPTIONS, data, options, blocks, weights)


def _wide() -> Any:
    """The class of a machine that is given its kernel."""
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.svm import SVR

    class Wide(RegressorMixin, BaseEstimator):
        def __init__(self, C: float, epsilon: float, gamma: float | str) -> None:
            self.C, self.epsilon, self.gamma = C, epsilon, gamma

        def fit(self, features: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None = None) -> Any:
            gamma = 1 / (features.shape[1] * features.var()) if self.gamma == "scale" else float(self.gamma)
            machine = SVR(kernel="precomputed", C=self.C, epsilon=self.epsilon, cache_size=500)
            machine.fit(kernel(features, features, gamma), labels, sample_weight)
            self.numbers_ = {
                "support": features[machine.support_],
                "coefficients": machine.dual_coef_[0],
                "intercept": machine.intercept_,
                "gamma": np.array([gamma]),
            }
            return self

        def predict(self, features: np.ndarray) -> np.ndarray:
            return evaluate(self.numbers_, features)

    return Wide


def kernel(features: np.ndarray, others: np.ndarray, gamma: float) -> np.ndarray:
    """(n, m) values of the kernel between (n, d) and (m, d) features."""
    squares = (features**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * features @ others.T
    return np.exp(-gamma * np.maximum(squares, 0))


def stored(regressor: Any) -> dict[str, np.ndarray]:
    """Support vectors (s, d), their coefficients (s,), the intercept and the kernel's gamma, (1,) each."""
    if hasattr(regressor, "numbers_"):
        return regressor.numbers_
    return {
        "support": regressor.support_vectors_,
        "coefficients": regressor.dual_coef_[0],
        "intercept": regressor.intercept_,
        "gamma": np.array([regressor._gamma], float),
    }


def evaluate(numbers: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """(n,) predictions of (n, d) prepared features: the sum of kernels around the support vectors."""
    found = np.empty(len(features))
    for start in range(0, len(features), _AT_ONCE):
        values = kernel(features[start : start + _AT_ONCE], numbers["support"], numbers["gamma"][0])
        found[start : start + _AT_ONCE] = values @ numbers["coefficients"]
    return found + numbers["intercept"][0]


def mistake(numbers: dict[str, np.ndarray], columns: int) -> str:
    """What is wrong with such numbers for so many columns, in words; empty where nothing is."""
    if numbers["support"].ndim != 2 or numbers["support"].shape[1] != columns:
        return f"its support vectors are {numbers['support'].shape}, not of {columns} columns"
    if any(numbers[name].shape != (1,) for name in ("intercept", "gamma")):
        return "intercept and gamma are one number each"
    if numbers["coefficients"].shape != numbers["support"].shape[:1]:
        return "it has not one coefficient for each support vector"
    return ""
