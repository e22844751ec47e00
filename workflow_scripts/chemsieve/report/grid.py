"""Error of each training method on each selection, which of them to take, and how each was tuned."""

import pandas as pd
import plotly.graph_objects as go

from chemsieve.report.blocks import Block, Folded, Heading, Paragraph, Section, table
from chemsieve.report.figure import CELL_TEXT, SEQUENTIAL, around, axis, categories, colours, drawn, plain
from chemsieve.report.study import Study, mean_sd
from chemsieve.report.words import MISSING, count, number, spread
from chemsieve.statistics.advice import Advice, advise
from chemsieve.statistics.families import METHODS

FULL = "full"
BYTES = 4  # of a parameter that is stored
ENDS = {0: "the lowest", -1: "the highest"}  # of the rates that were tried, ascending


def section(study: Study) -> Section:
    """The advice, heat map and lines of the mean test RMSE, and each method against full, per splitter."""
    title = "Methods and selections"
    if not study.grid_selections:
        text = "No parameter-efficient method was trained, so there is no grid to show."
        return Section("grid", title, [Paragraph(text)])
    blocks: list[Block] = []
    for i, splitter in enumerate(study.splitters):
        cells = grid_cells(study, splitter)
        if len(cells):
            blocks += [Heading(f"{splitter} split"), *_advice(study, splitter), _heatmap(study, i, cells)]
            blocks += [_lines(study, i, cells), *_against_full(study, splitter)]
    return Section("grid", title, [*blocks, *_tuning(study)])


def advice_on(study: Study, splitter: str, selection: str) -> Advice | None:
    """Which method to take, by those that were trained on a selection; None where there is nothing to compare.

    What a task stores are the parameters that its method trains, of four bytes each.
    """
    test = study.test
    chosen = (test["splitter"] == splitter) & (test["origin"] == study.selection_origin)
    runs = test[chosen & (test["selection"] == selection)].dropna(subset=["trainable_parameters"])
    means = runs.groupby("method")[["rmse", "trainable_parameters"]].mean()
    if len(means) < 2:
        return None
    stored = BYTES * means["trainable_parameters"].astype(float)
    return advise(means["rmse"], stored, _family(study, splitter, selection), study.statistics.get("margin", 0.0))


def _family(study: Study, splitter: str, selection: str) -> pd.DataFrame:
    """Comparisons of the methods on a selection."""
    found = study.comparisons
    return found[(found["splitter"] == splitter) & (found["family"] == f"{METHODS} {selection}")]


def _advice(study: Study, splitter: str) -> list[Block]:
    """The advice on the first selection of the grid, which is the control without any where that is among them."""
    selection = study.grid_selections[0]
    advice = advice_on(study, splitter, selection)
    if advice is None:
        return []
    asked = (_family(study, splitter, selection)["question"] != "").any()
    note = (
        "" if asked else " Nobody asked beforehand, so that this is exploratory: statistics.compare would have methods."
    )
    rates = "" if study.tuning is not None else " The learning rates are as configured, and not tuned (tuning.run)."
    return [Paragraph(f"{advice.sentence}{note}{rates}")]


def _against_full(study: Study, splitter: str) -> list[Block]:
    """Difference of each method from full fine-tuning, with its interval and verdict."""
    rows = []
    for selection in study.grid_selections:
        family = _family(study, splitter, selection)
        for row in family[family["versus"] == FULL].itertuples(index=False):
            interval = f"{number(row.low, 3, sign=True)} to {number(row.high, 3, sign=True)}"
            rows.append(
                (
                    row.what,
                    selection,
                    number(row.error, 3),
                    number(row.difference, 3, sign=True),
                    MISSING if pd.isna(row.low) else interval,
                    row.verdict,
                )
            )
    if not rows:
        return []
    caption = "Each method less full fine-tuning on the same molecules: test RMSE, negative is better"
    return [table(caption, ["method", "on", "error", "difference", "interval", "verdict"], rows)]


def _tuning(study: Study) -> list[Block]:
    """What tuning chose for each method, and what it cost."""
    if study.tuning is None or study.tuning.empty:
        return []
    rows, at_the_end = [], []
    for (origin, method), trials in study.tuning.groupby(["origin", "method"], sort=False):
        splits = trials.groupby(["splitter", "split_seed"], sort=False)
        chosen = trials.loc[trials["chosen"], "learning_rate"]
        own = trials.loc[trials["configured"], "learning_rate"].iloc[0]
        rates = sorted(set(chosen))
        tried = sorted(set(trials["learning_rate"]))
        at_the_end += [f"{end} of {method} ({origin} encoder)" for place, end in ENDS.items() if tried[place] in rates]
        rows.append(
            (
                method,
                origin,
                f"{own:g}",
                f"{rates[0]:g}" if len(rates) == 1 else f"{rates[0]:g} to {rates[-1]:g}",
                len(splits),
                round(len(trials) / len(splits)),
                int(trials["epochs"].sum()),
                float(trials["seconds"].sum()),
            )
        )
    text = (
        "Each method had as many trials as any other: successive halving over epochs, on validation molecules, before "
        f"it trained. All together {count(int(study.tuning['epochs'].sum()), 'epoch')} and "
        f"{number(float(study.tuning['seconds'].sum()), 3)} seconds of training, which no other figure has."
    )
    if at_the_end:
        text += f" Better rates may lie beyond those that were tried: chosen was {', '.join(at_the_end)}."
    header = ["method", "encoder", "configured", "chosen", "splits", "trials of each", "epochs", "seconds"]
    shown = table("Learning rates that were chosen, and what choosing took", header, rows)
    return [Heading("Tuning"), Paragraph(text), shown, Folded("every trial", [_trials(study.tuning)])]


def _trials(tuning: pd.DataFrame) -> Block:
    names = [
        "splitter",
        "split_seed",
        "origin",
        "method",
        "rung",
        "learning_rate",
        "epochs",
        "validation_rmse",
        "seconds",
    ]
    rows = [[None if pd.isna(value) else value for value in row] for row in tuning[names].to_numpy().tolist()]
    return table("Validation RMSE of every trial", [name.replace("_", " ") for name in names], rows, sortable=True)


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
