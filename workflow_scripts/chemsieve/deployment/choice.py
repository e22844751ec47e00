"""Which run of a study becomes the model, or which two."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    import pandas as pd

BEST, BEST_LANGUAGE_MODEL, MEAN = "best", "best_language_model", "mean"
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


def choose_mean(metrics: pd.DataFrame) -> tuple[dict, dict]:
    """The two runs whose mean is the model, from the table ``metrics``, each as :func:`choose` returns it.

    Returns:
        The language model with the lowest validation RMSE of the study, and of the descriptor models of its split, of
        any seed, that with the lowest.

    Raises:
        ChemsieveError: the study has no language model, or that split no descriptor model.
    """
    validation = metrics[metrics["fold"] == "validation"]
    if (validation["origin"] == DESCRIPTORS).all():
        raise ChemsieveError("configuration: predict.model: mean: the study has no language model to take it of")
    language = choose(metrics, BEST_LANGUAGE_MODEL)
    others = _described(validation, language["run_id"])
    if others.empty:
        raise ChemsieveError(
            f"configuration: predict.model: mean: the split of {language['run_id']} has no descriptor model to take it "
            "of; see baselines.run"
        )
    return language, choose(metrics, others.loc[others["rmse"].idxmin(), "run_id"])


def _described(validation: pd.DataFrame, run_id: str) -> pd.DataFrame:
    """Rows of the descriptor models of the split of a run."""
    of_split = validation["run_id"].str.startswith("/".join(run_id.split("/")[:2]) + "/")
    return validation[of_split & (validation["origin"] == DESCRIPTORS)]


def _surpassed(validation: pd.DataFrame, row: pd.Series) -> dict | None:
    """The descriptor model of the same split with the lowest validation RMSE, where that is below the row's."""
    others = _described(validation, row["run_id"])
    others = others[others["rmse"] < row["rmse"]]
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
    near = difflib.get_close_matches(wanted, [*known, BEST_LANGUAGE_MODEL, MEAN], n=1, cutoff=0.0)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    raise ChemsieveError(f"configuration: predict.model: the study has no run {wanted!r}{meant}")
