"""Curriculum in training: easy molecules first, all of them in the last epoch (Bengio et al. 2009).

At epoch e of E, from 1, an epoch is over the molecules of difficulty at most d_min + (d_max - d_min) e / E, where d_min
and d_max are the smallest and the largest difficulty of the training molecules. As in any training, the epoch that is
kept is the one of the lowest validation loss, and patience may end it before the hardest molecules come.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

# What a configuration may call difficult, of one training example.
DIFFICULTIES: dict[str, Callable[[dict], float]] = {"length": lambda example: len(example["smiles"])}


def admitted(difficulty: Sequence[float], epochs: int) -> list[np.ndarray]:
    """Positions of the molecules of each epoch: the list has ``epochs`` ascending arrays, each within the next."""
    values = np.asarray(difficulty, dtype=float)
    low, high = values.min(), values.max()
    # The last is the largest itself: the sum may fall short of it by rounding.
    thresholds = [low + (high - low) * epoch / epochs for epoch in range(1, epochs)] + [high]
    return [np.flatnonzero(values <= threshold) for threshold in thresholds]


class CurriculumSampler(Sampler[int]):
    """Positions of one epoch's molecules in random order, by torch's global generator.

    Args:
        epochs: positions of each epoch, as :func:`admitted` gives them.
        lengths: tokens of each molecule, to group those of similar length into batches; ``None`` groups nothing.
    """

    def __init__(self, epochs: list[np.ndarray], lengths: Sequence[int] | None, batch_size: int):
        self.epochs, self.lengths, self.batch_size = epochs, lengths, batch_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next pass is over, from 0; the data loader calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        # Of the last epoch, for the trainer takes it as a bound; a pass may end before.
        return len(self.epochs[-1])

    def __iter__(self) -> Iterator[int]:
        positions = self.epochs[self.epoch]
        if self.lengths is None:
            order = torch.randperm(len(positions)).tolist()
        else:
            order = get_length_grouped_indices([self.lengths[i] for i in positions], self.batch_size)
        return iter(positions[order].tolist())
