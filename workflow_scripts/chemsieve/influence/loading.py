"""From a study's files to an influence problem."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from torch import device as Device

from chemsieve.influence.continuation import Continuation
from chemsieve.influence.parameter_subsets import restrict
from chemsieve.influence.problem import Molecules, Problem
from chemsieve.influence.replay import Replay
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.runtime.job import optional_path
from chemsieve.tables import read_table
from chemsieve.training.epochs import Settings
from chemsieve.training.saves import Saves


class Files(Protocol):
    """Named paths of a checkpoint and its data; ``regressor`` is there where an adapter was trained on one."""

    encoder: Sequence[str | Path]  # the folder's files
    checkpoint: str | Path
    train: str | Path
    validation: str | Path
    pool: str | Path

    def get(self, name: str) -> Any:
        """The path, or paths, of that name; None where there is none."""


def load(
    files: Files,
    spec: dict[str, Any],
    seed: int,
    device: Device,
    most: int | None = None,
    query: pd.DataFrame | None = None,
) -> tuple[Problem, Molecules, Molecules]:
    """The problem of one checkpoint, its query molecules and the pool, labels standardised.

    Args:
        spec: ``family``, ``batch_size``, optionally ``head`` (of ``finetune``), ``parameters`` (a subset of them), and
            ``method`` with ``options`` where the checkpoint is not of full fine-tuning.
        most: training molecules that define the curvature, a seeded sample of them; None: all.
        query: molecules whose loss is asked about, with ``label``; None: those of ``validation``.
    """
    encoder = Path(files.encoder[0]).parent
    method, options = spec.get("method", "full"), spec.get("method_options", {})
    base = optional_path(files.get("regressor"))
    family, head = spec["family"], spec.get("head")
    model = regressor.restore(encoder, family, method, options, files.checkpoint, base, head=head).to(device)
    restrict(model, spec.get("parameters", "all"))
    tokenizer = backbone.load_tokenizer(encoder)

    def molecules(frame: pd.DataFrame) -> Molecules:
        mean, scale = (float(model.get_buffer(name)) for name in ("label_mean", "label_scale"))
        given = frame["label"] if "label" in frame else pd.Series(np.nan, frame.index)  # a pool may have none
        labels = standardised(given, mean, scale)
        return Molecules(tokenization.encode(tokenizer, list(frame["encoder_smiles"])), labels)

    query = read_table(files.validation) if query is None else query
    train, query, pool = (molecules(frame) for frame in (read_table(files.train), query, read_table(files.pool)))
    problem = Problem(model, train, tokenization.special_id(tokenizer, "pad"), seed, spec["batch_size"])
    if most is not None:
        problem.train = problem.sample(most)
    return problem, query, pool


def unlabelled(files: Files) -> Molecules | None:
    """Further molecules that the model is for, without labels; None where there are none."""
    if not (path := optional_path(files.get("unlabelled"))):
        return None
    tokenizer, frame = backbone.load_tokenizer(Path(files.encoder[0]).parent), read_table(path)
    ids = tokenization.encode(tokenizer, list(frame["encoder_smiles"]))
    return Molecules(ids, np.full(len(frame), np.nan))


def continuation(files: Files, spec: dict[str, Any], seed: int, device: Device, saves: Saves) -> Continuation:
    """The training of one checkpoint's regressor that goes on with training and pool molecules.

    Args:
        spec: ``family``, ``head`` and ``dropout`` (of ``finetune``), and ``training``, the settings of what goes on.
        saves: where a derivative of it is left after a kill.
    """
    encoder = Path(files.encoder[0]).parent
    dropout, head = spec["dropout"], spec["head"]
    model = regressor.restore(encoder, spec["family"], "full", {}, files.checkpoint, dropout=dropout, head=head)
    tokenizer = backbone.load_tokenizer(encoder)
    train, query, pool = (read_table(path) for path in (files.train, files.validation, files.pool))
    both = pd.concat([train, pool], ignore_index=True)

    def molecules(frame: pd.DataFrame) -> Molecules:
        return Molecules(tokenization.encode(tokenizer, list(frame["encoder_smiles"])), frame["label"].to_numpy())

    pad_id = tokenization.special_id(tokenizer, "pad")
    replay = Replay(model.to(device), molecules(both), molecules(query), pad_id, Settings(**spec["training"]))
    return Continuation(replay, list(both["encoder_smiles"]), len(train), seed, saves)


def standardised(labels: pd.Series, mean: float, scale: float) -> np.ndarray:
    """Labels in the units in which the regressor was trained."""
    return (labels.to_numpy() - mean) / scale
