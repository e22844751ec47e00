"""How training went: the two fine-tunings, the runs on selections, and the masked language model."""

import math

import pandas as pd
import plotly.graph_objects as go

from chemsieve.report.blocks import Block, Folded, Heading, Paragraph, Section, table
from chemsieve.report.figure import axis, colours, drawn, plain
from chemsieve.report.study import Study, ordered, run_parts

MOST = 300  # lines in one figure
MOST_TICKS = 10  # of the epochs


def section(study: Study) -> Section:
    """Learning curves of regression and of masked language modelling."""
    curves = run_parts(study.learning_curves).sort_values(["run_id", "epoch"], kind="stable")
    regression = curves[curves["stage"] == "regression"]
    blocks = [*_regression(study, regression), *_mlm(curves)]
    return Section("curves", "Learning curves", [Folded("How training went, run by run", blocks)])


def _regression(study: Study, curves: pd.DataFrame) -> list[Block]:
    if curves.empty:
        return [Paragraph("No regression run recorded its epochs.")]
    plain_runs = (curves["method"] == "full") & (curves["selection"] == "none")
    finetuning, others = curves[plain_runs], curves[~plain_runs]
    blocks: list[Block] = [Heading("Fine-tuning, nothing added")]
    if finetuning.empty:
        blocks.append(Paragraph("There is no fine-tuning on the target molecules alone."))
    else:
        rmse = go.Figure()
        _lines(rmse, finetuning, "origin", "validation_rmse", ["baseline", "adapted"])
        _best_epochs(rmse, finetuning, study)
        loss = go.Figure()
        for column, dash, name in (("validation_loss", "solid", "validation"), ("train_loss", "dot", "training")):
            _lines(loss, finetuning, "origin", column, ["baseline", "adapted"], dash, f", {name}")
        blocks += [
            drawn(
                "curves-rmse",
                _labelled(rmse, f"validation RMSE ({study.unit})" if study.unit else "validation RMSE"),
                "One line per replicate, coloured by the encoder it starts from; the ring is the epoch that was kept.",
            ),
            drawn(
                "curves-loss",
                _labelled(loss, "loss (standardised labels)"),
                "Solid is validation, dotted is training: a dotted line that falls while the solid one rises is "
                "overfitting.",
            ),
        ]
    blocks.append(Heading("Runs on selections and by other methods"))
    if others.empty:
        blocks.append(Paragraph("There are none."))
    else:
        figure = go.Figure()
        reading = "One thin line per run, coloured by method"
        if others["run_id"].nunique() > MOST:
            others = _averaged(others)
            reading = (
                "One thin line per splitter, method and selection, the mean over the replicates that trained so long, "
                "coloured by method"
            )
        _lines(figure, others, "method", "validation_rmse", study.methods, width=1)
        blocks.append(
            drawn(
                "curves-selections",
                _labelled(figure, f"validation RMSE ({study.unit})" if study.unit else "validation RMSE"),
                f"{reading}; point at one to see its name, choose a method in the legend to hide it.",
            )
        )
    return blocks


def _averaged(curves: pd.DataFrame) -> pd.DataFrame:
    """Mean curve over the replicates of each configuration, named by the configuration."""
    parts = ["splitter", "origin", "method", "selection"]
    means = curves.groupby([*parts, "epoch"], as_index=False)["validation_rmse"].mean()
    return means.assign(run_id=means[parts].agg("/".join, axis=1) + ", mean")


def _lines(
    figure: go.Figure,
    curves: pd.DataFrame,
    group: str,
    column: str,
    first: list[str],
    dash: str = "solid",
    suffix: str = "",
    width: float = 1.6,
) -> None:
    names = ordered(curves[group].unique(), first)
    palette = colours(names)
    for name in names:
        runs = curves[curves[group] == name].dropna(subset=[column])
        for i, (run_id, run) in enumerate(runs.groupby("run_id")):
            figure.add_scatter(
                x=run["epoch"],
                y=run[column],
                mode="lines" if len(run) > 1 else "markers",
                name=plain(f"{name}{suffix}"),
                legendgroup=plain(f"{name}{suffix}"),
                showlegend=i == 0,
                line={"color": palette[name], "width": width, "dash": dash},
                meta=plain(run_id),
                hovertemplate="epoch %{x}: %{y:.4f}<extra>" + plain(run_id) + "</extra>",
            )


