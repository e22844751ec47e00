"""What the data are: what was refused, how labels and lengths are spread, and whether folds are kept apart."""

from itertools import combinations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from chemsieve.audit.findings import LEAK
from chemsieve.report.blocks import Block, Folded, Heading, Paragraph, Section, table
from chemsieve.report.figure import axis, colours, drawn, plain
from chemsieve.report.study import Study
from chemsieve.report.words import count, number

FOLDS = ["train", "validation", "test"]
BINS = 40
MANY = 20  # rows beyond which a table can be sorted and scrolls


def section(study: Study) -> Section:
    """The data audit."""
    blocks: list[Block] = [
        *_findings(study),
        _rejected(study),
        *(Paragraph(text) for text in _overlap(study)),
        *_histograms(study),
        *_splits(study),
    ]
    return Section("data", "Data audit", blocks)


def leaks(study: Study) -> list[str]:
    """What the audit calls a leak, in words."""
    if study.audit is None:
        return []
    return study.audit.loc[study.audit["severity"] == LEAK, "finding"].tolist()


def _findings(study: Study) -> list[Block]:
    if study.audit is None or study.audit.empty:
        return []
    rows = [(row.severity, row.topic, row.finding) for row in study.audit.itertuples(index=False)]
    caption = "What the audit found before training, worst first"
    return [table(caption, ["severity", "about", "finding"], rows, sortable=len(rows) > MANY)]


def shared_scaffolds(study: Study) -> pd.DataFrame:
    """Per split: size of each fold and number of scaffolds that two folds share; acyclic molecules have none."""
    joined = study.splits.merge(study.molecules[["molecule_id", "scaffold"]], on="molecule_id")
    rows = []
    for (splitter, seed), split in joined.groupby(["splitter", "split_seed"]):
        cyclic = split[split["scaffold"] != ""]
        scaffolds = {fold: set(cyclic.loc[cyclic["fold"] == fold, "scaffold"]) for fold in FOLDS}
        sizes = {fold: int((split["fold"] == fold).sum()) for fold in FOLDS}
        shared = {f"{a} and {b}": len(scaffolds[a] & scaffolds[b]) for a, b in combinations(FOLDS, 2)}
        known = (cyclic["fold"] == "test") & cyclic["scaffold"].isin(scaffolds["train"])
        rows.append({"splitter": splitter, "split_seed": seed, **sizes, **shared, "known": int(known.sum())})
    return pd.DataFrame(rows)


def _rejected(study: Study) -> Block:
    if study.rejected.empty:
        return Paragraph("No row was rejected.")
    rows = [
        (source, reason, len(group), f"row {group['row'].iloc[0]}: {group['detail'].iloc[0]}")
        for (source, reason), group in study.rejected.groupby(["source", "reason"])
    ]
    return table("Rejected rows", ["source", "reason", "rows", "first of them"], rows)


def _overlap(study: Study) -> list[str]:
    molecules = study.molecules
    target, pool = (molecules[molecules["source"] == source] for source in ("target", "pool"))
    in_target = int((study.rejected["reason"] == "in_target").sum())
    same_input = int(pool["encoder_smiles"].isin(target["encoder_smiles"]).sum())
    texts = [
        f"Overlap: {count(in_target, 'pool row')} repeated a target molecule and "
        f"{'was' if in_target == 1 else 'were'} taken out; of the accepted pool molecules, {same_input:,} "
        f"{'gives' if same_input == 1 else 'give'} the encoder the same input as a target molecule."
    ]
    for source, group in (("target", target), ("pool", pool)):
        sizes = group.groupby("encoder_smiles")["label"].agg(["size", "min", "max"])
        sizes = sizes[sizes["size"] > 1]
        text = (
            f"Encoder inputs of the {source} that coincide: {count(len(sizes), 'input')} shared by "
            f"{count(int(sizes['size'].sum()), 'molecule')}"
        )
        gap = f", whose labels differ by up to {number((sizes['max'] - sizes['min']).max(), 3)}" if len(sizes) else ""
        texts.append(f"{text}{gap}.")
    return texts


