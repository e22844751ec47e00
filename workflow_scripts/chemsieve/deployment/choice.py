"""Which run of a study becomes the model."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    import pandas as pd


def choose(metrics: pd.DataFrame, wanted: str) -> dict:
    """The run that is wanted, from the table ``metrics``.

    Args:
        wanted: a run_id, or ``best``: the language-model run with the lowest validation RMSE, the first of equals. The
            test fold is never asked. With several splits that run may owe its rank to an easy validation fold.

    Returns:
        Its row of the validation fold; under ``test`` that of the test fold; under ``surpassed`` the ``run_id`` and
        validation ``rmse`` of a descriptor model of the same split that is better, or None.

    Raises:
        ChemsieveError: there is no such run, or it is no language model.
    """
    validation = metrics[metrics["fold"] == "validation"]
    models = validation[validation["origin"] != "descriptors"]
    if wanted == "best":
        row = models.loc[models["rmse"].idxmin()]
    else:
        check_named(wanted, list(models["run_id"]))
        row = models[models["run_id"] == wanted].iloc[0]
    test = metrics[(metrics["fold"] == "test") & (metrics["run_id"] == row["run_id"])].iloc[0]
    return {**row.to_dict(), "test": test.to_dict(), "surpassed": _surpassed(validation, row)}


def _surpassed(validation: pd.DataFrame, row: pd.Series) -> dict | None:
    """The descriptor model of the same split with the lowest validation RMSE, where that is below the row's."""
    of_split = validation["run_id"].str.startswith("/".join(row["run_id"].split("/")[:2]) + "/")
    others = validation[of_split & (validation["origin"] == "descriptors") & (validation["rmse"] < row["rmse"])]
    if others.empty:
        return None
    best = others.loc[others["rmse"].idxmin()]
    return {"run_id": best["run_id"], "rmse": float(best["rmse"])}


def check_named(wanted: str, known: list[str]) -> None:
    """Check that a run is among those of the study's language models.

    Raises:
        ChemsieveError: it is not; the message says which was probably meant.
    """
    if wanted in known:
        return
    if "/descriptors/" in wanted:
        raise ChemsieveError(
            f"configuration: predict.model: {wanted} is a descriptor model, of which only the errors are kept; name a "
            "run of a language model"
        )
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.0)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise ChemsieveError(f"configuration: predict.model: the study has no run {wanted!r} of a language model{meant}")
