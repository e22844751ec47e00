"""One fine-tuning run, from labelled molecules to its files."""

import logging
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from tokenizers import Tokenizer

from chemsieve import registry
from chemsieve.models import backbone, regressor
from chemsieve.models.checkpoints import trained_state, write_tensors
from chemsieve.runtime import tracking
from chemsieve.runtime.processes import device_name, peak_memory_mb
from chemsieve.study.runs import Identity, curve_table, predictions_table, write_facts
from chemsieve.tables import write_table
from chemsieve.training.loop import Outcome, Settings, low_precision
from chemsieve.training.regression import fine_tune, predict_smiles
from chemsieve.training.state import Saves

log = logging.getLogger(__name__)


def train_and_write(
    identity: Identity,
    encoder_folder: str | Path,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    test: pd.DataFrame,
    added: pd.DataFrame,
    spec: dict,
    device,
    output,
    regressor_checkpoint: str | Path | None = None,
    saves: Saves | None = None,
) -> None:
    """Fine-tune on ``train`` and ``added``, predict validation and test molecules, and write the run's files.

    Args:
        train, validation, added: tables ``labelled``; ``test`` is ``unlabelled``: its labels are not known here.
        spec: ``method``, ``options``, ``training``, ``dropout``, ``family``, ``compute`` of the configuration.
        output: named paths ``model``, ``curve``, ``predictions``, ``run``, ``checkpoint_2`` of epoch 2 and so on.
        regressor_checkpoint: a fully fine-tuned regressor to start from, in place of the encoder and a fresh head.
        saves: the state that a run that was killed goes on from.
    """
    torch.manual_seed(identity.seed)
    model = regressor.build(encoder_folder, spec["family"], spec["dropout"], regressor_checkpoint)
    registry.load("methods", spec["method"]).apply(model, **spec["options"])
    settings = dict(spec["training"])
    settings["checkpoints"] = tuple(settings.get("checkpoints", ()))
    data = pd.concat([train, added], ignore_index=True)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    log.info("%s: %d molecules, %d of %d parameters trained", identity.run_id, len(data), trainable, total)
    tokenizer = backbone.load_tokenizer(encoder_folder)
    trained_head = regressor_checkpoint is not None
    outcome = _tune(
        model,
        tokenizer,
        data,
        validation,
        Settings(**settings),
        identity.seed,
        device,
        trained_head,
        saves,
        tracking.of(identity.run_id),
    )
    for epoch, tensors in outcome.kept.items():
        write_tensors(tensors, output[f"checkpoint_{epoch}"])
    several = settings.get("writings", 1), settings.get("draws", 1)
    values = tuple(
        predict_smiles(model, tokenizer, list(frame["encoder_smiles"]), *several, device)
        for frame in (validation, test)
    )
    write_tensors(trained_state(model), output.model)
    write_table(curve_table(identity, "regression", outcome.curve), output.curve, "learning_curves")
    write_table(predictions_table(identity, validation, test, values), output.predictions, "run_predictions")
    write_facts(
        output.run,
        identity,
        n_train=len(data),
        n_selected=len(added),
        trainable_parameters=trainable,
        total_parameters=total,
        best_epoch=outcome.best_epoch,
        epochs=len(outcome.curve),
        train_seconds=outcome.seconds,
        peak_memory_mb=peak_memory_mb(),
        device=device_name(device),
        precision="bfloat16" if low_precision(settings["precision"], device) else "float32",
        threads=torch.get_num_threads(),
    )
    if saves is not None:
        saves.remove()  # last: until here a kill loses nothing


def _tune(
    model: regressor.Regressor,
    tokenizer: Tokenizer,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    settings: Settings,
    seed: int,
    device,
    trained_head: bool,
    saves: Saves | None,
    tracker: tracking.Tracker | None = None,
) -> Outcome:
    """:func:`fine_tune` on tables ``labelled``."""
    return fine_tune(
        model,
        tokenizer,
        list(train["encoder_smiles"]),
        train["label"].to_numpy(),
        list(validation["encoder_smiles"]),
        validation["label"].to_numpy(),
        settings,
        seed,
        device,
        trained_head,
        saves,
        tracker,
    )


def validation_loss(
    encoder_folder: str | Path,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    spec: dict,
    seed: int,
    device,
    regressor_checkpoint: str | Path | None = None,
    saves: Saves | None = None,
) -> float:
    """Mean squared error on ``validation`` (squared label units) at the end of full fine-tuning on ``train``.

    At the end, not at the best epoch: the best is chosen by this loss, and would hide what the training set does to it.
    ``regressor_checkpoint`` is a fine-tuned regressor to start from, in place of the encoder and a fresh head;
    ``saves`` is the state that a run that was killed goes on from.
    """
    torch.manual_seed(seed)
    model = regressor.build(encoder_folder, spec["family"], spec["dropout"], regressor_checkpoint)
    if not spec["noise"]:
        regressor.quieten(model)
    tokenizer, settings = backbone.load_tokenizer(encoder_folder), Settings(**spec["training"])
    if not spec["noise"]:
        settings = replace(settings, randomise=False, draws=1)
    trained_head = regressor_checkpoint is not None
    outcome = _tune(model, tokenizer, train, validation, settings, seed, device, trained_head, saves)
    return outcome.curve[-1]["validation_loss"] * float(model.label_scale) ** 2
