"""What the descriptor models share: preparation of features and labels, and the choice of options."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Protocol

import numpy as np

from chemsieve.errors import ChemsieveError

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

    def __init__(self, pipeline: Regressor, options: dict[str, Any]) -> None:
        self.pipeline, self.options = pipeline, options

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(n,) predictions, in the unit of the labels, of (n, d) descriptors."""
        return self.pipeline.predict(features)


def fit(
    build: Callable[..., Regressor],
    declared: dict,
    data: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    options: dict[str, Any],
) -> Model:
    """Fit ``build(**options)``, a scikit-learn regressor, on prepared training molecules.

    Everything is estimated from the training molecules: missing descriptors become the column's median, constant
    columns go, the rest is standardised and clipped to five standard deviations; labels are standardised. Where options
    are lists, all combinations are fitted and the one with the lowest mean squared error on the validation molecules
    is kept (the first among equals); otherwise the validation molecules are not looked at.

    Args:
        build: makes the regressor.
        declared: the model's OPTIONS, whose defaults complete ``options``.
        data: (n, d) training descriptors, (n,) training labels, (m, d) validation descriptors, (m,) validation labels.
        options: values, or lists of values.

    Raises:
        ChemsieveError: unknown option, no molecules, shapes that do not fit, a label that is not finite, or training
            molecules whose descriptors are all alike.
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
        raise ChemsieveError("descriptor model: no descriptor varies among the training molecules")
    models = (Model(_prepare(build(**chosen)).fit(features, labels), chosen) for chosen in candidates)
    if len(candidates) == 1:
        return next(models)
    _check("validation", validation_features, validation_labels)
    return min(models, key=lambda model: np.mean((model.predict(validation_features) - validation_labels) ** 2))


def _prepare(regressor: Regressor) -> Regressor:
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        VarianceThreshold(),
        StandardScaler(),
        FunctionTransformer(np.clip, kw_args={"a_min": -CLIP, "a_max": CLIP}),
        TransformedTargetRegressor(regressor, transformer=StandardScaler()),
    )


def _check(fold: str, features: np.ndarray, labels: np.ndarray) -> None:
    if len(labels) == 0 or features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ChemsieveError(f"descriptor model: {features.shape} {fold} descriptors do not fit {labels.shape} labels")
    if not np.isfinite(labels).all():
        position = int(np.argmin(np.isfinite(labels)))
        raise ChemsieveError(f"descriptor model: the label of {fold} molecule {position} is not a finite number")
