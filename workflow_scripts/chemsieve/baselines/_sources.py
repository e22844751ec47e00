"""Descriptor models on molecules of two sources: how those of the pool enter, and which way is the best.

Ways are those of :mod:`chemsieve.uses`, as forms. A weight is that of a pool molecule's error. Where the pool's labels
have a head of their own, a descriptor model has none: they are turned into the target's, by the offset and the scale
with which a model of the pool alone predicts the target's molecules best. A model that knows more says so itself
(``with_pool``, as :mod:`chemsieve.baselines.gaussian_process` has it); of the others held-out errors in five folds
choose. No test molecule has a part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from chemsieve.uses import Form

if TYPE_CHECKING:
    from chemsieve.baselines import DescriptorModel
    from chemsieve.baselines._pipeline import Model

WEIGHTS = (0.1, 0.3, 1.0)  # that are tried where a form leaves the weight open
FOLDS = 5


@dataclass(frozen=True)
class Labelled:
    """Molecules with (n, d) features and (n,) labels."""

    features: np.ndarray
    labels: np.ndarray

    def at(self, places: np.ndarray) -> Labelled:
        return Labelled(self.features[places], self.labels[places])


@dataclass
class Chosen:
    """The best parameters of a use, and its errors.

    Attributes:
        weight: of a pool molecule; 0 leaves the pool out.
        rho: correlation of the two functions; None where the model has no such thing.
        offset: by which the pool's labels lie above the target's; None where the use has none.
        residuals: label less held-out prediction of training, then validation molecules (t + v,); of a molecule that
            several models left out, the root of its mean square.
        trained: training molecules among them.
        curves: errors by the values that were tried of ``weight`` and ``rho``.
        model: makes the model of the use, on all training molecules.
    """

    weight: float
    rho: float | None
    offset: float | None
    residuals: np.ndarray
    trained: int
    curves: dict[str, dict[float, float]] = field(default_factory=dict)
    model: Callable[[], Model] | None = None

    @property
    def rmse(self) -> float:
        """Held-out error on the target's training and validation molecules."""
        return _root_mean(self.residuals)

    @property
    def validation_rmse(self) -> float:
        return _root_mean(self.residuals[self.trained :])


def _root_mean(residuals: np.ndarray) -> float:
    return float(np.sqrt(np.mean(residuals**2)))


def moments(labels: np.ndarray, otherwise: tuple[float, float] = (0.0, 1.0)) -> tuple[float, float]:
    """Mean and standard deviation; what is given where there are no labels, or they do not vary."""
    if not len(labels):
        return otherwise
    own = float(np.std(labels))
    return float(np.mean(labels)), own if own > 0 else otherwise[1]


def turned(labels: np.ndarray, target: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, float]:
    """The pool's labels on the target's scale (p,), and by how much they lay above it on average.

    Args:
        labels: of the pool (p,).
        target: labels of the target's molecules (t,).
        predicted: what a model of the pool alone says of these (t,). A prediction is a conditional mean, so that the
            regression of the target's labels on it has the slope of the two functions, without attenuation.
    """
    apart = predicted - predicted.mean()
    slope = float(apart @ target / (apart @ apart)) if np.ptp(predicted) > 0 else 1.0
    made = float(target.mean()) + slope * (labels - float(predicted.mean()))
    return made, float(np.mean(labels - made))


def uses(
    model: DescriptorModel,
    target: Labelled,
    validation: Labelled,
    pool: Labelled,
    forms: Mapping[str, Form],
    seed: int,
    blocks: Sequence[int] = (),
    **options: Any,
) -> dict[str, Chosen]:
    """What each use of the pool gives on held-out molecules of the target, by name; each can make its model.

    Training molecules are held out in five folds, and validation molecules by every one of these fits. Options that
    are lists are chosen on validation by the model without the pool.

    Args:
        forms: uses by name; a form with the weight 0 leaves the pool out.
    """
    alone = Form(weight=0.0, rho=0.0)
    forms = {name: form if len(pool.labels) and form.weight != 0 else alone for name, form in forms.items()}
    found: dict[str, Chosen] = {}
    # What is prepared without the pool has nothing of it: neither its medians nor its scales.
    for more in (pool.at(np.arange(0)), pool):
        mine = {name: form for name, form in forms.items() if (form == alone) == (more is not pool)}
        if mine and hasattr(model, "with_pool"):
            found |= model.with_pool(target, validation, more, mine, seed, blocks, **options)
        elif mine:
            found |= _CrossFitted(model, target, validation, more, seed, blocks, options).uses(mine)
    return {name: found[name] for name in forms}


