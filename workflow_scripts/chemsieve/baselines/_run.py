"""One run of a descriptor model, from labelled molecules and their features to its files."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chemsieve import baselines, uses
from chemsieve.baselines import _sources
from chemsieve.baselines._sources import Chosen, Labelled
from chemsieve.data.chosen import chosen
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.processes import peak_memory_mb
from chemsieve.study.runs import Identity, predictions_table, write_facts
from chemsieve.tables import TABLES, read_table, write_table
from chemsieve.uses import MIXED, Form

NONE = "none"  # leaving the pool out

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
        spec: ``model`` and ``options`` of the configuration; with a ``use`` what :func:`chosen_uses` wants too.
        known: features of the target's molecules.
        train, validation: tables ``labelled``.
    """
    if more is not None and "use" in spec:
        return _model(chosen_uses(spec, known, train, validation, seed, more), spec, spec["use"])
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


def chosen_uses(
    spec: dict, known: Features, train: pd.DataFrame, validation: pd.DataFrame, seed: int, more: Added
) -> dict[str, Chosen]:
    """What each use of the added molecules would give, by held-out errors on the target; ``none`` leaves them out.

    Args:
        spec: ``model`` and ``options``; ``uses`` by name, each with its ``module`` and ``options``.
        known, train, validation, more: as of :func:`fitted`.
    """
    forms = {NONE: Form(weight=0.0, rho=0.0), MIXED: Form()}
    for name, entry in spec["uses"].items():
        form = uses.load(entry["module"]).form(**entry["options"])
        if form is not None:
            forms[name] = form
    target, validated = (
        Labelled(known.of(frame["molecule_id"]), frame["label"].to_numpy(dtype=float)) for frame in (train, validation)
    )
    pool = Labelled(more.known.of(more.molecules["molecule_id"]), more.molecules["label"].to_numpy(dtype=float))
    model = baselines.load(spec["model"])
    return _sources.uses(model, target, validated, pool, forms, seed, known.columns, **spec["options"])


def preferred(found: dict[str, Chosen]) -> str:
    """The use with the lowest held-out error; of equals the first, which leaves the pool out."""
    return min(found, key=lambda name: found[name].rmse)


def _model(found: dict[str, Chosen], spec: dict, use: str) -> Model:
    name = use if use in found else preferred(found)
    make = found[name].model
    assert make is not None
    return make()


def fit_uses_and_write(
    identity: Identity, spec: dict, known: Features, folds: Sequence[pd.DataFrame], output, more: Added
) -> None:
    """Fit a descriptor model in each use of a selection, and write the runs' files and what chose between them.

    Args:
        identity: of the run that mixes the selection in.
        spec: as :func:`chosen_uses` wants it; ``run``, the uses that are runs; ``largest``.
        known, folds: as of :func:`fit_and_write`.
        output: named paths ``predictions`` and ``runs``, one for each use, ``use_choices`` and ``pool_use_curves``.

    Raises:
        ChemsieveError: as of :func:`fit_and_write`.
    """
    train, validation, _ = folds
    _check_size(identity, spec, len(train), len(more.molecules))
    began = time.perf_counter()
    found = chosen_uses(spec, known, train, validation, identity.seed, more)
    best, seconds = preferred(found), time.perf_counter() - began
    errors = ", ".join(f"{name} {chosen.rmse:.4f}" for name, chosen in found.items())
    logging.getLogger(__name__).info("held-out errors prefer %s; RMSE: %s", best, errors)
    at = {
        "model": identity.method,
        "strategy": identity.selection,
        **{name: getattr(identity, name) for name in ("splitter", "split_seed", "seed")},
    }
    rows = [
        {
            **at,
            "use": name,
            "loo_rmse": chosen.rmse,
            "loo_rmse_validation": chosen.validation_rmse,
            "weight": chosen.weight,
            "rho": chosen.rho,
            "offset": chosen.offset,
            "chosen": name == best,
            "damping": None,
            "n_target": len(train) + len(validation),
            "n_selected": len(more.molecules),
        }
        for name, chosen in found.items()
    ]
    curves = [
        {**at, "use": name, "parameter": parameter, "value": value, "loo_rmse": error}
        for name, chosen in found.items()
        for parameter, curve in chosen.curves.items()
        for value, error in curve.items()
    ]
    write_table(pd.DataFrame(rows), output.use_choices, "use_choices")
    columns = list(TABLES["pool_use_curves"])
    write_table(pd.DataFrame(curves, columns=columns), output.pool_use_curves, "pool_use_curves")
    for use, predictions, run in zip(spec["run"], output.predictions, output.runs, strict=True):
        began = time.perf_counter()
        model = _model(found, spec, use)
        mine = SimpleNamespace(predictions=predictions, run=run)
        spent = seconds + time.perf_counter() - began
        _write(replace(identity, use=use), model, known, folds, mine, len(more.molecules), spent)


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
    train, validation, _ = folds
    n_selected = 0 if more is None else len(more.molecules)
    if n_selected:
        _check_size(identity, spec, len(train), n_selected)
    began = time.perf_counter()
    model = fitted(spec, known, train, validation, identity.seed, more)
    seconds = time.perf_counter() - began
    logging.getLogger(__name__).info("options chosen on validation: %s", model.options)
    _write(identity, model, known, folds, output, n_selected, seconds)


def _check_size(identity: Identity, spec: dict, n_train: int, n_selected: int) -> None:
    if n_train + n_selected > spec["largest"]:
        raise ChemsieveError(
            f"{n_train + n_selected:,} molecules with the selection {identity.selection}, and baselines.largest "
            f"allows {spec['largest']:,}; raise it, which costs time, or leave {identity.selection} out of "
            "baselines.selections"
        )


def _write(
    identity: Identity,
    model: Model,
    known: Features,
    folds: Sequence[pd.DataFrame],
    output,
    n_selected: int,
    seconds: float,
) -> None:
    """The files of a run: predictions of validation and test molecules, and the facts."""
    train, validation, test = folds
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
