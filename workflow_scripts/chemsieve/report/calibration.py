"""Whether predictions can be taken at their word: predicted against measured labels, and far from the training."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chemsieve.deployment import conformal
from chemsieve.errors import ChemsieveError
from chemsieve.report.blocks import Block, Heading, Paragraph, Section, table
from chemsieve.report.figure import GREY, around, axis, colours, drawn, plain, whiskers
from chemsieve.report.noise import noise_blocks
from chemsieve.report.similarity import similarity_blocks
from chemsieve.report.study import DESCRIPTORS, Study, run_parts
from chemsieve.report.words import MISSING, between, number
from chemsieve.statistics import bootstrap

BINS = 10  # of the predictions, of equal size
COVERAGE = 0.9  # of intervals, where the configuration says nothing
PER_BIN = 5  # molecules that a bin of the predictions should have; fewer molecules have fewer bins


def section(study: Study) -> Section:
    """Calibration on the test molecules, and error against similarity to the training molecules, per splitter."""
    blocks: list[Block] = []
    for i, splitter in enumerate(study.splitters):
        shown = test_predictions(study, splitter)
        if shown:
            blocks += [
                Heading(f"{splitter} split"),
                *_calibration(study, i, shown),
                *_intervals(study, shown),
                *similarity_blocks(study, i, shown),
            ]
    title = "Calibration"
    if not blocks:
        return Section("calibration", title, [Paragraph("There are no test predictions to hold against labels.")])
    intro = (
        "Shown are the encoders fine-tuned on no pool molecule, the language model with the lowest mean RMSE on the "
        "validation molecules, the descriptor models on no pool molecule and, where pool molecules serve it, that with "
        "the lowest. Replicates are pooled; intervals are 95 % and come from resampling the test molecules, each with "
        "all its predictions, so they leave out the noise between trainings."
    )
    return Section("calibration", title, [Paragraph(intro), *noise_blocks(study), *blocks])


def configurations(study: Study, splitter: str) -> dict[str, tuple[str, str, str]]:
    """Origin, method and selection of the configurations worth seeing, by name; test errors have no say in it."""
    metrics = study.metrics[(study.metrics["splitter"] == splitter) & (study.metrics["fold"] == "validation")]
    errors = metrics.groupby(["origin", "method", "selection"])["rmse"].mean()
    named = {
        origin: (origin, "full", "none") for origin in ("baseline", "adapted") if (origin, "full", "none") in errors
    }
    models = errors[errors.index.get_level_values("origin") != DESCRIPTORS]
    if len(models) and models.idxmin() not in named.values():
        origin, method, selection = models.idxmin()
        named[f"{origin}, {method} on {selection}"] = (origin, method, selection)
    described = errors[errors.index.get_level_values("origin") == DESCRIPTORS]
    named |= {
        method: (origin, method, selection) for origin, method, selection in described.index if selection == "none"
    }
    if len(described) and described.idxmin() not in named.values():
        origin, method, selection = described.idxmin()
        named[f"{method} on {selection}"] = (origin, method, selection)
    return named


def test_predictions(study: Study, splitter: str) -> dict[str, pd.DataFrame]:
    """Test predictions of the configurations worth seeing, all replicates together, by name."""
    predictions = study.predictions[study.predictions["fold"] == "test"]
    if predictions.empty:
        return {}
    predictions = run_parts(predictions)
    predictions = predictions[predictions["splitter"] == splitter]
    by_name = {
        name: predictions[(predictions[["origin", "method", "selection"]] == list(parts)).all(axis=1)]
        for name, parts in configurations(study, splitter).items()
    }
    return {name: rows for name, rows in by_name.items() if len(rows)}


def calibration_bins(rows: pd.DataFrame) -> pd.DataFrame:
    """Per bin of the predictions: mean prediction, mean label with its interval, and number of molecules."""
    predictions = rows["prediction"].to_numpy()
    n_bins = int(np.clip(rows["molecule_id"].nunique() // PER_BIN, 1, BINS))
    edges = np.unique(np.quantile(predictions, np.arange(1, n_bins) / n_bins))
    bins = rows.assign(bin=np.searchsorted(edges, predictions)).groupby("bin")
    return pd.DataFrame(
        [{"prediction": group["prediction"].mean(), **bootstrap.mean_of(group, "label")} for _, group in bins]
    )


def _calibration(study: Study, i: int, shown: dict[str, pd.DataFrame]) -> list[Block]:
    unit = f" ({study.unit})" if study.unit else ""
    bins = {name: calibration_bins(rows) for name, rows in shown.items()}
    figure = go.Figure()
    ends = around(*(part["prediction"] for part in bins.values()))
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        name="label = prediction",
        line={"color": GREY, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    for name, colour in colours(list(shown)).items():
        part = bins[name]
        figure.add_scatter(
            x=part["prediction"].tolist(),
            y=part["mean"].tolist(),
            error_y=whiskers(part),
            mode="lines+markers",
            name=plain(name),
            line={"color": colour, "width": 1.4},
            customdata=part["molecules"].tolist(),
            hovertemplate="predicted %{x:.3f}, measured %{y:.3f}<br>molecules: %{customdata}<extra>"
            + plain(name)
            + "</extra>",
        )
    figure.update_layout(
        xaxis=axis(f"mean prediction{unit}"), yaxis=axis(f"mean label{unit}"), legend={"itemwidth": 30}, showlegend=True
    )
    caption = (
        "Line of the label on the prediction over all test predictions, and bias (mean prediction less label), each "
        "with its interval: a slope below 1 means that predictions differ more from each other than labels do"
    )
    return [
        drawn(
            f"calibration-{i}",
            figure,
            "A point is a bin of equally many predictions: on the dotted line, molecules predicted so have that label "
            "on average; above it they are predicted too low, below it too high.",
            440,
        ),
        table(
            caption,
            ["model", "slope", "intercept", f"bias{unit}", "molecules", "predictions"],
            [(name, *_line(rows)) for name, rows in shown.items()],
        ),
    ]


def _intervals(study: Study, shown: dict[str, pd.DataFrame]) -> list[Block]:
    """How wide intervals must be, and whether they hold what they say, by name of the configuration."""
    coverage = (study.config.get("predict") or {}).get("coverage", COVERAGE)
    validation = study.predictions[study.predictions["fold"] == "validation"]
    rows = []
    for name, test in shown.items():
        found = interval_rows(test, validation, coverage)
        if found is None:
            continue
        checked, width = found
        cells = [bootstrap.mean_of(checked, column) for column in ("covered", "naive")] if len(checked) else []
        said = [between(cell["mean"], cell["low"], cell["high"]) for cell in cells] or [MISSING, MISSING]
        rows.append((name, number(width, 3), said[0], cells[0]["molecules"] if cells else 0, said[1]))
    if not rows:
        return [Paragraph(f"There are too few test molecules for intervals of {coverage:.0%}.")]
    unit = f" ({study.unit})" if study.unit else ""
    return [
        table(
            f"Intervals of {coverage:.0%} around a prediction: half their width, calibrated on half of the test "
            "molecules, which nothing before has looked at, and the share of the labels of the other half that they "
            "hold. Beside it the share if validation molecules calibrated them: these have decided when to stop, what "
            "was selected and which options were taken, so that their errors are too small. An exported model has such "
            "intervals (docs/predicting.md)",
            ["model", f"half-width{unit}", "holds", "molecules", "calibrated on validation"],
            rows,
        )
    ]


def interval_rows(test: pd.DataFrame, validation: pd.DataFrame, coverage: float) -> tuple[pd.DataFrame, float] | None:
    """Whether the intervals of each run hold the labels of the test molecules that did not calibrate them.

    Args:
        test: rows of the table ``predictions``, of test molecules and any runs.
        validation: those of validation molecules, of these runs and others.

    Returns:
        One row per run and molecule that checks: ``molecule_id``, ``covered``, and ``naive``, for an interval that the
        validation molecules calibrate; and the mean half-width. None where there are too few test molecules.
    """
    parts, widths = [], []
    by_run = dict(list(validation.groupby("run_id")))
    for run, rows in test.groupby("run_id"):
        own = conformal.calibrating(list(rows["molecule_id"]), coverage)
        errors = (rows["label"] - rows["prediction"]).abs().to_numpy()
        try:
            half = conformal.half_width(errors[own], coverage)
        except ChemsieveError:
            return None
        others = by_run.get(run)
        naive = np.full(len(rows), np.nan)
        if others is not None and math.ceil((len(others) + 1) * coverage - 1e-9) <= len(others):
            naive = errors <= conformal.half_width((others["label"] - others["prediction"]).to_numpy(), coverage)
        made = pd.DataFrame({"molecule_id": rows["molecule_id"], "covered": errors <= half, "naive": naive})
        parts.append(made[~own].astype({"covered": float, "naive": float}))
        widths.append(half)
    return pd.concat(parts), float(np.mean(widths))


def _line(rows: pd.DataFrame) -> tuple:
    predictions, labels = rows["prediction"].to_numpy(), rows["label"].to_numpy()
    molecules = rows["molecule_id"].to_numpy()
    statistics = (
        lambda weights: bootstrap.line(predictions, labels, weights)[0],
        lambda weights: bootstrap.line(predictions, labels, weights)[1],
        lambda weights: bootstrap.mean(predictions - labels, weights),
    )
    cells = (between(one(np.ones(len(rows))), *bootstrap.interval(molecules, one)) for one in statistics)
    return (*cells, rows["molecule_id"].nunique(), len(rows))