def _histograms(study: Study) -> list[Block]:
    if study.molecules.empty:
        return [Paragraph("No molecule was accepted, so there is nothing to draw.")]
    labels = study.molecules["label"]
    edges = np.linspace(labels.min(), labels.max(), BINS + 1) if labels.nunique() > 1 else labels.iloc[0] + [-0.5, 0.5]
    tokens = study.molecules["tokens"]
    step = max(1, int(np.ceil((tokens.max() - tokens.min() + 1) / BINS)))
    token_edges = np.arange(tokens.min(), tokens.max() + step + 1, step) - 0.5
    return [
        drawn(
            "data-labels",
            _histogram(study.molecules, "label", np.asarray(edges), study.label_title),
            "Share of the target's and of the pool's molecules per bin of the label: where only one of them has bars, "
            "the other has no molecules.",
            320,
        ),
        drawn(
            "data-tokens",
            _histogram(study.molecules, "tokens", token_edges, "tokens per molecule, special tokens included"),
            "Length of the encoder's inputs: the further right, the longer and the slower the molecule.",
            320,
        ),
    ]


def _histogram(molecules: pd.DataFrame, column: str, edges: np.ndarray, title: str) -> go.Figure:
    figure = go.Figure()
    for source, colour in colours(["target", "pool"]).items():
        values = molecules.loc[molecules["source"] == source, column].to_numpy()
        if not len(values):
            continue
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=np.histogram(values, edges)[0] / len(values),
            width=np.diff(edges),
            name=plain(f"{source} ({len(values):,})"),
            marker={"color": colour, "line": {"width": 0}},
            opacity=0.6,
            hovertemplate="%{x:.3~f}: %{y:.1%}<extra>" + plain(source) + "</extra>",
        )
    return figure.update_layout(
        barmode="overlay", xaxis=axis(title), yaxis=axis("share of molecules", tickformat=".0%"), showlegend=True
    )


def _splits(study: Study) -> list[Block]:
    if study.splits.empty:
        return [Paragraph("There is no split.")]
    header = ["splitter", "split seed", *FOLDS, "train and validation", "train and test", "validation and test"]
    return [
        Heading("Splits"),
        Paragraph(
            "Scaffolds in two folds show how much of a test can be answered by resemblance: a split by scaffold "
            "should have none. Acyclic molecules have no scaffold and are not counted."
        ),
        table(
            "Molecules per fold, scaffolds that two folds share, and test molecules whose scaffold is in the training "
            "fold",
            [*header, "test molecules with a training scaffold"],
            shared_scaffolds(study).itertuples(index=False, name=None),
        ),
        *_hardness(study),
        *_identity(study),
    ]


def _hardness(study: Study) -> list[Block]:
    """Similarity of test to training molecules: how much of a test can be answered by resemblance."""
    if study.nearest_training is None:
        return []
    test = study.nearest_training[study.nearest_training["fold"] == "test"]
    figure = go.Figure()
    for splitter, colour in colours(sorted(test["splitter"].unique())).items():
        values = np.sort(test.loc[test["splitter"] == splitter, "similarity"].to_numpy())
        at = np.linspace(0, 1, min(101, len(values)))
        figure.add_scatter(
            x=np.quantile(values, at),
            y=at,
            mode="lines",
            line={"color": colour},
            name=plain(splitter),
            hovertemplate="%{y:.0%} have at most %{x:.2f}<extra>" + plain(splitter) + "</extra>",
        )
    figure.update_layout(
        xaxis=axis("Tanimoto similarity to the nearest training molecule (ECFP4)", range=[0, 1.02]),
        yaxis=axis("share of test molecules", tickformat=".0%"),
        showlegend=True,
    )
    reading = (
        "Share of test molecules whose nearest training molecule is at most so similar: the further left a curve, the "
        "harder the split."
    )
    return [drawn("data-hardness", figure, reading, 340)]


def _identity(study: Study) -> list[Block]:
    """Molecules in two places."""
    if study.audit_identity is None or study.audit_identity.empty:
        return []
    made = study.audit_identity
    keys = ["splitter", "split_seed", "place", "other", "of"]
    wide = made.pivot_table(index=keys, columns="level", values="molecules", sort=False).reset_index()
    levels = list(dict.fromkeys(made["level"]))
    rows = [
        (
            row["splitter"],
            row["split_seed"],
            row["place"],
            row["other"],
            row["of"],
            *(int(row[name]) for name in levels),
        )
        for row in wide.to_dict("records")
    ]
    caption = "Molecules that are also elsewhere, by what two of them have in common"
    header = ["splitter", "split seed", "molecules of", "that are in", "of", *levels]
    return [Folded("Molecules in two places", [table(caption, header, rows, sortable=len(rows) > MANY)])]
