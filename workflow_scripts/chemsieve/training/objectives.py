"""What adaptation learns beside the masked tokens, and how much each objective weighs in the sum that is lowered.

All of it is computed from structures, or looked up in a table by them; no label is among it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from chemsieve.data import vectors
from chemsieve.data.descriptors import chosen_names, descriptor_names, descriptors, morgan_counts
from chemsieve.errors import ChemsieveError

log = logging.getLogger(__name__)

MASKED = "mlm"  # the objective that has no head of its own


@dataclass(frozen=True)
class Objectives:
    """The weights of the losses, by objective; one that is not named has none.

    Attributes:
        weights: of ``mlm``, the cross-entropy of masked tokens; and of the squared errors of ``descriptors``, of
            ``morgan``, the logarithms of counts of fragments, and of ``teacher``, given vectors.
        descriptors, left_out: names, as :func:`chemsieve.data.descriptors.chosen_names` takes them.
        teacher: the table of vectors, as :func:`chemsieve.data.vectors.aligned` takes it.
    """

    weights: dict[str, float]
    descriptors: list[str] | None = None
    left_out: list[str] = field(default_factory=list)
    teacher: dict | None = None

    @property
    def masked(self) -> float:
        """The weight of the masked tokens' loss."""
        return self.weights.get(MASKED, 0.0)

    @property
    def beside(self) -> dict[str, float]:
        """The weights of what heads learn."""
        return {name: weight for name, weight in self.weights.items() if weight and name != MASKED}

    def targets(self, smiles: Sequence[str]) -> dict[str, np.ndarray]:
        """By objective, what its head is to predict of molecules (n, numbers), NaN where nothing is known.

        Columns that are the same in all of the molecules tell nothing, and are left out.

        Args:
            smiles: (n,) SMILES as the encoder reads them.

        Raises:
            ChemsieveError: nothing is left to learn, or the teacher's table cannot be read.
        """
        made = {"descriptors": self._descriptors, "morgan": morgan_counts, "teacher": self._teacher}
        found = {name: made[name](smiles) for name in self.beside}
        return {name: _varying(name, values) for name, values in found.items()}

    def _descriptors(self, smiles: Sequence[str]) -> np.ndarray:
        columns = {name: column for column, name in enumerate(descriptor_names())}
        chosen = [columns[name] for name in chosen_names(self.descriptors, self.left_out)]
        return descriptors(smiles)[:, chosen]

    def _teacher(self, smiles: Sequence[str]) -> np.ndarray:
        return vectors.aligned("mlm.teacher", self.teacher or {}, smiles)


def _varying(name: str, values: np.ndarray) -> np.ndarray:
    highest = np.where(np.isfinite(values), values, -np.inf).max(axis=0)
    lowest = np.where(np.isfinite(values), values, np.inf).min(axis=0)
    chosen = highest > lowest
    if not chosen.any():
        raise ChemsieveError(f"mlm.objectives.{name}: it is the same for all {len(values)} molecules to adapt on")
    log.info("%s: %d of %d numbers vary among the molecules", name, chosen.sum(), len(chosen))
    return values[:, chosen]
