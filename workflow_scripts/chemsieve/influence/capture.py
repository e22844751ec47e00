"""What a pass over molecules records of a regressor's layers: enough to form the gradients of its outputs.

A dense layer's gradient for one molecule is d^T a, with a its inputs (tokens, in) and d the output's derivatives with
respect to what the layer puts out (tokens, out). Both are recorded, in fewer coordinates where the layer has a
:class:`Basis`. Biases, normalisations and embeddings have small or sparse gradients, which are recorded themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from chemsieve.runtime.processes import progress

if TYPE_CHECKING:
    from chemsieve.influence.problem import Molecules, Problem


@dataclass(frozen=True)
class Basis:
    """Coordinates for a dense layer's gradients: directions of its inputs (in, r) and of its derivatives (out, s).

    None stands for all of a side. ``kept``: which of the s r products are kept, all where None.
    """

    left: Tensor | None = None
    right: Tensor | None = None
    kept: Tensor | None = None

    def widths(self, dense: nn.Linear) -> tuple[int, int]:
        """Columns that the inputs and the derivatives of a dense layer are recorded in."""
        return (
            dense.in_features if self.left is None else self.left.shape[1],
            dense.out_features if self.right is None else self.right.shape[1],
        )

    def products(self, dense: nn.Linear) -> int:
        """Numbers that stand for one molecule's gradient of a dense layer's weight."""
        ins, outs = self.widths(dense)
        return ins * outs if self.kept is None else len(self.kept)


ALL = Basis()
Bases = Mapping[str, Basis]  # by a layer's name; a layer that is not there has all coordinates


@dataclass
class Layer:
    """A module with trainable parameters of its own, and what the passes recorded of it, batch by batch."""

    name: str
    module: nn.Module
    parameters: list[str]  # own names: weight, bias
    number: int
    tokenwise: bool = True  # runs on every token, not on one vector per molecule
    rows: list[Tensor] = field(default_factory=list)  # gradients of small parameters (molecules, size)
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # inputs and derivatives of a large one

    def clear(self) -> None:
        """Free what was recorded."""
        self.rows.clear()
        self.pairs.clear()

    @property
    def dense(self) -> nn.Linear | None:
        """The module, where it is a dense layer whose weight is trained."""
        return self.module if isinstance(self.module, nn.Linear) and "weight" in self.parameters else None

    def width(self, bases: Bases) -> int:
        """Numbers recorded per token."""
        if isinstance(self.module, nn.Embedding):
            return self.module.embedding_dim
        return sum(bases.get(self.name, ALL).widths(self.dense)) if self.dense else 0

    def columns(self, bases: Bases) -> int:
        """Numbers that stand for one molecule's gradient of the layer."""
        if not self.dense:
            own = self.module.named_parameters(recurse=False)
            return sum(parameter.numel() for name, parameter in own if name in self.parameters)
        bias = self.dense.out_features if "bias" in self.parameters else 0
        return bases.get(self.name, ALL).products(self.dense) + bias


def trained_layers(problem: Problem, molecules: Molecules) -> tuple[list[Layer], list[str]]:
    """Modules whose gradients have formulas here, in the model's order; and the names of all other parameters.

    Args:
        molecules: one of them is enough to see which dense layers run on molecules instead of tokens.
    """
    layers: list[Layer] = []
    rest: list[str] = []
    for name, module in problem.model.named_modules():
        own = {p: f"{name}.{p}".lstrip(".") for p, _ in module.named_parameters(recurse=False)}
        own = {p: full for p, full in own.items() if full in problem.parameters}
        if own and type(module) in (nn.Linear, nn.LayerNorm, nn.Embedding):
            layers.append(Layer(name, module, list(own), number=len(layers)))
        else:
            rest += own.values()
    capture(problem, molecules.take([0]), layers, torch.empty(1, dtype=torch.float64, device=problem.device), {}, "")
    for layer in layers:
        layer.tokenwise = not layer.dense or layer.pairs[0][0].shape[1] > 1
        layer.clear()
    return layers, rest


def groups(layers: list[Layer], cost: Callable[[Layer], int], budget: int) -> list[list[Layer]]:
    """Runs of layers whose recorded numbers fit the budget; the last layers first, whose backward pass is short."""
    found: list[list[Layer]] = []
    left = 0
    for layer in reversed(layers):
        if not found or cost(layer) > left:
            found.append([])
            left = budget
        found[-1].append(layer)
        left -= cost(layer)
    return found


def capture(
    problem: Problem, molecules: Molecules, layers: list[Layer], outputs: Tensor, bases: Bases, label: str
) -> None:
    """One pass over the molecules, shortest first: fills ``outputs`` (n,) and what the layers record.

    Derivatives are taken with respect to the layers' outputs alone, so that no gradient of a parameter is formed and
    the backward pass ends at the first of these layers.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def after(layer: Layer) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
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
        batches = progress(problem.batches(molecules), label, total=-(-len(molecules) // problem.batch_size))
        for _, tokens, mask, _ in batches:
            seen.clear()
            with torch.enable_grad():
                result = problem.model(tokens, mask)
                derivatives = torch.autograd.grad(result.sum(), [seen[layer.name][1] for layer in layers])
            outputs[start : start + len(tokens)] = result.detach().double()
            for layer, derivative in zip(layers, derivatives, strict=True):
                _record(layer, start, seen[layer.name][0], derivative, bases.get(layer.name, ALL))
            start += len(tokens)
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)


def _record(layer: Layer, start: int, entered: Tensor, derivative: Tensor, basis: Basis) -> None:
    """Record what a batch, whose first molecule is number ``start``, contributes to a layer's gradients.

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
    small: dict[str, Tensor] = {}
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


def _token_sums(start: int, ids: Tensor, derivative: Tensor) -> tuple[Tensor, Tensor]:
    """A batch's gradients of an embedding: keys token 2^32 + molecule (k,) and sums (k, width) over like tokens."""
    molecule = torch.arange(start, start + len(ids), device=ids.device)[:, None].expand_as(ids)
    keys, place = torch.unique(ids * (1 << 32) + molecule, return_inverse=True)
    width = derivative.shape[-1]
    sums = derivative.new_zeros(len(keys), width)
    return keys, sums.index_add_(0, place.reshape(-1), derivative.reshape(-1, width))
