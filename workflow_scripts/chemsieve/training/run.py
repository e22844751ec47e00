"""One fine-tuning run, from labelled molecules to its files."""

import json
import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from chemsieve import methods
from chemsieve.models import backbone, regressor
from chemsieve.models.checkpoints import load_strictly, read_tensors, trained_names, trained_state, write_tensors
from chemsieve.models.prediction import predict_smiles
from chemsieve.models.regressor import Regressor
from chemsieve.runtime import tracking
from chemsieve.runtime.processes import device_name, peak_memory_mb
from chemsieve.study.runs import Identity, curve_table, predictions_table, read_facts, write_facts
from chemsieve.tables import read_table, write_table
from chemsieve.training.epochs import Outcome, Settings
from chemsieve.training.loop import Conditions, low_precision
from chemsieve.training.regression import Labelled, fine_tune
from chemsieve.training.saves import Saves
from chemsieve.uses import Mixture

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folds:
    """The molecules of a run: tables ``labelled``, but ``test`` is ``unlabelled``, since its labels are not known here.

    ``added`` are those of the pool that are trained on beside ``train``.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame
    added: pd.DataFrame

    @property
    def of_pool(self) -> np.ndarray:
        """Which of the molecules that are trained on, those of ``added`` last, are of the pool."""
        return np.arange(len(self.train) + len(self.added)) >= len(self.train)


@dataclass(frozen=True)
class Trained:
    """The files of a finished run of full fine-tuning: its model, its curve and its ``run.json``."""

    model: str | Path
    curve: str | Path
    run: str | Path

    def restore(self, model: Regressor) -> Outcome:
        """Give a regressor the run's weights, in place; the outcome has its curve, and no seconds of its own."""
        load_strictly(model, read_tensors(self.model), trained_names(model), source=str(self.model))
        curve = read_table(self.curve).drop(columns=["run_id", "stage"])
        rows = [
            {name: None if pd.isna(value) else value for name, value in row.items()} for row in curve.to_dict("records")
        ]
        return Outcome(rows, best_epoch=read_facts(self.run)["best_epoch"])


def train_and_write(
    identity: Identity,
    encoder_folder: str | Path,
    folds: Folds,
    spec: dict,
    device: torch.device,
    output,
    regressor_checkpoint: str | Path | None = None,
    saves: Saves | None = None,
    mixture: Mixture | None = None,
    trained: Trained | None = None,
) -> None:
    """Fine-tune on ``train`` and ``added``, predict validation and test molecules, and write the run's files.

    Args:
        spec: ``method``, ``options``, ``training``, ``dropout``, ``head``, ``family`` and ``compute`` of the
            configuration; ``quiet``: whether all that is random is left out, and the steps are those of every run on
            the same ``train``, so that runs differ in ``added`` alone.
        output: named paths ``model``, ``curve``, ``predictions``, ``run``, ``checkpoint_2`` of epoch 2 and so on.
        regressor_checkpoint: a fully fine-tuned regressor to start from, in place of the encoder and a fresh head.
        saves: the state that a run that was killed goes on from.
        mixture: how ``added`` is trained on beside ``train``; None: as its equal.
        trained: a run of full fine-tuning that is this one up to what the method does after training; None: it trains.
    """
    torch.manual_seed(identity.seed)
    model = regressor.build(encoder_folder, spec["family"], spec["dropout"], regressor_checkpoint, spec["head"])
    methods.load(spec["method"]).apply(model, **spec["options"])
    finish = methods.finishing(spec["method"])
    start = {name: p.detach().clone() for name, p in model.encoder.named_parameters()} if finish else {}
    settings = Settings(**spec["training"] | {"checkpoints": tuple(spec["training"].get("checkpoints", ()))})
    if quiet := spec.get("quiet", False):
        regressor.disable_noise(model)
        settings = replace(settings, randomise=False)
    data = pd.concat([folds.train, folds.added], ignore_index=True)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    log.info("%s: %d molecules, %d of %d parameters trained", identity.run_id, len(data), trainable, total)
    tokenizer = backbone.load_tokenizer(encoder_folder)
    conditions = Conditions(identity.seed, device, saves, tracking.of(identity.run_id))
    train, validation = Labelled.of(data), Labelled.of(folds.validation)
    trained_head, common = regressor_checkpoint is not None, len(folds.train) if quiet else None
    if trained is None:
        outcome = fine_tune(model, tokenizer, train, validation, settings, conditions, trained_head, mixture, common)
    else:
        outcome = trained.restore(model.to(device))

    def validation_rmse() -> float:
        averaged = settings.writings, settings.draws
        predicted = predict_smiles(model, tokenizer, validation.smiles, *averaged, device)
        return float(np.sqrt(np.mean((predicted - validation.labels) ** 2)))

    began = time.perf_counter()
    finished = finish(model, start, validation_rmse, **spec["options"]) if finish else None
    after = time.perf_counter() - began
    if finished:
        log.info("%s: %s", spec["method"], json.dumps(finished))
    of_validation, of_test = (
        predict_smiles(model, tokenizer, list(fold["encoder_smiles"]), settings.writings, settings.draws, device)
        for fold in (folds.validation, folds.test)
    )
    for epoch, tensors in outcome.kept.items():
        write_tensors(tensors, output[f"checkpoint_{epoch}"])
    write_tensors(trained_state(model), output.model)
    write_table(curve_table(identity, "regression", outcome.curve), output.curve, "learning_curves")
    table = predictions_table(identity, folds.validation, folds.test, (of_validation, of_test))
    write_table(table, output.predictions, "run_predictions")
    write_facts(
        output.run,
        identity,
        n_train=len(data),
        n_selected=len(folds.added),
        trainable_parameters=trainable,
        total_parameters=total,
        best_epoch=outcome.best_epoch,
        epochs=len(outcome.curve),
        train_seconds=outcome.seconds + after,
        peak_memory_mb=peak_memory_mb(),
        device=device_name(device),
        precision="bfloat16" if low_precision(settings.precision, device) else "float32",
        threads=torch.get_num_threads(),
        **({spec["method"]: finished} if finished else {}),
    )
    if saves is not None:
        saves.remove()  # last: until here a kill loses nothing


def validation_loss(
    encoder_folder: str | Path,
    train: pd.DataFrame,
    validation: pd.DataFrame,
    spec: dict,
    conditions: Conditions,
    regressor_checkpoint: str | Path | None = None,
) -> float:
    """Mean squared error on ``validation`` (squared label units) at the end of full fine-tuning on ``train``.

    At the end, not at the best epoch: the best is chosen by this loss, and would hide what the training set does to it.

    Args:
        train, validation: tables ``labelled``.
        spec: ``training``, ``dropout``, ``head``, ``family``; ``noise``: whether dropout and other random parts are
            left on.
        conditions: with the state that a run that was killed goes on from.
        regressor_checkpoint: a fine-tuned regressor to start from, in place of the encoder and a fresh head.
    """
    torch.manual_seed(conditions.seed)
    model = regressor.build(encoder_folder, spec["family"], spec["dropout"], regressor_checkpoint, spec["head"])
    settings = Settings(**spec["training"])
    if not spec["noise"]:
        regressor.disable_noise(model)
        settings = replace(settings, randomise=False, draws=1)
    outcome = fine_tune(
        model,
        backbone.load_tokenizer(encoder_folder),
        Labelled.of(train),
        Labelled.of(validation),
        settings,
        conditions,
        trained_head=regressor_checkpoint is not None,
    )
    return outcome.curve[-1]["validation_loss"] * float(model.label_scale) ** 2
