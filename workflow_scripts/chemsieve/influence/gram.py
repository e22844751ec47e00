"""The Gram matrix K = J J^T of the gradients of a regressor's outputs, without ever holding J.

What the gradients are made of is captured for as many layers at a time as memory allows, the gradients are formed for a
slice of each layer at a time, and their products are summed into K, in float64, because influence at a small damping is
a difference of large numbers. Parameters of other modules (adapters' vectors) go through ``torch.func``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from chemsieve.influence.basis import principal_bases, random_bases
from chemsieve.influence.capture import ALL, Bases, Basis, Layer, capture, groups, trained_layers
from chemsieve.influence.problem import check_finite
from chemsieve.runtime.processes import progress
from chemsieve.training.batches import by_length

if TYPE_CHECKING:
    from chemsieve.influence.problem import Molecules, Problem

BLOCK = 256  # rows of K per product: about half of K is computed, and one product is still large
CHECKED = 48  # molecules on which an approximate K is compared with the exact one
TokenRows = tuple[Tensor, Tensor]  # molecules (k,) that have a token, ascending, and their gradients (k, width)


@dataclass(frozen=True)
class Gram:
    """A Gram matrix (n, n) and outputs (n,), both float64, in the order of the molecules, and how they were made.

    ``error`` is the relative error |K - K_exact| / |K| (Frobenius), from a random subset of the molecules, or zero
    where nothing was left out. ``columns`` is how many numbers stood for a molecule's gradient.
    """

    matrix: Tensor
    outputs: Tensor
    error: float
    columns: int


def gram(
    problem: Problem,
    molecules: Molecules,
    memory_mb: int = 700,
    tolerance: float = 0.0,
    rank: int | None = None,
    basis: str = "principal",
) -> Gram:
    """The Gram matrix of the outputs' gradients.

    Args:
        memory_mb: about what captured activations and slices of J may take together; K (16 n^2 bytes while it is put
            in order) comes on top. The activations of one layer are the least that it can do with.
        tolerance: leave out this share of the squared gradients of the dense layers that run on tokens. Each layer's
            gradients are turned to the principal directions of its inputs and of its derivatives, where a small part of
            the numbers holds nearly all of them. 0 leaves out nothing.
        rank: keep at most so many directions on each side.
        basis: ``principal``, or ``random``: seeded Gaussian directions, with which K is an unbiased estimate.

    Raises:
        InfluenceDivergence: a number is not finite.
    """
    n = len(molecules)
    layers, rest = trained_layers(problem, molecules)
    bases: dict[str, Basis] = {}
    error = 0.0
    if basis == "random" and rank is not None:
        bases = random_bases(problem, layers, rank)
    elif rank is not None or tolerance > 0:
        bases = principal_bases(problem, molecules, layers, tolerance, rank, memory_mb * 2**20 // 2)
    matrix, outputs = _sum_products(problem, molecules, layers, rest, bases, memory_mb)
    if bases:
        subset = np.random.default_rng(problem.seed + 1).choice(n, min(CHECKED, n), replace=False)
        exact, _ = _sum_products(problem, molecules.take(subset), layers, rest, {}, memory_mb)
        at = torch.as_tensor(subset, device=matrix.device)
        error = extrapolated(matrix[at][:, at] - exact, n) / float(matrix.norm())
    return Gram(matrix, outputs, error, sum(layer.columns(bases) for layer in layers))


def extrapolated(part: Tensor, n: int) -> float:
    """The Frobenius norm expected of an (n, n) matrix of which ``part`` is a random principal submatrix.

    A sample has too much of the diagonal, where errors are larger.
    """
    m = len(part)
    diagonal = float(part.diagonal().square().sum())
    others = float(part.square().sum()) - diagonal
    return (diagonal * n / m + (others * n * (n - 1) / (m * (m - 1)) if m > 1 else 0.0)) ** 0.5


def _sum_products(
    problem: Problem, molecules: Molecules, layers: list[Layer], rest: list[str], bases: Bases, memory_mb: int
) -> tuple[Tensor, Tensor]:
    """K and the outputs, with each dense layer's gradients in the coordinates of its basis."""
    n = len(molecules)
    itemsize = problem.dtype.itemsize
    tokens = sum(len(row) for row in molecules.ids)
    budget = memory_mb * 2**20
    kernel = torch.zeros(n, n, dtype=torch.float64, device=problem.device)
    outputs = torch.empty(n, dtype=torch.float64, device=problem.device)
    parts = groups(
        layers,
        lambda layer: layer.width(bases) * (tokens if layer.tokenwise else n) * itemsize,
        budget * 7 // 8,
    )
    for number, group in enumerate(parts, start=1):
        capture(problem, molecules, group, outputs, bases, f"gradients {number}/{len(parts)}")
        for layer in progress(group, f"products {number}/{len(parts)}"):
            if _outer(layer, bases.get(layer.name, ALL)):
                _accumulate_outer(kernel, layer)
            for rows in _slices(layer, bases.get(layer.name, ALL), n, max(budget // 8 // (n * itemsize), 1)):
                _accumulate(kernel, rows)
            layer.clear()
    if rest:
        _accumulate(kernel, _other_rows(problem, molecules, rest))
    kernel += kernel.tril(-1).T
    check_finite(kernel, "a product of gradients")
    order = np.concatenate(list(by_length(molecules.ids, problem.batch_size)))
    back = torch.as_tensor(np.argsort(order), device=problem.device)
    return kernel[back][:, back], outputs[back]


def _slices(layer: Layer, basis: Basis, n: int, columns: int) -> Iterator[Tensor | TokenRows]:
    """Gradients of a layer's parameters in slices (n, at most about ``columns``), molecules shortest first."""
    if layer.rows:
        yield torch.cat(layer.rows)
    if isinstance(layer.module, nn.Embedding):
        yield from _token_rows(layer, layer.module.num_embeddings)
    elif layer.pairs and not _outer(layer, basis):
        ins, outs = (side.shape[-1] for side in layer.pairs[0])
        step = min(max(columns // ins, 1), outs)
        buffer = layer.pairs[0][0].new_empty(n, step, ins)
        cuts = [] if basis.kept is None else _cuts(basis.kept, range(0, outs + step, step), ins)
        for number, low in enumerate(range(0, outs, step)):
            part = buffer[:, : outs - low] if outs - low < step else buffer
            start = 0
            for entered, derivative in layer.pairs:
                stop = start + len(entered)
                left = derivative[:, :, low : low + step].transpose(1, 2)
                if part is buffer:
                    torch.bmm(left, entered, out=buffer[start:stop])
                else:
                    part[start:stop] = torch.bmm(left, entered)
                start = stop
            part = part.reshape(n, -1)
            if basis.kept is None:
                yield part
            else:
                yield part.index_select(1, basis.kept[cuts[number] : cuts[number + 1]] - low * ins)


def _cuts(kept: Tensor, rows: range, ins: int) -> list[int]:
    """How many of the kept products, ascending, lie before each of these rows of a layer's gradient."""
    return torch.searchsorted(kept, torch.tensor([row * ins for row in rows], device=kept.device)).tolist()


def _outer(layer: Layer, basis: Basis) -> bool:
    """Whether each molecule's gradient of the weight is one outer product, all of whose numbers are kept."""
    return layer.dense is not None and not layer.tokenwise and basis.kept is None


def _accumulate_outer(kernel: Tensor, layer: Layer) -> None:
    """Add the lower triangle of the products of outer products d a^T, each (d . d') (a . a'): none is formed."""
    entered, derivative = (torch.cat([pair[side].flatten(1) for pair in layer.pairs]) for side in (0, 1))
    for start in range(0, len(entered), BLOCK):
        stop = min(start + BLOCK, len(entered))
        block = (entered[start:stop] @ entered[:stop].T).double() * (derivative[start:stop] @ derivative[:stop].T)
        block[:, start:stop].tril_()
        kernel[start:stop, :stop] += block


def _token_rows(layer: Layer, vocabulary: int) -> Iterator[TokenRows]:
    """Gradients of an embedding, as (molecules, rows) per token: a molecule has few of them."""
    key, total = (torch.cat(parts) for parts in zip(*layer.pairs, strict=True))
    order = torch.argsort(key)
    key, total = key[order], total[order]
    sizes = torch.bincount(key >> 32, minlength=vocabulary).tolist()
    for molecules, rows in zip((key & 0xFFFFFFFF).split(sizes), total.split(sizes), strict=True):
        if len(molecules):
            yield molecules, rows


def _accumulate(kernel: Tensor, part: Tensor | TokenRows) -> None:
    """Add the lower triangle of the products of a part's rows."""
    if isinstance(part, tuple):
        molecules, rows = part  # molecules rise, so the lower triangle stays the lower one
        kernel[molecules[:, None], molecules] += (rows @ rows.T).double().tril()
        return
    for start in range(0, len(part), BLOCK):
        stop = min(start + BLOCK, len(part))
        block = (part[start:stop] @ part[:stop].T).double()
        block[:, start:stop].tril_()
        kernel[start:stop, :stop] += block


def _other_rows(problem: Problem, molecules: Molecules, names: list[str]) -> Tensor:
    """Gradients (n, size) of the outputs with respect to the named parameters, molecules shortest first."""
    chosen = {name: problem.parameters[name] for name in names}
    fixed = {**problem.constants, **{n: p for n, p in problem.parameters.items() if n not in chosen}}

    def output(parameters: dict[str, Tensor], tokens: Tensor, mask: Tensor) -> Tensor:
        return functional_call(problem.model, {**fixed, **parameters}, (tokens[None], mask[None]))[0]

    each = vmap(grad(output), in_dims=(None, 0, 0))
    parts = []
    for _, tokens, mask, _ in problem.batches(molecules):
        gradients = each(chosen, tokens, mask)
        parts.append(torch.cat([g.reshape(len(tokens), -1) for g in gradients.values()], dim=1))
    return torch.cat(parts)
