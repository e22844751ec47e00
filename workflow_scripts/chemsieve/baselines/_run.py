"""One run of a descriptor model, from labelled molecules and their features to its files."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chemsieve import baselines
from chemsieve.data.chosen import chosen
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.processes import peak_memory_mb
from chemsieve.study.runs import Identity, predictions_table, write_facts
from chemsieve.tables import read_table, write_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chemsieve.baselines._pipeline import Model
    from chemsieve.data.features import Features


@dataclass(frozen=True)
class Added:
    """Molecules of the pool, a table ``labelled``, that are trained on beside ``train``, and the pool's features."""

    molecules: pd.DataFrame
    known: Features


def added(selection: str, pool: str, known: Features) -> Added:
    """The molecules that a selection chose, of tables in files; in the pool's order, whatever the ranking."""
    return Added(chosen(read_table(selection), read_table(pool)), known)


def fitted(
    spec: dict, known: Features, train: pd.DataFrame, validation: pd.DataFrame, seed: int, more: Added | None = None
) -> Model:
    """A descriptor model fitted on ``train`` and on what is added; ``validation`` chooses between options.

    Args:
        spec: ``model`` and ``options`` of the configuration.
        known: features of the target's molecules.
        train, validation: tables ``labelled``.
    """
    features, labels = known.of(train["molecule_id"]), train["label"].to_numpy()
    if more is not None:
        features = np.concatenate([features, more.known.of(more.molecules["molecule_id"])])
        labels = np.concatenate([labels, more.molecules["label"].to_numpy()])
    return baselines.load(spec["model"]).fit(
        features,
        labels,
        known.of(validation["molecule_id"]),
        validation["label"].to_numpy(),
        seed,
        known.columns,
        **spec["options"],
    )


def fit_and_write(
    identity: Identity, spec: dict, known: Features, folds: Sequence[pd.DataFrame], output, more: Added | None = None
) -> None:
    """Fit a descriptor model, predict validation and test molecules, and write the run's files.

    Args:
        spec: ``model`` and ``options`` of the configuration; where molecules are added also ``largest``.
        known: features of the target's molecules.
        folds: training and validation molecules, tables ``labelled``, and test molecules, a table ``unlabelled``.
        output: named paths ``predictions`` and ``run``.

    Raises:
        ChemsieveError: with what is added there are more than ``largest`` molecules; others as of the model's ``fit``.
    """
    train, validation, test = folds
    n_selected = 0 if more is None else len(more.molecules)
    if n_selected and len(train) + n_selected > spec["largest"]:
        raise ChemsieveError(
            f"{len(train) + n_selected:,} molecules with the selection {identity.selection}, and baselines.largest "
            f"allows {spec['largest']:,}; raise it, which costs time, or leave {identity.selection} out of "
            "baselines.selections"
        )
    began = time.perf_counter()
    model = fitted(spec, known, train, validation, identity.seed, more)
    seconds = time.perf_counter() - began
    logging.getLogger(__name__).info("options chosen on validation: %s", model.options)
    predictions = (model.predict(known.of(validation["molecule_id"])), model.predict(known.of(test["molecule_id"])))
    write_table(predictions_table(identity, validation, test, predictions), output.predictions, "run_predictions")
    write_facts(
        output.run,
        identity,
        n_train=len(train) + n_selected,
        n_selected=n_selected,
        trainable_parameters=None,
        total_parameters=None,
        best_epoch=None,
        epochs=None,
        train_seconds=seconds,
        peak_memory_mb=peak_memory_mb(),
        device="cpu",
        precision="float64",
        threads=None,
    )
