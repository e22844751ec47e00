"""Every arm against nothing added, in one figure."""

import plotly.graph_objects as go

from chemsieve.report.answers import DESCRIBED, ENCODER, HELPS, HURTS, SELECTION, Arm, confidence, plainly
from chemsieve.report.blocks import Block
from chemsieve.report.figure import GREY, axis, categories, drawn, plain
from chemsieve.report.study import Study
from chemsieve.report.words import number

_COLOURS = {HELPS: "#2fa36b", HURTS: "#d64550"}
_SYMBOLS = {SELECTION: "circle", DESCRIBED: "diamond", ENCODER: "square"}
_ROW = 30  # pixels


def figure(study: Study, i: int, splitter: str, arms: list[Arm]) -> Block | None:
    """The gain of each arm with its interval, largest first; None where no arm has one."""
    shown = [arm for arm in arms if arm.gain == arm.gain]
    if not shown:
        return None
    names = {arm: f"{arm.name} · {number(arm.rmse, 3)}" for arm in shown}
    made = go.Figure()
    for kind, symbol in _SYMBOLS.items():
        rows = [arm for arm in shown if arm.kind == kind]
        if not rows:
            continue
        made.add_scatter(
            x=[arm.gain for arm in rows],
            y=[plain(names[arm]) for arm in rows],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [max(0.0, arm.high - arm.gain) if arm.high == arm.high else 0.0 for arm in rows],
                "arrayminus": [max(0.0, arm.gain - arm.low) if arm.low == arm.low else 0.0 for arm in rows],
                "thickness": 1.6,
                "width": 4,
                "color": GREY,
            },
            mode="markers",
            name={SELECTION: "selection from the pool", DESCRIBED: "descriptor model", ENCODER: "encoder"}[kind],
            marker={
                "symbol": symbol,
                "size": 10,
                "color": [_COLOURS.get(arm.outcome, GREY) for arm in rows],
            },
            text=[plain(plainly(arm.verdict)) for arm in rows],
            hovertemplate="%{y}: %{x:+.3f}<br>%{text}<extra></extra>",
        )
    margin = float(study.statistics.get("margin") or 0)
    made.add_vrect(x0=-margin, x1=margin, fillcolor=GREY, opacity=0.18, line_width=0, layer="below")
    made.add_vline(x=0, line={"color": GREY, "width": 1})
    unit = f" ({study.unit})" if study.unit else ""
    order = [names[arm] for arm in shown]
    made.update_layout(
        xaxis=axis(f"fall of the test RMSE{unit}", zeroline=False),
        yaxis={**categories("", order), "autorange": "reversed"},
        showlegend=True,
    )
    versus = number(shown[0].versus, 3)
    return drawn(
        f"summary-forest-{i}",
        made,
        f"Behind each name stands its test RMSE; the line at zero is the model with nothing added, {versus}, and to "
        f"the right is better. Bars are {confidence(study)} intervals; green helps, red hurts, grey is undecided. The "
        f"shaded band is the margin of {number(margin, 2)}, within which a difference does not matter.",
        110 + _ROW * len(shown),
        title=f"Each arm against nothing added, {splitter} split",
    )
