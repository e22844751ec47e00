"""Embeddings of a large pool, a part at a time: the whole is kept in single precision and never copied."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK = 4096  # molecules


def blocks(*parts: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of each part (n, d) in turn, as float64 blocks of at most ``BLOCK`` rows."""
    for part in parts:
        for start in range(0, len(part), BLOCK):
            yield part[start : start + BLOCK].astype(np.float64)


class Standardised:
    """The rows of all parts with mean 0 and standard deviation 1 over all of them: blocks, as often as asked for."""

    def __init__(self, *parts: np.ndarray):
        from sklearn.preprocessing import StandardScaler

        self.parts = parts
        self._scaler = StandardScaler()
        for block in blocks(*parts):
            self._scaler.partial_fit(block)

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in blocks(*self.parts):
            yield self._scaler.transform(block)

    def project(self, part: np.ndarray, axes: np.ndarray) -> np.ndarray:
        """Standardised rows of ``part`` (n, d) times ``axes`` (d, k): (n, k)."""
        return np.concatenate([self._scaler.transform(block) @ axes for block in blocks(part)])
