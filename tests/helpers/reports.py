"""Tables of small studies that are made here, the report of them, and what a test asks of its page."""

import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
from scipy import stats

from chemsieve.report.page import render
from chemsieve.statistics.comparisons import compare
from chemsieve.tables import TABLES, write_table

CONFIG = {
    "study": "small",
    "target": {"name": "logP <x>", "unit": "log units", "source": "embedded"},
    "statistics": {"margin": 0.05, "alpha": 0.05, "power": 0.8},
    "grid": {"methods": ["bitfit", "lora"], "selections": ["none", "random", "influence"]},
}
AXES = ("splitter", "split_seed", "seed", "origin", "checkpoint", "estimator")
HOSTILE = "<script>alert(1)</script>"
SMILES = [
    "CCO",
    "c1ccccc1",
    "CC(=O)O",
    "c1ccncc1",
    "CCN",
    "C1CCCCC1",
    "CC(C)O",
    "Cc1ccccc1",
    "OCC1CC1",
    "c1ccc2ccccc2c1",
]
GROUPS = ["like_target", "other_chemistry", "corrupted_label"]
N_TARGET, N_POOL = 30, 30
STRATEGIES = ["random", "influence", "influence_bottom"]
DESCRIBED = ["random", "influence"]  # selections that a descriptor model is fitted on too


