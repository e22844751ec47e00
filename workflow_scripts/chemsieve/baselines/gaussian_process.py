"""Gaussian process regression on features of molecules, with a Gaussian kernel of one width.

Rasmussen and Williams 2006, "Gaussian processes for machine learning".

The tool for small targets: with molecules of two sources it is a process of two correlated functions, each with noise
of its own (:func:`with_pool`), and what it does with either follows in closed form.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from chemsieve.baselines import _pipeline, svr
from chemsieve.baselines._pipeline import Model, one_or_several
from chemsieve.baselines._sources import Chosen, Labelled, moments
from chemsieve.uses import Form

if TYPE_CHECKING:
    from chemsieve.influence.pool_use import Choice, Sources

NUMBERS = svr.NUMBERS
GAMMAS = (0.0003, 0.001, 0.003, 0.01)
NOISES = (0.03, 0.1, 0.3)
SAMPLE = 500  # molecules whose leave-one-out errors choose between widths and noises, at most
RHO = 0.9  # correlation at which these are chosen for functions that are to differ
_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
OPTIONS: dict = {
    "gamma": one_or_several(
        {"anyOf": [_POSITIVE, {"type": "null"}]},
        None,
        "kernel exp(-gamma |x - x'|^2) of standardised features; null: of "
        f"{', '.join(map(str, GAMMAS))} the one with the lowest leave-one-out error",
    ),
    "noise": one_or_several(
        {"anyOf": [_POSITIVE, {"type": "null"}]},
        None,
        "variance of the labels' noise over that of the function; null: likewise, of " + ", ".join(map(str, NOISES)),
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
    """Fit the process; the seed chooses the molecules whose errors choose its width and noise, where they are many.

    A weight divides the variance of a molecule's noise. Features are (n, d) and (m, d), labels (n,) and (m,); blocks,
    weights, preparation, choice and errors as in :func:`chemsieve.baselines._pipeline.fit`.
    """
    data = (features, labels, validation_features, validation_labels)
    return _pipeline.fit(lambda **chosen: _process()(seed=seed, **chosen), OPTIONS, data, options, blocks, weights)


def _process() -> Any:
    from sklearn.base import BaseEstimator, RegressorMixin

    class Process(RegressorMixin, BaseEstimator):
        def __init__(self, gamma: float | None, noise: float | None, seed: int) -> None:
            self.gamma, self.noise, self.seed = gamma, noise, seed

        def fit(self, features: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None = None) -> Any:
            weights = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
            known = weights > 0  # without weight the noise is infinite
            features, labels, weights = features[known], labels[known], weights[known]
            some = np.sort(np.random.default_rng(self.seed).permutation(len(labels))[:SAMPLE])
            gamma, noise = min(
                _grid(self.gamma, self.noise),
                key=lambda both: _squares(features[some], labels[some], both[0], both[1] / weights[some]).mean(),
            )
            solved = _solved(svr.kernel(features, features, gamma), noise / weights, labels)
            self.numbers_ = _numbers(features, solved, gamma)
            return self

        def predict(self, features: np.ndarray) -> np.ndarray:
            return evaluate(self.numbers_, features)

    return Process


def _grid(gamma: float | None, noise: float | None) -> list[tuple[float, float]]:
    return list(itertools.product(GAMMAS if gamma is None else (gamma,), NOISES if noise is None else (noise,)))


def _numbers(features: np.ndarray, coefficients: np.ndarray, gamma: float) -> dict[str, np.ndarray]:
    return {
        "support": features,
        "coefficients": coefficients,
        "intercept": np.zeros(1),
        "gamma": np.array([gamma], float),
    }


def _factor(matrix: np.ndarray, noise: np.ndarray | float) -> tuple[np.ndarray, bool]:
    from scipy.linalg import cho_factor

    damped = matrix.copy()
    damped[np.diag_indices_from(damped)] += noise
    return cho_factor(damped, lower=True, overwrite_a=True)


def _solved(matrix: np.ndarray, noise: np.ndarray | float, right: np.ndarray) -> np.ndarray:
    from scipy.linalg import cho_solve

    return cho_solve(_factor(matrix, noise), right)


def _left_out(matrix: np.ndarray, noise: np.ndarray | float, labels: np.ndarray) -> np.ndarray:
    """Label less prediction of each molecule given the others (n,) (Rasmussen and Williams 2006, 5.4.2)."""
    inverse = _solved(matrix, noise, np.eye(len(labels)))
    return inverse @ labels / np.diag(inverse)


def _squares(features: np.ndarray, labels: np.ndarray, gamma: float, noise: np.ndarray | float) -> np.ndarray:
    return _left_out(svr.kernel(features, features, gamma), noise, labels) ** 2


# -- molecules of two sources ------------------------------------------------------------------------------------------


def with_pool(
    target: Labelled,
    validation: Labelled,
    pool: Labelled,
    forms: Mapping[str, Form],
    seed: int,
    blocks: Sequence[int] = (),
    **options: Any,
) -> dict[str, Chosen]:
    """What each use of the pool would give, by leave-one-out errors on training and validation molecules.

    The closed form is that of :mod:`chemsieve.influence.pool_use` with this kernel in place of the Gram matrix of
    gradients. Width and noise are chosen before, by the same errors: for no pool, for a pool of equals, and for one
    whose function is correlated with the target's; of a large pool with 500 molecules of it.

    Returns:
        By use, its parameters and errors; each can make its model.
    """
    from chemsieve.influence.pool_use import Sources, choose

    gammas, noises = (options.get(name) for name in ("gamma", "noise"))
    grid = [
        both
        for gamma, noise in itertools.product(*(v if isinstance(v, list | tuple) else [v] for v in (gammas, noises)))
        for both in _grid(gamma, noise)
    ]
    ready = _pipeline.prepared(np.concatenate([target.features, pool.features]), blocks or [target.features.shape[1]])
    trained, added = np.split(ready.features, [len(target.labels)])
    known = np.concatenate([trained, ready.transform(validation.features)])
    mean, scale = moments(target.labels)
    own_mean, own_scale = moments(pool.labels, (mean, scale))
    labels = (np.concatenate([target.labels, validation.labels]) - mean) / scale
    some = np.sort(np.random.default_rng(seed).permutation(len(added))[:SAMPLE])

    def sources(gamma: float, noise: float, places: np.ndarray | slice) -> Sources:
        mine, theirs = added[places], pool.labels[places]
        return Sources(
            target=svr.kernel(known, known, gamma),
            cross=svr.kernel(known, mine, gamma),
            pool=svr.kernel(mine, mine, gamma),
            target_labels=labels,
            pool_labels=(theirs - mean) / scale,
            own_labels=(theirs - own_mean) / own_scale,
            noise=noise,
        )

    def model(choice: Choice, own: bool, gamma: float, noise: float) -> Model:
        of_pool = (pool.labels - own_mean) / own_scale if own else (pool.labels - mean) / scale
        numbers = joint(trained, labels[: len(trained)], added, of_pool, choice.best, own, gamma, noise)
        alone = replace(ready, features=trained)  # labels are standardised by those of the target
        return Model(_pipeline.after(alone, _known()(numbers), target.labels), {"gamma": gamma, "noise": noise})

    found = {}
    for kind in dict.fromkeys(map(_kind, forms.values())):
        alike = {name: form for name, form in forms.items() if _kind(form) == kind}
        gamma, noise = min(grid, key=lambda both: choose(sources(both[0], both[1], some), {"": kind})[""].best.rmse)
        for name, choice in choose(sources(gamma, noise, slice(None)), alike).items():
            made = _chosen(choice, (mean, scale), (own_mean, own_scale), len(target.labels))
            made.model = partial(model, choice, kind.own, gamma, noise)
            found[name] = made
    return found


def _kind(form: Form) -> Form:
    """The use that width and noise are chosen for."""
    if form.weight == 0:
        return Form(weight=0.0, rho=0.0)
    return Form(weight=1.0, rho=RHO if form.own else 1.0, own=form.own)


def _chosen(
    choice: Choice,
    of_target: tuple[float, float],
    of_pool: tuple[float, float],
    trained: int,
) -> Chosen:
    (mean, scale), (own_mean, own_scale) = of_target, of_pool
    best = choice.best
    return Chosen(
        weight=best.weight,
        rho=best.rho,
        offset=None if best.offset is None else own_mean + own_scale * best.offset - mean,
        residuals=best.residuals * scale,
        trained=trained,
        curves={
            name: {value: error * scale for value, error in values.items()}
            for name, values in (("weight", choice.weights), ("rho", choice.correlations))
            if len(values) > 1
        },
    )


def joint(
    target: np.ndarray,
    target_labels: np.ndarray,
    pool: np.ndarray,
    pool_labels: np.ndarray,
    chosen: Any,
    own: bool,
    gamma: float,
    noise: float,
) -> dict[str, np.ndarray]:
    """Numbers from which the target's function is predicted, given (t, d) and (p, d) molecules and their labels.

    ``chosen`` has the ``weight`` and the ``rho`` of the pool; with labels of its ``own`` the pool has an offset too,
    by generalised least squares.
    """
    from scipy.linalg import cho_solve

    if chosen.weight == 0 or not len(pool):
        return _numbers(target, _solved(svr.kernel(target, target, gamma), noise, target_labels), gamma)
    t, both = len(target), np.concatenate([target, pool])
    correlation = np.ones((len(both), len(both)))
    correlation[:t, t:] = correlation[t:, :t] = chosen.rho
    of_pool = np.arange(len(both)) >= t
    factor = _factor(svr.kernel(both, both, gamma) * correlation, np.where(of_pool, noise / chosen.weight, noise))
    labels = np.concatenate([target_labels, pool_labels])
    solved = cho_solve(factor, labels)
    if own:
        ones = cho_solve(factor, of_pool.astype(float))
        solved = solved - ones * (of_pool @ solved) / (of_pool @ ones)
    return _numbers(both, np.where(of_pool, chosen.rho, 1.0) * solved, gamma)


def _known() -> Any:
    """The class of a regressor whose numbers are known already."""
    from sklearn.base import BaseEstimator, RegressorMixin

    class Known(RegressorMixin, BaseEstimator):
        def __init__(self, numbers: dict[str, np.ndarray]) -> None:
            self.numbers = numbers

        def fit(self, features: np.ndarray, labels: np.ndarray) -> Any:
            self.numbers_ = self.numbers
            return self

        def predict(self, features: np.ndarray) -> np.ndarray:
            return evaluate(self.numbers_, features)

    return Known


def stored(regressor: Any) -> dict[str, np.ndarray]:
    """Training molecules (s, d), their coefficients (s,), the intercept, which is 0, and the kernel's gamma."""
    return regressor.numbers_


def evaluate(numbers: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """(n,) predictions of (n, d) prepared features: the sum of kernels around the training molecules."""
    return svr.evaluate(numbers, features)


def mistake(numbers: dict[str, np.ndarray], columns: int) -> str:
    """What is wrong with such numbers for so many columns, in words; empty where nothing is."""
    return svr.mistake(numbers, columns)
