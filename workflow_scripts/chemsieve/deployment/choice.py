"""Which run of a study becomes the model."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    import pandas as pd

BEST, BEST_LANGUAGE_MODEL = "best", "best_language_model"
DESCRIPTORS = "descriptors"  # origin of descriptor models


def choose(metrics: pd.DataFrame, wanted: str) -> dict:
    """The run that is wanted, from the table ``metrics``.

    Args:
        wanted: a run_id; ``best``: the run with the lowest validation RMSE, the first of equals; or
            ``best_language_model``: that of the language models. The test fold is never asked. With several splits that
            run may owe its rank to an easy validation fold.

    Returns:
        Its row of the validation fold; under ``test`` that of the test fold; under ``surpassed`` the ``run_id`` and
        validation ``rmse`` of the best descriptor model of the same split where that is better, or None.

    Raises:
        ChemsieveError: there is no such run.
    """
    validation = metrics[metrics["fold"] == "validation"]
    if wanted in (BEST, BEST_LANGUAGE_MODEL):
        models = validation if wanted == BEST else validation[validation["origin"] != DESCRIPTORS]
        row = models.loc[models["rmse"].idxmin()]
    else:
        check_named(wanted, list(validation["run_id"]))
        row = validation[validation["run_id"] == wanted].iloc[0]
    test = metrics[(metrics["fold"] == "test") & (metrics["run_id"] == row["run_id"])].iloc[0]
    return {**row.to_dict(), "test": test.to_dict(), "surpassed": _surpassed(validation, row)}


def _surpassed(validation: pd.DataFrame, row: pd.Series) -> dict | None:
    """The descriptor model of the same split with the lowest validation RMSE, where that is below the row's."""
    of_split = validation["run_id"].str.startswith("/".join(row["run_id"].split("/")[:2]) + "/")
    others = validation[of_split & (validation["origin"] == DESCRIPTORS) & (validation["rmse"] < row["rmse"])]
    if others.empty:
        return None
    best = others.loc[others["rmse"].idxmin()]
    return {"run_id": best["run_id"], "rmse": float(best["rmse"])}


def check_named(wanted: str, known: list[str]) -> None:
    """Check that a run is among those of the study.

    Raises:
        ChemsieveError: it is not; the message says which was probably meant.
    """
    if wanted in known:
        return
    near = difflib.get_close_matches(wanted, [*known, BEST_LANGUAGE_MODEL], n=1, cutoff=0.0)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise ChemsieveError(f"configuration: predict.model: the study has no run {wanted!r}{meant}")
