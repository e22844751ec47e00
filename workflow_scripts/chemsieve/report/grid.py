"""Error of each training method on each selection."""

import pandas as pd
import plotly.graph_objects as go

from chemsieve.report.blocks import Block, Heading, Paragraph, Section
from chemsieve.report.figure import CELL_TEXT, SEQUENTIAL, around, axis, categories, colours, drawn, plain
from chemsieve.report.study import Study, mean_sd
from chemsieve.report.words import spread


def section(study: Study) -> Section:
    """Heat map and lines of the mean test RMSE, one pair per splitter."""
    title = "Methods and selections"
    if not study.grid_selections:
        text = "No parameter-efficient method was trained, so there is no grid to show."
        return Section("grid", title, [Paragraph(text)])
    blocks: list[Block] = []
    for i, splitter in enumerate(study.splitters):
        cells = grid_cells(study, splitter)
        if len(cells):
            blocks += [Heading(f"{splitter} split"), _heatmap(study, i, cells), _lines(study, i, cells)]
    return Section("grid", title, blocks)


def grid_cells(study: Study, splitter: str) -> pd.DataFrame:
    """Mean, deviation and number of test RMSEs per method and selection of the grid, full fine-tuning included."""
    test = study.test
    chosen = (test["splitter"] == splitter) & (test["origin"] == study.selection_origin)
    return mean_sd(test[chosen & test["selection"].isin(study.grid_selections)], ["method", "selection"])


def _heatmap(study: Study, i: int, cells: pd.DataFrame) -> Block:
    methods = [name for name in study.methods if name in set(cells["method"])]
    selections = study.grid_selections
    by_cell = cells.set_index(["method", "selection"])
    means = by_cell["mean"].unstack().reindex(index=methods, columns=selections)
    words = by_cell.apply(lambda cell: spread(cell["mean"], cell["sd"], 3).replace(" ± ", "<br>± "), axis=1)
    counts = by_cell["n"].unstack().reindex(index=methods, columns=selections).fillna(0).astype(int)
    figure = go.Figure(
        go.Heatmap(
            x=[plain(name) for name in selections],
            y=[plain(name) for name in methods],
            z=means.to_numpy(),
            text=words.unstack().reindex(index=methods, columns=selections).fillna("").to_numpy(),
            customdata=counts.to_numpy(),
            texttemplate="%{text}",
            textfont=CELL_TEXT,
            colorscale=SEQUENTIAL,
            showscale=False,  # the text says it, and a phone has no room for both
            hovertemplate="%{y} on %{x}<br>%{text}<br>replicates: %{customdata}<extra></extra>",
        )
    )
    figure.update_layout(
        xaxis=categories("", selections),
        yaxis={**categories("", methods), "autorange": "reversed"},
    )
    return drawn(
        f"grid-heatmap-{i}",
        figure,
        "Mean test RMSE ± standard deviation over replicates; blue is lower. Whether two cells differ, the verdicts "
        "under Comparisons say, which are paired; the deviations are not.",
        140 + 56 * len(methods),
    )


def _lines(study: Study, i: int, cells: pd.DataFrame) -> Block:
    figure = go.Figure()
    methods = [name for name in study.methods if name in set(cells["method"])]
    whiskers = cells["sd"].fillna(0)
    for method, colour in colours(methods).items():
        line = cells[cells["method"] == method].set_index("selection")
        line = line.reindex([name for name in study.grid_selections if name in line.index])
        figure.add_scatter(
            x=[plain(name) for name in line.index],
            y=line["mean"],
            error_y={"type": "data", "array": line["sd"].fillna(0), "thickness": 1, "width": 3},
            mode="lines+markers",
            name=plain(method),
            offsetgroup=plain(method),
            line={"color": colour},
            hovertemplate="%{x}: %{y:.4f}<extra>" + plain(method) + "</extra>",
        )
    figure.update_layout(
        scattermode="group",
        scattergap=0.6,
        xaxis=categories("", study.grid_selections),
        yaxis=axis(study.rmse_title, range=around(cells["mean"] - whiskers, cells["mean"] + whiskers)),
        showlegend=True,
    )
    return drawn(
        f"grid-lines-{i}",
        figure,
        "One line per method: parallel lines mean that a selection helps every method alike. The whiskers are one "
        "standard deviation over replicates.",
    )
