"""Masked-language modelling: adapt an encoder to the training molecules."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone, tokenization
from chemsieve.runtime.tracking import Tracker
from chemsieve.training.batches import MaskingCollator, by_length
from chemsieve.training.loop import Outcome, Settings, fit
from chemsieve.training.state import Saves

log = logging.getLogger(__name__)


def adapt(
    encoder_folder: str | Path,
    family: str,
    smiles: Sequence[str],
    output_folder: str | Path,
    settings: Settings,
    masking: float,
    held_out: float,
    seed: int,
    device: torch.device,
    saves: Saves | None = None,
    tracker: Tracker | None = None,
) -> Outcome:
    """Adapt the encoder of a folder to ``smiles`` and write the adapted encoder folder.

    A fraction ``held_out`` of the molecules, drawn with ``seed``, is not trained on and decides when to stop; its
    masks are drawn once, so that losses of different epochs compare. The curve's epoch 0 is before training. The
    molecules must be training molecules of the split: nothing here sees validation or test. A run that was killed goes
    on from the state in ``saves``.

    Returns:
        The outcome; each curve row also has ``masked_accuracy`` on the held-out molecules.
    """
    tokenizer = backbone.load_tokenizer(encoder_folder)
    # Seeded before loading: a checkpoint without a language-model head gets a random one.
    torch.manual_seed(seed)
    model = backbone.load_masked_lm(encoder_folder, family).to(device)
    # Molecules that read the same must not stand on both sides.
    distinct = sorted(set(smiles))
    order = np.random.default_rng(seed).permutation(len(distinct))
    count = max(1, round(held_out * len(distinct)))
    if count >= len(distinct):
        raise ChemsieveError(f"mlm.held_out: {len(distinct)} distinct training molecules are too few to hold any out")
    ids = tokenization.encode(tokenizer, distinct)
    held = [{"input_ids": ids[i]} for i in sorted(order[:count])]
    train = [{"input_ids": ids[i]} for i in sorted(order[count:])]
    collate = MaskingCollator.of(tokenizer, masking)
    generator = torch.Generator().manual_seed(seed)
    batches = [
        collate([held[i] for i in batch], generator)
        for batch in by_length([example["input_ids"] for example in held], settings.batch_size)
    ]

    @torch.no_grad()
    def validate() -> dict:
        total = right = masked = 0.0
        for batch in batches:
            inputs = {name: tensor.to(device) for name, tensor in batch.items()}
            labels = inputs.pop("labels")
            chosen = labels != -100
            logits = model(**inputs).logits[chosen].float()
            total += torch.nn.functional.cross_entropy(logits, labels[chosen], reduction="sum").item()
            right += (logits.argmax(-1) == labels[chosen]).sum().item()
            masked += chosen.sum().item()
        return {"validation_loss": total / masked, "masked_accuracy": right / masked}

    model.eval()
    unknown = ("train_loss", "learning_rate", "gradient_norm", "seconds", "evaluation_seconds")
    before = {"epoch": 0, **dict.fromkeys(unknown), **validate()}
    log.info(
        "before adaptation: held-out loss %.4f, accuracy %.3f", before["validation_loss"], before["masked_accuracy"]
    )
    outcome = fit(
        model, train, collate, lambda m, inputs: m(**inputs).loss, validate, settings, seed, device, saves=saves,
        tracker=tracker, before=before,
    )  # fmt: skip
    outcome.curve.insert(0, before)
    backbone.save_masked_lm(model.cpu(), tokenizer, output_folder)
    return outcome