class _CrossFitted:
    """Held-out errors of the uses of one selection by one model; equal fits are made once."""

    def __init__(
        self,
        model: DescriptorModel,
        target: Labelled,
        validation: Labelled,
        pool: Labelled,
        seed: int,
        blocks: Sequence[int],
        options: dict[str, Any],
    ):
        self.model, self.target, self.validation, self.pool = model, target, validation, pool
        self.seed, self.blocks = seed, blocks
        validated = (validation.features, validation.labels)
        self.options = model.fit(target.features, target.labels, *validated, seed, blocks, **options).options
        self.folds = np.array_split(np.random.default_rng(seed).permutation(len(target.labels)), FOLDS)
        self._found: dict[tuple[float, bool], np.ndarray] = {}
        self._alone: np.ndarray | None = None

    def uses(self, forms: Mapping[str, Form]) -> dict[str, Chosen]:
        return {name: self._chosen(form) for name, form in forms.items()}

    def _chosen(self, form: Form) -> Chosen:
        tried = WEIGHTS if form.weight is None else (form.weight,)
        errors = {weight: self._residuals(weight, form.own and weight > 0) for weight in tried}
        weight = min(errors, key=lambda one: _root_mean(errors[one]))
        own = form.own and weight > 0
        curve = {one: _root_mean(residuals) for one, residuals in errors.items()}
        offset = self._turned(np.arange(len(self.target.labels)))[1] if own else None
        return Chosen(
            weight=weight,
            rho=None,
            offset=offset,
            residuals=errors[weight],
            trained=len(self.target.labels),
            curves={"weight": curve} if len(curve) > 1 else {},
            model=lambda: self._fit(np.arange(len(self.target.labels)), weight, own),
        )

    def _residuals(self, weight: float, own: bool) -> np.ndarray:
        if (weight, own) not in self._found:
            left = np.empty(len(self.target.labels))
            squares = np.zeros(len(self.validation.labels))
            for held in self.folds:
                kept = np.setdiff1d(np.arange(len(left)), held)
                model = self._fit(kept, weight, own)
                left[held] = self.target.labels[held] - model.predict(self.target.features[held])
                squares += (self.validation.labels - model.predict(self.validation.features)) ** 2 / len(self.folds)
            self._found[weight, own] = np.concatenate([left, np.sqrt(squares)])
        return self._found[weight, own]

    def _turned(self, places: np.ndarray) -> tuple[np.ndarray, float]:
        """The pool's labels on the scale of the target's molecules at these places."""
        if self._alone is None:
            validated = (self.validation.features, self.validation.labels)
            alone = self.model.fit(
                self.pool.features, self.pool.labels, *validated, self.seed, self.blocks, **self.options
            )
            self._alone = alone.predict(self.target.features)
        return turned(self.pool.labels, self.target.labels[places], self._alone[places])

    def _fit(self, places: np.ndarray, weight: float, own: bool) -> Model:
        mine = self.target.at(places)
        features, labels, weights = mine.features, mine.labels, None
        if weight > 0:
            labels = np.concatenate([labels, self._turned(places)[0] if own else self.pool.labels])
            features = np.concatenate([features, self.pool.features])
            weights = None if weight == 1 else np.repeat([1.0, weight], [len(places), len(self.pool.labels)])
        validated = (self.validation.features, self.validation.labels)
        return self.model.fit(features, labels, *validated, self.seed, self.blocks, weights=weights, **self.options)
