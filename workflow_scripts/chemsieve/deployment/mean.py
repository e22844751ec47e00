"""The predictor of the mean of two models, a language model and a descriptor model: each is a model folder of its own.

Their weights are given, 1/2 each, and fitted to nothing. The two err differently, so that errors partly cancel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chemsieve.deployment import folder as model_folder
from chemsieve.deployment import neighbours
from chemsieve.deployment.neighbours import Neighbours
from chemsieve.deployment.predictor import Predictor, Row
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import sha256

if TYPE_CHECKING:
    import torch

SPREAD = "members"  # facts: where the spread comes from
_SHARED = ("target", "input")  # facts that are those of both members


class MeanPredictor(Predictor):
    """Predicts by the weighted mean of several models.

    Its spread is the standard deviation between them, which is there whatever they are.

    Args:
        members: predictors that read SMILES alike, so that what is read once is what each of them reads.
        weights: one for each, of the sum 1.
    """

    def __init__(self, members: Sequence[Predictor], weights: Sequence[float], neighbours: Neighbours, facts: dict):
        super().__init__(members[0].tokenizer, neighbours, facts)
        self.members, self.weights = list(members), np.array(weights, dtype=float)

    def _values(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        values = np.array([member._values(rows)[0] for member in self.members], dtype=float)
        return self.weights @ values, values.std(axis=0, ddof=1)


def entry(place: Path, name: str, facts: dict) -> dict:
    """What ``members`` of the facts says of the member in the sub-folder ``name`` of a folder.

    Besides what loading needs, that is what the card says.

    Args:
        facts: the member's own.
    """
    said = ("run_id", "family", "method", "features", "averaged", "metrics")
    return {
        "folder": name,
        "weight": 1 / len(model_folder.MEMBERS),
        "sha256": sha256(place / name / model_folder.FACTS),
        **{key: facts[key] for key in said if key in facts},
    }


def assemble(folder: Path, facts: dict, device: torch.device | str) -> MeanPredictor:
    """The predictor of a folder with these facts.

    Raises:
        ChemsieveError: a member is missing, damaged, or does not fit the other.
    """
    path = folder / model_folder.FACTS
    weights = _weights(path, facts["members"])
    places = [folder / name for name in model_folder.MEMBERS]
    for place, member in zip(places, facts["members"], strict=True):
        _check(place, member, facts, path)
    members = [model_folder.load(place, device) for place in places]
    for member in members:
        # The spread is that between the members: to compute a member's own would only take time.
        member.facts["uncertainty"] |= {"kind": "none"}
    if len({sha256(place / "tokenizer.json") for place in places}) > 1:
        raise ChemsieveError(f"{folder}: its members have different tokenizers, so that they do not read SMILES alike")
    known = neighbours.read(*(place / "training.parquet" for place in places))
    return MeanPredictor(members, weights, known, facts)


def _check(place: Path, member: dict, facts: dict, path: Path) -> None:
    """Check that a member is the one that the facts in ``path`` are of; that its files are whole is for its loading."""
    source = place / model_folder.FACTS
    if not source.is_file():
        raise ChemsieveError(f"{source}: there is no such file; the mean of two models needs both")
    if sha256(source) != member.get("sha256"):
        raise ChemsieveError(f"{source}: it is damaged or of another model ({path} has another hash)")
    own, wanted = model_folder.read_facts(place), model_folder.MEMBERS[place.name]
    if own["format"] != wanted:
        raise ChemsieveError(f"{source}: format: {wanted} is wanted in this place")
    for key in _SHARED:
        if own[key] != facts[key]:
            raise ChemsieveError(f"{path}: {key}: it differs from that of {source}")


def _weights(path: Path, members: object) -> list[float]:
    """Weights of the members that ``chemsieve.json`` names: those two, in their order, and in no other place."""
    names = list(model_folder.MEMBERS)
    if (
        not isinstance(members, list)
        or not all(isinstance(member, dict) for member in members)
        or [member.get("folder") for member in members] != names
    ):
        raise ChemsieveError(f"{path}: members: the folders {' and '.join(names)} are wanted, in this order")
    weights = [member.get("weight") for member in members]
    if not all(type(weight) in (int, float) and weight > 0 for weight in weights) or not math.isclose(sum(weights), 1):
        raise ChemsieveError(f"{path}: members: weights above 0 are wanted, of the sum 1")
    return weights
