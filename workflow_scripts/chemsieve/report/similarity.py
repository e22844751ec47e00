"""Whether errors grow with the distance from the training molecules."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chemsieve.report.blocks import Block, Folded, Heading, Paragraph, table
from chemsieve.report.figure import axis, categories, colours, drawn, plain, whiskers
from chemsieve.report.study import Study
from chemsieve.report.words import between
from chemsieve.statistics import bootstrap

STEP = 0.1  # width of a bin
KEY = ["splitter", "split_seed", "molecule_id"]


def similarity_blocks(study: Study, i: int, shown: dict[str, pd.DataFrame]) -> list[Block]:
    """Error against similarity of the i-th splitter's test predictions, by name of the configuration."""
    title = Heading("Error against similarity to the training molecules")
    if study.nearest_training is None:
        return [title, Paragraph("Similarity is not available: the study has no table nearest_training.")]
    near = study.nearest_training[study.nearest_training["fold"] == "test"]
    near = near.assign(split_seed=near["split_seed"].astype(str))[[*KEY, "similarity"]]
    joined = {name: rows.merge(near, on=KEY) for name, rows in shown.items()}
    joined = {name: rows.assign(error=(rows["prediction"] - rows["label"]).abs()) for name, rows in joined.items()}
    joined = {name: rows for name, rows in joined.items() if len(rows)}
    if not joined:
        return [title, Paragraph("Similarity is not available: nearest_training has none of these test molecules.")]
    error = f"mean absolute error ({study.unit})" if study.unit else "mean absolute error"
    bins = {name: similarity_bins(rows) for name, rows in joined.items()}
    single = [
        (name, _range(int(row["bin"])), between(row["mean"], row["low"], row["high"]), row["molecules"], row["rows"])
        for name, part in bins.items()
        for row in part.to_dict("records")
    ]
    return [
        title,
        _figure(i, bins, error),
        table(
            "Spearman correlation of the absolute error with the similarity, with its interval: negative where "
            "molecules like those trained on are predicted better",
            ["model", "Spearman", "molecules"],
            [(name, similarity_correlation(rows), rows["molecule_id"].nunique()) for name, rows in joined.items()],
        ),
        Folded(
            "Each bin",
            [
                table(
                    "Mean absolute error per bin of the similarity, with its interval",
                    ["model", "similarity", error, "molecules", "predictions"],
                    single,
                    sortable=True,
                )
            ],
        ),
    ]


def similarity_bins(rows: pd.DataFrame) -> pd.DataFrame:
    """Per bin of the similarity to the nearest training molecule: mean absolute error, interval, molecules."""
    last = round(1 / STEP) - 1
    # The epsilon keeps 0.3 in the bin that begins there, and 1 belongs to the last bin.
    bins = np.floor(rows["similarity"] / STEP + 1e-9).clip(upper=last).astype(int)
    return pd.DataFrame([{"bin": step, **bootstrap.mean_of(group, "error")} for step, group in rows.groupby(bins)])


def similarity_correlation(rows: pd.DataFrame) -> str:
    """Spearman correlation of error and similarity with its interval, errors averaged over training seeds."""
    averaged = rows.groupby(KEY, as_index=False)[["error", "similarity"]].mean()
    errors, similarities = averaged["error"].to_numpy(), averaged["similarity"].to_numpy()
    molecules = averaged["molecule_id"].to_numpy()
    low, high = bootstrap.interval(molecules, lambda weights: bootstrap.spearman(errors, similarities, weights))
    return between(bootstrap.spearman(errors, similarities, np.ones(len(averaged))), low, high)


def _figure(i: int, bins: dict[str, pd.DataFrame], error: str) -> Block:
    bins = {name: part[part["molecules"] >= bootstrap.LEAST] for name, part in bins.items()}
    found = sorted({int(step) for part in bins.values() for step in part["bin"]})
    if not found:
        return Paragraph(f"No bin of the similarity has {bootstrap.LEAST} molecules, too few for a figure.")
    figure = go.Figure()
    for name, colour in colours(list(bins)).items():
        part = bins[name]
        figure.add_scatter(
            x=[_range(step) for step in part["bin"]],
            y=part["mean"].tolist(),
            error_y=whiskers(part),
            mode="markers",
            name=plain(name),
            offsetgroup=plain(name),
            marker={"color": colour, "size": 7},
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
    return drawn(
        f"similarity-{i}",
        figure,
        "Test molecules by their similarity to the nearest training molecule of the target (ECFP4): an error that "
        f"rises to the left belongs to molecules unlike those trained on. Bins of fewer than {bootstrap.LEAST} "
        "molecules stand in the table only.",
        400,
    )


def _range(step: int) -> str:
    return f"{step * STEP:.1f} – {(step + 1) * STEP:.1f}"
