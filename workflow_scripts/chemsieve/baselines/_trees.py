"""Regression trees as arrays, evaluated without the library that grew them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NUMBERS = ("feature", "threshold", "left", "right", "value", "sizes", "start", "factor")
LEAF = -1  # in place of a child


@dataclass(frozen=True)
class Tree:
    """Nodes (n,) of one tree, the root first: a molecule goes left where its feature is at most the threshold."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray


def stored(trees: Sequence[Tree], start: float, factor: float) -> dict[str, np.ndarray]:
    """Numbers of a model that predicts ``start`` plus ``factor`` times the sum of its trees' values."""
    kinds = {"feature": np.int32, "threshold": float, "left": np.int32, "right": np.int32, "value": float}
    tensors = {name: np.concatenate([getattr(tree, name) for tree in trees]).astype(t) for name, t in kinds.items()}
    sizes = np.array([len(tree.value) for tree in trees], dtype=np.int64)
    return tensors | {"sizes": sizes, "start": np.array([start], float), "factor": np.array([factor], float)}


def evaluate(tensors: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """(n,) predictions of (n, d) features, none of which is missing, from the numbers of :func:`stored`."""
    total = np.zeros(len(features))
    rows = np.arange(len(features))
    for first in np.cumsum(tensors["sizes"]) - tensors["sizes"]:
        node = np.full(len(features), first)
        inner = tensors["left"][node] != LEAF
        while inner.any():
            at, row = node[inner], rows[inner]
            goes_left = features[row, tensors["feature"][at]] <= tensors["threshold"][at]
            node[inner] = first + np.where(goes_left, tensors["left"][at], tensors["right"][at])
            inner = tensors["left"][node] != LEAF
        total += tensors["value"][node]
    return tensors["start"][0] + tensors["factor"][0] * total


def mistake(tensors: dict[str, np.ndarray], columns: int) -> str:
    """What is wrong with the numbers of trees on so many columns, in words; empty where nothing is."""
    if any(tensors[name].shape != (1,) for name in ("start", "factor")):
        return "start and factor are one number each"
    if any(tensors[name].dtype.kind != "i" for name in ("feature", "left", "right", "sizes")):
        return "its trees' features, children and sizes are no whole numbers"
    count = len(tensors["value"])
    if tensors["sizes"].min(initial=1) < 1 or tensors["sizes"].sum() != count or not len(tensors["sizes"]):
        return "its trees are not of as many nodes as it says"
    if any(len(tensors[name]) != count for name in ("feature", "threshold", "left", "right")):
        return "its trees' arrays are of different lengths"
    place = np.arange(count) - np.repeat(np.cumsum(tensors["sizes"]) - tensors["sizes"], tensors["sizes"])
    inner, size = tensors["left"] != LEAF, np.repeat(tensors["sizes"], tensors["sizes"])
    # Children stand behind their node, so that every way ends in a leaf.
    for side in (tensors["left"][inner], tensors["right"][inner]):
        if (side <= place[inner]).any() or (side >= size[inner]).any():
            return "a node of its trees has no such child"
    if ((tensors["feature"][inner] < 0) | (tensors["feature"][inner] >= columns)).any():
        return "a node of its trees asks for a feature that there is not"
    return ""
