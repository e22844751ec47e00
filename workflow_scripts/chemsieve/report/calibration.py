"""Whether predictions can be taken at their word: against the labels, and far from the training molecules."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chemsieve.report.figure import around, axis, categories, colours, drawn, plain
from chemsieve.report.markup import MISSING, Section, folded, heading, number, paragraph, table
from chemsieve.report.study import DESCRIPTORS, Study, run_parts
from chemsieve.statistics import bootstrap

BINS = 10  # of the predictions, of equal size
PER_BIN = 5  # molecules that a bin of the predictions should have; fewer molecules have fewer bins
SIMILARITY_STEP = 0.1
KEY = ["splitter", "split_seed", "molecule_id"]


def section(study: Study) -> Section:
    """Calibration on the test molecules, and error against similarity to the training molecules, per splitter."""
    blocks = []
    for i, splitter in enumerate(study.splitters):
        shown = test_predictions(study, splitter)
        if shown:
            blocks += [heading(f"{splitter} split"), *_calibration(study, i, shown), *_similarity(study, i, shown)]
    title = "Calibration"
    if not blocks:
        return Section("calibration", title, [paragraph("There are no test predictions to hold against labels.")])
    intro = (
        "Shown are the encoders fine-tuned on no pool molecule, the language model with the lowest mean RMSE on the "
        "validation molecules, and the descriptor models. Replicates are pooled; intervals are 95 % and come from "
        "resampling the test molecules, each with all its predictions, so they leave out the noise between trainings."
    )
    return Section("calibration", title, [paragraph(intro), *blocks])


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
    described = [key for key in errors.index if key[0] == DESCRIPTORS]
    return named | {method: (origin, method, selection) for origin, method, selection in described}


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
    return pd.DataFrame([{"prediction": group["prediction"].mean(), **_mean(group, "label")} for _, group in bins])


def similarity_bins(rows: pd.DataFrame) -> pd.DataFrame:
    """Per bin of the similarity to the nearest training molecule: mean absolute error, interval, molecules."""
    last = round(1 / SIMILARITY_STEP) - 1
    # The epsilon keeps 0.3 in the bin that begins there, and 1 belongs to the last bin.
    bins = np.floor(rows["similarity"] / SIMILARITY_STEP + 1e-9).clip(upper=last).astype(int)
    return pd.DataFrame([{"bin": step, **_mean(group, "error")} for step, group in rows.groupby(bins)])


def _mean(group: pd.DataFrame, column: str) -> dict[str, float]:
    """Mean of a column with its interval, and the molecules behind it."""
    values, molecules = group[column].to_numpy(), group["molecule_id"].to_numpy()
    low, high = bootstrap.interval(molecules, lambda weights: bootstrap.mean(values, weights))
    return {"mean": values.mean(), "low": low, "high": high, "molecules": len(set(molecules)), "rows": len(values)}


def _calibration(study: Study, i: int, shown: dict[str, pd.DataFrame]) -> list[str]:
    unit = f" ({study.unit})" if study.unit else ""
    bins = {name: calibration_bins(rows) for name, rows in shown.items()}
    figure = go.Figure()
    ends = around(*(part["prediction"] for part in bins.values()))
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        name="label = prediction",
        line={"color": "#8a8f98", "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    for name, colour in colours(list(shown)).items():
        part = bins[name]
        figure.add_scatter(
            x=part["prediction"].tolist(),
            y=part["mean"].tolist(),
            error_y=_whiskers(part),
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


def _line(rows: pd.DataFrame) -> tuple:
    predictions, labels = rows["prediction"].to_numpy(), rows["label"].to_numpy()
    molecules = rows["molecule_id"].to_numpy()
    statistics = (
        lambda weights: bootstrap.line(predictions, labels, weights)[0],
        lambda weights: bootstrap.line(predictions, labels, weights)[1],
        lambda weights: bootstrap.mean(predictions - labels, weights),
    )
    cells = (_between(one(np.ones(len(rows))), *bootstrap.interval(molecules, one)) for one in statistics)
    return (*cells, rows["molecule_id"].nunique(), len(rows))


def _similarity(study: Study, i: int, shown: dict[str, pd.DataFrame]) -> list[str]:
    title = heading("Error against similarity to the training molecules")
    if study.nearest_training is None:
        return [title, paragraph("Similarity is not available: the study has no table nearest_training.")]
    near = study.nearest_training[study.nearest_training["fold"] == "test"]
    near = near.assign(split_seed=near["split_seed"].astype(str))[[*KEY, "similarity"]]
    joined = {name: rows.merge(near, on=KEY) for name, rows in shown.items()}
    joined = {name: rows.assign(error=(rows["prediction"] - rows["label"]).abs()) for name, rows in joined.items()}
    joined = {name: rows for name, rows in joined.items() if len(rows)}
    if not joined:
        return [title, paragraph("Similarity is not available: nearest_training has none of these test molecules.")]
    bins = {name: similarity_bins(rows) for name, rows in joined.items()}
    found = sorted({int(step) for part in bins.values() for step in part["bin"]})
    error = f"mean absolute error ({study.unit})" if study.unit else "mean absolute error"
    figure = go.Figure()
    for name, colour in colours(list(joined)).items():
        part = bins[name]
        figure.add_scatter(
            x=[_range(step) for step in part["bin"]],
            y=part["mean"].tolist(),
            error_y=_whiskers(part),
            mode="markers",
            name=plain(name),
            offsetgroup=plain(name),
            marker={
                "color": colour,
                "size": 7,
                "symbol": ["circle-open" if np.isnan(low) else "circle" for low in part["low"]],
            },
            customdata=part["molecules"].tolist(),
            hovertemplate="%{x}: %{y:.3f}<br>molecules: %{customdata}<extra>" + plain(name) + "</extra>",
        )
    figure.update_layout(
        scattermode="group",
        scattergap=0.4,
        xaxis=categories("Tanimoto similarity to the nearest training molecule", [_range(step) for step in found]),
        yaxis=axis(error, rangemode="tozero"),
        showlegend=True,
    )
    single = [
        (name, _range(int(row["bin"])), _between(row["mean"], row["low"], row["high"]), row["molecules"], row["rows"])
        for name, part in bins.items()
        for row in part.to_dict("records")
    ]
    return [
        title,
        drawn(
            f"similarity-{i}",
            figure,
            "Test molecules by their similarity to the nearest training molecule of the target (ECFP4): an error that "
            f"rises to the left belongs to molecules unlike those trained on. A ring stands for fewer than "
            f"{bootstrap.LEAST} molecules and tells nothing.",
            400,
        ),
        table(
            "Spearman correlation of the absolute error with the similarity, with its interval: negative where "
            "molecules like those trained on are predicted better",
            ["model", "Spearman", "molecules"],
            [(name, similarity_correlation(rows), rows["molecule_id"].nunique()) for name, rows in joined.items()],
        ),
        folded(
            "Each bin",
            table(
                "Mean absolute error per bin of the similarity, with its interval",
                ["model", "similarity", error, "molecules", "predictions"],
                single,
                sortable=True,
            ),
        ),
    ]


def similarity_correlation(rows: pd.DataFrame) -> str:
    """Spearman correlation of error and similarity with its interval, errors averaged over training seeds."""
    averaged = rows.groupby(KEY, as_index=False)[["error", "similarity"]].mean()
    errors, similarities = averaged["error"].to_numpy(), averaged["similarity"].to_numpy()
    molecules = averaged["molecule_id"].to_numpy()
    low, high = bootstrap.interval(molecules, lambda weights: bootstrap.spearman(errors, similarities, weights))
    return _between(bootstrap.spearman(errors, similarities, np.ones(len(averaged))), low, high)


def _whiskers(part: pd.DataFrame) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": (part["high"] - part["mean"]).tolist(),
        "arrayminus": (part["mean"] - part["low"]).tolist(),
        "thickness": 1,
        "width": 3,
    }


def _range(step: int) -> str:
    return f"{step * SIMILARITY_STEP:.1f} – {(step + 1) * SIMILARITY_STEP:.1f}"


def _between(value: float, low: float, high: float) -> str:
    if np.isnan(value):
        return MISSING
    if np.isnan(low):
        return number(value, 3)
    # As many decimals as the interval's width has digits worth reading.
    decimals = 3 if high <= low else int(np.clip(1 - np.floor(np.log10(high - low)), 0, 4))
    return f"{value:.{decimals}f} ({low:.{decimals}f} to {high:.{decimals}f})"
