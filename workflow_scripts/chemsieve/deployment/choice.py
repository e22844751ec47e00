"""Which run of a study becomes the model."""

import difflib

import pandas as pd

from chemsieve.errors import ChemsieveError


def choose(metrics: pd.DataFrame, wanted: str) -> dict:
    """The run that is wanted, from the table ``metrics``.

    Args:
        wanted: a run_id, or ``best``: the language-model run with the lowest validation RMSE, the first of equals. The
            test fold is never asked. With several splits that run may owe its rank to an easy validation fold.

    Returns:
        Its row of the validation fold, and under ``test`` that of the test fold.

    Raises:
        ChemsieveError: there is no such run, or it is no language model.
    """
    validation = metrics[metrics["fold"] == "validation"]
    models = validation[validation["origin"] != "descriptors"]
    if wanted == "best":
        row = models.loc[models["rmse"].idxmin()]
    elif (validation["run_id"] == wanted).any():
        if not (models["run_id"] == wanted).any():
            raise ChemsieveError(
                f"configuration: predict.model: {wanted} is a descriptor model, of which only the errors are kept; "
                "name a run of a language model"
            )
        row = models[models["run_id"] == wanted].iloc[0]
    else:
        raise unknown_run(wanted, list(validation["run_id"]))
    test = metrics[(metrics["fold"] == "test") & (metrics["run_id"] == row["run_id"])].iloc[0]
    return {**row.to_dict(), "test": test.to_dict()}


def unknown_run(wanted: str, known: list[str]) -> ChemsieveError:
    """The error that says that there is no such run, and which was probably meant."""
    near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.0)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return ChemsieveError(f"configuration: predict.model: the study has no run {wanted!r}{meant}")
