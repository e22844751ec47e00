"""Which configurations differ: differences, intervals and verdicts of the table ``comparisons``."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chemsieve.report.answers import plainly
from chemsieve.report.blocks import Block, Folded, Heading, Paragraph, Section, table
from chemsieve.report.figure import CELL_TEXT, SEQUENTIAL, categories, drawn, plain
from chemsieve.report.study import Study, meanings
from chemsieve.report.words import MISSING, count, number
from chemsieve.statistics.families import CONTINUED, SELECTIONS

HEADER = [
    "",
    "compared with",
    "verdict",
    "test RMSE",
    "of the other",
    "gain",
    "interval",
    "sd",
    "units",
    "decided by",
]
DETAILS = [
    "family",
    "what",
    "versus",
    "p_paired",
    "p_tukey",
    "p_equivalence",
    "cohen_dz",
    "detectable",
    "replicates_needed",
    "question",
    "level",
    "r2",
    "r2_versus",
    "median",
    "molecules",
    "molecules_sd",
    "molecules_needed",
    "omnibus",
    "p_conover",
    "cohen_dav",
]
FIRST = 9  # of these are seen at first


def section(study: Study) -> Section:
    """Noise and detectable effect in a sentence, the selections as a heat map, every comparison in a table."""
    if study.comparisons.empty:
        return Section("comparisons", "Comparisons", [Paragraph("No two configurations can be compared.")])
    blocks: list[Block] = [Paragraph(_method(study))]
    for i, splitter in enumerate(sorted(study.comparisons["splitter"].unique())):
        here = study.comparisons[study.comparisons["splitter"] == splitter]
        blocks.append(Heading(f"{splitter} split"))
        selections = here[here["family"] == SELECTIONS]
        if len(selections):
            blocks.append(Paragraph(_question(study)))
            blocks += [Paragraph(noise(selections)), _heatmap(study, i, selections)]
        for family, rows in here.groupby("family", sort=False):
            shown = table(
                f"{family}: how far the test RMSE lies below that of the other, positive helps", HEADER, evidence(rows)
            )
            blocks.append(shown if family == SELECTIONS else Folded(family, [shown]))
        details = [[None if pd.isna(value) else value for value in row] for row in here[DETAILS].to_numpy().tolist()]
        named = [name.replace("_", " ") for name in DETAILS]
        tests = table(
            f"Tests of the {splitter} split",
            named,
            details,
            sortable=True,
            shown=FIRST,
            notes=meanings("comparisons", DETAILS),
        )
        blocks.append(Folded("p values and effect sizes", [tests]))
    return Section("comparisons", "Comparisons", blocks)


def evidence(rows: pd.DataFrame) -> list[tuple]:
    """Cells under ``HEADER`` of rows of the table ``comparisons``."""
    # As many decimals as three digits of a typical error need.
    typical = float(np.nanmedian(rows[["error", "error_versus"]].to_numpy(dtype=float)))
    decimals = max(0, 2 - math.floor(math.log10(typical))) if typical > 0 else 3

    def fixed(value: float, sign: str = "") -> str:
        return MISSING if pd.isna(value) else f"{value:{sign}.{decimals}f}"

    return [
        (
            row.what,
            row.versus,
            plainly(row.verdict),
            fixed(row.error),
            fixed(row.error_versus),
            fixed(-row.difference, "+"),
            MISSING if pd.isna(row.low) else f"{fixed(-row.high, '+')} to {fixed(-row.low, '+')}",
            fixed(row.sd),
            row.n_units,
            row.test_used,
        )
        for row in rows.itertuples(index=False)
    ]


def noise(rows: pd.DataFrame) -> str:
    """Noise floor and detectable effect of a family in one sentence."""
    first, smallest, largest = rows.iloc[0], rows["detectable"].min(), rows["detectable"].max()
    if pd.isna(first["seed_sd"]):
        floor = "No configuration was trained from two seeds on one split, so the noise between seeds is unknown"
    else:
        floor = (
            f"Training the same configuration from another seed changes its RMSE by {number(first['seed_sd'], 2)} (sd)"
        )
    if pd.isna(smallest):
        return f"{floor}; nothing can be said of what this design would detect."
    between = number(smallest, 2)
    if number(largest, 2) != between:
        between = f"{between} to {number(largest, 2)}, depending on the pair"
    return (
        f"{floor}; with {count(int(first['n_replicates']), 'replicate')} on {count(int(first['n_splits']), 'split')} "
        f"the smallest difference that these tests would probably detect is {between}."
    )


def _question(study: Study) -> str:
    """What the comparison of selections asks, which depends on where their training starts."""
    if study.strategy_origin == CONTINUED:
        return (
            "Selections continue one fitted regressor, none included, in the same steps and without noise; so they are "
            "asked whether this model becomes better by these molecules, all else being equal."
        )
    return (
        "Selections are trained from the encoder anew, each with draws of its own; so they are asked whether a model "
        "that is trained with these molecules is better, noise of training included."
    )


def _method(study: Study) -> str:
    chosen = study.statistics
    return (
        "One rule decides, by the interval beside each verdict: beyond zero it is a difference, within the margin of "
        f"{number(chosen.get('margin'), 2)} it is equivalence, and otherwise it is undecided. Nothing is said "
        "where neither side predicts better than the mean label. Intervals are Tukey's, simultaneous over a family; "
        "where one noise does not fit all its pairs, and with one split, those of paired t tests at Bonferroni's "
        "level, corrected for skewness. The questions of statistics.compare share an error probability of "
        f"{number(chosen.get('alpha'), 2)}; a family that is no question is exploratory and has as much for itself. "
        f"The stated power is {number(chosen.get('power'), 2)}. With several splits the units are the splits, seeds "
        "averaged, and the variance allows for the molecules that they share; with one they are its training seeds, "
        "which are no independent replicates, and the noise of its test molecules is added."
    )


def _heatmap(study: Study, i: int, rows: pd.DataFrame) -> Block:
    whats, others = list(dict.fromkeys(rows["what"])), list(dict.fromkeys(rows["versus"]))
    cells = {(row.what, row.versus): row for row in rows.itertuples(index=False)}

    def grid(value, missing=None):
        return [[value(cells[one, other]) if (one, other) in cells else missing for other in others] for one in whats]

    # The same decimals in all cells, as many as the largest difference needs: a phone has no room for more.
    largest = rows["difference"].abs().max()
    decimals = max(0, 1 - math.floor(math.log10(largest))) if largest > 0 else 1

    figure = go.Figure(
        go.Heatmap(
            x=[plain(name) for name in others],
            y=[plain(name) for name in whats],
            z=grid(lambda cell: None if pd.isna(cell.difference) else -float(cell.difference)),
            text=grid(lambda cell: MISSING if pd.isna(cell.difference) else f"{-cell.difference:+.{decimals}f}", ""),
            customdata=grid(lambda cell: plain(plainly(cell.verdict))),
            texttemplate="%{text}",
            textfont=CELL_TEXT,
            colorscale=SEQUENTIAL,
            reversescale=True,  # blue helps
            zmid=0,
            showscale=False,
            hoverongaps=False,
            hovertemplate="%{y} against %{x}: %{text}<br>%{customdata}<extra></extra>",
        )
    )
    figure.update_layout(xaxis=categories("", others), yaxis={**categories("", whats), "autorange": "reversed"})
    unit = f" in {study.unit}" if study.unit else ""
    return drawn(
        f"comparisons-heatmap-{i}",
        figure,
        f"How far the test RMSE{unit} of the row lies below that of the column, on average: positive and blue, the row "
        "is better. Point at a cell for its verdict; a colour alone is none.",
        140 + 44 * len(whats),
        title="Gain of each selection over each other",
    )