def study_tables(seeds=(0, 1, 2)):
    """Tables of a study with one splitter and one split, by name."""
    rng = np.random.default_rng(0)
    ids = [f"target-{i}" for i in range(N_TARGET)] + [f"pool-{i}" for i in range(N_POOL - 1)] + [f"pool-{HOSTILE}"]
    n = len(ids)
    smiles = [SMILES[i % len(SMILES)] for i in range(n - 1)] + [HOSTILE]
    pool = ids[N_TARGET:]
    molecules = pd.DataFrame(
        {
            "molecule_id": ids,
            "source": ["target"] * N_TARGET + ["pool"] * N_POOL,
            "row": [*range(N_TARGET), *range(N_POOL)],
            "smiles": smiles,
            "canonical_smiles": smiles,
            "encoder_smiles": smiles,
            "inchikey": "",
            "scaffold": [text if "1" in text else "" for text in smiles],
            "label": rng.normal(2, 1, n),
            "tokens": rng.integers(5, 40, n),
            "unknown_tokens": 0,
            "unread": "",
            "mapped": False,
            "parent": "",
            "relation": "=",
            "repeats": 1,
            "spread": 0.0,
            "repeats_sd": np.nan,
            "label_rows": [[row] for row in [*range(N_TARGET), *range(N_POOL)]],
            "identifier": [None] * N_TARGET + [f"CMP-{i:04}" for i in range(N_POOL - 1)] + [HOSTILE],
        }
    )
    rejected = pd.DataFrame(
        [("pool", 3, HOSTILE, "unparsable", f"no molecule: {HOSTILE}"), ("pool", 4, "CCO", "in_target", "target-0")],
        columns=["source", "row", "smiles", "reason", "detail"],
    ).assign(unread="", mapped=False, identifier=None)
    folds = ["train"] * 20 + ["validation"] * 5 + ["test"] * 5
    split = {"splitter": "scaffold", "split_seed": 0}
    splits = pd.DataFrame({"molecule_id": ids[:N_TARGET], **split, "fold": folds})

    runs = [("baseline", "full", "none"), *(("adapted", "full", name) for name in ["none", *STRATEGIES])]
    runs += [("adapted", m, s) for m in ("bitfit", "lora") for s in ("none", "random", "influence")]
    runs = [(seed, *run) for seed in seeds for run in runs]
    runs += [(None, "descriptors", method, "none") for method in ("svr", "gradient_boosting")]
    runs += [(seed, "descriptors", "svr", name) for seed in seeds for name in DESCRIBED]
    metrics, predictions, curves = [], [], []
    for seed, origin, method, selection in runs:
        run_id = f"scaffold/0/{'-' if seed is None else seed}/{origin}/{method}/{selection}"
        language = origin != "descriptors"
        for fold, members in (("validation", ids[20:25]), ("test", ids[25:30])):
            rmse = 0.8 + 0.1 * rng.random()
            metrics.append(
                {"run_id": run_id, "study": "small", **split, "seed": seed, "origin": origin, "method": method}
                | {"selection": selection, "n_train": 20, "n_selected": 0 if selection == "none" else 10}
                | {"trainable_parameters": {"full": 1e6, "bitfit": 1e3, "lora": 1e4}.get(method)}
                | {"total_parameters": 1e6 if language else None, "fold": fold, "mse": rmse**2, "rmse": rmse}
                | {"mae": rmse * 0.8, "r2": None, "spearman": 0.5, "best_epoch": 2 if language else None}
                | {"epochs": 3 if language else None, "train_seconds": 2.5, "peak_memory_mb": 500, "device": "cpu"}
                | {"use": "mixed", "precision": "float32", "threads": 1, "instruction_set": "x86_64 avx2"}
            )
            labels = molecules.set_index("molecule_id").loc[members, "label"]
            for molecule, label in labels.items():
                predictions.append((run_id, molecule, fold, label, label + rng.normal(0, 0.5)))
        for epoch in range(1, 4) if language else ():
            curves.append(
                (run_id, "regression", epoch, 1 / epoch, 1.2 / epoch, 1 / epoch, 1e-4, 1.0, 0.5, 0.1, *[None] * 6)
            )
    for epoch in range(3):
        loss = None if epoch == 0 else 2.0 - epoch
        masked = (0.5, 2 - epoch / 2, None, None, None, 0)
        curves.append(("scaffold/0/0/adapted/mlm/none", "mlm", epoch, loss, 2 - epoch / 2, *[None] * 5, *masked))

    influence, diagnostics, selections = [], [], []
    for seed in seeds:
        for origin in ("baseline", "adapted"):
            for estimator in ("lissa", "gram"):
                for checkpoint in (1, 2, -1):
                    scores = rng.normal(0, 1, N_POOL)
                    model = (*split.values(), seed, origin, checkpoint, estimator)
                    influence += [(m, *model, s, -s, None) for m, s in zip(pool, scores, strict=True)]
                    if checkpoint > 0:
                        solved = estimator != "lissa"
                        diagnostics.append(
                            dict(zip(AXES, model, strict=True))
                            | dict.fromkeys(set(TABLES["influence_diagnostics"]) - set(AXES))
                            | {"curvature": "gauss_newton" if solved else "hessian", "converged": solved}
                            | {"relative_residual": 0.001 if solved else 0.3, "seconds": 3.0, "iterations": 200}
                        )
        for strategy in STRATEGIES:
            # Two equal scores, so that ties count.
            scores = np.round(rng.normal(0, 1, N_POOL), 1) if strategy != "random" else np.full(N_POOL, np.nan)
            ranks = stats.rankdata(-np.nan_to_num(scores), method="ordinal")
            for molecule, score, rank in zip(pool, scores, ranks, strict=True):
                selections.append((strategy, *split.values(), seed, molecule, score, rank, rank <= 10, False))
    control = pd.DataFrame({"molecule_id": pool, "group": [GROUPS[i % 3] for i in range(N_POOL)], "true_label": 1.0})

    def frame(rows, table):
        return pd.DataFrame(rows, columns=list(TABLES[table]))

    return {
        "molecules": molecules,
        "rejected": rejected,
        "splits": splits,
        "learning_curves": frame(curves, "learning_curves"),
        "metrics": frame(metrics, "metrics"),
        "predictions": frame(predictions, "predictions"),
        "influence": frame(influence, "influence"),
        "influence_diagnostics": frame(diagnostics, "influence_diagnostics"),
        "selections": frame(selections, "selections"),
        "failures": frame([], "failures"),
        "pool_control": control,
    }


