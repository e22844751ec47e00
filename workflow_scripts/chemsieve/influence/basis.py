"""Projection bases: a few directions of a dense layer's inputs and derivatives that stand for all.

The principal directions of both sides are the eigenbasis of Kronecker-factored curvature (George et al. 2018,
1806.03884; its use for influence: Choe et al. 2024, 2405.13954). Random directions are those of Park et al. 2023
(2303.14186).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from chemsieve.influence.capture import Basis, Layer, capture, groups

if TYPE_CHECKING:
    from torch import nn

    from chemsieve.influence.problem import Molecules, Problem

PILOT = 128  # molecules that principal directions are taken from
SAVING = 0.8  # a layer is projected where fewer than this share of its products is left


@dataclass(frozen=True)
class _Directions:
    """Principal directions of a layer's inputs (in, r) and of its derivatives (out, s).

    ``energy`` (s, r), float64, is the sum of the pilot's squared gradients along each pair of them.
    """

    left: Tensor
    right: Tensor
    energy: Tensor

    def above(self, threshold: Tensor) -> Basis:
        """The basis of the pairs of more energy than that, without directions that are in no such pair."""
        kept = self.energy > threshold
        rows, columns = kept.any(1), kept.any(0)
        rows[0] = columns[0] = True  # never an empty matrix
        kept = kept[rows][:, columns]
        flat = None if kept.all() else kept.reshape(-1).nonzero()[:, 0]
        return Basis(self.left[:, columns].contiguous(), self.right[:, rows].contiguous(), flat)


def random_bases(problem: Problem, layers: list[Layer], rank: int) -> dict[str, Basis]:
    """Gaussian matrices (in, rank) and (out, rank) that keep inner products in expectation; None for small sides."""
    bases = {}
    for layer in layers:
        if layer.dense:
            generator = torch.Generator().manual_seed(problem.seed * 100_003 + layer.number)
            left, right = (
                torch.randn(side, rank, generator=generator) / rank**0.5 if side > rank else None
                for side in (layer.dense.in_features, layer.dense.out_features)
            )
            bases[layer.name] = Basis(*(m if m is None else m.to(problem.device, problem.dtype) for m in (left, right)))
    return bases


def principal_bases(
    problem: Problem, molecules: Molecules, layers: list[Layer], tolerance: float, rank: int | None, budget: int
) -> dict[str, Basis]:
    """Principal directions of the dense layers that run on tokens, where they save something.

    They are those of a sample in which every token occurs. Of few molecules there are none: they would cost more than
    they save.

    Args:
        tolerance: the share of the sample's squared gradients, over all these layers, that may be left out.
        rank: at most so many directions on each side.
        budget: bytes that recorded activations may take.
    """
    # The other dense layers see one vector per molecule, and a sample has too few of these to tell their directions.
    # They are small enough to be kept whole.
    dense = [layer for layer in layers if layer.dense and layer.tokenwise]
    if len(molecules) < 2 * PILOT or not dense:
        return {}
    found = _pilot(problem, molecules, dense, rank, budget)
    if tolerance > 0:
        threshold = _threshold(found, tolerance)
        bases = {name: directions.above(threshold) for name, directions in found.items()}
    else:
        bases = {name: Basis(directions.left, directions.right) for name, directions in found.items()}
    return {layer.name: bases[layer.name] for layer in dense if layer.dense and _saves(layer.dense, bases[layer.name])}


def _pilot(
    problem: Problem, molecules: Molecules, layers: list[Layer], rank: int | None, budget: int
) -> dict[str, _Directions]:
    """Each layer's directions and their energies, from a sample of the molecules."""
    sample = molecules.take(_covering_sample(molecules, PILOT, problem.seed))
    outputs = torch.empty(len(sample), dtype=torch.float64, device=problem.device)
    tokens = sum(len(row) for row in sample.ids)
    found = {}
    for group in groups(layers, lambda layer: layer.width({}) * tokens * problem.dtype.itemsize, budget):
        capture(problem, sample, group, outputs, {}, "principal directions")
        for layer in group:
            left, right = (
                _principal(torch.cat([p[side].reshape(-1, p[side].shape[-1]) for p in layer.pairs]), rank)
                for side in (0, 1)
            )
            turned = ((d @ right).transpose(1, 2) @ (x @ left) for x, d in layer.pairs)
            none = torch.zeros((), dtype=torch.float64, device=problem.device)
            energy = sum((rows.square_().sum(0).double() for rows in turned), start=none)
            found[layer.name] = _Directions(left, right, energy)
            layer.clear()
    return found


def _threshold(found: Mapping[str, _Directions], tolerance: float) -> Tensor:
    """The largest energy of the pairs that together hold at most the share ``tolerance``; -1 where none may go."""
    together = torch.cat([directions.energy.reshape(-1) for directions in found.values()]).sort().values
    left_out = torch.cumsum(together, 0) <= tolerance * together.sum()
    return together[left_out][-1] if left_out.any() else together.new_tensor(-1.0)


def _principal(values: Tensor, rank: int | None) -> Tensor:
    """Orthonormal directions (width, kept), those of the most energy first."""
    _, directions = torch.linalg.eigh((values.T @ values).double())
    return directions.flip(1)[:, :rank].to(values.dtype).contiguous()


def _saves(dense: nn.Linear, basis: Basis) -> bool:
    """Whether turning to the basis is worth its products."""
    return basis.products(dense) < SAVING * dense.in_features * dense.out_features


def _covering_sample(molecules: Molecules, count: int, seed: int) -> np.ndarray:
    """Positions of about ``count`` random molecules, among them one for every token that occurs."""
    order = np.random.default_rng(seed).permutation(len(molecules))
    seen: set[int] = set()
    chosen: list[int] = []
    for position in order:
        new = set(molecules.ids[position]) - seen
        if len(chosen) < count or new:
            chosen.append(int(position))
            seen |= new
    return np.array(chosen)
