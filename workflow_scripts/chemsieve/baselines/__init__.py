"""Descriptor models (extension point): each module is one, a :class:`DescriptorModel`.

A descriptor model is a regressor on features of molecules that are computed once and that it does not train: RDKit
descriptors, Morgan fingerprints, the output of a frozen encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from chemsieve import registry

if TYPE_CHECKING:
    import numpy as np

    from chemsieve.baselines._pipeline import Model


class DescriptorModel(Protocol):
    """A module that fits one kind of regressor to features.

    ``OPTIONS`` is the JSON Schema of the keyword arguments of ``fit``. Each may be a list of values, of which the one
    with the lowest validation error is taken. ``NUMBERS`` are the names of what ``stored`` gives.
    """

    OPTIONS: dict
    NUMBERS: tuple[str, ...]

    def fit(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        validation_features: np.ndarray,
        validation_labels: np.ndarray,
        seed: int,
        blocks: Sequence[int] = (),
        weights: np.ndarray | None = None,
        **options: Any,
    ) -> Model:
        """A model fitted to (n, d) features and (n,) labels; those of validation choose between options.

        ``blocks`` are the numbers of columns of the kinds of features that stand side by side; none: all are of one.
        ``weights`` are of each molecule's error (n,); None: all weigh the same.
        """

    def stored(self, regressor: Any) -> dict[str, np.ndarray]:
        """The numbers of a fitted scikit-learn regressor that its predictions follow from, by name."""
        ...

    def evaluate(self, numbers: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
        """(n,) predictions of (n, d) prepared features from those numbers, without scikit-learn."""
        ...

    def mistake(self, numbers: dict[str, np.ndarray], columns: int) -> str:
        """What is wrong with such numbers for so many prepared columns, in words; empty where nothing is."""
        ...


def load(name: str) -> DescriptorModel:
    """The module of one descriptor model.

    Raises:
        ChemsieveError: there is no such model.
    """
    return cast("DescriptorModel", registry.load("baselines", name))
