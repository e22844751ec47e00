"""Molecules drawn: the top and the bottom of a ranking, and the worst errors."""

import base64
from collections.abc import Iterable

import pandas as pd
from rdkit import Chem, rdBase
from rdkit.Chem.Draw import rdMolDraw2D

from chemsieve.report.blocks import Block, Card, Gallery, Heading, Paragraph, Section
from chemsieve.report.study import REPLICATE, Study, ordered
from chemsieve.report.words import count, short

DRAWN = 12
SIZE = (240, 160)


def section(study: Study) -> Section:
    """Selected molecules and molecules that are predicted badly."""
    return Section("molecules", "Molecules", [*_ranking(study), *_worst(study)])


def mean_ranks(selections: pd.DataFrame) -> pd.DataFrame:
    """Per molecule: mean rank and score of one strategy over replicates, and in how many it was selected."""
    ranks = selections.groupby("molecule_id").agg(
        rank=("rank", "mean"), score=("score", "mean"), selected=("selected", "sum")
    )
    return ranks.reset_index().sort_values(["rank", "molecule_id"], kind="stable")


def picture(smiles: str) -> str:
    """The molecule as a base64 SVG, for an image that carries its own data; empty where RDKit cannot draw it.

    An image, not inline SVG: nothing inside it can reach the page.
    """
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return ""
    canvas = rdMolDraw2D.MolDraw2DSVG(*SIZE)
    canvas.drawOptions().clearBackground = False  # type: ignore[assignment]  # RDKit's stubs have another type
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, molecule)
    canvas.FinishDrawing()
    return base64.b64encode(canvas.GetDrawingText().encode()).decode()


def _ranking(study: Study) -> list[Block]:
    if study.selections.empty:
        return [Paragraph("No strategy ranked the pool in this study.")]
    names = ordered(study.selections["strategy"].unique(), ["influence"])
    # Without the plain strategy, any of its variants says more than another strategy.
    strategy = next((name for name in names if name.startswith("influence")), names[0])
    chosen = study.selections[study.selections["strategy"] == strategy]
    n_models = len(chosen[REPLICATE].drop_duplicates())
    ranks = mean_ranks(chosen).merge(study.molecules, on="molecule_id")
    n_drawn = min(DRAWN, len(ranks) // 2) or len(ranks)
    over = "" if n_models == 1 else f", mean rank over {count(n_models, 'replicate')}"
    return [
        Heading(f"Chosen first by {strategy}{over}"),
        Paragraph("A positive score helps, a negative one hurts."),
        _cards(study, ranks.head(n_drawn), n_models),
        Heading(f"Ranked last by {strategy}{over}"),
        _cards(study, ranks.tail(n_drawn).iloc[::-1], n_models),
    ]


def _cards(study: Study, ranks: pd.DataFrame, n_models: int) -> Gallery:
    return gallery(
        (
            row.canonical_smiles,
            study.named(row.molecule_id),
            [
                f"label {short(row.label)}",
                f"score {short(row.score, 3)}" if row.score == row.score else "no score",
                f"{'rank' if n_models == 1 else 'mean rank'} {row.rank:.0f}, chosen in {row.selected} of {n_models}",
            ],
        )
        for row in ranks.itertuples()
    )


def _worst(study: Study) -> list[Block]:
    runs = study.strategy_runs
    runs = runs[(runs["selection"] == "none") & (runs["fold"] == "test")]
    predictions = study.predictions
    predictions = predictions[predictions["run_id"].isin(runs["run_id"]) & (predictions["fold"] == "test")]
    blocks: list[Block] = [Heading("Largest test errors of the fine-tuned model, nothing added")]
    if predictions.empty:
        return [*blocks, Paragraph("There are no test predictions of such a run.")]
    errors = predictions.assign(error=(predictions["prediction"] - predictions["label"]).abs())
    errors = errors.groupby("molecule_id").agg(
        error=("error", "mean"), prediction=("prediction", "mean"), runs=("error", "size")
    )
    errors = errors.reset_index().sort_values(["error", "molecule_id"], ascending=[False, True], kind="stable")
    worst = errors.head(DRAWN).merge(study.molecules, on="molecule_id")
    return [
        *blocks,
        Paragraph("Mean absolute error over the runs that have the molecule in their test fold."),
        gallery(
            (
                row.canonical_smiles,
                study.named(row.molecule_id),
                [
                    f"label {short(row.label)}",
                    f"predicted {short(row.prediction, 3)}",
                    f"error {short(row.error, 3)}, {count(row.runs, 'run')}",
                ],
            )
            for row in worst.itertuples()
        ),
    ]


def gallery(entries: Iterable[tuple[str, str, list[str]]]) -> Gallery:
    """Cards of molecules: SMILES, name, and lines below it."""
    return Gallery([Card(smiles, name, lines, picture(smiles)) for smiles, name, lines in entries], *SIZE)
