"""Two pictures of the molecules: predicted against measured, and where target, pool and picks lie."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from rdkit import Chem, rdBase

from chemsieve.deployment.lists import consensus
from chemsieve.report.blocks import Block, Heading, Paragraph, Section
from chemsieve.report.figure import GREY, around, axis, colours, drawn, plain
from chemsieve.report.study import DESCRIPTORS, REPLICATE, Study, ordered
from chemsieve.report.words import count

MOST = 2000  # points of one colour: more would be slow to draw and no clearer
SEEN = 0  # seed of the sample where there are more
LONGEST = 90  # characters of a SMILES under the pointer
_BITS = 1024
_SMALLEST = 3  # molecules that make a map


def section(study: Study) -> Section | None:
    """Predicted against measured per splitter, and the map; None where there is neither."""
    blocks: list[Block] = []
    for i, splitter in enumerate(study.splitters):
        blocks += _predicted(study, i, splitter)
    blocks += _map(study)
    return Section("pictures", "Predictions and chemical space", blocks) if blocks else None


def _predicted(study: Study, i: int, splitter: str) -> list[Block]:
    """Mean prediction of each test molecule against its label, for fine-tuning and the best descriptor model."""
    test = study.test[study.test["splitter"] == splitter]
    runs = {}
    full = test[(test["origin"] == study.strategy_origin) & (test["method"] == "full") & (test["selection"] == "none")]
    if len(full):
        runs["fine-tuning, nothing added"] = full["run_id"]
    validation = study.metrics[(study.metrics["splitter"] == splitter) & (study.metrics["fold"] == "validation")]
    described = validation[(validation["origin"] == DESCRIPTORS) & (validation["selection"] == "none")]
    if len(described):  # chosen by the validation molecules
        best = described.groupby("method")["rmse"].mean().idxmin()
        runs[best] = described.loc[described["method"] == best, "run_id"]
    predictions = study.predictions[study.predictions["fold"] == "test"]
    figure, labels = go.Figure(), []
    names = {row.molecule_id: row for row in study.molecules.itertuples(index=False)}
    for (name, chosen), colour in zip(runs.items(), colours(list(runs)).values(), strict=True):
        rows = predictions[predictions["run_id"].isin(chosen)]
        means = _sampled(rows.groupby("molecule_id")[["label", "prediction"]].mean().reset_index())
        if means.empty:
            continue
        labels.append(means[["label", "prediction"]].to_numpy().ravel())
        figure.add_scatter(
            x=means["label"].tolist(),
            y=[float(f"{value:.5g}") for value in means["prediction"]],
            mode="markers",
            name=plain(name),
            marker={"color": colour, "size": 5, "opacity": 0.6},
            text=[_hover(study, names[one]) if one in names else plain(one) for one in means["molecule_id"]],
            hovertemplate="%{text}<br>measured %{x:.3f}, predicted %{y:.3f}<extra>" + plain(name) + "</extra>",
        )
    if not labels:
        return []
    ends = around(*labels)
    figure.add_scatter(
        x=ends,
        y=ends,
        mode="lines",
        name="predicted = measured",
        line={"color": GREY, "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    unit = f" ({study.unit})" if study.unit else ""
    figure.update_layout(xaxis=axis(f"measured{unit}"), yaxis=axis(f"predicted{unit}"), showlegend=True)
    return [
        Heading(f"{splitter} split"),
        drawn(
            f"predicted-{i}",
            figure,
            "A point is a test molecule, its prediction the mean over the replicates that test it; on the dotted line "
            "it is predicted as measured. Point at one for its name and SMILES.",
            460,
            title="Predicted against measured, test molecules",
        ),
    ]


def _hover(study: Study, molecule) -> str:
    smiles = molecule.canonical_smiles
    shown = smiles if len(smiles) <= LONGEST else smiles[:LONGEST] + "..."
    return f"{plain(study.named(molecule.molecule_id))}<br>{plain(shown)}"


def _sampled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows if len(rows) <= MOST else rows.sample(MOST, random_state=SEEN).sort_index()


def projection(smiles: list[str]) -> np.ndarray | None:
    """(n, 2) first two principal components of Morgan fingerprints; None where fewer than two directions differ.

    A SMILES that RDKit cannot read has no bits.
    """
    from sklearn.decomposition import PCA

    from chemsieve.audit.fingerprints import bits_of

    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(text) or Chem.Mol() for text in smiles]
    bits = bits_of(molecules, "ECFP4", _BITS).astype(np.float32)
    if len(bits) < _SMALLEST or len(np.unique(bits, axis=0)) < _SMALLEST:
        return None
    return PCA(n_components=2, svd_solver="covariance_eigh").fit_transform(bits)


def _map(study: Study) -> list[Block]:
    """Target, pool and what each strategy chose, side by side by their fingerprints."""
    molecules = study.molecules
    picks = {
        name: consensus(rows)["molecule_id"].head(int(rows.groupby(REPLICATE, dropna=False)["selected"].sum().max()))
        for name, rows in study.selections.groupby("strategy")
        if rows["selected"].any() and not rows["selected"].all()
    }
    chosen = set().union(*picks.values()) if picks else set()
    parts = [_sampled(molecules[molecules["source"] == source]) for source in ("target", "pool")]
    shown = pd.concat([*parts, molecules[molecules["molecule_id"].isin(chosen)]]).drop_duplicates("molecule_id")
    if shown.empty or (places := projection(shown["canonical_smiles"].tolist())) is None:
        return []
    shown = shown.assign(x=places[:, 0].round(3), y=places[:, 1].round(3)).set_index("molecule_id", drop=False)
    figure = go.Figure()
    first = next((name for name in ordered(picks, ["influence"]) if name.startswith("influence")), None)
    first = first or next(iter(ordered(picks, [])), None)
    groups = {source: shown.index[shown["source"] == source] for source in ("target", "pool")}
    groups |= {f"chosen by {name}": picks[name] for name in ordered(picks, [first] if first else [])}
    for name, colour in colours(list(groups)).items():
        rows = shown.loc[list(groups[name])]
        base = name in ("target", "pool")
        figure.add_scatter(
            x=rows["x"].tolist(),
            y=rows["y"].tolist(),
            mode="markers",
            name=plain(f"{name} ({len(rows):,})"),
            visible=True if base or name == f"chosen by {first}" else "legendonly",
            marker={
                "color": colour,
                "size": 5 if base else 9,
                "opacity": 0.45 if base else 0.95,
                "symbol": "circle" if base else "circle-open",
                "line": {"width": 0 if base else 2},
            },
            text=[_hover(study, row) for row in rows.itertuples(index=False)],
            hovertemplate="%{text}<extra>" + plain(name) + "</extra>",
        )
    figure.update_layout(
        xaxis=axis("first principal component", zeroline=False),
        yaxis=axis("second principal component", zeroline=False),
        showlegend=True,
    )
    left_out = len(molecules) - len(shown)
    note = f" {count(left_out, 'further molecule')} are left out, drawn at random." if left_out else ""
    return [
        Heading("Where the molecules lie"),
        drawn(
            "pictures-map",
            figure,
            "Molecules that share substructures lie together: the first two principal components of Morgan "
            "fingerprints. Where the pool has points and the target none, the pool is other chemistry. Choose a "
            f"strategy in the legend to see what it chose in most replicates.{note}",
            520,
            title="Map of target, pool and picks",
        ),
        Paragraph("Two components hold only part of what distinguishes molecules: near on the map need not be alike."),
    ]
