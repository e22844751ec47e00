"""An encoder folder from a prepared corpus: the model, its training, and its card."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel

from chemsieve.data.vectors import DEFAULTS
from chemsieve.models import backbone, encoders, tokenization
from chemsieve.runtime.processes import device_name
from chemsieve.runtime.tracking import Tracker
from chemsieve.training import pretraining
from chemsieve.training.batches import MaskingCollator
from chemsieve.training.heads import Corpus
from chemsieve.training.loop import Conditions


def pretrain(
    table: pd.DataFrame,
    refused: pd.Series,
    tokenizer_path: str | None,
    spec: dict,
    device: torch.device,
    state: str,
    folder: Path,
    tracker: Tracker | None = None,
    tables: dict[str, str] | None = None,
) -> tuple[list[dict], str]:
    """Train on the table ``corpus`` and write the encoder folder.

    Args:
        refused: reasons of the lines left out.
        spec: ``pretrain`` (without what concerns the corpus's preparation), ``architecture``, ``family``.
        state: file of the resumable state.
        tables: by name, the NumPy file of the vectors in the table's order, as :mod:`chemsieve.data.vectors` writes it.

    Returns:
        The curve, and the model card.
    """
    section = dict(spec["pretrain"])
    seed, half, data, licence = (section.pop(key) for key in ("seed", "half", "data", "licence"))
    conditions = Conditions(seed, device, tracker=tracker)
    names = section.pop("properties")
    tokenizer = tokenization.load_or_build(tokenizer_path)
    collate = MaskingCollator.of(tokenizer, section.pop("masking"))
    evaluated = section.pop("evaluated")
    told = {name: DEFAULTS | given for name, given in section.pop("targets", {}).items()}
    settings = pretraining.Settings(**section, weights={name: given["weight"] for name, given in told.items()})
    vectors = {name: np.load((tables or {})[name], mmap_mode="r") for name in told}
    held_out, wanted = table["held_out"].to_numpy(), np.ones(len(table), dtype=bool)
    for name, given in told.items():
        if given["required"]:
            wanted &= np.concatenate([np.isfinite(part).any(axis=1) for part in _parts(vectors[name])])
    train, held = (_corpus(table, side & wanted, len(names), vectors) for side in (~held_out, held_out))
    measured = pretraining.sample(held, evaluated, seed)
    model = backbone.random_masked_lm(spec["family"], spec["architecture"], tokenizer, seed)
    encoder = encoders.load(spec["family"]).backbone(model)
    with conditions.followed(settings, model):
        curve, seconds = pretraining.run(model, encoder, train, measured, collate, settings, conditions, state)
    bigram = pretraining.bigram_baseline(train, measured, collate, seed)
    model.cpu()
    if half:
        model.half()  # rounding of weights that training left; they load as float32
    backbone.save_masked_lm(model, tokenizer, folder)
    made = _Made(
        model=model,
        train=train,
        held_out=len(held),
        measured=len(measured),
        refused=refused,
        properties=names,
        targets=told,
        masking=collate.probability,
        settings=settings,
        curve=curve,
        bigram=bigram,
        unknown=int((~wanted).sum()),
        seconds=seconds,
        device=device,
        half=half,
        data=data,
        licence=licence,
    )
    return curve, _card(made)


def _corpus(table: pd.DataFrame, side: np.ndarray, properties: int, vectors: dict[str, np.ndarray]) -> Corpus:
    chosen = table[side]
    values = np.stack(list(chosen["properties"])) if properties else np.zeros((len(chosen), 0), np.float32)
    return Corpus(list(chosen["tokens"]), values, vectors, np.flatnonzero(side))


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    """A few thousand rows at a time."""
    return np.array_split(rows, max(len(rows) // 8192, 1))


@dataclass(frozen=True)
class _Made:
    """What the card tells of: the model, the molecules, how it was trained, and what was measured."""

    model: PreTrainedModel
    train: Corpus
    held_out: int  # molecules
    measured: int  # of these
    refused: pd.Series
    properties: list[str]
    targets: dict[str, dict]
    masking: float
    settings: pretraining.Settings
    curve: list[dict]
    bigram: dict[str, float]
    unknown: int  # molecules left out because a table that is required lacks them
    seconds: float
    device: torch.device
    half: bool
    data: str
    licence: str


def _what_is_learned(made: _Made) -> str:
    kernel = getattr(made.model.config, "attention", None) == "kernel"
    text = f"Masked-language modelling, {made.masking:.0%} of the tokens, " + (
        "attention by the arc-cosine kernel (`attention: kernel`)" if kernel else "fresh random features at each step"
    )
    if made.settings.unmasked:
        text += f"; {made.settings.unmasked:.0%} of the molecules of a batch are not masked"
    if names := made.properties:
        text += (
            f"; beside it the regression of {len(names)} computed properties on the mean of the last layer, weight "
            f"{made.settings.properties_weight:g} ({', '.join(names)})"
        )
    train = made.train
    for name, given in made.targets.items():
        known = sum(
            int(np.isfinite(train.vector(name, part)).any(axis=1).sum()) for part in _parts(np.arange(len(train)))
        )
        text += (
            f"; and of the vectors {name}, {train.vectors[name].shape[1]} numbers, known for {known:,} molecules at "
            f"the end, weight {given['weight']:g}" + (f" ({given['credit']})" if given["credit"] else "")
        )
    return text


def _of_matrices(settings: pretraining.Settings) -> str:
    rate = settings.matrix_learning_rate
    return "" if rate is None else f", and Muon for the matrices of the layers, learning rate {rate:g}"


def _card(made: _Made) -> str:
    """The model card, with figures of this run alone."""
    settings, train, bigram = made.settings, made.train, made.bigram
    last, first = made.curve[-1], made.curve[0]
    size = sum(p.numel() for p in made.model.parameters())
    reasons = made.refused.value_counts().to_dict() | ({"without a vector": made.unknown} if made.unknown else {})
    left_out = "; ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "none"
    seen = settings.steps * min(settings.batch_size, len(train))
    tokens = np.mean([len(row) for row in train.ids[:10_000]])
    shape = made.model.config
    lines = [
        "# A MoLFormer-shaped encoder, pretrained on SMILES",
        "",
        f"{shape.num_hidden_layers} layers, {shape.hidden_size} wide, {size:,} parameters with the head; "
        f"stored in {'half' if made.half else 'single'} precision. Files: `config.json`, `tokenizer.json`, "
        "`model.safetensors`.",
        "",
        "## Data",
        "",
        f"{made.data}. Canonical SMILES without stereo and isotopes, each once: {len(train):,} molecules trained on, "
        f"{made.held_out:,} held out by InChIKey first block. Lines left out: {left_out}.",
        "",
        "## Training",
        "",
        _what_is_learned(made)
        + f". {settings.steps:,} steps of {settings.batch_size} molecules ({seen:,} molecules seen, "
        f"{seen / len(train):.2f} epochs, about {seen * tokens / 1e6:,.3g} M tokens), AdamW, learning rate "
        f"{settings.learning_rate:g}{_of_matrices(settings)}. {made.seconds / 60:,.0f} minutes on "
        f"{device_name(made.device)} with {torch.get_num_threads()} threads.",
        "",
        "## Measured on held-out molecules",
        "",
        f"{made.measured:,} molecules, the same masks for all.",
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
    for name in made.targets:
        lines += [f"R2 of the vectors {name}, standardised, all together: {last[f'targets_r2_{name}']:.3f}.", ""]
    lines += [
        "## Licence",
        "",
        f"{made.licence}.",
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
