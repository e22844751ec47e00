"""Random forest on features of molecules (Breiman 2001), by default without its bootstrap."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from chemsieve.baselines import _pipeline, _trees
from chemsieve.baselines._pipeline import Model, one_or_several

NUMBERS = _trees.NUMBERS
_COUNT = {"type": "integer", "minimum": 1}
OPTIONS: dict = {
    "n_estimators": one_or_several(_COUNT, 200, "number of trees"),
    "min_samples_leaf": one_or_several(_COUNT, 1, "smallest number of molecules in a leaf"),
    "max_features": one_or_several(
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1}, 0.2, "fraction of features tried at each node"
    ),
    "bootstrap": one_or_several(
        {"type": "boolean"}, False, "whether each tree sees a sample drawn with replacement or all molecules"
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
    """Fit ``sklearn.ensemble.RandomForestRegressor``; the seed chooses molecules and features of each tree.

    Features are (n, d) and (m, d), labels (n,) and (m,); blocks, weights, preparation, choice and errors as in
    :func:`chemsieve.baselines._pipeline.fit`.
    """
    from sklearn.ensemble import RandomForestRegressor

    def build(max_features: float, **chosen: object) -> RandomForestRegressor:
        # scikit-learn reads a whole number as a number of features, not as a fraction of them. One thread (n_jobs),
        # since several would add up the trees' predictions in changing order.
        return RandomForestRegressor(random_state=seed, max_features=float(max_features), n_jobs=1, **chosen)

    data = (features, labels, validation_features, validation_labels)
    return _pipeline.fit(build, OPTIONS, data, options, blocks, weights)


def stored(regressor: Any) -> dict[str, np.ndarray]:
    """The nodes of all trees, whose mean is the prediction."""
    trees = []
    for one in regressor.estimators_:
        tree = one.tree_
        leaf = tree.children_left < 0
        left, right = (np.where(leaf, _trees.LEAF, side) for side in (tree.children_left, tree.children_right))
        threshold = np.where(leaf, 0.0, tree.threshold)
        trees.append(_trees.Tree(np.where(leaf, 0, tree.feature), threshold, left, right, tree.value[:, 0, 0]))
    return _trees.stored(trees, 0.0, 1 / len(trees))


def evaluate(numbers: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """(n,) predictions of (n, d) prepared features, which its trees compare in single precision."""
    return _trees.evaluate(numbers, features.astype(np.float32))


def mistake(numbers: dict[str, np.ndarray], columns: int) -> str:
    """What is wrong with such numbers for so many columns, in words; empty where nothing is."""
    return _trees.mistake(numbers, columns)
