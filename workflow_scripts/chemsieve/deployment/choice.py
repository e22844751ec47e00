"""Which run of a study becomes the model, or which two.

The lowest validation RMSE among all runs is that of a lucky fold, and promises too much. So configurations are compared
(origin, method, selection and use), each by its mean over the study's splits; errors of different folds compare in no
other way. Where pool molecules were selected to lower the error of validation molecules
(:meth:`chemsieve.study.plan.Plan.aims_at_validation`), that error is lower than on any other molecules, and counts
higher by ``HANDICAP``: it was at worst 0.76 of the test error on the embedded study over six splits, and 0.67
on 300 molecules of ESOL with a pool of AqSolDB.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import TYPE_CHECKING

from chemsieve.errors import ChemsieveError

if TYPE_CHECKING:
    import pandas as pd

BEST, BEST_LANGUAGE_MODEL, MEAN = "best", "best_language_model", "mean"
DESCRIPTORS = "descriptors"  # origin of descriptor models
HANDICAP = 1 / 2  # share by which an error counts higher that pool molecules were selected to lower
_MEAN = "configuration: predict.model: mean:"


def choose(metrics: pd.DataFrame, wanted: str, aimed: Collection[str] = ()) -> dict:
    """The run that is wanted, from the table ``metrics``. The test fold is never asked.

    Args:
        wanted: a run_id; a configuration (origin/method/selection, with /use where that is not mixed); ``best``: the
            configuration with the lowest validation RMSE in the mean of the splits, of each split the mean of its
            seeds; or ``best_language_model``: that of the language models. Of a configuration it is the run on the
            study's first split, and of several seeds there, which were judged on the same molecules, that with the
            lowest validation RMSE.
        aimed: configurations whose pool molecules were selected to lower the error of validation molecules.

    Returns:
        Its row of the validation fold; under ``test`` that of the test fold; under ``aimed`` whether it is of such a
        configuration; under ``choice`` how its configuration was found, or None for a run_id (``configuration``,
        ``rmse`` in the mean of ``splits``, the number of ``configurations`` that were compared, and as ``passed_over``
        the lowest of ``aimed`` where that is lower but for the handicap); under ``surpassed`` the descriptor
        ``configuration`` that is best, with its mean ``rmse``, where it is better than its ``own``, or None.

    Raises:
        ChemsieveError: there is no such run.
    """
    validation = _validation(metrics)
    ranked = _ranked(validation, aimed)
    language = ~ranked.index.str.startswith(f"{DESCRIPTORS}/")
    choice = None
    if wanted in (BEST, BEST_LANGUAGE_MODEL):
        compared = ranked[language | (wanted == BEST)]
        choice = _choice(compared, compared.index[0])
        row = _member(validation, choice["configuration"])
    elif (validation["configuration"] == wanted).any():
        row = _member(validation, wanted)
        if wanted in ranked.index:
            choice = _choice(ranked.loc[[wanted]], wanted)
    else:
        check_named(wanted, list(validation["run_id"]))
        row = validation[validation["run_id"] == wanted].iloc[0]
    return _found(metrics, row, aimed, choice, _surpassed(ranked[~language], ranked, row["configuration"]))


def choose_mean(metrics: pd.DataFrame, aimed: Collection[str] = ()) -> tuple[dict, dict]:
    """The two runs whose mean is the model, from the table ``metrics``, each as :func:`choose` returns it.

    Returns:
        The language model that :func:`choose` takes as the best, and on its split the descriptor model of the
        configuration that is the best of these.

    Raises:
        ChemsieveError: the study has no language model, or that split no descriptor model.
    """
    validation = _validation(metrics)
    described = validation["origin"] == DESCRIPTORS
    if described.all():
        raise ChemsieveError(f"{_MEAN} the study has no language model to take it of")
    language = choose(metrics, BEST_LANGUAGE_MODEL, aimed)
    own = _split(validation["run_id"]) == "/".join(language["run_id"].split("/")[:2])
    there = validation.loc[own & described, "configuration"]
    ranked = _ranked(validation[described & validation["configuration"].isin(set(there))], aimed)
    if ranked.empty:
        raise ChemsieveError(
            f"{_MEAN} the split of {language['run_id']} has no descriptor model to take it of; see baselines.run"
        )
    row = _member(validation[own], ranked.index[0])
    return language, _found(metrics, row, aimed, _choice(ranked, ranked.index[0]), None)


def _validation(metrics: pd.DataFrame) -> pd.DataFrame:
    """Rows of the validation fold, with the configuration of each run."""
    rows = metrics[metrics["fold"] == "validation"]
    return rows.assign(configuration=rows["run_id"].str.split("/", n=3).str[3])


def _split(run_ids: pd.Series) -> pd.Series:
    return run_ids.str.split("/").str[:2].str.join("/")


def _ranked(validation: pd.DataFrame, aimed: Collection[str]) -> pd.DataFrame:
    """``rmse`` in the mean of ``splits`` and what it ``counts``, by configuration, the lowest of these first.

    A configuration that lacks splits, after a failure, would be compared on other folds, and is left out.
    """
    rows = validation.assign(split=_split(validation["run_id"]))
    by_split = rows.groupby(["configuration", "split"], sort=False)["rmse"].mean()
    found = by_split.groupby("configuration", sort=False).agg(rmse="mean", splits="size")
    found["counts"] = found["rmse"] * (1 + HANDICAP * found.index.isin(list(aimed)))
    return found[found["splits"] == found["splits"].max()].sort_values("counts", kind="stable")


def _member(validation: pd.DataFrame, configuration: str) -> pd.Series:
    """The run of a configuration on the first split that it has, of several seeds that with the lowest error."""
    rows = validation[validation["configuration"] == configuration]
    splits = _split(rows["run_id"])
    rows = rows[splits == splits.iloc[0]]
    return rows.loc[rows["rmse"].idxmin()]


def _choice(compared: pd.DataFrame, configuration: str) -> dict:
    """How a configuration was found among others, which are as :func:`_ranked` returns them."""
    own = compared.loc[configuration]
    lower = compared[compared["rmse"] < own["rmse"]].sort_values("rmse", kind="stable")
    return {
        "configuration": configuration,
        "rmse": float(own["rmse"]),
        "splits": int(own["splits"]),
        "configurations": len(compared),
        "passed_over": _entry(lower) if len(lower) else None,
    }


def _entry(ranked: pd.DataFrame) -> dict:
    return {"configuration": str(ranked.index[0]), "rmse": float(ranked["rmse"].iloc[0])}


def _surpassed(described: pd.DataFrame, ranked: pd.DataFrame, configuration: str) -> dict | None:
    """The descriptor configuration with the lowest mean validation RMSE, where that is below another's."""
    if configuration not in ranked.index:
        return None
    own = ranked.loc[configuration]
    lower = described[described["counts"] < own["counts"]]
    return None if lower.empty else {**_entry(lower), "own": float(own["rmse"])}


def _found(
    metrics: pd.DataFrame, row: pd.Series, aimed: Collection[str], choice: dict | None, surpassed: dict | None
) -> dict:
    test = metrics[(metrics["fold"] == "test") & (metrics["run_id"] == row["run_id"])].iloc[0]
    configuration = row["configuration"]
    return {
        **row.drop("configuration").to_dict(),
        "test": test.to_dict(),
        "aimed": configuration in aimed,
        "choice": choice,
        "surpassed": surpassed,
    }


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
