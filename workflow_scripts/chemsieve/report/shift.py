"""How unlike the pool is to the target."""

import plotly.graph_objects as go

from chemsieve.audit.shift import EMBEDDING
from chemsieve.report.blocks import Block, Paragraph, Section, table
from chemsieve.report.figure import axis, drawn, plain
from chemsieve.report.study import Study
from chemsieve.report.words import number, spread


def section(study: Study) -> Section | None:
    """Properties of both, the embedding's discrepancy, and how near pool molecules lie to training molecules."""
    if study.audit_shift is None or study.audit_shift.empty:
        return None
    made = study.audit_shift
    blocks: list[Block] = []
    for row in made[made["what"] == EMBEDDING].itertuples(index=False):
        blocks.append(
            Paragraph(
                f"In the encoder's embedding the squared maximum mean discrepancy of target and pool is "
                f"{number(row.statistic, 3)}, permutation p {number(row.p_value, 2)}, with {row.target:,} and "
                f"{row.pool:,} molecules. A small p says that they are different populations: what helps there need "
                "not help here."
            )
        )
    properties = made[made["what"] != EMBEDDING]
    ordered = properties.reindex(properties["standardised_difference"].abs().sort_values().index)
    figure = go.Figure()
    figure.add_bar(
        x=ordered["standardised_difference"],
        y=[plain(name) for name in ordered["what"]],
        orientation="h",
        marker={"color": "#4c8bf5"},
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    figure.update_layout(
        xaxis=axis("mean of the pool less that of the target, in standard deviations"),
        yaxis={"type": "category", "automargin": True},
        showlegend=False,
    )
    blocks.append(
        drawn(
            "shift-properties",
            figure,
            "Bars to the right: the pool has more of it than the target. Half a standard deviation is seen at a "
            "glance, a fifth is little.",
            height=440,
        )
    )
    rows = [
        (
            row.what,
            spread(row.target_mean, row.target_sd, 3),
            spread(row.pool_mean, row.pool_sd, 3),
            number(row.standardised_difference, 2, sign=True),
            number(row.statistic, 2),
            number(row.p_value, 2),
        )
        for row in ordered[::-1].itertuples(index=False)
    ]
    header = ["property", "target", "pool", "difference in sd", "Kolmogorov-Smirnov", "p"]
    blocks.append(table("Mean and standard deviation of target and pool, and the test of no difference", header, rows))
    return Section("shift", "Pool against target", blocks)
