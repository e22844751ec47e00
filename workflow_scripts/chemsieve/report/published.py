"""Published figures of a protocol beside this study's own, each leak and each difference of the protocol named."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from scipy import stats

from chemsieve.report.blocks import Alarm, Block, Bullets, Heading, Paragraph, Section, table
from chemsieve.report.study import REPLICATE, Study, run_parts
from chemsieve.report.words import MISSING, number
from chemsieve.study.published import MEASURES

ENOUGH = 3  # replicates from which an interval is given


def section(study: Study) -> Section | None:
    """Table of printed figures with the study's own; None where the configuration names no published protocol."""
    published = study.config.get("published")
    if not published:
        return None
    figures = published["figures"]
    rows = [row(study, figure) for figure in figures]
    blocks: list[Block] = [
        Paragraph(
            f"The protocol is that of {published['source']}. Ours is the mean over the replicates of this study, on "
            "test molecules that nothing else has seen, with a 95 % t interval from three replicates on and the range "
            "below that. A printed figure is one run of somebody else's: one number, without its noise, or a dash "
            "where a chart has none. A training error is the mean over the steps of an epoch; an evaluation is one "
            "pass over the validation molecules, and its speed is that of the machine."
        ),
        table(
            "Printed figures and ours",
            ["what", "measure", "printed", "ours", "from", "to", "replicates", "remark"],
            rows,
        ),
    ]
    if published["leaks"]:
        blocks += [
            Alarm("The published protocol leaks: figures marked so are not comparable with honest ones."),
            Bullets(published["leaks"]),
        ]
    if published["differences"]:
        blocks += [Heading("Where this study differs from the protocol"), Bullets(published["differences"])]
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
        MEASURES[figure["measure"]] + (f", epoch {figure['epoch']}" if "epoch" in figure else ""),
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
    if measure.startswith("mlm_"):
        return _of_adaptation(study, measure, figure.get("epoch"))
    if run is None:
        return pd.Series(dtype=float)
    if measure in CURVE_MEASURES:
        return _of_curve(study, measure, run, figure.get("epoch"))
    # Descriptor models have no training seed.
    replicate = study.test[REPLICATE].astype(object).fillna("-").astype(str).agg("/".join, axis=1)
    test = study.test.assign(replicate=replicate)

    def found(column: str, **parts: str) -> pd.Series:
        chosen = test
        for key, value in parts.items():
            chosen = chosen[chosen[key] == value]
        return chosen.set_index("replicate")[column].astype(float).dropna()

    if measure != "rmse_improvement":
        return found(measure, **run)
    before = found("rmse", origin="adapted", method="full", selection="none")
    return (100 * (1 - found("rmse", **run) / before)).dropna()


def _of_adaptation(study: Study, measure: str, epoch: int | None) -> pd.Series:
    """A masked-language loss of each adapted encoder: the lowest held out, or one of an epoch."""
    curves = study.learning_curves[study.learning_curves["stage"] == "mlm"]
    if measure == "mlm_loss":
        return curves.groupby("run_id")["masked_loss"].min()
    column = {"mlm_validation_loss": "masked_loss", "mlm_train_loss": "train_loss"}[measure]
    return curves[curves["epoch"] == epoch].set_index("run_id")[column].astype(float).dropna()


def _of_curve(study: Study, measure: str, run: dict[str, str], epoch: int | None) -> pd.Series:
    """A value of the learning curve of a run in each replicate: of one epoch, or the mean over the epochs."""
    curves = run_parts(study.learning_curves[study.learning_curves["stage"] == "regression"])
    for part, name in run.items():
        curves = curves[curves[part] == name]
    if epoch is not None:
        curves = curves[curves["epoch"] == epoch]
    return curves.assign(value=CURVE_MEASURES[measure](study, curves)).groupby("run_id")["value"].mean().dropna()


def _evaluated_per_second(study: Study, curves: pd.DataFrame) -> pd.Series:
    validation = study.predictions[study.predictions["fold"] == "validation"]
    return curves["run_id"].map(validation.groupby("run_id").size()) / curves["evaluation_seconds"]


# Losses of a curve are of standardised labels, and the validation RMSE is not: their ratio is the labels' variance.
CURVE_MEASURES = {
    "train_mse": lambda _, curves: curves["train_loss"] * curves["validation_rmse"] ** 2 / curves["validation_loss"],
    "validation_mse": lambda _, curves: curves["validation_rmse"] ** 2,
    "gradient_norm": lambda _, curves: curves["gradient_norm"],
    "evaluation_seconds": lambda _, curves: curves["evaluation_seconds"],
    "evaluated_per_second": _evaluated_per_second,
}


def summarised(values: pd.Series) -> tuple[float, float, float]:
    """Mean, and the 95 % t interval of it; below ``ENOUGH`` values their range, missing where there is one."""
    if len(values) < 2:
        return float(values.mean()), math.nan, math.nan
    if len(values) < ENOUGH:
        return float(values.mean()), float(values.min()), float(values.max())
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)
