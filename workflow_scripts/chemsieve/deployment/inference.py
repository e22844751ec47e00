"""Predictions with their spread, each molecule's own whatever stands beside it in the file."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from chemsieve.models.embeddings import pooled_on
from chemsieve.models.regressor import Regressor
from chemsieve.models.uncertainty import dropout_layers, feature_draws, has_features, thinned_networks

KINDS = ("dropout", "features", "none")


def spread_kind(model: Regressor, wanted: str) -> str:
    """Where the spread comes from: as wanted, or with ``auto`` dropout, random features or nothing, the first it has.

    An encoder without the wanted source gives ``none``.
    """
    has = {"dropout": bool(dropout_layers(model)), "features": has_features(model), "none": True}
    return next(kind for kind in (KINDS if wanted == "auto" else (wanted, "none")) if has[kind])


@torch.no_grad()
def predict(
    model: Regressor,
    randomised: Sequence[Sequence[Sequence[int]]],
    draws: int,
    kind: str,
    passes: int,
    seed: int,
    pad_id: int,
    device: torch.device,
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and their spread, each (molecules,) in label units.

    Args:
        randomised: token ids (SMILES of a molecule, molecules); predictions are averaged over the SMILES, the spread is
            of the first.
        draws: draws of the random features over which predictions are averaged, the model's own first.
        kind: one of ``KINDS``: the spread is the standard deviation over ``passes`` networks thinned by dropout, over
            as many draws of the random features, or NaN.
    """
    model.eval()
    found, members = [], []
    for draw in feature_draws(model, max(draws, passes if kind == "features" else 1)):
        for number, ids in enumerate(randomised if draw < draws else randomised[:1]):
            pooled = _pooled(model, ids, pad_id, device)
            values = _values(model, pooled, ids)
            if draw < draws:
                found.append(values)
            if kind == "features" and number == 0 and draw < passes:
                members.append(values)
            if draw == number == 0:
                first = pooled
    if kind == "dropout":
        members = list(_thinned(model, randomised[0], first, passes, seed, pad_id, device))
    spread = np.std(members, axis=0, ddof=1) if members else np.full(len(randomised[0]), np.nan)
    return np.mean(found, axis=0), spread


def _thinned(
    model: Regressor, ids: Sequence[Sequence[int]], pooled: Tensor, passes: int, seed: int, pad_id: int, device
) -> Iterator[np.ndarray]:
    """Predictions (molecules,) of each thinned network; ``pooled`` is what the encoder says without dropout."""
    # With dropout in the head alone, as is the default, the encoder says the same in every pass.
    inside = set(model.encoder.modules())
    again = any(layer in inside for layer in dropout_layers(model))
    for _ in thinned_networks(model, passes, seed):
        yield _values(model, _pooled(model, ids, pad_id, device) if again else pooled, ids)


def _pooled(model: Regressor, ids: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Tensor:
    """(molecules, width) on the device, in the order given."""
    return model.pooled(pooled_on(model.encoder, ids, pad_id, device))


def _values(model: Regressor, pooled: Tensor, ids: Sequence[Sequence[int]]) -> np.ndarray:
    """Predictions (molecules,) in label units."""
    return model.in_label_units(model.readout(pooled, ids)).cpu().numpy()
