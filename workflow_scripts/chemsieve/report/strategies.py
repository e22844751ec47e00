"""Error of full fine-tuning on each selection, and of descriptor models."""

import pandas as pd
import plotly.graph_objects as go

from chemsieve.report import budgets
from chemsieve.report.blocks import Block, Heading, Paragraph, Section, table
from chemsieve.report.figure import around, axis, categories, colours, drawn, plain
from chemsieve.report.study import DESCRIPTORS, Study, mean_sd, ordered_selections
from chemsieve.report.words import MISSING, spread

NONE = "none"
UNADAPTED = "none, baseline encoder"
LANGUAGE_MODEL = "language model"
DASHES = ["dash", "dot", "dashdot", "longdash"]


def section(study: Study) -> Section:
    """RMSE per strategy, one figure per splitter."""
    blocks: list[Block] = []
    for i, splitter in enumerate(study.splitters):
        here = study.metrics[study.metrics["splitter"] == splitter]
        runs = _runs(study, here)
        if runs.empty:
            continue
        described = here[here["origin"] == DESCRIPTORS]
        alone = described[described["selection"] == NONE]
        blocks += [Heading(f"{splitter} split"), _figure(study, i, runs, alone), _table(runs, alone)]
        blocks += _by_model(study, here)
        blocks += budgets.blocks(study, i, splitter)
    return Section("strategies", "Error per strategy", blocks or [Paragraph("No full fine-tuning was run.")])


def _runs(study: Study, metrics: pd.DataFrame) -> pd.DataFrame:
    """Runs of full fine-tuning with the name of what they were trained on."""
    full = metrics[(metrics["method"] == "full") & (metrics["origin"] != DESCRIPTORS)]
    selected = full[full["origin"] == study.strategy_origin]
    runs = selected.assign(trained_on=selected["selection"])
    if study.selection_origin != "baseline":
        baseline = full[(full["origin"] == "baseline") & (full["selection"] == "none")]
        runs = pd.concat([baseline.assign(trained_on=UNADAPTED), runs])
    return runs


def _names(runs: pd.DataFrame) -> list[str]:
    names = set(runs["trained_on"])
    return [UNADAPTED] * (UNADAPTED in names) + ordered_selections(names - {UNADAPTED})


def _figure(study: Study, i: int, runs: pd.DataFrame, described: pd.DataFrame) -> Block:
    names = _names(runs)
    figure = go.Figure()
    for fold, colour in colours(["validation", "test"]).items():
        points = runs[runs["fold"] == fold].sort_values("run_id", kind="stable")
        figure.add_scatter(
            x=points["trained_on"].map(plain),
            y=points["rmse"],
            mode="markers",
            name=fold,
            offsetgroup=fold,
            marker={"color": colour, "size": 8, "opacity": 0.7},
            text=points["run_id"].map(plain),
            hovertemplate="%{text}<br>" + fold + " RMSE %{y:.4f}<extra></extra>",
        )
        means = points.groupby("trained_on")["rmse"].mean()
        figure.add_scatter(
            x=[plain(name) for name in means.index],
            y=means,
            mode="markers",
            name=f"{fold}, mean",
            offsetgroup=fold,
            marker={"color": colour, "size": 22, "symbol": "line-ew", "line": {"color": colour, "width": 3}},
            hovertemplate="%{x}<br>mean " + fold + " RMSE %{y:.4f}<extra></extra>",
        )
    means = described[described["fold"] == "test"].groupby("method")["rmse"].mean()
    for j, (method, mean) in enumerate(means.items()):
        figure.add_scatter(
            x=[plain(name) for name in names],
            y=[mean] * len(names),
            mode="lines" if len(names) > 1 else "markers",
            name=plain(f"{method}, test mean"),
            line={"color": "#b8902f", "width": 1.5, "dash": DASHES[j % len(DASHES)]},
            hovertemplate=plain(method) + " mean test RMSE %{y:.4f}<extra></extra>",
        )
    title = f"RMSE ({study.unit})" if study.unit else "RMSE"
    figure.update_layout(
        scattermode="group",
        scattergap=0.4,
        xaxis=categories("", names),
        yaxis=axis(title, range=around(runs["rmse"], means)),
        showlegend=True,
    )
    return drawn(
        f"strategies-rmse-{i}",
        figure,
        "A point is a replicate and a bar is their mean, grey on the validation and blue on the test molecules; the "
        "dashed lines are descriptor models. Whether two strategies differ, the verdicts say, which are paired.",
        440,
        title="Error of full fine-tuning by what it was trained on",
    )


def _table(runs: pd.DataFrame, described: pd.DataFrame) -> Block:
    described = described.assign(trained_on=described["method"] + " (descriptor model)")
    everything = pd.concat([runs, described])
    errors = {
        (row.trained_on, row.fold): (spread(row.mean, row.sd), row.n)
        for row in mean_sd(everything, ["trained_on", "fold"]).itertuples(index=False)
    }
    sizes = everything.groupby("trained_on")[["n_train", "n_selected"]].mean()
    rows = []
    for name in [*_names(runs), *sorted(described["trained_on"].unique())]:
        validation, test = (errors.get((name, fold), (MISSING, 0)) for fold in ("validation", "test"))
        rows.append((name, *sizes.loc[name].tolist(), validation[0], test[0], max(validation[1], test[1])))
    return table(
        "RMSE, mean ± standard deviation over replicates",
        ["trained on", "training molecules", "of them selected", "validation", "test", "replicates"],
        rows,
    )


def _by_model(study: Study, metrics: pd.DataFrame) -> list[Block]:
    """What each selection does for the language model and for descriptor models, where these were fitted on any."""
    test = metrics[metrics["fold"] == "test"]
    described = test[test["origin"] == DESCRIPTORS]
    if (described["selection"] == NONE).all():
        return []
    full = test[(test["method"] == "full") & (test["origin"] == study.strategy_origin)]
    models = [LANGUAGE_MODEL, *sorted(described["method"].unique())]
    means = mean_sd(pd.concat([full.assign(method=LANGUAGE_MODEL), described]), ["selection", "method"])
    errors = {(row.selection, row.method): spread(row.mean, row.sd) for row in means.itertuples(index=False)}
    names = [name for name in ordered_selections(means["selection"].unique()) if name in set(described["selection"])]
    shown = table(
        "Test RMSE by model and selection, mean ± standard deviation over replicates; the language model is fully "
        "fine-tuned",
        ["trained on", *models],
        [(name, *(errors.get((name, model), MISSING) for model in models)) for name in names],
    )
    text = (
        "Down a column is what the pool did for one model, along a row which model made the most of a selection. Which "
        "of them is exported the validation molecules decide."
    )
    return [shown, Paragraph(text)]
