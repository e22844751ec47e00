"""How selections are used: what each use would give in closed form, and what it gave."""

import pandas as pd
import plotly.graph_objects as go

from chemsieve.report.blocks import Block, Heading, Paragraph, Section, table
from chemsieve.report.figure import axis, colours, drawn, plain
from chemsieve.report.study import Study, ordered
from chemsieve.report.words import number

FIRST = ["none", "mixed"]
COLUMNS = {"loo_rmse": 3, "loo_rmse_validation": 3, "weight": 2, "rho": 2, "offset": 2}
AXES = {"weight": "weight of a pool molecule", "rho": "correlation of the two functions"}


def section(study: Study) -> Section | None:
    """A table per splitter, and the errors along weights and correlations; None where selections are mixed in alone."""
    uses = study.pool_use
    if uses is None or uses.empty:
        return None
    uses = _by_model(uses)
    blocks: list[Block] = [
        Paragraph(
            "In closed form the model that is linearised at its last checkpoint is a Gaussian process, and each use of "
            "the selected molecules is one: with none left in, with labels as good as the target's (mixed), with more "
            "or less noise (a weight), or with a function of their own that is correlated with the target's (rho) and "
            "has its own offset (a second head). Its error is that of each training and validation molecule given all "
            "the others. What a use gave is the RMSE on the validation molecules after training; the difference to "
            "mixed stands beside both, negative is better. No test label has a part in this section."
        )
    ]
    for i, (splitter, here) in enumerate(uses.groupby("splitter")):
        blocks += [Heading(f"{splitter} split"), _table(study, here), *_curves(study, i, str(splitter))]
    return Section("use", "Uses of a selection", blocks)


def _by_model(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with the descriptor model behind the name of a selection that one used."""
    if "model" not in frame:  # of an earlier release
        return frame
    described = frame["model"] != "full"
    return frame.assign(strategy=frame["strategy"].mask(described, frame["strategy"] + ", " + frame["model"]))


def _table(study: Study, uses: pd.DataFrame) -> Block:
    rows = []
    for strategy, mine in uses.groupby("strategy"):
        means = mine.groupby("use")[[*COLUMNS, "validation_rmse"]].mean()
        chosen, replicates = mine.groupby("use")["chosen"].sum(), mine.groupby("use").size()
        equals = means.loc["mixed"] if "mixed" in means.index else means.iloc[0] * float("nan")
        for use in ordered(means.index, FIRST):
            row = means.loc[use]
            change, gave = (row[name] - equals[name] for name in ("loo_rmse", "validation_rmse"))
            cells = [number(row[name], digits) for name, digits in COLUMNS.items()]
            preferred = f"{int(chosen[use])} of {int(replicates[use])}"
            trained = (number(row["validation_rmse"], 3), number(gave, 3, sign=True))
            rows.append((strategy, use, cells[0], number(change, 3, sign=True), *cells[1:], preferred, *trained))
    unit = f" ({study.unit})" if study.unit else ""
    return table(
        f"What each use would give and gave: RMSE{unit}, means over replicates",
        [
            *("selection", "use", "leave-one-out", "less mixed", "of it, validation", "weight", "rho", "offset"),
            *("chosen in", "validation, trained", "less mixed, trained"),
        ],
        rows,
    )


def _curves(study: Study, i: int, splitter: str) -> list[Block]:
    """Errors along weights and correlations, means over the replicates, a line for each selection and use."""
    curves = study.pool_use_curves
    blocks: list[Block] = []
    here = pd.DataFrame() if curves is None else _by_model(curves[curves["splitter"] == splitter])
    for parameter, mine in here.groupby("parameter") if len(here) else ():
        means = mine.groupby(["strategy", "use", "value"])["loo_rmse"].mean().reset_index()
        figure = go.Figure()
        strategies = sorted(means["strategy"].unique())
        for strategy, colour in colours(strategies).items():
            for use, line in means[means["strategy"] == strategy].groupby("use"):
                figure.add_scatter(
                    x=line["value"],
                    y=line["loo_rmse"],
                    mode="lines+markers",
                    name=plain(f"{strategy}, {use}"),
                    line={"color": colour, "dash": "dash" if use == "weighted" else "solid"},
                    hovertemplate="%{x:.3g}: %{y:.4f}<extra>" + plain(f"{strategy}, {use}") + "</extra>",
                )
        scale = {"type": "log"} if parameter == "weight" else {}
        figure.update_layout(xaxis=axis(AXES[parameter], **scale), yaxis=axis("leave-one-out RMSE"), showlegend=True)
        blocks.append(
            drawn(
                f"use-{parameter}-{i}",
                figure,
                f"Leave-one-out RMSE in closed form by the {AXES[parameter]}, what else the use leaves open being at "
                "its best there; means over replicates. A flat line means that it does not matter.",
            )
        )
    return blocks
