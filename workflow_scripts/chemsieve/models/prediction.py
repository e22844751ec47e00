"""Predictions of a regressor for any number of molecules, in the label's own units."""

from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer

from chemsieve.errors import ChemsieveError
from chemsieve.models import tokenization
from chemsieve.models.random_smiles import SmilesRandomiser
from chemsieve.models.regressor import Regressor
from chemsieve.models.uncertainty import dropout_layers, dropout_passes, feature_draws
from chemsieve.runtime.processes import progress
from chemsieve.training.batches import by_length, padded

BATCH = 64


def predict(
    model: Regressor, ids: Sequence[Sequence[int]], pad_id: int, device: torch.device, batch_size: int = BATCH
) -> np.ndarray:
    """Predictions (molecules,) in the label's own units, evaluation mode, in the order given.

    Raises:
        ChemsieveError: a prediction is not finite.
    """
    batches = progress(by_length(ids, batch_size), "predictions", -(-len(ids) // batch_size))
    result = _in_batches(model.eval(), ids, batches, pad_id, device)
    if not np.isfinite(result).all():
        raise ChemsieveError(f"the model's prediction for molecule {int(np.argmin(np.isfinite(result)))} is not finite")
    return result


def predict_passes(
    model: Regressor, ids: Sequence[Sequence[int]], pad_id: int, count: int, seed: int, device: torch.device
) -> np.ndarray:
    """Predictions (count, molecules) in the label's own units by Monte Carlo dropout, each pass with its own units.

    Raises:
        ChemsieveError: the model has no dropout, so that every pass would be the same.
    """
    if not dropout_layers(model):
        raise ChemsieveError("uncertainty: the model has no dropout; set finetune.dropout above 0")
    model.to(device).eval()
    passes = progress(dropout_passes(model, count, seed), "passes with dropout", count)
    return np.array([_in_batches(model, ids, by_length(ids, BATCH), pad_id, device) for _ in passes])


def predict_smiles(
    model: Regressor, tokenizer: Tokenizer, smiles: Sequence[str], several: int, draws: int, device: torch.device
) -> np.ndarray:
    """Predictions (molecules,) averaged over ``several`` SMILES of each molecule and ``draws`` of the random features.

    The given SMILES and the model's own features are among them.
    """
    rows = randomiser(model, tokenizer).several(smiles, several)
    return predict_averaged(model, rows, draws, tokenization.special_id(tokenizer, "pad"), device)


def predict_averaged(
    model: Regressor, randomised: Sequence[Sequence[Sequence[int]]], draws: int, pad_id: int, device: torch.device
) -> np.ndarray:
    """Predictions (molecules,) averaged over several SMILES of each molecule and over draws of the random features.

    Args:
        randomised: token ids (SMILES of a molecule, molecules).
    """
    found = [predict(model, ids, pad_id, device) for _ in feature_draws(model, draws) for ids in randomised]
    return np.mean(found, axis=0)


def randomiser(model: Regressor, tokenizer: Tokenizer) -> SmilesRandomiser:
    """Randomised SMILES of as many tokens as the model takes."""
    # Fewer than the configuration says: RoBERTa's positions begin after that of padding.
    lost = tokenization.special_id(tokenizer, "pad") + 1
    return SmilesRandomiser(tokenizer, model.encoder.config.max_position_embeddings - lost)


def _in_batches(model: Regressor, ids, batches, pad_id: int, device: torch.device) -> np.ndarray:
    """Predictions (molecules,) of the model in the mode that it is in; ``batches`` are positions in ``ids``."""
    predicted = torch.empty(len(ids), dtype=torch.float64, device=device)  # read once: each look waits for a GPU
    order: list[np.ndarray] = []
    start = 0
    for batch in batches:
        predicted[start : start + len(batch)] = model.predict(*padded([ids[i] for i in batch], pad_id, device))
        order.append(batch)
        start += len(batch)
    result = np.empty(len(ids))
    if order:
        result[np.concatenate(order)] = predicted.cpu().numpy()
    return result
