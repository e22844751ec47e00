"""One influence score per molecule from several checkpoints of the same model, and how far the checkpoints agree."""

from collections.abc import Sequence

import pandas as pd

from chemsieve.runtime import failures
from chemsieve.tables import TABLES

_AXES = ("splitter", "split_seed", "seed", "origin", "checkpoint", "estimator")


def over_checkpoints(scores: pd.DataFrame, how: str, curve: pd.DataFrame | None = None) -> pd.DataFrame:
    """The table ``influence`` with ``checkpoint`` -1: one score per molecule of one model and one estimator.

    Rows keep the order of the first checkpoint. Standard errors are added as if they were of one draw.

    Args:
        how: ``last``, ``mean``, or ``learning_rate``: the mean with each checkpoint weighted by the mean learning rate
            of the epoch that ended in it, as TracIn weights them (Pruthi et al. 2020, 2002.08484, equation 1).
        curve: the model's table ``learning_curves``, for ``learning_rate``.
    """
    if how == "last":
        result = scores[scores["checkpoint"] == scores["checkpoint"].max()].copy()
    else:
        order = scores.drop_duplicates("molecule_id").drop(columns=["influence", "expected_gain", "standard_error"])
        wide = scores.pivot(index="molecule_id", columns="checkpoint", values="influence")
        weights = learning_rates(curve)[wide.columns] if how == "learning_rate" else pd.Series(1.0, wide.columns)
        means = (wide * weights).sum(axis=1) / weights.sum()
        # The same draws at each checkpoint: errors that go the same way do not average out.
        errors = scores.pivot(index="molecule_id", columns="checkpoint", values="standard_error").astype(float)
        error = (errors * weights).sum(axis=1, skipna=False) / weights.sum()
        places = order["molecule_id"]
        result = order.assign(influence=means.loc[places].to_numpy(), standard_error=error.loc[places].to_numpy())
        result["expected_gain"] = -result["influence"]
    return result.assign(checkpoint=-1)


def learning_rates(curve: pd.DataFrame) -> pd.Series:
    """Mean learning rate of each epoch, by epoch.

    The curve has the rate at each epoch's end, 0 at the end of a linear schedule; a schedule changes it evenly, so that
    the mean of two ends is the epoch's. What came before the first epoch is not known, and its end stands for it.
    """
    ends = curve.set_index("epoch")["learning_rate"].dropna().sort_index()
    return (ends + ends.shift(fill_value=ends.iloc[0])) / 2


def with_agreement(diagnostics: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The table ``influence_diagnostics`` with :func:`agreement_with_last` of ``scores``; either may have no rows."""
    if diagnostics.empty:
        return diagnostics
    return diagnostics.drop(columns="spearman_vs_last").merge(agreement_with_last(scores), how="left", validate="1:1")


def with_failures(diagnostics: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """The table ``influence_diagnostics`` with a row for each of ``paths`` that holds the mark of a failure."""
    rows = [
        {name: failure.wildcards[name] for name in _AXES} | {"converged": False, "failure": failure.reason}
        for failure in filter(None, map(failures.of, paths))
    ]
    failed = pd.DataFrame(rows, columns=list(TABLES["influence_diagnostics"]))
    whole = dict.fromkeys(("split_seed", "seed", "checkpoint"), "int64")
    parts = [part for part in (diagnostics, failed.astype(whole)) if len(part)]
    return pd.concat(parts, ignore_index=True).astype({"converged": bool}) if parts else diagnostics


def agreement_with_last(scores: pd.DataFrame) -> pd.DataFrame:
    """Spearman correlation of each checkpoint's scores with those of the last checkpoint of its model.

    Args:
        scores: rows of the table ``influence`` at checkpoints.

    Returns:
        The identifying columns, and ``spearman_vs_last``: 1 for the last itself, missing where a side is constant.
    """
    model = ["splitter", "split_seed", "seed", "origin", "estimator"]
    rows = []
    for key, part in scores.groupby(model, sort=False):
        ranks = part.pivot(index="molecule_id", columns="checkpoint", values="influence").rank()
        last = ranks[ranks.columns.max()]
        for checkpoint in ranks.columns:
            correlation = ranks[checkpoint].corr(last) if min(ranks[checkpoint].std(), last.std()) > 0 else None
            rows.append((*key, checkpoint, correlation))
    return pd.DataFrame(rows, columns=[*model, "checkpoint", "spearman_vs_last"])
