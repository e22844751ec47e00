"""What the descriptor models share: preparation of features and labels, and the choice of options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol

import numpy as np

from chemsieve.errors import ChemsieveError

WIDE = 256  # columns; RDKit's descriptors, of which about 200 vary among drug-like molecules, are fewer
CLIP = 5.0  # standard deviations; a molecule unlike all others must not decide a kernel or a prediction alone


def one_or_several(schema: dict, default: object, description: str) -> dict:
    """JSON schema of an option that is one value, or a list of values to choose from on the validation molecules."""
    return {
        "anyOf": [schema, {"type": "array", "items": schema, "minItems": 1}],
        "default": default,
        "description": f"{description}; of several values, the one with the lowest validation error is taken",
    }


class Regressor(Protocol):
    """What this module asks of a scikit-learn regressor."""

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Regressor: ...

    def predict(self, features: np.ndarray) -> np.ndarray: ...


class Model:
    """A fitted model; ``options`` are the options it was fitted with, after any choice."""

    def __init__(self, pipeline: Any, options: dict[str, Any]) -> None:
        self.pipeline, self.options = pipeline, options

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(n,) predictions, in the unit of the labels, of (n, d) features."""
        return self.pipeline.predict(features)

    def stored(self, regressor: Callable[[Any], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """All numbers that predictions follow from, by name: of :func:`prepare`, and ``model.`` of the regressor."""
        imputer, threshold, scaler, _, weighing, last = (step for _, step in self.pipeline.steps)
        return {
            "prepare.median": imputer.statistics_,
            "prepare.kept": np.flatnonzero(threshold.get_support()),
            "prepare.mean": scaler.mean_,
            "prepare.scale": scaler.scale_,
            "prepare.weight": weighing.kw_args["weights"],
            "label.mean": last.transformer_.mean_,
            "label.scale": last.transformer_.scale_,
            **{f"model.{name}": numbers for name, numbers in regressor(last.regressor_).items()},
        }


def prepare(numbers: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """(n, k) prepared columns of (n, d) features, as a fitted pipeline whose numbers these are has them."""
    filled = np.where(np.isnan(features), numbers["prepare.median"], features)[:, numbers["prepare.kept"]]
    scaled = (filled - numbers["prepare.mean"]) / numbers["prepare.scale"]
    return np.clip(scaled, -CLIP, CLIP) * numbers["prepare.weight"]


def fit(
    build: Callable[..., Regressor],
    declared: dict,
    data: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    options: dict[str, Any],
    blocks: Sequence[int] = (),
    weights: np.ndarray | None = None,
) -> Model:
    """Fit ``build(**options)``, a scikit-learn regressor, on prepared training molecules.

    Everything is estimated from the training molecules: missing values become the column's median, constant
    columns go, the rest is standardised and clipped to five standard deviations; labels are standardised. A block with
    more than 256 columns left is scaled to weigh as much as 256 in a squared distance between molecules, so that
    thousands of fingerprint columns do not drown the descriptors beside them, and a kernel's width that suits the one
    suits the other.

    Where options are lists, all combinations are fitted and the one with the lowest mean squared error on the
    validation molecules is kept (the first among equals); otherwise the validation molecules are not looked at.

    Args:
        build: makes the regressor.
        declared: the model's OPTIONS, whose defaults complete ``options``.
        data: (n, d) training features, (n,) training labels, (m, d) validation features, (m,) validation labels.
        options: values, or lists of values.
        blocks: numbers of columns of the blocks of features; none: all are of one.
        weights: of each training molecule's error (n,); None: all weigh the same. Features and labels are prepared
            without them.

    Raises:
        ChemsieveError: unknown option, no molecules, shapes that do not fit, a label that is not finite, or training
            molecules whose features are all alike.
    """
    unknown = sorted(set(options) - set(declared))
    if unknown:
        raise ChemsieveError(f"descriptor model: unknown option {unknown[0]!r}; known are {', '.join(declared)}")
    options = {name: options.get(name, schema["default"]) for name, schema in declared.items()}
    candidates = [
        dict(zip(options, values, strict=True))
        for values in product(*(v if isinstance(v, list | tuple) else [v] for v in options.values()))
    ]
    features, labels, validation_features, validation_labels = data
    _check("training", features, labels)
    if not (np.nanmax(features, axis=0, initial=-np.inf) > np.nanmin(features, axis=0, initial=np.inf)).any():
        raise ChemsieveError("descriptor model: no feature varies among the training molecules")
    ready = prepared(features, blocks or [features.shape[1]])
    models = (Model(after(ready, build(**chosen), labels, weights), chosen) for chosen in candidates)
    if len(candidates) == 1:
        return next(models)
    _check("validation", validation_features, validation_labels)
    return min(models, key=lambda model: np.mean((model.predict(validation_features) - validation_labels) ** 2))


@dataclass(frozen=True)
class Prepared:
    """Fitted steps that prepare features, and the training features that they prepared."""

    steps: list[tuple[str, Any]]
    features: np.ndarray

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Other molecules' features, prepared likewise."""
        from sklearn.pipeline import Pipeline

        return Pipeline(self.steps).transform(features)


def prepared(features: np.ndarray, blocks: Sequence[int]) -> Prepared:
    """The preparation of (n, d) training features, and these features prepared."""
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    filled = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), VarianceThreshold())
    scaled = make_pipeline(StandardScaler(), FunctionTransformer(np.clip, kw_args={"a_min": -CLIP, "a_max": CLIP}))
    values = scaled.fit_transform(filled.fit_transform(features))
    weights = block_weights(filled[-1].get_support(), blocks)
    weighing = FunctionTransformer(weigh, kw_args={"weights": weights})
    steps = [*filled.steps, *scaled.steps, ("weighing", weighing)]
    return Prepared(steps, weighing.fit_transform(values))


def block_weights(kept: np.ndarray, blocks: Sequence[int]) -> np.ndarray:
    """Factors (kept columns,) of the columns that are left of each block; of a block of at most 256 they are one.

    Args:
        kept: (columns,) whether each is left.
        blocks: numbers of columns of the blocks, in their order.
    """
    left = [int(part.sum()) for part in np.split(kept, np.cumsum(blocks)[:-1])]
    return np.repeat([min(1.0, np.sqrt(WIDE / max(count, 1))) for count in left], left)


def weigh(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, d) features with each column multiplied by its weight."""
    return features * weights


def after(prepared: Prepared, regressor: Regressor, labels: np.ndarray, weights: np.ndarray | None = None) -> Any:
    """A pipeline of the fitted preparation and the regressor, which is fitted here."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    model = TransformedTargetRegressor(regressor, transformer=StandardScaler())
    weighing = {} if weights is None else {"sample_weight": weights}
    model.fit(prepared.features, labels, **weighing)
    return Pipeline([*prepared.steps, ("regressor", model)])


def _check(fold: str, features: np.ndarray, labels: np.ndarray) -> None:
    if len(labels) == 0 or features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ChemsieveError(f"descriptor model: {features.shape} {fold} features do not fit {labels.shape} labels")
    if not np.isfinite(labels).all():
        position = int(np.argmin(np.isfinite(labels)))
        raise ChemsieveError(f"descriptor model: the label of {fold} molecule {position} is not a finite number")
