"""The influence scores: how they are spread, whether they were solved for, and whether they agree."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chemsieve.report.blocks import Alarm, Block, Folded, Heading, Paragraph, Section, table
from chemsieve.report.drawings import gallery
from chemsieve.report.figure import CELL_TEXT, SEQUENTIAL, axis, categories, colours, drawn, plain
from chemsieve.report.study import AGGREGATE, REPLICATE, Study, meanings, ordered
from chemsieve.report.words import count, listing, number

# A violin is drawn from this many quantiles instead of all scores: the page stays small and the shape is the same.
QUANTILES = np.linspace(0.005, 0.995, 199)
# Columns of the solves that are seen at first.
SOLVES = ["estimator", "converged", *REPLICATE, "origin", "checkpoint", "relative_residual", "damping", "seconds"]
NAMED = 3  # pool molecules shown on each side of a test molecule
WRITTEN = 8  # cells of a larger matrix are too small for numbers


def section(study: Study) -> Section:
    """Distribution, diagnostics and rank agreement of the influence scores."""
    blocks: list[Block] = [
        Paragraph(
            "The expected gain of a molecule is how much the validation loss is predicted to fall when it gains "
            "weight: positive helps, negative hurts. It says what a linear model around one checkpoint expects, not "
            "what training did."
        )
    ]
    if study.influence.empty:
        blocks.append(Paragraph("No influence was computed in this study."))
    else:
        blocks += [*_distributions(study), *_agreement(study)]
    blocks += [*_validation(study), *_on_test(study), *_diagnostics(study)]
    return Section("influence", "Influence", blocks)


def agreement(influence: pd.DataFrame, key: str) -> pd.DataFrame:
    """Spearman correlation of the scores between the values of ``key``, averaged over the models of a replicate."""
    matrices = []
    for _, model in influence.groupby(REPLICATE, dropna=False):
        scores = model.pivot(index="molecule_id", columns=key, values="influence")
        matrices.append(scores.rank().corr(min_periods=3))
    return pd.concat(matrices).groupby(level=0).mean()


def _distributions(study: Study) -> list[Block]:
    blocks: list[Block] = [Heading("Distribution per checkpoint")]
    influence = study.influence
    for i, (estimator, scores) in enumerate(influence.groupby("estimator")):
        checkpoints = sorted(scores["checkpoint"].unique(), key=_last)
        origins = ordered(scores["origin"].unique(), ["baseline", "adapted"])
        figure = go.Figure()
        for origin, colour in colours(origins).items():
            groups = scores[scores["origin"] == origin].groupby("checkpoint")["expected_gain"]
            spread = [(_checkpoint(name), group.quantile(QUANTILES)) for name, group in groups]
            figure.add_violin(
                x=[name for name, values in spread for _ in values],
                y=[float(f"{value:.4g}") for _, values in spread for value in values],
                name=plain(origin),
                line={"color": colour, "width": 1.2},
                meanline={"visible": True},
                points=False,
                spanmode="hard",
                scalemode="width",
                hoverinfo="y",
            )
        figure.update_layout(
            violinmode="group",
            xaxis=categories("checkpoint", [_checkpoint(name) for name in checkpoints]),
            yaxis=axis("expected gain", zeroline=True),
            showlegend=True,
        )
        blocks.append(
            drawn(
                f"influence-distribution-{i}",
                figure,
                f"Estimator {estimator}: the width is the share of pool molecules with that expected gain, all "
                "replicates together, without the outer half per cent on each side; above zero is expected to help.",
            )
        )
    return blocks


def _agreement(study: Study) -> list[Block]:
    influence = study.influence
    origin = study.selection_origin if study.selection_origin in set(influence["origin"]) else influence["origin"].min()
    aggregated = influence["checkpoint"] == AGGREGATE
    last = influence["checkpoint"] == influence["checkpoint"].max()
    chosen = influence[aggregated if aggregated.any() else last]
    chosen = chosen.assign(key=chosen["origin"] + " · " + chosen["estimator"])
    blocks: list[Block] = [Heading("Rank agreement")]
    if chosen["key"].nunique() < 2:
        blocks.append(Paragraph("There is one estimator on one encoder, so no two rankings to compare."))
    else:
        at = "aggregated over checkpoints" if aggregated.any() else "at the last checkpoint"
        blocks.append(
            _heatmap(
                "influence-agreement-estimators",
                agreement(chosen, "key"),
                f"Spearman correlation of the pool's ranking between encoders and estimators, {at}, mean over "
                "replicates: 1 is the same order, 0 is unrelated.",
            )
        )
    here = influence[influence["origin"] == origin]
    for i, (estimator, scores) in enumerate(here.groupby("estimator")):
        if scores["checkpoint"].nunique() < 2:
            blocks.append(Paragraph(f"Estimator {estimator} scored one checkpoint, so there are no two to compare."))
            continue
        matrix = agreement(scores, "checkpoint")
        order = sorted(matrix.index, key=_last)
        matrix = matrix.loc[order, order].rename(index=_checkpoint, columns=_checkpoint)
        blocks.append(
            _heatmap(
                f"influence-agreement-checkpoints-{i}",
                matrix,
                f"Estimator {estimator}, {origin} encoder: Spearman correlation of the pool's ranking between "
                "checkpoints; low values mean that the ranking depends on when one looks.",
            )
        )
    return blocks


def _validation(study: Study) -> list[Block]:
    validation = study.influence_validation
    if validation is None or validation.empty:
        return []
    shown = validation[validation["checkpoint"] == AGGREGATE].sort_values(
        ["origin", "datamodelling_score"], ascending=[True, False]
    )
    subsets, seeds = int(shown["subsets"].iloc[0]), int(shown["retrain_seeds"].iloc[0])
    top, lowest, highest = (shown[name].mean() for name in ("ceiling", "ceiling_low", "ceiling_high"))
    limit = (
        "With one seed the limit that the noise of training sets to any score is unknown."
        if np.isnan(top)
        else f"The seeds alone limit any score to {top:.2f} ({lowest:.2f} to {highest:.2f})."
    )
    above = sorted(set(shown.loc[shown["datamodelling_score"] > shown["ceiling"], "estimator"]))
    beyond = (
        f" Above that limit, which none can truly be, {'stands' if len(above) == 1 else 'stand'} {listing(above)}: "
        "score and limit are both estimates from few subsets, so that such a score says no more than the limit does."
        if above
        else ""
    )
    block = table(
        "Rank correlation between the gain that a score predicts for a random subset of the pool and the fall of the "
        "validation loss that retraining with it gave",
        ["encoder", "score of", "", "datamodelling score", "95 % interval"],
        [
            (row.origin, row.estimator, row.kind, f"{row.datamodelling_score:.2f}", f"{row.low:.2f} to {row.high:.2f}")
            for row in shown.itertuples()
        ],
        sortable=True,
    )
    return [
        Heading("Does the score predict retraining?"),
        Paragraph(
            f"The adapted model was retrained with {count(subsets, 'random subset')} of the pool, "
            f"{count(seeds, 'seed')} each. {limit} An interval that holds zero "
            f"says nothing about the score.{beyond}"
        ),
        block,
    ]


def _on_test(study: Study) -> list[Block]:
    """Which pool molecules would lower and raise the error of single test molecules, in the first replicate."""
    scored = study.influence_on_test
    if scored is None or scored.empty:
        return []
    splitter, split_seed, seed = first = tuple(scored[REPLICATE].iloc[0])
    here = scored[(scored[REPLICATE] == first).all(axis=1)]
    molecules = study.molecules.set_index("molecule_id")
    blocks: list[Block] = [
        Heading("Single test molecules"),
        Paragraph(
            f"{count(here['test_id'].nunique(), 'test molecule')}, drawn at random, of the {splitter} split with seed "
            f"{split_seed}, training seed {seed}, {here['origin'].iloc[0]} encoder, "
            f"{_checkpoint(int(here['checkpoint'].iloc[0]))}. Open one to see the {NAMED} pool molecules whose weight "
            f"would lower its own squared error most, and the {NAMED} that would raise it. This explains predictions "
            "after the fact: it reads test labels, and nothing is chosen by it."
        ),
    ]
    for name, rows_of in here.groupby("test_id", sort=False):
        ranked = rows_of.sort_values(["influence", "molecule_id"])
        label, error = molecules.at[name, "label"], rows_of["error"].iloc[0]
        query = (
            molecules.at[name, "canonical_smiles"],
            study.named(name),
            [f"label {number(label)}", f"predicted {number(label + error)}", "the test molecule"],
        )
        number_of = min(NAMED, len(ranked) // 2)
        cards = [
            (
                molecules.at[row.molecule_id, "canonical_smiles"],
                study.named(row.molecule_id),
                [
                    f"label {number(molecules.at[row.molecule_id, 'label'])}",
                    f"gain {number(-row.influence, 3)}",
                    effect,
                ],
            )
            for rows, effect in (
                (ranked.head(number_of), "lowers its error most"),
                (ranked.tail(number_of).iloc[::-1], "raises its error most"),
            )
            for row in rows.itertuples()
        ]
        blocks.append(Folded(f"{study.named(name)}: error {number(error, sign=True)}", [gallery([query, *cards])]))
    return blocks


def _heatmap(identifier: str, matrix: pd.DataFrame, reading: str) -> Block:
    names = [plain(name) for name in matrix.columns]
    values = matrix.to_numpy().round(3)
    figure = go.Figure(
        go.Heatmap(
            x=names,
            y=names,
            z=values,
            zmin=-1,
            zmax=1,
            colorscale=SEQUENTIAL,
            reversescale=True,  # blue is agreement
            textfont=CELL_TEXT,
            texttemplate="%{z:.2f}" if len(names) <= WRITTEN else None,
            hovertemplate="%{y}, %{x}: %{z:.3f}<extra></extra>",
            showscale=len(names) > WRITTEN,
            colorbar={"thickness": 12},
        )
    )
    figure.update_layout(
        xaxis=categories("", list(matrix.columns)),
        yaxis={**categories("", list(matrix.columns)), "autorange": "reversed"},
    )
    return drawn(identifier, figure, reading, 150 + min(36 * len(names), 420))


def _diagnostics(study: Study) -> list[Block]:
    blocks: list[Block] = [Heading("Diagnostics of the solves")]
    diagnostics = study.influence_diagnostics
    if diagnostics.empty:
        return [*blocks, Paragraph("There are none: no estimator solved for its scores.")]
    failed = diagnostics[diagnostics["failure"].notna()]
    for reason, rows in failed.groupby("failure", sort=False):
        names = listing(sorted(rows["estimator"].unique()))
        blocks.append(
            Alarm(f"{len(rows)} of {count(len(diagnostics), 'solve')} failed and gave no score ({names}): {reason}.")
        )
    others = diagnostics["solver"].dropna().str.extract(r"^(\S+) in place of (\S+): ").dropna().drop_duplicates()
    blocks += [
        Paragraph(
            f"The pool has no room in the Gram matrix (influence.gram.largest), which {name} needs: {other} scored "
            f"each molecule alone in its place, so that two near-copies are worth twice what one is. Its scores stand "
            f"under the name {name}."
        )
        for other, name in others.itertuples(index=False)
    ]
    apart = diagnostics[~diagnostics["converged"] & diagnostics["failure"].isna()]
    sampled = apart["expected_agreement"].notna()
    for name, rows in apart[sampled].groupby("estimator"):
        blocks.append(
            Alarm(
                f"{count(len(rows), 'ranking')} of {name} "
                f"{'is' if len(rows) == 1 else 'are'} not settled: "
                f"{'it is' if len(rows) == 1 else 'the least is'} expected to agree to "
                f"{rows['expected_agreement'].min():.2f} with that of endless permutations. Raise its permutations; "
                "where the estimated residual is above the configured tolerance, lower influence.gram.tolerance."
            )
        )
    apart = apart[~sampled]
    if len(apart):
        names = listing(sorted(apart["estimator"].unique()))
        blocks.append(
            Alarm(
                f"{len(apart)} of {count(len(diagnostics), 'solve')} did not converge ({names}): the relative "
                "residual is above the configured tolerance, so these scores are not the influence that they stand "
                "for. A larger damping, a lower influence.gram.tolerance, or refinements of exact help."
            )
        )
    elif not len(failed) and not sampled.any():
        blocks.append(Paragraph(f"All {count(len(diagnostics), 'solve')} reached the configured tolerance."))
    front = [name for name in SOLVES if name in diagnostics]
    columns = [*front, *(name for name in diagnostics.columns if name not in front)]
    shown = diagnostics.sort_values(["estimator", "origin", *REPLICATE, "checkpoint"], kind="stable")[columns]
    shown["converged"] = shown["converged"].map({True: "yes", False: "NO"})
    block = table(
        "One row per checkpoint and estimator; the relative residual is taken on the estimator's own matrix (column "
        "curvature) with the effective damping",
        [name.replace("_", " ") for name in columns],
        shown.itertuples(index=False, name=None),
        sortable=True,
        shown=len(front),
        notes=meanings("influence_diagnostics", columns),
    )
    return [*blocks, Folded(f"{count(len(shown), 'solve')}, one by one", [block])]


def _last(checkpoint: int) -> tuple[bool, int]:
    return checkpoint == AGGREGATE, checkpoint


def _checkpoint(checkpoint: int) -> str:
    return "aggregate" if checkpoint == AGGREGATE else f"epoch {checkpoint}"
