"""A model folder: what it holds, and how it is written and loaded.

``config.json`` and ``tokenizer.json`` of the encoder, ``model.safetensors`` (encoder, head, random features and label
scale, adapters merged), ``training.parquet`` (the molecules trained on), ``chemsieve.json`` (everything else, and the
hashes of the other files) and ``README.md``, the model card.
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

from chemsieve.deployment import neighbours
from chemsieve.deployment.predictor import Predictor
from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone, encoders, tokenization
from chemsieve.models.checkpoints import load_strictly, read_tensors, write_tensors
from chemsieve.models.regressor import Regressor, head_inputs, set_dropout
from chemsieve.runtime.files import sha256, write_atomically, write_json

FORMAT = 1
HASHED = ("config.json", "tokenizer.json", "model.safetensors", "training.parquet")
FACTS = "chemsieve.json"
CARD = "README.md"
FILES = (*HASHED, FACTS, CARD)
_SECTIONS = ("family", "target", "input", "averaged", "dropout", "uncertainty", "interval", "domain", "files")


def write(folder: str | Path, model: Regressor, config: dict, tokenizer: Tokenizer, training) -> dict[str, str]:
    """Write all but ``chemsieve.json`` and the card, which :func:`seal` writes last; gives the hash of each file.

    Args:
        model: plain, its adapters merged.
        config: ``config.json`` of its encoder.
        training: table ``model_training``.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).unlink(missing_ok=True)  # without it the folder does not load, until it is whole
    write_json(folder / "config.json", config)
    write_atomically(folder / "tokenizer.json", lambda temporary: tokenizer.save(str(temporary)))
    write_tensors(model.state_dict(), folder / "model.safetensors")
    neighbours.write(training, folder / "training.parquet")
    return {name: sha256(folder / name) for name in HASHED}


def seal(folder: str | Path, facts: dict) -> None:
    """Write ``chemsieve.json``, with which the folder is whole."""
    write_json(Path(folder) / FACTS, facts)


def load(folder: str | Path, device: torch.device | str = "cpu") -> Predictor:
    """The predictor of a model folder.

    Raises:
        ChemsieveError: a file is missing, is not what was written, or does not fit the others.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    for name in HASHED:
        if not (folder / name).is_file():
            raise ChemsieveError(
                f"{folder / name}: there is no such file; a model folder needs {', '.join(FILES[:-1])}"
            )
        if sha256(folder / name) != facts["files"].get(name):
            raise ChemsieveError(f"{folder / name}: it is damaged or of another model ({FACTS} has another hash)")
    return assemble(folder, facts, torch.device(device))


def read_facts(folder: Path) -> dict:
    """``chemsieve.json`` of a model folder."""
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ChemsieveError(f"{path}: there is no such file, so that {folder} is no model folder") from None
    except ValueError as error:
        raise ChemsieveError(f"{path}: not readable JSON ({error})") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ChemsieveError(f"{path}: not of a format that this release reads ({FORMAT})")
    if missing := [name for name in _SECTIONS if name not in facts]:
        raise ChemsieveError(f"{path}: it says nothing of {missing[0]!r}")
    return facts


def assemble(folder: Path, facts: dict, device: torch.device) -> Predictor:
    """The predictor of a folder's files with these facts."""
    config, family = backbone.read_config(folder), encoders.load(facts["family"])
    # Weights may have been stored in half precision; they were trained in single, as load_masked_lm has them.
    masked_lm = family.initialise({key: value for key, value in config.items() if key != "architectures"}).float()
    tokenizer, width = tokenization.load(folder / "tokenizer.json"), masked_lm.config.hidden_size
    inputs = head_inputs(facts.get("head"), width, tokenizer)
    model = Regressor(family.backbone(masked_lm), width, facts["dropout"].get("head") or 0.0, inputs)
    set_dropout(model, facts["dropout"].get("hidden"), facts["dropout"].get("embedding"))
    source = folder / "model.safetensors"
    load_strictly(model, read_tensors(source), source=str(source))
    return Predictor(model, tokenizer, neighbours.read(folder / "training.parquet"), facts, device)
