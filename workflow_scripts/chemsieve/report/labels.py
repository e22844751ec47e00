"""Where the pool's labels come from, and what is done about it."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chemsieve.audit.tracing import OTHER
from chemsieve.report.blocks import Block, Folded, Heading, Paragraph, Section, table
from chemsieve.report.figure import GREY, around, axis, drawn, plain
from chemsieve.report.study import Study
from chemsieve.report.words import number, percent

SHOWN = 12  # rules in the table


def section(study: Study) -> Section | None:
    """The rules that were tried, the labels beside those that a rule gives, and what the label policy did."""
    if study.audit_labels is None or study.audit_labels.empty:
        return None
    tried, sources = study.audit_labels, study.label_sources
    blocks: list[Block] = [
        Paragraph(
            f"Can the pool's labels be computed from the target's? {len(tried):,} rules were tried: the mean label of "
            "the nearest molecules over fingerprints, metrics, numbers and weights, linear models fitted to the "
            "target, and single computed properties, each also after a straight line. A rule counts as found where "
            "it gives labels to the last decimal far more often than predictions of equal skill would by chance. "
            "All labels of the target were read for this, those of test molecules too, before anything was trained."
        )
    ]
    if sources is not None and len(sources):
        blocks.append(_scatter(sources))
    shown = tried.assign(share=tried["matched"] / tried["rows"].clip(lower=1))
    shown = shown.sort_values(["p_value", "share"], ascending=[True, False], kind="stable").head(SHOWN)
    header = ["rule", "features", "metric", "k", "weights", "map", "labels", "met", "share", "by chance", "p", "found"]
    rows = [
        (
            row.kind,
            _features(row),
            row.metric,
            number(row.k),
            row.weighting,
            row.map,
            row.rows,
            row.matched,
            percent(row.share),
            number(row.expected, 3),
            number(row.p_value, 2),
            "yes" if row.found else "no",
        )
        for row in shown.itertuples(index=False)
    ]
    caption = "Rules that come closest: labels that a rule determines, and how many it meets to the last decimal"
    blocks.append(table(caption, header, rows))
    return Section("labels", "Pool labels", [*blocks, *_policy(study)])


def _features(row: Any) -> str:
    return row.features if np.isnan(row.bits) else f"{row.features}, {int(row.bits):,} bits"


def _scatter(sources: pd.DataFrame) -> Block:
    figure = go.Figure()
    both = around(sources["label"], sources["reproduced"])
    figure.add_scatter(
        x=both, y=both, mode="lines", line={"color": GREY, "dash": "dot"}, showlegend=False, hoverinfo="skip"
    )
    for match, rows in sources.groupby("match"):
        figure.add_scatter(
            x=rows["reproduced"],
            y=rows["label"],
            mode="markers",
            name=plain(f"{match} ({len(rows):,})"),
            marker={"size": 7, "opacity": 0.75, "color": GREY if match == OTHER else None},
            text=[f"row {row}" for row in rows["row"]],
            hovertemplate="%{text}: rule %{x:.4~f}, label %{y:.4~f}<extra></extra>",
        )
    figure.update_layout(
        xaxis=axis("label that the rule gives", range=both), yaxis=axis("label in the pool's file", range=both)
    )
    return drawn(
        "labels-rule",
        figure,
        "Each point is a row of the pool's file. On the line the label is what the rule computes from the target's "
        "labels; within ties, several molecules are equally near, and some choice of them gives the label.",
    )


def _policy(study: Study) -> list[Block]:
    made = study.pool_treatment
    if made is None or made.empty:
        return []
    header = ["splitter", "split seed", "labels", "leaks", "accepted", "computed", "on test labels"]
    header += ["on validation labels", "left out", "computed anew", "mean change", "used"]
    rows = [
        (
            row.splitter,
            row.split_seed,
            row.labels,
            row.leaks,
            row.accepted,
            row.computed,
            row.test,
            row.validation,
            row.dropped,
            row.relabelled,
            number(row.mean_change, 3),
            row.kept,
        )
        for row in made.itertuples(index=False)
    ]
    caption = "The pool of each split: what is known of its labels, and what was done"
    shown = table(caption, header, rows, sortable=len(rows) > SHOWN)
    return [Heading("What was done"), shown if len(rows) <= SHOWN else Folded("Every split", [shown])]
