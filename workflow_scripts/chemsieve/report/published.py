"""Published figures of a protocol beside this study's own, each leak and each difference of the protocol named."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from scipy import stats

from chemsieve.published import MEASURES
from chemsieve.report.markup import MISSING, Section, bullets, heading, number, paragraph, table, warning
from chemsieve.report.study import Study

ENOUGH = 3  # replicates from which an interval is given


def section(study: Study) -> Section | None:
    """Table of printed figures with the study's own; None where the configuration names no published protocol."""
    published = study.config.get("published")
    if not published:
        return None
    figures = published["figures"]
    rows = [row(study, figure) for figure in figures]
    blocks = [
        paragraph(
            f"The protocol is that of {published['source']}. Ours is the mean over the replicates of this study, on "
            "test molecules that nothing else has seen, with a 95 % t interval from three replicates on and the range "
            "below that. A printed figure is one run of somebody else's: one number, without its noise."
        ),
        table(
            "Printed figures and ours",
            ["what", "measure", "printed", "ours", "from", "to", "replicates", "remark"],
            rows,
        ),
    ]
    if published["leaks"]:
        blocks += [
            warning("The published protocol leaks: figures marked so are not comparable with honest ones."),
            bullets(published["leaks"]),
        ]
    if published["differences"]:
        blocks += [heading("Where this study differs from the protocol"), bullets(published["differences"])]
    return Section("published", "Published beside ours", blocks)


def row(study: Study, figure: dict[str, Any]) -> tuple[str, ...]:
    """One row of the table: a printed figure and the values of the runs that it names."""
    values = ours(study, figure)
    mean, low, high = summarised(values)
    remarks = [figure["remark"]] if figure.get("remark") else []
    if figure.get("leak"):
        remarks.insert(0, "leaks as published")
    if not len(values):
        remarks.append("not run here")
    return (
        figure["what"],
        MEASURES[figure["measure"]],
        number(figure["printed"]),
        number(mean),
        number(low),
        number(high),
        number(len(values)) if len(values) else MISSING,
        "; ".join(remarks),
    )


def ours(study: Study, figure: dict[str, Any]) -> pd.Series:
    """The study's value of a published figure in each replicate; empty where no run stands for it."""
    run, measure = figure.get("run"), figure["measure"]
    if measure == "mlm_loss":
        curves = study.learning_curves[study.learning_curves["stage"] == "mlm"]
        return curves.groupby("run_id")["validation_loss"].min()
    if run is None:
        return pd.Series(dtype=float)
    test = study.test.assign(replicate=study.test[["splitter", "split_seed", "seed"]].astype(str).agg("/".join, axis=1))

    def found(column: str, **parts: str) -> pd.Series:
        chosen = test
        for key, value in parts.items():
            chosen = chosen[chosen[key] == value]
        return chosen.set_index("replicate")[column].astype(float).dropna()

    if measure != "rmse_improvement":
        return found(measure, **run)
    before = found("rmse", origin="adapted", method="full", selection="none")
    return (100 * (1 - found("rmse", **run) / before)).dropna()


def summarised(values: pd.Series) -> tuple[float, float, float]:
    """Mean, and the 95 % t interval of it; below ``ENOUGH`` values their range, missing where there is one."""
    if len(values) < 2:
        return float(values.mean()), math.nan, math.nan
    if len(values) < ENOUGH:
        return float(values.mean()), float(values.min()), float(values.max())
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)