def _best_epochs(figure: go.Figure, curves: pd.DataFrame, study: Study) -> None:
    best = study.metrics.dropna(subset=["best_epoch"]).drop_duplicates("run_id")[["run_id", "best_epoch"]]
    kept = curves.merge(best, on="run_id")
    kept = kept[kept["epoch"] == kept["best_epoch"]]
    for origin, colour in colours(ordered(kept["origin"].unique(), [])).items():
        points = kept[kept["origin"] == origin]
        figure.add_scatter(
            x=points["epoch"],
            y=points["validation_rmse"],
            mode="markers",
            legendgroup=plain(origin),
            showlegend=False,
            marker={"color": colour, "size": 9, "symbol": "circle-open", "line": {"width": 2}},
            hoverinfo="skip",
        )


def _labelled(figure: go.Figure, title: str) -> go.Figure:
    last = max((max(trace.x) for trace in figure.data if len(trace.x)), default=1)
    ticks = {"tick0": 0, "dtick": max(1, math.ceil(last / MOST_TICKS))}  # no half epochs
    return figure.update_layout(xaxis=axis("epoch", rangemode="tozero", **ticks), yaxis=axis(title), showlegend=True)


# What adaptation may learn beside masked tokens: columns of the curve, and what the report calls them.
_BESIDE = {"descriptors_r2": "descriptors", "morgan_r2": "Morgan fragments", "teacher_r2": "the teacher's vectors"}


def _mlm(curves: pd.DataFrame) -> list[Block]:
    blocks: list[Block] = [Heading("Masked language model, before and after adaptation")]
    curves = curves[curves["stage"] == "mlm"]
    if curves.empty:
        return [*blocks, Paragraph("The encoder was not adapted: no masked language modelling was run.")]
    beside = [column for column in _BESIDE if curves[column].notna().any()]
    rows: list[tuple[object, ...]] = []
    for run_id, run in curves.groupby("run_id"):
        before = run.loc[run["epoch"] == 0, "validation_loss"]
        after = run[run["epoch"] > 0]
        start = float(before.iloc[0]) if len(before) else None
        if after.empty:
            rows.append((run_id, start, None, None, None))
            continue
        best = after.loc[after["validation_loss"].idxmin()]
        change = None if start is None else best["validation_loss"] - start
        rows.append((run_id, start, best["validation_loss"], change, int(best["epoch"])))
    figure = go.Figure()
    for i, (column, dash, name) in enumerate(
        (("validation_loss", "solid", "held out"), ("train_loss", "dot", "training"))
    ):
        colour = colours(["adapted", "baseline"])[["adapted", "baseline"][i]]
        for j, (run_id, run) in enumerate(curves.dropna(subset=[column]).groupby("run_id")):
            figure.add_scatter(
                x=run["epoch"],
                y=run[column],
                mode="lines+markers",
                name=name,
                legendgroup=name,
                showlegend=j == 0,
                line={"color": colour, "dash": dash},
                meta=plain(run_id),
                hovertemplate="epoch %{x}: %{y:.4f}<extra>" + plain(run_id) + "</extra>",
            )
    loss, what = "masked-token loss", "Loss on masked tokens"
    if beside:
        loss, what = "sum of the objectives", "Weighted sum of the objectives' losses"
    return [
        *blocks,
        drawn(
            "curves-mlm",
            _labelled(figure, loss),
            f"{what} per epoch, one line per split: epoch 0 is the encoder as it came.",
            320,
        ),
        table(
            "Loss on held-out molecules before adaptation and at the lowest epoch",
            ["run", "before", "lowest after", "change", "epoch"],
            rows,
        ),
        *_learned(curves, beside),
    ]


def _learned(curves: pd.DataFrame, beside: list[str]) -> list[Block]:
    """What the encoder tells of held-out molecules before adaptation and after it, and whether the pool had a part."""
    figures = {"masked_accuracy": "masked tokens found"} | {name: f"R2 of {_BESIDE[name]}" for name in beside}
    rows: list[tuple[object, ...]] = []
    for run_id, run in curves.groupby("run_id"):
        after = run[run["epoch"] > 0]
        kept = after.nsmallest(1, "validation_loss")
        for column, name in figures.items():
            values = (part[column].dropna() for part in (run[run["epoch"] == 0], kept))
            rows.append((run_id, name, *(float(value.iloc[0]) if len(value) else None for value in values)))
    header = ["run", "figure", "before", "at the lowest epoch"]
    blocks: list[Block] = [table("What it tells of held-out molecules, before adaptation and after it", header, rows)]
    if curves["pool_molecules"].gt(0).any():
        pool = int(curves["pool_molecules"].max())
        blocks.append(
            Paragraph(f"It was adapted to the structures of {pool} pool molecules too, without their labels.")
        )
    return blocks
