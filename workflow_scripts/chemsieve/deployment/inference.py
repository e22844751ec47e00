"""Predictions with their spread, each molecule's own whatever stands beside it in the file."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from chemsieve.models.embeddings import pooled_on
from chemsieve.models.molformer.modeling import MolformerModel
from chemsieve.models.regressor import Regressor
from chemsieve.training.draws import feature_draws

KINDS = ("dropout", "features", "none")


def spread_kind(model: Regressor, wanted: str) -> str:
    """Where the spread comes from: as wanted, or with ``auto`` dropout, random features or nothing, the first it has.

    An encoder without the wanted source gives ``none``.
    """
    has = {
        "dropout": bool(_dropouts(model)),
        "features": any(isinstance(module, MolformerModel) and module.has_features for module in model.modules()),
        "none": True,
    }
    return next(kind for kind in (KINDS if wanted == "auto" else (wanted, "none")) if has[kind])


@torch.no_grad()
def predict(
    model: Regressor,
    writings: Sequence[Sequence[Sequence[int]]],
    draws: int,
    kind: str,
    passes: int,
    seed: int,
    pad_id: int,
    device: torch.device,
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and their spread, each (molecules,) in label units.

    Args:
        writings: token ids (writings, molecules); predictions are averaged over them, the spread is of the first.
        draws: draws of the random features over which predictions are averaged, the model's own first.
        kind: one of ``KINDS``: the spread is the standard deviation over ``passes`` networks thinned by dropout, over
            as many draws of the random features, or NaN.
    """
    model.eval()
    found, members = [], []
    for draw in feature_draws(model, max(draws, passes if kind == "features" else 1)):
        for number, ids in enumerate(writings if draw < draws else writings[:1]):
            pooled = _pooled(model, ids, pad_id, device)
            values = _values(model, pooled)
            if draw < draws:
                found.append(values)
            if kind == "features" and number == 0 and draw < passes:
                members.append(values)
            if draw == number == 0:
                first = pooled
    if kind == "dropout":
        # With dropout in the head alone, as is the default, the encoder says the same in every pass.
        again = any(layer is not model.dropout for layer in _dropouts(model))
        for _ in thinned(model, passes, seed):
            members.append(_values(model, _pooled(model, writings[0], pad_id, device) if again else first))
    spread = np.std(members, axis=0, ddof=1) if members else np.full(len(writings[0]), np.nan)
    return np.mean(found, axis=0), spread


def thinned(model: nn.Module, count: int, seed: int) -> Iterator[int]:
    """Yield 0, ..., ``count`` - 1 with the units that dropout removes chosen anew, the same for all inputs.

    Each is one network, thinned (Srivastava et al. 2014), where Monte-Carlo dropout (Gal and Ghahramani 2016,
    1506.02142) draws other units for each molecule: so a molecule's spread does not depend on its neighbours in the
    file. Removed are whole units, at all positions of the SMILES. The model is as it was at the end.
    """
    layers = _dropouts(model)
    try:
        for number in range(count):
            for index, layer in enumerate(layers):
                layer.forward = _Mask(layer.p, [seed, number, index])
            yield number
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


class _Mask:
    """Dropout with fixed units: the last axis is masked and rescaled, by a seed."""

    def __init__(self, probability: float, seed: list[int]):
        self.probability, self.seed, self.masks = probability, seed, {}

    def __call__(self, x: Tensor) -> Tensor:
        size = x.shape[-1]
        if size not in self.masks:
            kept = np.random.default_rng(self.seed).random(size) >= self.probability
            self.masks[size] = torch.from_numpy(kept / (1 - self.probability)).to(x)
        return x * self.masks[size]


def _dropouts(model: nn.Module) -> list[nn.Dropout]:
    return [module for module in model.modules() if isinstance(module, nn.Dropout) and module.p > 0]


def _pooled(model: Regressor, ids: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Tensor:
    """(molecules, width) on the device, in the order given."""
    return model.pooled(pooled_on(model.encoder, ids, pad_id, device))


def _values(model: Regressor, pooled: Tensor) -> np.ndarray:
    """Predictions (molecules,) in label units."""
    standardised = model.head(model.dropout(pooled)).squeeze(-1).double()
    return (standardised * model.label_scale + model.label_mean).cpu().numpy()
