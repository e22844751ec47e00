"""The positive control: a pool whose bad molecules are known."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy import stats

from chemsieve.report.blocks import Block, Folded, Paragraph, Section, table
from chemsieve.report.figure import axis, categories, colours, drawn, plain
from chemsieve.report.study import REPLICATE, Study, ordered, ordered_selections
from chemsieve.report.words import MISSING, number, percent, spread

CORRUPTED = "corrupted_label"
GROUPS = ["like_target", "other_chemistry", CORRUPTED]
POOL = "whole pool"


def section(study: Study) -> Section | None:
    """What each strategy took from a pool whose groups are known; nothing where they are not."""
    if study.pool_control is None:
        return None
    blocks: list[Block] = []
    if study.embedded:
        blocks.append(
            Paragraph(
                "The label of the embedded data is computed Crippen logP plus noise, not a measurement: this shows "
                "that the machinery finds what was planted, and nothing about a real property."
            )
        )
    ranked = study.selections.groupby("strategy").filter(lambda rows: rows["selected"].any())
    joined = ranked.merge(study.pool_control, on="molecule_id")
    if joined.empty:
        blocks.append(Paragraph("The groups of the pool are known, but no strategy ranked the pool."))
        return Section("control", "Positive control", blocks)
    accepted = study.pool_control[study.pool_control["molecule_id"].isin(study.molecules["molecule_id"])]
    pool = accepted["group"].value_counts(normalize=True)
    results = control_results(joined)
    blocks += [
        Paragraph(
            "The pool is made of molecules like the target's, of other chemistry, and of molecules whose label was "
            "corrupted on purpose. No step that trains or selects can see the groups. Drawing blindly would take "
            f"corrupted molecules at their share of the pool, {percent(float(pool.get(CORRUPTED, 0)))}; a strategy "
            "that sees bad labels takes fewer."
        ),
        _figure(results, pool),
        *_tables(results, pool),
        Paragraph(
            "AUROC is the probability that a molecule drawn from the others is ranked before one drawn from the "
            "corrupted, ties counting half: 1 puts every corrupted molecule last, 0.5 is chance, 0 puts them first. It "
            "is taken on the score, or on the rank where a strategy gives no score. Strategies answer different "
            "questions: influence asks which molecule lowers the validation loss, and residual, disagreement and "
            "self_influence ask which label is wrong, which is what this AUROC measures."
        ),
    ]
    return Section("control", "Positive control", blocks)


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Exact AUROC from ranks: how often a positive scores above a negative, ties counting half."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return math.nan
    above = stats.rankdata(scores)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def control_results(joined: pd.DataFrame) -> pd.DataFrame:
    """Per strategy and replicate: share of each group among the selected, and AUROC of ranking the corrupted last."""
    rows = []
    for keys, ranking in joined.groupby(["strategy", *REPLICATE], dropna=False):
        groups = ranking["group"].to_numpy()
        chosen = groups[ranking["selected"].to_numpy()]
        score = -ranking["rank"] if ranking["score"].isna().any() else ranking["score"]
        score = score.to_numpy(dtype=float)
        near = (groups == CORRUPTED) | (groups == "like_target")
        shares = {group: float((chosen == group).mean()) if len(chosen) else math.nan for group in _groups(joined)}
        rows.append(
            {
                **dict(zip(["strategy", *REPLICATE], keys, strict=True)),
                **shares,
                "n": len(chosen),
                "auroc": auroc(score, groups != CORRUPTED),
                "auroc_like_target": auroc(score[near], groups[near] != CORRUPTED),
            }
        )
    return pd.DataFrame(rows)


def _groups(frame: pd.DataFrame) -> list[str]:
    return ordered([*GROUPS, *frame["group"].unique()], GROUPS)


def _figure(results: pd.DataFrame, pool: pd.Series) -> Block:
    strategies = ordered_selections(results["strategy"].unique())
    groups = [name for name in results.columns if name in GROUPS or name in pool.index]
    means = results.groupby("strategy")[groups].mean().loc[strategies]
    names = [POOL, *strategies]
    figure = go.Figure()
    for group, colour in colours(groups).items():
        figure.add_bar(
            x=[plain(name) for name in names],
            y=[float(pool.get(group, 0)), *means[group]],
            name=plain(group),
            marker={"color": colour},
            hovertemplate="%{x}: %{y:.1%}<extra>" + plain(group) + "</extra>",
        )
    figure.update_layout(
        barmode="stack",
        xaxis=categories("", names),
        yaxis=axis("share of the selected", tickformat=".0%", range=[0, 1]),
        showlegend=True,
    )
    return drawn(
        "control-shares",
        figure,
        "What each strategy took, mean over replicates; red is corrupted on purpose. The first bar is what blind "
        "drawing would give.",
        title="What each strategy took from the pool",
    )


def _tables(results: pd.DataFrame, pool: pd.Series) -> list[Block]:
    measures = [name for name in results.columns if name not in ("strategy", *REPLICATE, "n")]
    named = {"auroc": "AUROC, corrupted last", "auroc_like_target": "AUROC, like_target against corrupted"}
    header = [named.get(name, name) for name in measures]
    summary, single = [], []
    for strategy in ordered_selections(results["strategy"].unique()):
        group = results[results["strategy"] == strategy].sort_values(REPLICATE, kind="stable")
        beyond = float(group[CORRUPTED].mean() - pool.get(CORRUPTED, 0))
        spreads = (spread(float(group[name].mean()), float(group[name].std()), 3) for name in measures)
        summary.append((strategy, *spreads, MISSING if math.isnan(beyond) else f"{100 * beyond:+.1f}", len(group)))
        for row in group.to_dict("records"):
            values = (number(row[name], 3) if math.isnan(row[name]) else f"{row[name]:.3f}" for name in measures)
            single.append((strategy, *(str(row[name]) for name in REPLICATE), row["n"], *values))
    return [
        table(
            "Share of each group among the selected and AUROC, mean ± standard deviation over replicates; the "
            "percentage points are the share of the corrupted less their share of the pool",
            ["strategy", *header, "corrupted, points against blind drawing", "replicates"],
            summary,
        ),
        Folded(
            "Each replicate",
            [
                table(
                    "The same for each replicate",
                    ["strategy", *(name.replace("_", " ") for name in REPLICATE), "selected", *header],
                    single,
                    sortable=True,
                )
            ],
        ),
    ]
