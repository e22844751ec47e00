"""Support vector regression on features of molecules, with a Gaussian kernel (Smola and Schölkopf 2004)."""

from collections.abc import Sequence

import numpy as np

from chemsieve.baselines import _pipeline
from chemsieve.baselines._pipeline import Model, one_or_several

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
    **options: object,
) -> Model:
    """Fit ``sklearn.svm.SVR``; the seed has no effect.

    Features are (n, d) and (m, d), labels (n,) and (m,); blocks, preparation, choice and errors as in
    :func:`chemsieve.baselines._pipeline.fit`.
    """
    from sklearn.svm import SVR

    data = (features, labels, validation_features, validation_labels)
    return _pipeline.fit(lambda **chosen: SVR(cache_size=500, **chosen), OPTIONS, data, options, blocks)
