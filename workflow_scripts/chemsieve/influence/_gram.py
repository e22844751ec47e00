"""The Gram matrix K = J J^T of the gradients of a regressor's outputs, without ever holding J.

A dense layer's gradient for one molecule is d^T a, with a its inputs (tokens, in) and d the output's derivatives with
respect to what the layer puts out (tokens, out). Both are captured for as many layers at a time as memory allows, the
gradients are formed for a slice of each layer at a time, and their products are summed into K, in float64, because
influence at a small damping is a difference of large numbers. Biases, normalisations and embeddings have small or
sparse gradients; parameters of other modules (adapters' vectors) go through ``torch.func``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from chemsieve.influence._problem import Molecules, Problem, check_finite
from chemsieve.runtime.processes import progress
from chemsieve.training.batches import by_length

BLOCK = 256  # rows of K per product: about half of K is computed, and one product is still large
PILOT = 128  # molecules that principal directions are taken from
CHECKED = 48  # molecules on which an approximate K is compared with the exact one


@dataclass(frozen=True)
class _Basis:
    """Coordinates for a dense layer's gradients: directions of its inputs (in, r) and of its derivatives (out, s).

    None stands for all of a side. ``kept``: which of the s r products are kept, all where None.
    """

    left: Tensor | None = None
    right: Tensor | None = None
    kept: Tensor | None = None


_ALL = _Basis()


@dataclass
class _Layer:
    """A module with trainable parameters of its own, and what the passes captured of it, batch by batch."""

    name: str
    module: nn.Module
    parameters: list[str]  # own names: weight, bias
    number: int
    tokenwise: bool = True  # runs on every token, not on one vector per molecule
    rows: list[Tensor] = field(default_factory=list)  # gradients of small parameters (molecules, size)
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # inputs and derivatives of a large one

    def clear(self) -> None:
        """Free what was captured."""
        self.rows.clear()
        self.pairs.clear()

    @property
    def dense(self) -> bool:
        return isinstance(self.module, nn.Linear) and "weight" in self.parameters


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
            gradients are turned to the principal directions of its inputs and of its derivatives (the eigenbasis of
            Kronecker-factored curvature, George et al. 2018, 1806.03884; its use for influence: Choe et al. 2024,
            2405.13954), where a small part of the numbers holds nearly all of them. 0 leaves out nothing.
        rank: keep at most so many directions on each side.
        basis: ``principal``, or ``random``: seeded Gaussian directions (Park et al. 2023, 2303.14186), with which K is
            an unbiased estimate.

    Raises:
        InfluenceDivergence: a number is not finite.
    """
    n = len(molecules)
    layers, rest = _layers(problem)
    _look_at_shapes(problem, molecules, layers)
    bases: dict[str, _Basis] = {}
    error = 0.0
    if basis == "random" and rank is not None:
        bases = {layer.name: _random_basis(problem, layer, rank) for layer in layers if layer.dense}
    elif (rank is not None or tolerance > 0) and n >= 2 * PILOT:  # below, the directions cost more than they save
        bases = _principal_bases(problem, molecules, layers, tolerance, rank, memory_mb * 2**20 // 2)
    matrix, outputs = _sum_products(problem, molecules, layers, rest, bases, memory_mb)
    if bases:
        subset = np.random.default_rng(problem.seed + 1).choice(n, min(CHECKED, n), replace=False)
        exact, _ = _sum_products(problem, molecules.take(subset), layers, rest, {}, memory_mb)
        at = torch.as_tensor(subset, device=matrix.device)
        error = _extrapolated(matrix[at][:, at] - exact, n) / float(matrix.norm())
    return Gram(matrix, outputs, error, sum(_columns(layer, bases) for layer in layers))


def _extrapolated(part: Tensor, n: int) -> float:
    """The Frobenius norm expected of an (n, n) matrix of which ``part`` is a random principal submatrix.

    A sample has too much of the diagonal, where errors are larger.
    """
    m = len(part)
    diagonal = float(part.diagonal().square().sum())
    others = float(part.square().sum()) - diagonal
    return (diagonal * n / m + (others * n * (n - 1) / (m * (m - 1)) if m > 1 else 0.0)) ** 0.5


def _sum_products(
    problem: Problem,
    molecules: Molecules,
    layers: list[_Layer],
    rest: list[str],
    bases: dict[str, _Basis],
    memory_mb: int,
) -> tuple[Tensor, Tensor]:
    """K and the outputs, with each dense layer's gradients in the coordinates of its basis."""
    n = len(molecules)
    itemsize = problem.dtype.itemsize
    tokens = sum(len(row) for row in molecules.ids)
    budget = memory_mb * 2**20
    kernel = torch.zeros(n, n, dtype=torch.float64, device=problem.device)
    outputs = torch.empty(n, dtype=torch.float64, device=problem.device)
    groups = _groups(
        layers,
        lambda layer: _width(layer, bases) * (tokens if layer.tokenwise else n) * itemsize,
        budget * 7 // 8,
    )
    for number, group in enumerate(groups, start=1):
        _capture(problem, molecules, group, outputs, bases, f"gradients {number}/{len(groups)}")
        for layer in progress(group, f"products {number}/{len(groups)}"):
            for part in _parts(layer, bases.get(layer.name, _ALL), n, max(budget // 8 // (n * itemsize), 1)):
                _accumulate(kernel, part)
            layer.clear()
    if rest:
        _accumulate(kernel, _other_rows(problem, molecules, rest))
    kernel += kernel.tril(-1).T
    check_finite(kernel, "a product of gradients")
    order = np.concatenate(list(by_length(molecules.ids, problem.batch_size)))
    back = torch.as_tensor(np.argsort(order), device=problem.device)
    return kernel[back][:, back], outputs[back]


def _layers(problem: Problem) -> tuple[list[_Layer], list[str]]:
    """Modules whose gradients have formulas here, in the model's order; and the names of all other parameters."""
    layers, rest = [], []
    for name, module in problem.model.named_modules():
        own = {p: f"{name}.{p}".lstrip(".") for p, _ in module.named_parameters(recurse=False)}
        own = {p: full for p, full in own.items() if full in problem.parameters}
        if own and type(module) in (nn.Linear, nn.LayerNorm, nn.Embedding):
            layers.append(_Layer(name, module, list(own), number=len(layers)))
        else:
            rest += own.values()
    return layers, rest


def _look_at_shapes(problem: Problem, molecules: Molecules, layers: list[_Layer]) -> None:
    """Find which dense layers run on molecules instead of tokens; one molecule is enough to see it."""
    _capture(problem, molecules.take([0]), layers, torch.empty(1, dtype=torch.float64, device=problem.device), {}, "")
    for layer in layers:
        layer.tokenwise = not layer.dense or layer.pairs[0][0].shape[1] > 1
        layer.clear()


def _groups(layers: list[_Layer], cost: Callable[[_Layer], int], budget: int) -> list[list[_Layer]]:
    """Runs of layers whose captured numbers fit the budget; the last layers first, whose backward pass is short."""
    groups: list[list[_Layer]] = []
    left = 0
    for layer in reversed(layers):
        if not groups or cost(layer) > left:
            groups.append([])
            left = budget
        groups[-1].append(layer)
        left -= cost(layer)
    return groups


def _capture(
    problem: Problem, molecules: Molecules, layers: list[_Layer], outputs: Tensor, bases: dict[str, _Basis], label: str
) -> None:
    """One pass over the molecules, shortest first: outputs, and what the layers keep.

    Derivatives are taken with respect to the layers' outputs alone, so that no gradient of a parameter is formed and
    the backward pass ends at the first captured layer.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def after(layer: _Layer) -> Callable:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if layer.name in seen:
                raise NotImplementedError(f"{layer.name} runs more than once in a forward pass")
            if output.shape[0] != len(tokens):  # positions shared by the batch: one copy per molecule
                output = output.expand(len(tokens), *output.shape[1:])
            if not output.requires_grad:
                output = output.detach().requires_grad_(True)
            seen[layer.name] = (inputs[0].detach().expand(len(tokens), *inputs[0].shape[1:]), output)
            return output

        return hook

    trainable = [p for p in problem.model.parameters() if p.requires_grad]
    handles = [layer.module.register_forward_hook(after(layer)) for layer in layers]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        start = 0
        batches = progress(problem._batches(molecules), label, total=-(-len(molecules) // problem.batch_size))
        for _, tokens, mask, _ in batches:
            seen.clear()
            with torch.enable_grad():
                result = problem.model(tokens, mask)
                derivatives = torch.autograd.grad(result.sum(), [seen[layer.name][1] for layer in layers])
            outputs[start : start + len(tokens)] = result.detach().double()
            for layer, derivative in zip(layers, derivatives, strict=True):
                _keep(layer, start, seen[layer.name][0], derivative, bases.get(layer.name, _ALL))
            start += len(tokens)
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)


def _width(layer: _Layer, bases: dict[str, _Basis]) -> int:
    """Numbers kept per token."""
    if isinstance(layer.module, nn.Embedding):
        return layer.module.embedding_dim
    return sum(_shape(layer, bases.get(layer.name, _ALL))) if layer.dense else 0


def _shape(layer: _Layer, basis: _Basis) -> tuple[int, int]:
    """Columns that the inputs and the derivatives of a dense layer are kept in."""
    module = layer.module
    return (
        module.in_features if basis.left is None else basis.left.shape[1],
        module.out_features if basis.right is None else basis.right.shape[1],
    )


def _products(layer: _Layer, basis: _Basis) -> int:
    """Numbers that stand for one molecule's gradient of a dense layer's weight."""
    ins, outs = _shape(layer, basis)
    return ins * outs if basis.kept is None else len(basis.kept)


def _columns(layer: _Layer, bases: dict[str, _Basis]) -> int:
    """Numbers that stand for one molecule's gradient of the layer."""
    if not layer.dense:
        return sum(p.numel() for name, p in layer.module.named_parameters(recurse=False) if name in layer.parameters)
    basis = bases.get(layer.name, _ALL)
    return _products(layer, basis) + ("bias" in layer.parameters) * layer.module.out_features


def _random_basis(problem: Problem, layer: _Layer, rank: int) -> _Basis:
    """Gaussian matrices (in, rank) and (out, rank) that keep inner products in expectation; None for small sides."""
    generator = torch.Generator().manual_seed(problem.seed * 100_003 + layer.number)
    drawn = (
        torch.randn(side, rank, generator=generator) / rank**0.5 if side > rank else None
        for side in (layer.module.in_features, layer.module.out_features)
    )
    return _Basis(*(m if m is None else m.to(problem.device, problem.dtype) for m in drawn))


def _principal_bases(
    problem: Problem,
    molecules: Molecules,
    layers: list[_Layer],
    tolerance: float,
    rank: int | None,
    budget: int,
) -> dict[str, _Basis]:
    """Principal directions of the dense layers that run on tokens, where they save something.

    They are those of a sample in which every token occurs.
    """
    sample = molecules.take(_covering_sample(molecules, PILOT, problem.seed))
    # Others see one vector a molecule: too few in a sample to know their directions by, and they are small.
    dense = [layer for layer in layers if layer.dense and layer.tokenwise]
    if not dense:
        return {}
    outputs = torch.empty(len(sample), dtype=torch.float64, device=problem.device)
    bases, energies = {}, {}
    tokens = sum(len(row) for row in sample.ids)
    for group in _groups(dense, lambda layer: _width(layer, {}) * tokens * problem.dtype.itemsize, budget):
        _capture(problem, sample, group, outputs, {}, "principal directions")
        for layer in group:
            left, right = (
                _principal(torch.cat([p[side].reshape(-1, p[side].shape[-1]) for p in layer.pairs]), rank)
                for side in (0, 1)
            )
            turned = ((d @ right).transpose(1, 2) @ (x @ left) for x, d in layer.pairs)
            energies[layer.name] = sum(rows.square_().sum(0).double() for rows in turned)
            bases[layer.name] = _Basis(left, right)
            layer.clear()
    if tolerance > 0:
        together = torch.cat([energy.reshape(-1) for energy in energies.values()]).sort().values
        left_out = torch.cumsum(together, 0) <= tolerance * together.sum()
        threshold = together[left_out][-1] if left_out.any() else together.new_tensor(-1.0)
        bases = {name: _trimmed(basis, energies[name] > threshold) for name, basis in bases.items()}
    return {layer.name: basis for layer in dense if _saves(layer, basis := bases[layer.name])}


def _principal(values: Tensor, rank: int | None) -> Tensor:
    """Orthonormal directions (width, kept), those of the most energy first."""
    _, directions = torch.linalg.eigh((values.T @ values).double())
    return directions.flip(1)[:, :rank].to(values.dtype).contiguous()


def _trimmed(basis: _Basis, kept: Tensor) -> _Basis:
    """The basis without directions of which no product is ``kept`` (s, r)."""
    rows, columns = kept.any(1), kept.any(0)
    rows[0] = columns[0] = True  # never an empty matrix
    kept = kept[rows][:, columns]
    flat = None if kept.all() else kept.reshape(-1).nonzero()[:, 0]
    return _Basis(basis.left[:, columns].contiguous(), basis.right[:, rows].contiguous(), flat)


def _saves(layer: _Layer, basis: _Basis) -> bool:
    """Whether turning to the basis is worth its products."""
    return _products(layer, basis) < 0.8 * layer.module.in_features * layer.module.out_features


def _covering_sample(molecules: Molecules, count: int, seed: int) -> np.ndarray:
    """Positions of about ``count`` random molecules, among them one for every token that occurs."""
    order = np.random.default_rng(seed).permutation(len(molecules))
    seen: set[int] = set()
    chosen = []
    for position in order:
        new = set(molecules.ids[position]) - seen
        if len(chosen) < count or new:
            chosen.append(int(position))
            seen |= new
    return np.array(chosen)


def _keep(layer: _Layer, start: int, entered: Tensor, derivative: Tensor, basis: _Basis) -> None:
    """Store what a batch, whose first molecule is number ``start``, contributes to a layer's gradients.

    ``entered`` are its inputs, ``derivative`` is with respect to its outputs.
    """
    module, batch = layer.module, len(derivative)
    if isinstance(module, nn.Embedding):
        if module.padding_idx is not None:
            derivative = derivative * (entered != module.padding_idx).unsqueeze(-1)
        layer.pairs.append(_token_sums(start, entered, derivative))
        return
    derivative = derivative.reshape(batch, -1, derivative.shape[-1])
    entered = entered.reshape(batch, -1, entered.shape[-1])
    small = {}
    if "bias" in layer.parameters:
        small["bias"] = derivative.sum(1)
    if isinstance(module, nn.LayerNorm) and "weight" in layer.parameters:
        normalised = nn.functional.layer_norm(entered, module.normalized_shape, eps=module.eps)
        small["weight"] = (derivative * normalised).sum(1)
    if small:
        layer.rows.append(torch.cat(list(small.values()), dim=1))
    if layer.dense:
        left, right = basis.left, basis.right
        layer.pairs.append(
            (entered if left is None else entered @ left, derivative if right is None else derivative @ right)
        )


def _parts(layer: _Layer, basis: _Basis, n: int, columns: int) -> Iterator[Tensor]:
    """Gradients of a layer's parameters in parts (n, at most about ``columns``), molecules shortest first."""
    if layer.rows:
        yield torch.cat(layer.rows)
    if isinstance(layer.module, nn.Embedding):
        yield from _token_parts(layer)
    elif layer.pairs:
        ins, outs = (side.shape[-1] for side in layer.pairs[0])
        step = min(max(columns // ins, 1), outs)
        buffer = layer.pairs[0][0].new_empty(n, step, ins)
        for low in range(0, outs, step):
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
                first = low * ins
                here = basis.kept[(basis.kept >= first) & (basis.kept < first + part.shape[1])] - first
                yield part.index_select(1, here)


def _token_sums(start: int, ids: Tensor, derivative: Tensor) -> tuple[Tensor, Tensor]:
    """A batch's gradients of an embedding: keys token 2^32 + molecule (k,) and sums (k, width) over like tokens."""
    molecule = torch.arange(start, start + len(ids), device=ids.device)[:, None].expand_as(ids)
    keys, place = torch.unique(ids * (1 << 32) + molecule, return_inverse=True)
    width = derivative.shape[-1]
    sums = derivative.new_zeros(len(keys), width)
    return keys, sums.index_add_(0, place.reshape(-1), derivative.reshape(-1, width))


def _token_parts(layer: _Layer) -> Iterator[tuple[Tensor, Tensor]]:
    """Gradients of an embedding, as (molecules, rows) per token: a molecule has few of them."""
    key, total = (torch.cat(parts) for parts in zip(*layer.pairs, strict=True))
    order = torch.argsort(key)
    key, total = key[order], total[order]
    sizes = torch.bincount(key >> 32, minlength=layer.module.num_embeddings).tolist()
    for molecules, rows in zip((key & 0xFFFFFFFF).split(sizes), total.split(sizes), strict=True):
        if len(molecules):
            yield molecules, rows


def _accumulate(kernel: Tensor, part: Tensor | tuple[Tensor, Tensor]) -> None:
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
    for _, tokens, mask, _ in problem._batches(molecules):
        gradients = each(chosen, tokens, mask)
        parts.append(torch.cat([g.reshape(len(tokens), -1) for g in gradients.values()], dim=1))
    return torch.cat(parts)
