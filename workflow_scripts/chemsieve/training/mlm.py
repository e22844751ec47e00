"""Masked-language modelling: adapt an encoder to the training molecules."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone, tokenization
from chemsieve.training.batches import MaskingCollator, by_length
from chemsieve.training.epochs import Outcome, Settings, fit
from chemsieve.training.held_out import masked_figures
from chemsieve.training.loop import Conditions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Masking:
    """The share of the tokens that is masked, and that of the molecules that are held out to decide when to stop."""

    probability: float
    held_out: float


def adapt(
    encoder_folder: str | Path,
    family: str,
    smiles: Sequence[str],
    output_folder: str | Path,
    settings: Settings,
    masking: Masking,
    conditions: Conditions,
) -> Outcome:
    """Adapt the encoder of a folder to ``smiles`` and write the adapted encoder folder.

    The held-out molecules are drawn with the seed; they are not trained on, and their masks are drawn once, so that
    losses of different epochs compare. The curve's epoch 0 is before training. The molecules must be training molecules
    of the split: nothing here sees validation or test. A run that was killed goes on from the state in
    ``conditions.saves``.

    Returns:
        The outcome; each curve row also has ``masked_accuracy`` on the held-out molecules.
    """
    tokenizer = backbone.load_tokenizer(encoder_folder)
    # Seeded before loading: a checkpoint without a language-model head gets a random one.
    torch.manual_seed(conditions.seed)
    model = backbone.load_masked_lm(encoder_folder, family).to(conditions.device)
    train, held = _divided(tokenizer, smiles, masking.held_out, conditions.seed)
    collate = MaskingCollator.of(tokenizer, masking.probability)
    generator = torch.Generator().manual_seed(conditions.seed)
    batches = [
        collate([held[i] for i in batch], generator)
        for batch in by_length([example["input_ids"] for example in held], settings.batch_size)
    ]

    def validate() -> dict[str, float]:
        return masked_figures(model, batches, conditions.device)

    unknown = ("train_loss", "learning_rate", "gradient_norm", "seconds", "evaluation_seconds")
    before = {"epoch": 0, **dict.fromkeys(unknown), **masked_figures(model.eval(), batches, conditions.device)}
    log.info(
        "before adaptation: held-out loss %.4f, accuracy %.3f", before["validation_loss"], before["masked_accuracy"]
    )
    with conditions.followed(settings, model):
        conditions.tell(before)
        outcome = fit(model, train, collate, lambda m, batch: m(**batch).loss, validate, settings, conditions)
    outcome.curve.insert(0, before)
    backbone.save_masked_lm(model.cpu(), tokenizer, output_folder)
    return outcome


def _divided(tokenizer: Tokenizer, smiles: Sequence[str], held_out: float, seed: int) -> tuple[list[dict], list[dict]]:
    """Examples to train on, and the held-out ones."""
    # Molecules that read the same must not stand on both sides.
    distinct = sorted(set(smiles))
    order = np.random.default_rng(seed).permutation(len(distinct))
    count = max(1, round(held_out * len(distinct)))
    if count >= len(distinct):
        raise ChemsieveError(f"mlm.held_out: {len(distinct)} distinct training molecules are too few to hold any out")
    ids = tokenization.encode(tokenizer, distinct)
    held, train = ([{"input_ids": ids[i]} for i in sorted(part)] for part in (order[:count], order[count:]))
    return train, held
