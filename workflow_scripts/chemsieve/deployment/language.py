"""The predictor of a fine-tuned language model."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from chemsieve import methods
from chemsieve.deployment import inference, neighbours
from chemsieve.deployment.neighbours import Neighbours
from chemsieve.deployment.predictor import Predictor, Row
from chemsieve.models import backbone, encoders, tokenization
from chemsieve.models.checkpoints import load_strictly, read_tensors, write_tensors
from chemsieve.models.random_smiles import SmilesRandomiser
from chemsieve.models.regressor import Regressor, head_inputs, set_dropout
from chemsieve.runtime.files import write_json


class LanguagePredictor(Predictor):
    """Predicts by a language model, over several SMILES of a molecule where its run did.

    Args:
        model: plain regressor, in evaluation mode.
        device: where the model computes.
    """

    def __init__(
        self, model: Regressor, tokenizer: Tokenizer, neighbours: Neighbours, facts: dict, device: torch.device
    ):
        super().__init__(tokenizer, neighbours, facts)
        self.model, self.device = model.to(device).eval(), device
        self.pad_id = tokenization.special_id(tokenizer, "pad")
        self.randomiser = SmilesRandomiser(tokenizer, facts["input"]["max_tokens"])

    def _values(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        averaged, spread = self.facts["averaged"], self.facts["uncertainty"]
        smiles = [row.smiles for row in rows]
        # Random SMILES by a seed of the molecule's own, not of its place in the file.
        seeds = [zlib.crc32(text.encode()) for text in smiles]
        more = [
            self.randomiser.randomise(smiles, [(seed + number) % 2**32 for seed in seeds])
            for number in range(1, averaged["writings"])
        ]
        return inference.predict(
            self.model,
            [[row.tokens for row in rows], *more],
            averaged["draws"],
            spread["kind"],
            spread["passes"],
            spread["seed"],
            self.pad_id,
            self.device,
        )


def write(folder: Path, model: Regressor, config: dict) -> None:
    """Write ``config.json`` of the encoder, and ``model.safetensors`` of a model as ``merging`` left it."""
    write_json(folder / "config.json", config)
    write_tensors(model.state_dict(), folder / "model.safetensors")


def assemble(folder: Path, facts: dict, device: torch.device) -> LanguagePredictor:
    """The predictor of a folder's files with these facts."""
    config, family = backbone.read_config(folder), encoders.load(facts["family"])
    # Weights may have been stored in half precision; they were trained in single, as load_masked_lm has them.
    masked_lm = family.initialise({key: value for key, value in config.items() if key != "architectures"}).float()
    tokenizer, width = tokenization.load(folder / "tokenizer.json"), masked_lm.config.hidden_size
    dropout = facts["dropout"].get("head") or 0.0
    inputs = head_inputs(facts.get("head"), width, tokenizer, dropout)
    model = Regressor(family.backbone(masked_lm), width, dropout, inputs)
    set_dropout(model, facts["dropout"].get("hidden"), facts["dropout"].get("embedding"))
    if not facts.get("merged", True):
        methods.load(facts["method"]).apply(model, **facts["options"])
    source = folder / "model.safetensors"
    tensors = read_tensors(source)
    model.fit_shape(tensors)
    load_strictly(model, tensors, source=str(source))
    return LanguagePredictor(model, tokenizer, neighbours.read(folder / "training.parquet"), facts, device)
