"""Regression: fine-tune a regressor on labelled molecules, and predict with it."""

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch
from tokenizers import Tokenizer

from chemsieve.errors import ChemsieveError
from chemsieve.models import tokenization
from chemsieve.models.regressor import Regressor
from chemsieve.runtime.processes import progress
from chemsieve.runtime.tracking import Tracker
from chemsieve.training.batches import RegressionCollator, by_length, pad
from chemsieve.training.curriculum import DIFFICULTIES
from chemsieve.training.draws import feature_draws
from chemsieve.training.loop import Outcome, Settings, fit
from chemsieve.training.state import Saves
from chemsieve.training.writings import RewritingCollator, Writer

log = logging.getLogger(__name__)


@torch.no_grad()
def predict(
    model: Regressor, ids: Sequence[Sequence[int]], pad_id: int, device: torch.device, batch_size: int = 64
) -> np.ndarray:
    """Predictions (molecules,) in the label's own units, evaluation mode, in the order given."""
    model.eval()
    result = np.empty(len(ids))
    for batch in progress(by_length(ids, batch_size), "predictions", -(-len(ids) // batch_size)):
        tokens, mask = pad([ids[i] for i in batch], pad_id)
        standardised = model(tokens.to(device), mask.to(device)).double().cpu()
        result[batch] = (standardised * model.label_scale.cpu() + model.label_mean.cpu()).numpy()
    if not np.isfinite(result).all():
        raise ChemsieveError(f"the model's prediction for molecule {int(np.argmin(np.isfinite(result)))} is not finite")
    return result


def predict_smiles(
    model: Regressor, tokenizer: Tokenizer, smiles: Sequence[str], writings: int, draws: int, device: torch.device
) -> np.ndarray:
    """Predictions (molecules,) averaged over so many SMILES of each molecule and draws of the random features.

    The given SMILES and the model's own features are among them.
    """
    rows = _writer(model, tokenizer).several(smiles, writings)
    return _predict_averaged(model, rows, draws, tokenization.special_id(tokenizer, "pad"), device)


def _predict_averaged(
    model: Regressor, writings: Sequence[Sequence[Sequence[int]]], draws: int, pad_id: int, device: torch.device
) -> np.ndarray:
    """Predictions (molecules,) averaged over ``writings`` (writings, molecules) in token ids, and over the draws."""
    found = [predict(model, ids, pad_id, device) for _ in feature_draws(model, draws) for ids in writings]
    return np.mean(found, axis=0)


def _writer(model: Regressor, tokenizer: Tokenizer) -> Writer:
    # Fewer than the configuration says: RoBERTa's positions begin after that of padding.
    lost = tokenization.special_id(tokenizer, "pad") + 1
    return Writer(tokenizer, model.encoder.config.max_position_embeddings - lost)


def fine_tune(
    model: Regressor,
    tokenizer: Tokenizer,
    train_smiles: Sequence[str],
    train_labels: np.ndarray,
    validation_smiles: Sequence[str],
    validation_labels: np.ndarray,
    settings: Settings,
    seed: int,
    device: torch.device,
    trained_head: bool = False,
    saves: Saves | None = None,
    tracker: Tracker | None = None,
) -> Outcome:
    """Fine-tune ``model`` by mean squared error on standardised labels; the best validation epoch is restored.

    ``trained_head`` says that the head already predicts: another standardisation then leaves its predictions alone. A
    run that was killed goes on from the state in ``saves``.

    Labels are in their own units; mean and standard deviation come from the training labels alone. The curve has
    ``validation_loss`` (standardised) and ``validation_rmse`` (label units).
    """
    mean, scale = float(np.mean(train_labels)), float(np.std(train_labels))
    if not scale > 0:
        raise ChemsieveError("all training labels are the same: there is nothing to learn")
    model.to(device)
    (model.change_label_scale if trained_head else model.set_label_scale)(mean, scale)
    pad_id = tokenization.special_id(tokenizer, "pad")
    train_ids = tokenization.encode(tokenizer, train_smiles)
    standardised = (np.asarray(train_labels) - mean) / scale
    examples = [
        {"input_ids": ids, "smiles": text, "label": float(y)}
        for ids, text, y in zip(train_ids, train_smiles, standardised, strict=True)
    ]
    writer = _writer(model, tokenizer)
    collate = RewritingCollator(writer, pad_id) if settings.randomise else RegressionCollator(pad_id)
    validation_rows = writer.several(validation_smiles, settings.writings)

    def loss(module: Regressor, inputs: dict) -> torch.Tensor:
        prediction = module(inputs["input_ids"], inputs["attention_mask"])
        return ((prediction.float() - inputs["labels"]) ** 2).mean()

    def validate() -> dict:
        error = _predict_averaged(model, validation_rows, settings.draws, pad_id, device) - validation_labels
        mse = float(np.mean(error**2))
        return {"validation_loss": mse / scale**2, "validation_rmse": math.sqrt(mse)}

    difficulty = [DIFFICULTIES[settings.curriculum](one) for one in examples] if settings.curriculum else None
    outcome = fit(
        model, examples, collate, loss, validate, settings, seed, device, difficulty, saves=saves, tracker=tracker
    )
    constant = float(np.mean((np.asarray(validation_labels) - mean) ** 2)) / scale**2
    if outcome.best_loss > constant:
        log.warning(
            "the validation loss, %.3g, is above the %.3g of predicting the training mean: this run learned nothing",
            outcome.best_loss,
            constant,
        )
    return outcome
