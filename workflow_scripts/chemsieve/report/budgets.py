"""How many molecules to add: the error of each strategy by its budget, where a study has several budgets."""

import pandas as pd
import plotly.graph_objects as go

from chemsieve.report.blocks import Block, Bullets, Heading, Paragraph, table
from chemsieve.report.figure import axis, colours, drawn, plain
from chemsieve.report.study import DESCRIPTORS, Study
from chemsieve.report.words import MISSING, number

LANGUAGE_MODEL = "full fine-tuning"


def blocks(study: Study, i: int, splitter: str) -> list[Block]:
    """A figure, the recommended budgets and a table for each model; nothing where no budgets were swept."""
    curves = study.budget_curves
    if curves is None or curves.empty:
        return []
    here = curves[curves["splitter"] == splitter]
    made: list[Block] = []
    models = here.groupby(["origin", "method"], sort=False)
    for j, ((origin, method), mine) in enumerate(models):
        model = method if origin == DESCRIPTORS else LANGUAGE_MODEL
        made += [
            Heading(f"How many molecules, {splitter} split: {model}"),
            _figure(study, f"budgets-{i}-{j}", mine),
            Paragraph(
                "How many to take, by the validation errors: for each strategy the fewest that are within one standard "
                "error of the best. Test errors, here and in the table, only say what came of it."
            ),
            Bullets([f"{name}: {text}." for name, text in _recommendations(mine).items()]),
            _table(study, mine),
        ]
    return made


def _recommendations(curves: pd.DataFrame) -> dict[str, str]:
    return curves.drop_duplicates("strategy").set_index("strategy")["recommendation"].to_dict()


def _figure(study: Study, identifier: str, curves: pd.DataFrame) -> Block:
    """Differences to the control without the pool, with their intervals, by the number of molecules."""
    figure = go.Figure()
    points = curves[curves["n_selected"] > 0]
    for strategy, colour in colours(list(dict.fromkeys(points["strategy"]))).items():
        line = points[points["strategy"] == strategy]
        figure.add_scatter(
            x=line["n_selected"],
            y=line["difference"],
            mode="lines+markers",
            name=plain(strategy),
            line={"color": colour},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": (line["high"] - line["difference"]).tolist(),
                "arrayminus": (line["difference"] - line["low"]).tolist(),
                "thickness": 1,
                "width": 3,
            },
            hovertemplate="%{x:,.0f} molecules: %{y:+.4f}<extra>" + plain(strategy) + "</extra>",
        )
    figure.add_hline(y=0, line={"dash": "dash", "width": 1, "color": "#8a8f98"})
    unit = f" ({study.unit})" if study.unit else ""
    figure.update_layout(
        xaxis=axis("selected molecules of the pool", type="log"),
        yaxis=axis(f"test RMSE less that without the pool{unit}"),
        showlegend=True,
    )
    return drawn(
        identifier,
        figure,
        "Below the dashed line the selected molecules help. The bars are simultaneous intervals over all points of the "
        "figure; where one leaves out zero, the difference is more than noise.",
    )


def _table(study: Study, curves: pd.DataFrame) -> Block:
    rows = [
        (
            row.strategy,
            row.budget,
            row.n_selected,
            number(row.validation_rmse, 3),
            number(row.error, 3),
            _difference(row.difference, row.low, row.high),
            _difference(row.random_difference, row.random_low, row.random_high),
            number(row.area, 3),
            _difference(row.area_random_difference, row.area_random_low, row.area_random_high),
            "recommended" if row.recommended else "",
        )
        for row in curves.itertuples(index=False)
    ]
    unit = f" ({study.unit})" if study.unit else ""
    return table(
        f"RMSE{unit} by strategy and budget; the area is the mean test RMSE along a curve, over the logarithm of the "
        "number of molecules",
        [
            *("strategy", "budget", "molecules", "validation", "test", "less none", "less random", "area"),
            *("area less random's", ""),
        ],
        rows,
    )


def _difference(value: float | None, low: float | None, high: float | None) -> str:
    if value is None or pd.isna(value):
        return MISSING
    if low is None or pd.isna(low):
        return number(value, 2, sign=True)
    return f"{number(value, 2, sign=True)} ({number(low, 2, sign=True)} to {number(high, 2, sign=True)})"
