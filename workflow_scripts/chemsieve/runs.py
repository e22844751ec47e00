"""One training run: who it is, what it trains on, and what it leaves behind."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from chemsieve.files import write_json
from chemsieve.tables import write_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """Where a run stands on the axes of the study."""

    splitter: str
    split_seed: int
    seed: int
    origin: str
    method: str
    selection: str

    @property
    def run_id(self) -> str:
        return "/".join(str(value) for value in asdict(self).values())


def predictions_table(
    identity: Identity, validation: pd.DataFrame, test: pd.DataFrame, values: tuple[np.ndarray, np.ndarray]
) -> pd.DataFrame:
    """The table ``run_predictions`` of a run: validation and test molecules in their files' order."""
    return pd.concat(
        [
            pd.DataFrame(
                {"run_id": identity.run_id, "molecule_id": frame["molecule_id"], "fold": fold, "prediction": prediction}
            )
            for fold, frame, prediction in zip(("validation", "test"), (validation, test), values, strict=True)
        ]
    )


def curve_table(identity: Identity, stage: str, curve: list[dict]) -> pd.DataFrame:
    """The table ``learning_curves`` of a run."""
    frame = pd.DataFrame(curve).assign(run_id=identity.run_id, stage=stage)
    for column in ("validation_rmse", "masked_accuracy"):
        if column not in frame:
            frame[column] = None
    return frame


def write_facts(path: str | Path, identity: Identity, **facts: object) -> None:
    """Write ``run.json``: the identity, and the facts that the metrics table repeats."""
    write_json(path, {"run_id": identity.run_id, **asdict(identity), **facts})


def read_facts(path: str | Path) -> dict:
    """A run's ``run.json``."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


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
) -> None:
    """Fine-tune on ``train`` and ``added``, predict validation and test molecules, and write the run's files.

    Args:
        train, validation, added: tables ``labelled``; ``test`` is ``unlabelled``: its labels are not known here.
        spec: ``method``, ``options``, ``training``, ``dropout``, ``family``, ``compute`` of the configuration.
        output: named paths ``model``, ``curve``, ``predictions``, ``run``, and optionally ``checkpoints``.
        regressor_checkpoint: a fully fine-tuned regressor to start from, in place of the encoder and a fresh head.
    """
    import torch

    from chemsieve import backbone, registry, regressor, tokenization
    from chemsieve.checkpoints import load_strictly, read_tensors, trained_state, write_tensors
    from chemsieve.processes import device_name, peak_memory_mb
    from chemsieve.training.loop import Settings
    from chemsieve.training.regression import fine_tune, predict

    torch.manual_seed(identity.seed)
    model = regressor.build(encoder_folder, spec["family"], spec["dropout"])
    if regressor_checkpoint is not None:
        load_strictly(model, read_tensors(regressor_checkpoint), source=str(regressor_checkpoint))
    registry.load("methods", spec["method"]).apply(model, **spec["options"])
    settings = dict(spec["training"])
    settings["checkpoints"] = tuple(settings.get("checkpoints", ()))
    data = pd.concat([train, added], ignore_index=True)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    log.info("%s: %d molecules, %d of %d parameters trained", identity.run_id, len(data), trainable, total)
    tokenizer = backbone.load_tokenizer(encoder_folder)
    outcome = fine_tune(
        model,
        tokenizer,
        list(data["encoder_smiles"]),
        data["label"].to_numpy(),
        list(validation["encoder_smiles"]),
        validation["label"].to_numpy(),
        Settings(**settings),
        identity.seed,
        device,
        trained_head=regressor_checkpoint is not None,
    )
    for epoch, path in zip(sorted(outcome.kept), getattr(output, "checkpoints", []), strict=True):
        write_tensors(outcome.kept[epoch], path)
    pad_id = tokenization.special_id(tokenizer, "pad")
    values = tuple(
        predict(model, tokenization.encode(tokenizer, list(frame["encoder_smiles"])), pad_id, device)
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
    )
