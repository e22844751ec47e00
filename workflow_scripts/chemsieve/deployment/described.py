"""The predictor of a descriptor model: numbers in safetensors, evaluated by NumPy, and features by RDKit or an encoder.

``config.json`` says which regressor it is and which features it computes, in their order; ``model.safetensors`` holds
every number that its predictions follow from, and the frozen encoder's weights (``encoder.``) where it needs them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from rdkit import Chem
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from chemsieve import baselines
from chemsieve.baselines import _pipeline
from chemsieve.data import chemistry, morgan
from chemsieve.data.descriptors import descriptor_names, descriptors
from chemsieve.deployment import neighbours
from chemsieve.deployment.neighbours import Neighbours
from chemsieve.deployment.predictor import Predictor, Row
from chemsieve.errors import ChemsieveError
from chemsieve.models import tokenization
from chemsieve.runtime.files import write_atomically, write_json

if TYPE_CHECKING:
    import torch

    from chemsieve.models.frozen import FrozenEncoder

KIND = "chemsieve_descriptor_model"
ENCODER = "encoder."


class DescriptorPredictor(Predictor):
    """Predicts by a descriptor model, which has no spread.

    Args:
        config: as :func:`write` has it.
        numbers: what predictions follow from, by name.
        encoder: the frozen encoder, where embeddings are among the features.
    """

    def __init__(
        self,
        config: dict,
        numbers: dict[str, np.ndarray],
        encoder: FrozenEncoder | None,
        tokenizer: Tokenizer,
        neighbours: Neighbours,
        facts: dict,
    ):
        super().__init__(tokenizer, neighbours, facts)
        self.names, self.numbers, self.encoder = list(config["features"]), numbers, encoder
        self.module = baselines.load(config["model"])
        self.regressor = _under("model.", numbers)

    def features(self, rows: Sequence[Row]) -> np.ndarray:
        """(molecules, columns) features, the kinds side by side in the model's order."""
        smiles = [chemistry.canonical_smiles(cast("Chem.Mol", row.molecule)) for row in rows]
        made = {
            "descriptors": lambda: descriptors(smiles),
            "morgan": lambda: morgan.morgan(smiles),
            "embeddings": lambda: cast("FrozenEncoder", self.encoder).features([row.smiles for row in rows]),
        }
        return np.hstack([made[name]().astype(float) for name in self.names])

    def _values(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        prepared = _pipeline.prepare(self.numbers, self.features(rows))
        values = self.module.evaluate(self.regressor, prepared)
        values = values * self.numbers["label.scale"][0] + self.numbers["label.mean"][0]
        return values, np.full(len(rows), np.nan)


def write(
    folder: Path, model: str, fitted: _pipeline.Model, features: dict[str, int], encoder: FrozenEncoder | None, **origin
) -> None:
    """Write ``config.json`` and ``model.safetensors`` of a fitted model.

    Args:
        model: name of its module.
        features: number of columns of each kind of features, in their order.
        origin: ``family`` and ``config`` of the encoder, where there is one.
    """
    config: dict = {"model_type": KIND, "model": model, "features": list(features), "options": fitted.options}
    config |= {"columns": features, "clip": _pipeline.CLIP}
    if "descriptors" in features:
        config["descriptors"] = descriptor_names()
    if "morgan" in features:
        config["morgan"] = {"radius": morgan.RADIUS, "size": morgan.SIZE}
    tensors = fitted.stored(baselines.load(model).stored)
    if encoder is not None:
        config["encoder"] = origin
        state = encoder.encoder.float().state_dict()
        tensors |= {ENCODER + name: tensor.detach().cpu().numpy() for name, tensor in state.items()}
    content = {name: np.ascontiguousarray(values) for name, values in sorted(tensors.items())}
    write_json(folder / "config.json", config)
    write_atomically(folder / "model.safetensors", lambda temporary: save_file(content, temporary))


def assemble(folder: Path, facts: dict, device: torch.device | str) -> DescriptorPredictor:
    """The predictor of a folder's files with these facts.

    Raises:
        ChemsieveError: a file is not what was written, its parts do not fit each other, or RDKit computes other
            descriptors than those that the model was fitted to.
    """
    source = folder / "config.json"
    config = _read_config(source)
    path = folder / "model.safetensors"
    try:
        tensors = load_file(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise ChemsieveError(f"{path}: not a readable safetensors file ({error}); no other format is loaded") from None
    numbers = {name: values for name, values in tensors.items() if not name.startswith(ENCODER)}
    if said := _mistake(config, numbers):
        raise ChemsieveError(f"{path}: it does not fit {source.name}: {said}")
    tokenizer = tokenization.load(folder / "tokenizer.json")
    encoder = None
    if "embeddings" in config["features"]:
        encoder = _encoder(config["encoder"], _under(ENCODER, tensors), tokenizer, device, str(path))
        if encoder.encoder.config.hidden_size != config["columns"]["embeddings"]:
            raise ChemsieveError(f"{source}: columns: the encoder's output is not of so many columns")
    elif len(numbers) != len(tensors):
        raise ChemsieveError(f"{path}: it holds an encoder, which a model without embeddings has not")
    return DescriptorPredictor(config, numbers, encoder, tokenizer, neighbours.read(folder / "training.parquet"), facts)


def _read_config(path: Path) -> dict:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ChemsieveError(f"{path}: not readable JSON ({error})") from None
    if not isinstance(config, dict) or config.get("model_type") != KIND:
        raise ChemsieveError(f"{path}: it describes no descriptor model")
    known = {"descriptors", "morgan", "embeddings"}
    features, columns = config.get("features"), config.get("columns")
    if (
        not isinstance(features, list)
        or not features
        or not set(map(str, features)) <= known
        or len(set(features)) < len(features)
    ):
        raise ChemsieveError(f"{path}: features: a list of {', '.join(sorted(known))} is wanted")
    if (
        not isinstance(columns, dict)
        or set(columns) != set(features)
        or not all(type(n) is int for n in columns.values())
    ):
        raise ChemsieveError(f"{path}: columns: the number of columns of each kind of features is wanted")
    if lacking := [name for name in ("model", *set(features) & {"descriptors", "morgan"}) if name not in config]:
        raise ChemsieveError(f"{path}: it says nothing of {lacking[0]!r}")
    if "embeddings" in features and not {"family", "config"} <= set(config.get("encoder") or ()):
        raise ChemsieveError(f"{path}: it says nothing of the encoder")
    if "descriptors" in features and config["descriptors"] != descriptor_names():
        raise ChemsieveError(
            f"{path}: the RDKit that is installed computes other descriptors than the one that the model was made "
            "with; install the version that chemsieve.json names"
        )
    if "morgan" in features and config["morgan"] != {"radius": morgan.RADIUS, "size": morgan.SIZE}:
        raise ChemsieveError(f"{path}: it wants Morgan fingerprints that this release does not compute")
    if config.get("clip") != _pipeline.CLIP:
        raise ChemsieveError(f"{path}: clip: it is not {_pipeline.CLIP}, which this release clips at")
    return config


def _mistake(config: dict, numbers: dict[str, np.ndarray]) -> str:
    """What does not fit in the numbers, in words; empty where all does."""
    module = baselines.load(str(config["model"]))
    wanted = {f"prepare.{name}" for name in ("median", "kept", "mean", "scale", "weight")}
    wanted |= {"label.mean", "label.scale", *(f"model.{name}" for name in module.NUMBERS)}
    if differing := sorted(wanted ^ set(numbers)):
        return f"{differing[0]} is missing or one too many"
    if wrong := [name for name, values in numbers.items() if not np.isfinite(values).all()]:
        return f"{wrong[0]} holds a value that is not finite"
    columns, kept = sum(config["columns"].values()), numbers["prepare.kept"]
    if numbers["prepare.median"].shape != (columns,):
        return f"it was prepared for {numbers['prepare.median'].size} columns, not {columns}"
    if kept.ndim != 1 or kept.dtype.kind != "i" or len(kept) == 0 or kept.min() < 0 or kept.max() >= columns:
        return "it keeps columns that there are not"
    if any(numbers[f"prepare.{name}"].shape != kept.shape for name in ("mean", "scale", "weight")):
        return "its columns' means, scales and weights are not as many as its columns"
    if any(numbers[f"label.{name}"].shape != (1,) for name in ("mean", "scale")):
        return "the label's mean and scale are one number each"
    return module.mistake(_under("model.", numbers), len(kept))


def _under(prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}


def _encoder(origin: dict, tensors: dict[str, np.ndarray], tokenizer: Tokenizer, device, source: str) -> FrozenEncoder:
    import torch

    from chemsieve.models import encoders
    from chemsieve.models.checkpoints import load_strictly
    from chemsieve.models.frozen import FrozenEncoder

    family = encoders.load(origin["family"])
    masked_lm = family.initialise({key: value for key, value in origin["config"].items() if key != "architectures"})
    encoder = family.backbone(masked_lm.float())
    load_strictly(encoder, {name: torch.from_numpy(values) for name, values in tensors.items()}, source=source)
    return FrozenEncoder(encoder, tokenizer, torch.device(device))
