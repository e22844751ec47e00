"""A model folder: what it holds, and how it is written and loaded.

Of a language model: ``config.json`` and ``tokenizer.json`` of the encoder, ``model.safetensors`` (encoder, head, random
features and label scale, adapters merged where they can be). Of a descriptor model: ``config.json`` and
``model.safetensors`` as :mod:`chemsieve.deployment.described` has them, and the ``tokenizer.json`` by which the study
accepted molecules. Of both: ``training.parquet`` (the molecules trained on), ``chemsieve.json`` (everything else, and
the hashes of the other files) and ``README.md``, the model card. Of the mean of two models: ``chemsieve.json`` and
``README.md``, and a whole model folder of each, ``language/`` and ``descriptors/``
(:mod:`chemsieve.deployment.mean`).
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from chemsieve.deployment import neighbours
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import sha256, write_atomically, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from tokenizers import Tokenizer

    from chemsieve.deployment.predictor import Predictor

FORMAT = 1  # of a language model
DESCRIPTORS = 2  # of a descriptor model
MEAN = 3  # of the mean of a language model and a descriptor model
HASHED = ("config.json", "tokenizer.json", "model.safetensors", "training.parquet")
FACTS = "chemsieve.json"
CARD = "README.md"
FILES = (*HASHED, FACTS, CARD)
MEMBERS = {"language": FORMAT, "descriptors": DESCRIPTORS}  # folders in that of a mean, and what they hold
_COMMON = ("target", "input", "uncertainty", "interval", "domain", "files")
_SECTIONS = ("family", *_COMMON, "averaged", "dropout")
_WANTED = {
    FORMAT: _SECTIONS,
    DESCRIPTORS: (*_COMMON, "features"),
    MEAN: (*(name for name in _COMMON if name != "files"), "members"),
}


def write(folder: str | Path, model: Callable[[Path], None], tokenizer: Tokenizer, training) -> dict[str, str]:
    """Write all but ``chemsieve.json`` and the card, which :func:`seal` writes last; gives the hash of each file.

    Args:
        model: writes ``config.json`` and ``model.safetensors`` into a folder.
        training: table ``model_training``.
    """
    folder = Path(folder)
    empty(folder, keep=HASHED)
    model(folder)
    write_atomically(folder / "tokenizer.json", lambda temporary: tokenizer.save(str(temporary)))
    neighbours.write(training, folder / "training.parquet")
    return {name: sha256(folder / name) for name in HASHED}


def empty(folder: Path, keep: tuple[str, ...] = ()) -> None:
    """Make the folder, and remove what one of another kind may have left there, but for files to be replaced.

    Without ``chemsieve.json`` it does not load, until it is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in (FACTS, *(name for name in HASHED if name not in keep)):
        (folder / name).unlink(missing_ok=True)
    for member in MEMBERS:
        for name in FILES:
            (folder / member / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it is not there, or holds what somebody else put there
            (folder / member).rmdir()


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
    for name in HASHED if facts["format"] != MEAN else ():  # its members have files, and are loaded by this function
        if not (folder / name).is_file():
            raise ChemsieveError(
                f"{folder / name}: there is no such file; a model folder needs {', '.join(FILES[:-1])}"
            )
        if sha256(folder / name) != facts["files"].get(name):
            raise ChemsieveError(f"{folder / name}: it is damaged or of another model ({FACTS} has another hash)")
    return assemble(folder, facts, device)


def read_facts(folder: Path) -> dict:
    """``chemsieve.json`` of a model folder."""
    path = folder / FACTS
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ChemsieveError(f"{path}: there is no such file, so that {folder} is no model folder") from None
    except ValueError as error:
        raise ChemsieveError(f"{path}: not readable JSON ({error})") from None
    if not isinstance(facts, dict) or facts.get("format") not in _WANTED:
        raise ChemsieveError(f"{path}: not of a format that this release reads ({FORMAT}, {DESCRIPTORS} or {MEAN})")
    wanted = _WANTED[facts["format"]]
    if missing := [name for name in wanted if name not in facts]:
        raise ChemsieveError(f"{path}: it says nothing of {missing[0]!r}")
    return facts


def assemble(folder: Path, facts: dict, device: torch.device | str) -> Predictor:
    """The predictor of a folder's files with these facts."""
    # By kind, since a descriptor model needs no torch.
    if facts["format"] == DESCRIPTORS:
        from chemsieve.deployment import described

        return described.assemble(folder, facts, device)
    if facts["format"] == MEAN:
        from chemsieve.deployment import mean

        return mean.assemble(folder, facts, device)
    import torch

    from chemsieve.deployment import language

    return language.assemble(folder, facts, torch.device(device))


def uses_torch(folder: str | Path) -> bool:
    """Whether the model of a folder computes with torch.

    Raises:
        ChemsieveError: it is no model folder.
    """
    facts = read_facts(Path(folder))
    return facts["format"] != DESCRIPTORS or "embeddings" in facts["features"]
