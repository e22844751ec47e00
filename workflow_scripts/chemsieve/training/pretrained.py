"""An encoder folder from a prepared corpus: the model, its training, and its card."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import TrainingArguments

from chemsieve import backbone, registry, tokenization
from chemsieve.processes import device_name
from chemsieve.tracking import Tracker
from chemsieve.training import pretraining
from chemsieve.training.batches import MaskingCollator


def pretrain(
    table: pd.DataFrame,
    refused: pd.Series,
    tokenizer_path: str | None,
    spec: dict,
    device,
    state: str,
    folder: Path,
    tracker: Tracker | None = None,
) -> tuple[list[dict], str]:
    """Train on the table ``corpus`` and write the encoder folder.

    Args:
        refused: reasons of the lines left out.
        spec: ``pretrain`` (without what concerns the corpus's preparation), ``architecture``, ``family``.
        state: file of the resumable state.

    Returns:
        The curve, and the model card.
    """
    settings = dict(spec["pretrain"])
    seed, half, data, licence = (settings.pop(key) for key in ("seed", "half", "data", "licence"))
    names = settings.pop("properties")
    tokenizer = tokenization.load_or_build(tokenizer_path)
    collate = MaskingCollator.of(tokenizer, settings.pop("masking"))
    evaluated = settings.pop("evaluated")
    settings = pretraining.Settings(**settings)
    held_out = table["held_out"].to_numpy()
    train, held = (_corpus(table[side], len(names)) for side in (~held_out, held_out))
    measured = pretraining.sample(held, evaluated, seed)
    model = backbone.random_masked_lm(spec["family"], spec["architecture"], tokenizer, seed)
    encoder = registry.load("encoders", spec["family"]).backbone(model)
    width = model.config.hidden_size
    arguments = model, encoder, width, train, measured, collate, settings, seed, device, state
    if tracker is None:
        curve, seconds = pretraining.run(*arguments)
    else:
        with tracker.following(_as_trainer_has_it(settings, seed, device, folder), model):
            curve, seconds = pretraining.run(*arguments, tracker.record)
    bigram = pretraining.bigram_baseline(train, measured, collate, seed)
    model.cpu()
    if half:
        model.half()  # rounding of weights that training left; they load as float32
    backbone.save_masked_lm(model, tokenizer, folder)
    card = _card(
        model, train, len(held), len(measured), refused, names, collate, settings, curve, bigram, seconds, device, half,
        data, licence,
    )  # fmt: skip
    return curve, card


def _as_trainer_has_it(settings: pretraining.Settings, seed: int, device, folder: Path) -> TrainingArguments:
    """The hyperparameters under the names that trackers show."""
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=round(settings.warmup * settings.steps),
        max_grad_norm=settings.gradient_clip,
        seed=seed,
        use_cpu=device.type == "cpu",
        report_to=[],
    )


def _corpus(table: pd.DataFrame, properties: int) -> pretraining.Corpus:
    values = np.stack(list(table["properties"])) if properties else np.zeros((len(table), 0), np.float32)
    return pretraining.Corpus(list(table["tokens"]), values)


def _card(
    model, train, held, measured, refused, names, collate, settings, curve, bigram, seconds, device, half, data, licence
) -> str:
    """The model card, with figures of this run alone."""
    last, first = curve[-1], curve[0]
    size = sum(p.numel() for p in model.parameters())
    left_out = "; ".join(f"{count:,} {reason}" for reason, count in refused.value_counts().items()) or "none"
    seen = settings.steps * min(settings.batch_size, len(train))
    tokens = np.mean([len(row) for row in train.ids[:10_000]])
    shape = model.config
    lines = [
        "# A MoLFormer-shaped encoder, pretrained on SMILES",
        "",
        f"{shape.num_hidden_layers} layers, {shape.hidden_size} wide, {size:,} parameters with the head; "
        f"stored in {'half' if half else 'single'} precision. Files: `config.json`, `tokenizer.json`, "
        "`model.safetensors`.",
        "",
        "## Data",
        "",
        f"{data}. Canonical SMILES without stereo and isotopes, each once: {len(train):,} molecules trained on, "
        f"{held:,} held out by InChIKey first block. Lines left out: {left_out}.",
        "",
        "## Training",
        "",
        f"Masked-language modelling, {collate.probability:.0%} of the tokens, fresh random features at each step"
        + (
            f"; beside it the regression of {len(names)} computed properties on the mean of the last layer, weight "
            f"{settings.properties_weight:g} ({', '.join(names)})"
            if names
            else ""
        )
        + f". {settings.steps:,} steps of {settings.batch_size} molecules ({seen:,} molecules seen, "
        f"{seen / len(train):.2f} epochs, about {seen * tokens / 1e6:,.3g} M tokens), AdamW, learning rate "
        f"{settings.learning_rate:g}. {seconds / 60:,.0f} minutes on {device_name(device)} with "
        f"{torch.get_num_threads()} threads.",
        "",
        "## Measured on held-out molecules",
        "",
        f"{measured:,} molecules, the same masks for all.",
        "",
        "| | loss (nats) | accuracy |",
        "|---|---|---|",
        f"| this encoder | {last['validation_loss']:.4f} | {last['masked_accuracy']:.4f} |",
        f"| bigram (the token before is known) | {bigram['loss']:.4f} | {bigram['accuracy']:.4f} |",
        f"| before training | {first['validation_loss']:.4f} | {first['masked_accuracy']:.4f} |",
        "",
    ]
    if last["properties_r2"] is not None:
        lines += [f"R2 of the computed properties, standardised, all together: {last['properties_r2']:.3f}.", ""]
    lines += [
        "## Licence",
        "",
        f"{licence}.",
        "",
        "## What it must not be used for",
        "",
        "* As a predictor of anything by itself: it has seen structures and what follows from them, no measurement.",
        "* To claim that a molecule is new or unseen: most public molecules of drug-like sets may be in its corpus.",
        "* For decisions on safety, toxicity or dose. For stereochemistry: it reads none.",
        "* For metals, polymers, peptides and mixtures, of which its corpus has few.",
        "",
    ]
    return "\n".join(lines)
