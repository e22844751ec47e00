"""What a method costs and what error it reaches."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from chemsieve.report.blocks import Block, Heading, Paragraph, Section, table
from chemsieve.report.figure import axis, colours, drawn, plain
from chemsieve.report.study import DESCRIPTORS, Study
from chemsieve.report.words import MISSING, number, percent, spread
from chemsieve.statistics.work import training_flops

LARGEST_MARKER = 44  # pixels across


def section(study: Study) -> Section:
    """Parameters, work, training time and test RMSE per method, over the selections that all methods have."""
    blocks: list[Block] = []
    for i, splitter in enumerate(study.splitters):
        test = study.test[study.test["splitter"] == splitter]
        models = test[test["origin"] == study.selection_origin]
        models = models[models["selection"].isin(common_selections(models))]
        if models.empty:
            continue
        described = test[(test["origin"] == DESCRIPTORS) & (test["selection"] == "none")]
        models = models.assign(tflop=work(study, models))
        blocks += [Heading(f"{splitter} split"), _figure(study, i, models), *_work_figure(study, i, models)]
        blocks.append(_table(study, models, described))
    return Section("tradeoff", "Cost and error", blocks or [Paragraph("No language model was trained.")])


def common_selections(runs: pd.DataFrame) -> set[str]:
    """Selections that every method was trained on, so that methods are compared on the same work."""
    per_method = [set(group) for _, group in runs.groupby("method")["selection"]]
    return set.intersection(*per_method) if per_method else set()


def work(study: Study, runs: pd.DataFrame) -> pd.Series:
    """Estimated floating-point operations of each run's training, in units of 10^12; missing where it has no epochs.

    Tokens are those of the training molecules of its split, as many for each selected molecule, over all its epochs.
    """
    tokens = study.molecules.set_index("molecule_id")["tokens"]
    trained = study.splits[study.splits["fold"] == "train"]
    mean = (
        trained.assign(tokens=trained["molecule_id"].map(tokens)).groupby(["splitter", "split_seed"])["tokens"].mean()
    )
    places = pd.MultiIndex.from_frame(runs[["splitter", "split_seed"]])
    read = mean.reindex(places).to_numpy() * runs["n_train"].astype(float) * runs["epochs"].astype(float)
    sizes = (runs[name].astype(float) for name in ("total_parameters", "trainable_parameters"))
    done = [training_flops(*one) / 1e12 for one in zip(read, *sizes, strict=True)]
    return pd.Series(done, index=runs.index, dtype=float)


def _work_figure(study: Study, i: int, runs: pd.DataFrame) -> list[Block]:
    runs = runs.dropna(subset=["tflop"])
    if runs.empty:
        return []
    points = runs.groupby(["method", "selection"])[["tflop", "rmse", "train_seconds"]].mean().reset_index()
    figure = _scattered(
        study,
        points,
        "tflop",
        lambda group: {"size": 10, "opacity": 0.8},
        lambda row: f"{row.tflop:,.3g} TFLOP, {row.train_seconds:,.1f} s",
    )
    figure.update_layout(
        xaxis=axis("work of training (TFLOP)", rangemode="tozero"), yaxis=axis(study.rmse_title), showlegend=True
    )
    caption = (
        "The work of one training, which no machine changes: operations estimated from tokens, epochs and parameters. "
        "Seconds depend on what else the machine does; tuning is in neither."
    )
    return [drawn(f"tradeoff-work-{i}", figure, caption)]


def _scattered(
    study: Study,
    points: pd.DataFrame,
    x: str,
    marker: Callable[[pd.DataFrame], dict[str, Any]],
    cost: Callable[[Any], str],
) -> go.Figure:
    """The error of each method and selection against a cost, a colour per method; ``cost`` says it of a point."""
    figure = go.Figure()
    methods = [name for name in study.methods if name in set(points["method"])]
    for method, colour in colours(methods).items():
        group = points[points["method"] == method]
        figure.add_scatter(
            x=group[x],
            y=group["rmse"],
            mode="markers",
            name=plain(method),
            marker={"color": colour, **marker(group)},
            text=[
                f"{plain(method)} on {plain(row.selection)}<br>{cost(row)}<br>test RMSE {row.rmse:.4f}"
                for row in group.itertuples()
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    return figure


def _figure(study: Study, i: int, runs: pd.DataFrame) -> Block:
    runs = runs.dropna(subset=["trainable_parameters"])
    runs = runs[runs["trainable_parameters"] > 0]  # a logarithmic axis has no zero
    if runs.empty:
        return Paragraph("No run recorded how many parameters it trained.")
    points = runs.groupby(["method", "selection"]).agg(
        parameters=("trainable_parameters", "mean"), rmse=("rmse", "mean"), seconds=("train_seconds", "mean")
    )
    points = points.reset_index()
    largest = max(points["seconds"].max(), 1e-9)
    figure = _scattered(
        study,
        points,
        "parameters",
        lambda group: {
            "opacity": 0.65,
            "size": group["seconds"],
            "sizemode": "area",
            "sizeref": 2 * largest / LARGEST_MARKER**2,
            "sizemin": 5,
        },
        lambda row: f"{row.parameters:,.0f} parameters, {row.seconds:,.1f} s",
    )
    figure.update_layout(
        xaxis=axis("trainable parameters", type="log", dtick=1, exponentformat="power"),
        yaxis=axis(study.rmse_title),
        legend={"itemsizing": "constant"},
        showlegend=True,
    )
    return drawn(
        f"tradeoff-parameters-{i}",
        figure,
        "One disc per method and selection, its area the training time: lower is better, further left is fewer "
        "parameters to store.",
    )


def _table(study: Study, models: pd.DataFrame, described: pd.DataFrame) -> Block:
    rows = []
    for runs, names in ((models, study.methods), (described, sorted(described["method"].unique()))):
        for method in names:
            group = runs[runs["method"] == method]
            if group.empty:
                continue
            trained, total = (group[name].astype(float).mean() for name in ("trainable_parameters", "total_parameters"))
            rows.append(
                (
                    method,
                    MISSING if pd.isna(trained) else number(round(trained)),
                    percent(trained / total) if total else MISSING,
                    float(group["tflop"].mean()) if "tflop" in group else None,
                    float(group["train_seconds"].mean()),
                    float(group["peak_memory_mb"].mean()),
                    spread(group["rmse"].mean(), group["rmse"].std()),
                    len(group),
                )
            )
    selections = ", ".join(sorted(common_selections(models)))
    return table(
        f"Means over replicates and over the selections that all methods have ({selections}); the deviation is over "
        "both",
        [
            "method",
            "trainable",
            "share of all",
            "work (TFLOP)",
            "training (s)",
            "peak memory (MB)",
            "test RMSE",
            "runs",
        ],
        rows,
    )
