"""Gradient boosting of regression trees on features of molecules (Friedman 2001), on histograms as in LightGBM."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from chemsieve.baselines import _pipeline, _trees
from chemsieve.baselines._pipeline import Model, one_or_several

NUMBERS = _trees.NUMBERS
_COUNT = {"type": "integer", "minimum": 1}
OPTIONS: dict = {
    "learning_rate": one_or_several({"type": "number", "exclusiveMinimum": 0}, 0.05, "shrinkage of each tree"),
    "max_iter": one_or_several(_COUNT, 500, "number of trees"),
    "max_leaf_nodes": one_or_several({"type": "integer", "minimum": 2}, 31, "largest number of leaves of a tree"),
    "min_samples_leaf": one_or_several(_COUNT, 10, "smallest number of molecules in a leaf"),
    "l2_regularization": one_or_several({"type": "number", "minimum": 0}, 3, "L2 penalty on leaf values"),
    "max_features": one_or_several(
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1}, 0.2, "fraction of features tried at each node"
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
    """Fit ``sklearn.ensemble.HistGradientBoostingRegressor``; the seed chooses the features tried at each node.

    Features are (n, d) and (m, d), labels (n,) and (m,); blocks, weights, preparation, choice and errors as in
    :func:`chemsieve.baselines._pipeline.fit`.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    def build(max_features: float, **chosen: object) -> HistGradientBoostingRegressor:
        # Its own early stopping would take molecules out of the training set.
        return HistGradientBoostingRegressor(
            early_stopping=False, random_state=seed, max_features=float(max_features), **chosen
        )

    data = (features, labels, validation_features, validation_labels)
    return _pipeline.fit(build, OPTIONS, data, options, blocks, weights)


def stored(regressor: Any) -> dict[str, np.ndarray]:
    """The nodes of all trees, and what their values are added to."""
    trees = []
    for (predictor,) in regressor._predictors:
        nodes = predictor.nodes
        leaf = nodes["is_leaf"].astype(bool)
        left, right = (np.where(leaf, _trees.LEAF, nodes[side].astype(np.int64)) for side in ("left", "right"))
        # A leaf's threshold is whatever stood in memory.
        threshold = np.where(leaf, 0.0, nodes["num_threshold"])
        trees.append(_trees.Tree(np.where(leaf, 0, nodes["feature_idx"]), threshold, left, right, nodes["value"]))
    return _trees.stored(trees, float(np.ravel(regressor._baseline_prediction)[0]), 1.0)


def evaluate(numbers: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """(n,) predictions of (n, d) prepared features."""
    return _trees.evaluate(numbers, features)


def mistake(numbers: dict[str, np.ndarray], columns: int) -> str:
    """What is wrong with such numbers for so many columns, in words; empty where nothing is."""
    return _trees.mistake(numbers, columns)