def write_tables(folder, tables):
    """Write tables, given by name, as a study has them."""
    for name, content in tables.items():
        write_table(content, folder / f"{name}.parquet", name)


class Page(HTMLParser):
    """What a test asks of a page: tags, identifiers, tables by caption, and its text outside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.html, self.tags, self.ids, self.tables, self.figures = text, [], [], {}, {}
        self.text = ""
        self._open, self._caption = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if "id" in dict(attrs):
            self.ids.append(dict(attrs)["id"])
        if tag not in ("meta", "img", "br", "link", "input"):
            self._open.append(tag)
        if tag == "tr":
            self._row = []
        if tag in ("td", "th"):
            self._row.append("")

    def handle_endtag(self, tag):
        self._open.pop()
        if tag == "caption":
            self.tables[self._caption] = []
        if tag == "tr":
            self.tables[self._caption].append(self._row)
        if tag == "table":
            self._caption = ""

    def handle_data(self, data):
        inside = self._open[-1] if self._open else ""
        if inside == "script" and data.startswith("{"):
            self.figures[self.ids[-1]] = json.loads(data)
        if inside in ("script", "style"):
            return
        self.text += data
        if "caption" in self._open:
            self._caption += data
        if "td" in self._open or "th" in self._open:
            self._row[-1] += data

    def table(self, caption):
        """Rows of the one table whose caption begins so, as dictionaries."""
        (rows,) = [rows for name, rows in self.tables.items() if name.startswith(caption)]
        return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def make(folder, tables, config=CONFIG):
    """Render the report of these tables in a folder; its page."""
    compared = compare(tables["metrics"], tables["splits"], config.get("statistics", CONFIG["statistics"]))
    write_tables(folder / "tables", {**tables, "comparisons": compared})
    render(folder / "tables", config, folder / "report.html")
    return Page((folder / "report.html").read_text(encoding="utf-8"))


N = 60  # test molecules of the larger study


def larger_tables():
    """A study whose test molecules are predicted by known rules, with the similarity that its errors follow."""
    rng = np.random.default_rng(1)
    tables = study_tables(seeds=(0, 1))
    tables["molecules"] = pd.concat(
        [
            tables["molecules"],
            tables["molecules"]
            .iloc[[0] * N]
            .assign(molecule_id=[f"target-{100 + i}" for i in range(N)], label=rng.normal(2, 1, N)),
        ]
    )
    added = tables["molecules"].tail(N)
    tables["nearest_training"] = pd.DataFrame(
        {"molecule_id": added["molecule_id"], "splitter": "scaffold", "split_seed": 0, "fold": "test"}
        | {"nearest_id": "target-0", "similarity": rng.uniform(0.15, 0.85, N)}
    )
    far = 1 - tables["nearest_training"]["similarity"].to_numpy()
    labels = added["label"].to_numpy()
    predicted = {
        "baseline/full/none": (labels - 0.5) / 0.8,  # label = 0.8 prediction + 0.5, without noise
        "adapted/full/none": labels + 0.25 * np.where(np.arange(N) % 2, far, -far),
    }
    runs = [run for run in tables["metrics"]["run_id"].unique() if not run.endswith(tuple(predicted))]
    predictions = tables["predictions"]
    predictions = predictions[(predictions["fold"] == "validation") | predictions["run_id"].isin(runs)]
    rows = [
        pd.DataFrame(
            {"run_id": f"scaffold/0/{seed}/{name}", "molecule_id": added["molecule_id"], "fold": "test"}
            | {"label": labels, "prediction": values}
        )
        for name, values in predicted.items()
        for seed in (0, 1)
    ]
    tables["predictions"] = pd.concat([predictions, *rows])
    metrics = tables["metrics"]
    for selection, fold, rmse in (("random", "validation", 0.1), ("influence", "test", 0.01)):
        chosen = (metrics["method"] == "lora") & (metrics["selection"] == selection) & (metrics["fold"] == fold)
        metrics.loc[chosen, "rmse"] = rmse
    return tables
