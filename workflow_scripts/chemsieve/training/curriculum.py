"""Curriculum in training: easy molecules first, all of them in the last epoch (Bengio et al. 2009).

At epoch e of E, from 1, an epoch is over the molecules of difficulty at most d_min + (d_max - d_min) e / E, where d_min
and d_max are the smallest and the largest difficulty of the training molecules. As in any training, the epoch that is
kept is the one of the lowest validation loss, and patience may end it before the hardest molecules come.
"""

from collections.abc import Callable, Sequence

import numpy as np

# What a configuration may call difficult, of one training example.
DIFFICULTIES: dict[str, Callable[[dict], float]] = {"length": lambda example: len(example["smiles"])}


def admitted(difficulty: Sequence[float], epochs: int) -> list[np.ndarray]:
    """Positions of the molecules of each epoch: the list has ``epochs`` ascending arrays, each within the next."""
    values = np.asarray(difficulty, dtype=float)
    low, high = values.min(), values.max()
    # The last is the largest itself: the sum may fall short of it by rounding.
    thresholds = [low + (high - low) * epoch / epochs for epoch in range(1, epochs)] + [high]
    return [np.flatnonzero(values <= threshold) for threshold in thresholds]
