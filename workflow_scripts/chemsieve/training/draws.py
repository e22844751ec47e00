"""Predictions averaged over several draws of the random features of linear attention.

Each draw makes another, noisy estimate of the same attention (Choromanski et al. 2021, 2009.14794), and training with
fresh features at each step has fitted the model to all of them: their mean is a better prediction than any one.
"""

from collections.abc import Iterator

import torch
from torch import nn

from chemsieve.models.molformer.modeling import FeatureMap, MolformerModel


def feature_draws(model: nn.Module, count: int, seed: int = 0) -> Iterator[int]:
    """Yield 0, 1, ..., ``count`` - 1, with the model's own random features at 0 and other ones, by ``seed``, after it.

    The model has its own again at the end, and no other draw is disturbed. An encoder without random features yields
    once, since it would only repeat itself.
    """
    encoders = [module for module in model.modules() if isinstance(module, MolformerModel) and module.has_features]
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
