"""Several networks from one trained network, whose predictions are averaged or whose spread is an uncertainty.

They differ in the random features of linear attention, or in the units that dropout removes. Removing units is done in
two ways, which answer different questions and give different numbers:

* :func:`dropout_passes` is Monte Carlo dropout (Gal and Ghahramani 2016, 1506.02142): each molecule loses units of its
  own in each pass. Selection orders a fixed pool by the spread of these.
* :func:`thinned_networks` removes the same units for all molecules (Srivastava et al. 2014, JMLR 15:1929), so that the
  spread of a molecule does not depend on which others stand beside it. A model folder predicts so.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from chemsieve.models.molformer.modeling import FeatureMap, MolformerModel


def has_features(model: nn.Module) -> bool:
    """Whether there are random features to draw again."""
    return bool(_with_features(model))


def feature_draws(model: nn.Module, count: int, seed: int = 0) -> Iterator[int]:
    """Yield 0, 1, ..., ``count`` - 1, with the model's own random features at 0 and other ones, by ``seed``, after it.

    Each draw makes another, noisy estimate of the same attention (Choromanski et al. 2021, 2009.14794), and training
    with fresh features at each step has fitted the model to all of them: the mean over draws is a better prediction
    than any one.

    The model has its own again at the end, and no other draw is disturbed. An encoder without random features yields
    once, since it would only repeat itself.
    """
    encoders = _with_features(model)
    own = [(module, module.weight) for module in model.modules() if isinstance(module, FeatureMap)]
    yield 0
    if not encoders:
        return
    try:
        for number in range(1, count):
            with torch.random.fork_rng():
                torch.manual_seed(1_000_003 * seed + number)
                for encoder in encoders:
                    encoder.redraw_features()
            yield number
    finally:
        for module, weight in own:
            module.weight = weight


def _with_features(model: nn.Module) -> list[MolformerModel]:
    return [module for module in model.modules() if isinstance(module, MolformerModel) and module.has_features]


def dropout_layers(model: nn.Module) -> list[nn.Dropout]:
    """The layers that remove units in training."""
    return [module for module in model.modules() if isinstance(module, nn.Dropout) and module.p > 0]


def dropout_passes(model: nn.Module, count: int, seed: int) -> Iterator[int]:
    """Yield 0, ..., ``count`` - 1, with dropout switched on in an otherwise evaluating model.

    Units are drawn from torch's global generator, which is seeded once. Random features stay as they are, so that the
    spread is dropout's alone. The model evaluates again at the end.
    """
    layers = dropout_layers(model)
    torch.manual_seed(seed)
    try:
        for number in range(count):
            for layer in layers:
                layer.train()
            yield number
    finally:
        for layer in layers:
            layer.eval()


def thinned_networks(model: nn.Module, count: int, seed: int) -> Iterator[int]:
    """Yield 0, ..., ``count`` - 1 with the units that dropout removes chosen anew, the same for all inputs.

    Removed are whole units, at all positions of the SMILES. The model is as it was at the end.
    """
    layers = dropout_layers(model)
    try:
        for number in range(count):
            for index, layer in enumerate(layers):
                fixed = _FixedUnits(layer.p, [seed, number, index])
                layer.forward = fixed  # type: ignore[method-assign, assignment]  # on this layer alone, removed below
            yield number
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


class _FixedUnits:
    """Dropout with fixed units: the last axis is masked and rescaled, by a seed."""

    def __init__(self, probability: float, seed: list[int]):
        self.probability, self.seed = probability, seed
        self.masks: dict[int, Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        size = x.shape[-1]
        if size not in self.masks:
            kept = np.random.default_rng(self.seed).random(size) >= self.probability
            self.masks[size] = torch.from_numpy(kept / (1 - self.probability)).to(x)
        return x * self.masks[size]
