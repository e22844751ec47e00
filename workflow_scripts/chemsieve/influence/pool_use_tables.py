"""What the closed form of :mod:`chemsieve.influence.pool_use` says of one selection, as tables."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chemsieve import uses
from chemsieve.errors import ChemsieveError
from chemsieve.influence.kernel import damping_or_choice
from chemsieve.influence.pool_use import Choice, Sources, choose, standardised_residuals
from chemsieve.statistics.families import DESCRIPTORS
from chemsieve.tables import TABLES
from chemsieve.uses import Form

if TYPE_CHECKING:
    from chemsieve.influence.kernel import Kernel

log = logging.getLogger(__name__)

NONE = "none"  # leaving the pool out


FULL = "full"  # the model that the closed form is of
AT = ["model", "splitter", "split_seed", "seed"]


def with_outcomes(parts: list[pd.DataFrame], metrics: pd.DataFrame) -> pd.DataFrame:
    """The table ``pool_use``: what each use would give, beside the validation error that it gave where it was trained.

    Args:
        parts: tables ``use_choices``.
        metrics: the table of that name; only its validation fold is read.
    """
    table = pd.concat(parts) if parts else pd.DataFrame(columns=list(TABLES["use_choices"]))
    trained = metrics[metrics["fold"] == "validation"]
    described = trained["origin"] == DESCRIPTORS
    # What was trained with no use at all: nothing is asked of other models, nor of other selections.
    trained = trained[described | ((trained["origin"] == "adapted") & (trained["method"] == FULL))]
    given = trained.rename(columns={"method": "model", "selection": "strategy", "rmse": "validation_rmse"})
    given = given.loc[given["model"].isin(table["model"]), [*AT, "strategy", "use", "validation_rmse"]]
    alone = given[given["strategy"] == NONE].assign(use=NONE).drop(columns="strategy")
    alone = alone.merge(table[[*AT, "strategy"]].drop_duplicates(), on=AT)
    asked = table[["model", "strategy"]].drop_duplicates()
    # Uses that the closed form does not know have a row too.
    given = given[given["strategy"] != NONE]
    given = given[(given["model"] == FULL) | given.set_index(["model", "strategy"]).index.isin(_pairs(asked))]
    table = table.merge(pd.concat([given, alone]), on=[*AT, "strategy", "use"], how="outer")
    table["chosen"] = table["chosen"].eq(True)
    return table


def _pairs(frame: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(frame)


def chosen_use(
    kernel: Kernel,
    labels: np.ndarray,
    training: pd.DataFrame,
    validation: pd.DataFrame,
    pool: pd.DataFrame,
    selected: set[str],
    candidates: dict[str, Any],
    damping: float | None,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The tables ``use_choices``, ``pool_use_curves`` and ``pool_use_residuals`` of a selection, without its place.

    Args:
        kernel: Gram matrix of training, validation and pool molecules at a checkpoint.
        labels: standardised labels of the training molecules in it.
        training, validation, pool: tables ``labelled``.
        selected: names of the pool molecules that are used.
        candidates: uses by name, each with its ``module`` and ``options``; of those that the closed form knows.
        damping: by which the labels' noise follows; None: chosen by cross-validation on the training molecules.

    Raises:
        ChemsieveError: the pool is not in the matrix, or the damping is too small.
    """
    if not kernel.pool:
        raise ChemsieveError("pool_use: it needs the pool in the Gram matrix; raise influence.gram.largest")
    damping = damping_or_choice(kernel, labels, seed, damping)
    mean, scale = training["label"].mean(), training["label"].std(ddof=0)
    target = slice(0, kernel.train + kernel.query)
    places = kernel.train + kernel.query + np.flatnonzero(pool["molecule_id"].isin(selected))
    taken = pool[pool["molecule_id"].isin(selected)]
    of_pool = taken["label"].to_numpy(dtype=float)
    own_mean, own_scale = _moments(of_pool, mean, scale)
    sources = Sources(
        target=kernel.matrix[target, target],
        cross=kernel.matrix[target][:, places],
        pool=kernel.matrix[np.ix_(places, places)],
        target_labels=np.concatenate([labels, (validation["label"].to_numpy(dtype=float) - mean) / scale]),
        pool_labels=(of_pool - mean) / scale,
        own_labels=(of_pool - own_mean) / own_scale,
        noise=kernel.constant(damping),
    )
    forms = {NONE: Form(weight=0.0, rho=0.0)}
    for name, entry in candidates.items():
        form = uses.load(entry["module"]).form(**entry["options"])
        # Of no molecule nothing is to be chosen.
        forms[name] = form if form is not None and len(of_pool) else forms[NONE]
    found = choose(sources, forms)
    best = min(found, key=lambda name: found[name].best.rmse)  # of equals the first, which leaves the pool out
    errors = ", ".join(f"{name} {choice.best.rmse * scale:.4f}" for name, choice in found.items())
    log.info("the closed form prefers %s; leave-one-out RMSE: %s", best, errors)
    rows = [
        {
            "model": FULL,
            "use": name,
            "loo_rmse": choice.best.rmse * scale,
            "loo_rmse_validation": float(np.sqrt(np.mean(choice.best.residuals[kernel.train :] ** 2))) * scale,
            "weight": choice.best.weight,
            "rho": choice.best.rho,
            "offset": None if choice.best.offset is None else own_mean + own_scale * choice.best.offset - mean,
            "chosen": name == best,
            "damping": damping,
            "n_target": kernel.train + kernel.query,
            "n_selected": len(of_pool),
        }
        for name, choice in found.items()
    ]
    curves = [(FULL, *row) for name, choice in found.items() for row in _curve(name, choice, scale)]
    residuals = pd.DataFrame({"molecule_id": taken["molecule_id"], "residual": standardised_residuals(sources)})
    return (
        pd.DataFrame(rows),
        pd.DataFrame(curves, columns=["model", "use", "parameter", "value", "loo_rmse"]),
        residuals,
    )


def _moments(labels: np.ndarray, mean: float, scale: float) -> tuple[float, float]:
    """Mean and deviation of the pool's labels; those of the target where there are none to speak of."""
    own = float(np.std(labels)) if len(labels) else 0.0
    return (float(np.mean(labels)) if len(labels) else mean), (own if own > 0 else scale)


def _curve(name: str, choice: Choice, scale: float) -> list[tuple[str, str, float, float]]:
    """Errors along each parameter that was chosen."""
    curves = {"weight": choice.weights, "rho": choice.correlations}
    return [
        (name, parameter, value, error * scale)
        for parameter, errors in curves.items()
        if len(errors) > 1
        for value, error in errors.items()
    ]
