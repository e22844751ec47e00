"""Which way of fine-tuning to take: methods at tuned learning rates on measured data, with intervals against full.

python benchmarks/methods.py DATA --directory methods --cores 2
python benchmarks/methods.py DATA --directory methods --sizes 200 --endpoints lipophilicity --draws 3
python benchmarks/methods.py DATA --directory methods --keep      # also writes the results page's files

DATA is a folder with lipophilicity.csv, esol_delaney-processed.csv and biogen_adme_3521.csv (MoleculeNet's two sets and
Biogen's ADME set). Each endpoint at each size is a study of its own below the directory, an overlay of
studies/methods.yaml, which says which methods train and how each is tuned. Snakemake runs it with one thread a job and
as many jobs at a time as there are cores; killed, the same command goes on, and a later one with more draws or methods
adds to what is there. What it lacks or leaves out, it names.

At 200 molecules each draw has training and validation molecules (50) of its own, and all are tested on the same
others, at least 500. Where a set is too small for the draws that are asked for, there are as many as fit, and three at
least, which are then tested on all that is left. Each draw tunes for itself. At all molecules each fold of a
cross-validation is tested on once, and the first fold's split tunes for all.
The last line is one JSON object: a row for each model, the advice at each size, and what was skipped.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from chemsieve.runtime.failures import present  # noqa: E402
from chemsieve.statistics.advice import advise  # noqa: E402
from chemsieve.statistics.comparisons import compare, compare_family  # noqa: E402
from chemsieve.statistics.evaluation import evaluate_runs  # noqa: E402
from chemsieve.statistics.families import DESCRIPTORS, METHODS, Family, Judged, Pair  # noqa: E402
from chemsieve.statistics.replicates import replicates  # noqa: E402
from chemsieve.statistics.work import training_flops  # noqa: E402

STUDY = ROOT / "studies" / "methods.yaml"
RESULTS = ROOT / "benchmarks" / "results"
ENDPOINTS = {
    "lipophilicity": ("lipophilicity.csv", "smiles", "exp"),
    "hlm": ("biogen_adme_3521.csv", "SMILES", "LOG HLM_CLint (mL/min/kg)"),
    "esol": ("esol_delaney-processed.csv", "smiles", "measured log solubility in mols per litre"),
}
SMALL, ALL = "200", "all"
TRAINING, VALIDATION, TEST = 200, 50, 500  # molecules of a draw; of the test at least
DRAWS, FOLDS, LEAST = 10, 5, 3
FULL, NONE = "full", "none"
COLUMNS = [
    *("endpoint", "size", "training molecules", "model", "replicates", "test RMSE", "sd", "behind the best"),
    *("less full", "low", "high", "verdict", "trained parameters", "stored bytes", "seconds", "peak memory (MB)"),
    *("TFLOP", "tuning seconds", "tuning epochs", "learning rates"),
]
SHOWN = [
    *("endpoint", "size", "model", "replicates", "test RMSE", "behind the best", "low", "high", "verdict"),
    *("trained parameters", "stored bytes", "seconds", "tuning seconds"),
]
FORMATS = {
    **dict.fromkeys(("test RMSE", "sd", "behind the best", "less full", "low", "high"), ".3f"),
    **dict.fromkeys(("trained parameters", "stored bytes"), ",.0f"),
    **dict.fromkeys(("seconds", "peak memory (MB)", "tuning seconds", "tuning epochs"), ".0f"),
    "TFLOP": ".2f",
}


class Part:
    """An endpoint at a size: a study below the benchmark's directory."""

    def __init__(self, data: Path, directory: Path, endpoint: str, size: str, overlay: dict):
        file, smiles, label = ENDPOINTS[endpoint]
        self.endpoint, self.size, self.directory = endpoint, size, directory
        self.name = f"{endpoint}_{size}"
        self.results = directory / "results" / self.name
        study = yaml.safe_load(STUDY.read_text(encoding="utf-8")) | overlay
        if size == ALL:
            overlay = overlay | {"tuning": study["tuning"] | {"splits": "first"}}
        target = {"source": "file", "path": str((data / file).resolve()), "smiles": smiles, "label": label}
        self.config = {
            "study": self.name,
            "target": target | {"name": label, "unit": ""},
            "compute": {"threads": 1},
            "split": {"splitters": ["random"], "seeds": [0], "fractions": [0.8, 0.1, 0.1]},
            **overlay,
        }
        self.study = study | overlay
        self.methods = self.study["grid"]["run"]

    def snakemake(self, wanted: list[str], cores: int) -> bool:
        """Make some files of the study, below its folder of results; whether all went well."""
        path = self.directory / f"{self.name}.yaml"
        path.write_text(yaml.safe_dump(self.config), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", str(cores)]
        command += ["--rerun-incomplete", "--keep-going", "--quiet", "rules", "--configfile"]
        command += [str(STUDY), str(path.resolve()), "--", *(f"results/{self.name}/{name}" for name in wanted)]
        settings = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "OMP_NUM_THREADS": "1"}
        print(f"{self.name}: {len(wanted)} files", flush=True)
        done = subprocess.run(command, cwd=self.directory, env={**os.environ, **settings}, check=False)
        return done.returncode == 0

    def accepted(self, cores: int, only_judge: bool) -> int | None:
        """The target's molecules that the study accepts; None where it could not read them."""
        path = self.results / "tables" / "molecules.parquet"
        if not (path.is_file() if only_judge else self.snakemake(["tables/molecules.parquet"], cores)):
            return None
        molecules = pd.read_parquet(path, columns=["source"])
        return int((molecules["source"] == "target").sum())

    @property
    def cells(self) -> list[str]:
        """Folders of the runs of every replicate."""
        (splitter,) = self.config["split"]["splitters"]
        runs = ["finetune/adapted", *(f"selected/{name}/{NONE}" for name in self.methods)]
        runs += [f"descriptors/{name}" for name in self.study["baselines"]["run"]]
        return [f"runs/{splitter}/{seed}/0/{run}" for seed in self.config["split"]["seeds"] for run in runs]

    def run(self, cores: int) -> bool:
        """Train every cell; whether all went well."""
        return self.snakemake([f"{cell}/run.json" for cell in self.cells], cores)

    @property
    def folds(self) -> list[Path]:
        """Folders of the splits that were made."""
        (splitter,) = self.config["split"]["splitters"]
        folders = [self.results / "splits" / splitter / str(seed) for seed in self.config["split"]["seeds"]]
        return [folder for folder in folders if (folder / "test_labels.parquet").is_file()]

    def splits(self) -> pd.DataFrame:
        """The table ``splits``."""
        return pd.concat([pd.read_parquet(folder / "split.parquet") for folder in self.folds])

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The tables ``metrics`` and ``predictions`` of the runs that are there, the former with ``stored``."""
        folders = [self.results / cell for cell in self.cells]
        files = present(str(folder / "run.json") for folder in folders if (folder / "run.json").is_file())
        folders = [Path(path).parent for path in files]
        files = [fold / f"{name}.parquet" for fold in self.folds for name in ("validation", "test_labels")]
        labels = pd.concat([pd.read_parquet(path, columns=["molecule_id", "label"]) for path in files])
        labels = labels.drop_duplicates("molecule_id").set_index("molecule_id")["label"]
        predictions = pd.concat([pd.read_parquet(folder / "predictions.parquet") for folder in folders])
        facts = [json.loads((folder / "run.json").read_text(encoding="utf-8")) for folder in folders]
        for folder, fact in zip(folders, facts, strict=True):
            model = folder / "model.safetensors"
            fact["stored"] = model.stat().st_size if model.is_file() else None
        metrics, predictions = evaluate_runs(predictions.reset_index(drop=True), labels, facts)
        return metrics[metrics["fold"] == "test"], predictions[predictions["fold"] == "test"]

    def tuned(self) -> pd.DataFrame:
        """The table ``tuning`` of the tunings that are there."""
        files = present(str(path) for path in sorted(self.results.glob("runs/*/*/*/tuning/adapted/*.parquet")))
        found = pd.concat([pd.read_parquet(path) for path in files]) if files else pd.DataFrame()
        return found[found["split_seed"].isin(self.config["split"]["seeds"])] if files else found


def division(accepted: int, size: str, draws: int, folds: int) -> tuple[dict, str]:
    """The section ``split`` for so many molecules, and in words what of it had to be left out.

    The molecules of a draw do not depend on how many of the draws are asked for, up to ten.
    """
    if size == ALL:
        made = {"splitters": ["cross_validation"], "seeds": list(range(folds)), "fractions": [0.7, 0.1, 0.2]}
        return made | {"options": {"cross_validation": {"folds": FOLDS}}}, ""
    room = (accepted - TEST) // (TRAINING + VALIDATION)
    total = max(LEAST, min(max(DRAWS, draws), room))
    test = accepted - total * (TRAINING + VALIDATION)
    if test < VALIDATION:
        raise SystemExit(f"{accepted} molecules are too few for {LEAST} draws of {TRAINING + VALIDATION}")
    seen = TRAINING + VALIDATION + test
    made = {
        "splitters": ["draws"],
        "seeds": list(range(min(draws, total))),
        "fractions": [TRAINING / seen, VALIDATION / seen, test / seen],
        "options": {"draws": {"draws": total}},
    }
    fewer = f"{total} draws fit in place of {draws}, tested on {test} molecules" if total < draws else ""
    return made, fewer


def judged(part: Part) -> tuple[list[dict], dict, list[dict]]:
    """A row per model, the advice, and the comparisons of all methods with each other."""
    metrics, predictions = part.tables()
    splits = part.splits()
    settings = {**part.study["statistics"], "alpha": 0.05, "power": 0.8}
    compared = compare(metrics, splits, settings, predictions)
    among = compared[compared["family"] == f"{METHODS} {NONE}"]
    against = pd.concat([among[among["versus"] == FULL], rivals(metrics, splits, predictions, settings)])
    against = against.set_index("what")
    tokens, tuned = tokens_of(part, splits), part.tuned()
    rows = []
    for model, runs in metrics.groupby("method", sort=False):
        found = against.loc[model] if model in against.index else {}
        tuning = tuned[tuned["method"] == model] if len(tuned) else tuned
        each = tuning.groupby("split_seed")[["seconds", "epochs"]].sum().mean() if len(tuning) else {}
        language = runs["origin"].iloc[0] != DESCRIPTORS
        flops = [
            training_flops(tokens[run.split_seed] * run.epochs, run.total_parameters, run.trainable_parameters)
            for run in (runs.itertuples() if language else ())
        ]
        rates = [f"{rate:g}" for rate in sorted(tuning.loc[tuning["chosen"], "learning_rate"])] if len(tuning) else []
        rows.append(
            {
                "endpoint": part.endpoint,
                "size": part.size,
                "training molecules": round(runs["n_train"].mean()),
                "model": model,
                "replicates": len(runs),
                "test RMSE": runs["rmse"].mean(),
                "sd": runs["rmse"].std(),
                "less full": found.get("difference"),
                "low": found.get("low"),
                "high": found.get("high"),
                "verdict": found.get("verdict"),
                "trained parameters": runs["trainable_parameters"].mean() if language else None,
                "stored bytes": runs["stored"].mean() if language else None,
                "seconds": runs["train_seconds"].mean(),
                "peak memory (MB)": runs["peak_memory_mb"].mean(),
                "TFLOP": float(np.mean(flops)) / 1e12 if language else None,
                "tuning seconds": each.get("seconds"),
                "tuning epochs": each.get("epochs"),
                "learning rates": ", ".join(dict.fromkeys(rates)),
            }
        )
    lowest = min(row["test RMSE"] for row in rows)
    rows = [row | {"behind the best": row["test RMSE"] - lowest} for row in rows]
    table = pd.DataFrame([row for row in rows if row["stored bytes"]]).set_index("model")
    advice = advise(table["test RMSE"], table["stored bytes"], among, settings["margin"])
    said = {"endpoint": part.endpoint, "size": part.size, "take": advice.take, "advice": advice.sentence}
    kept = ["what", "versus", "difference", "low", "high", "p_equivalence", "test_used", "replicates_needed", "verdict"]
    pairs = among[kept].assign(endpoint=part.endpoint, size=part.size)
    return rows, said, json.loads(pairs.to_json(orient="records"))


def rivals(metrics: pd.DataFrame, splits: pd.DataFrame, predictions: pd.DataFrame, settings: dict) -> pd.DataFrame:
    """Each descriptor model against full fine-tuning, as a family of their own."""
    found = replicates(metrics, splits, predictions)
    full = next(one for one in found.errors.columns if one[1] == FULL)
    others = sorted(one for one in found.errors.columns if one[0] == DESCRIPTORS)
    pairs = [Pair(one, full, one[1], FULL) for one in others]
    asked = Judged(Family("rivals", [full, *others], pairs), "rivals", 1.0, len(others) + 1, len(pairs))
    return pd.DataFrame(compare_family(asked, found, settings) if pairs else [])


def tokens_of(part: Part, splits: pd.DataFrame) -> dict[int, float]:
    """Tokens of the training molecules of each split."""
    molecules = pd.read_parquet(part.results / "tables" / "molecules.parquet", columns=["molecule_id", "tokens"])
    trained = splits[splits["fold"] == "train"].merge(molecules, on="molecule_id")
    return trained.groupby("split_seed")["tokens"].sum().to_dict()


def keep(command: str, given: argparse.Namespace, rows: list[dict], advice: list[dict], raw: dict) -> None:
    """Write the files of the results page."""
    origin = {
        "command": command,
        "commit": given.commit or recorded(),
        "date": datetime.date.today().isoformat(),
        "machine": given.machine or machine(),
    }
    skipped = f" Left out: {'; '.join(raw['skipped'])}." if raw["skipped"] else ""
    note = (
        "Differences from full fine-tuning with simultaneous 95 % intervals, margin 0.02. Seconds are of one training, "
        f"and of all trials of a tuning on one split. Stored: what a task adds to the encoder.{skipped}"
    )
    measured = {
        "methods": {
            "columns": COLUMNS,
            "rows": [[clean(row[name]) for name in COLUMNS] for row in rows],
            "formats": FORMATS,
            "note": note,
            "shown": {"columns": SHOWN},
            "raw": raw,
        },
        "methods_advice": {
            "columns": ["endpoint", "size", "advice"],
            "rows": [[one["endpoint"], one["size"], one["advice"]] for one in advice],
            "note": "By the rule of `chemsieve/statistics/advice.py`.",
        },
    }
    for name, content in measured.items():
        text = json.dumps(origin | content, indent=1, ensure_ascii=False)
        (RESULTS / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def clean(value: object) -> object:
    """A value as JSON has it; numbers to six digits."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    return float(f"{value:.6g}") if isinstance(value, float) else value


def recorded() -> str:
    """The commit of this checkout."""
    asked = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "not recorded"


def machine() -> str:
    """What this machine is, in words."""
    import torch

    names = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    name = next((line.split(":")[1].strip() for line in names.splitlines() if line.startswith("model name")), "")
    processor = name or platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores; Python {platform.python_version()}, torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", choices=[SMALL, ALL], default=[SMALL, ALL])
    parser.add_argument("--endpoints", nargs="+", choices=list(ENDPOINTS), default=list(ENDPOINTS))
    parser.add_argument("--methods", nargs="+", help="these methods of studies/methods.yaml alone, beside full")
    parser.add_argument("--draws", type=int, default=DRAWS, help="at 200 molecules")
    parser.add_argument("--folds", type=int, default=FOLDS, help="at all molecules")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--only-judge", action="store_true", help="train nothing; judge what is there so far")
    parser.add_argument("--config", type=Path, help="more configuration, on top of studies/methods.yaml")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/methods.json and its advice")
    parser.add_argument("--commit", help="that --keep records, where it is not that of the checkout")
    parser.add_argument("--machine", help="that --keep records, in words")
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    more = yaml.safe_load(given.config.read_text(encoding="utf-8")) if given.config else {}
    study = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    if given.methods:
        more["grid"] = study["grid"] | more.get("grid", {}) | {"run": given.methods}
    skipped = [name for name in ENDPOINTS if name not in given.endpoints]
    skipped += [f"{size} molecules" for size in (SMALL, ALL) if size not in given.sizes]
    rows, advice, pairs = [], [], []
    for size in given.sizes:
        for endpoint in given.endpoints:
            if not (given.data / ENDPOINTS[endpoint][0]).is_file():
                skipped.append(f"{endpoint}: no file {ENDPOINTS[endpoint][0]}")
                continue
            part = Part(given.data, given.directory, endpoint, size, more)
            accepted = part.accepted(given.cores, given.only_judge)
            if accepted is None:
                skipped.append(f"{part.name}: its data could not be read")
                continue
            part.config["split"], fewer = division(accepted, size, given.draws, given.folds)
            skipped += [f"{part.name}: {fewer}"] if fewer else []
            if not given.only_judge and not part.run(given.cores):
                skipped.append(f"{part.name}: some of its runs failed")
            try:
                found, told, compared = judged(part)
            except (OSError, ValueError, StopIteration) as error:
                skipped.append(f"{part.name}: nothing to judge ({error})")
                continue
            rows, advice, pairs = [*rows, *found], [*advice, told], [*pairs, *compared]
            print(pd.DataFrame(found)[SHOWN].round(3).to_string(index=False), told["advice"], sep="\n", flush=True)
    skipped = list(dict.fromkeys(skipped))
    raw = {"comparisons": pairs, "skipped": skipped}
    if given.keep and rows:
        keep(f"python benchmarks/methods.py {' '.join(command(given))}", given, rows, advice, raw)
    result = {"rows": [{name: clean(row[name]) for name in COLUMNS} for row in rows], "advice": advice, **raw}
    print(json.dumps(result))


def command(given: argparse.Namespace) -> list[str]:
    """The arguments that measured this, without the machine's paths."""
    parts = ["DATA", "--directory methods"]
    for name, usual in (("sizes", [SMALL, ALL]), ("endpoints", list(ENDPOINTS)), ("methods", None)):
        if (value := getattr(given, name)) != usual:
            parts.append(f"--{name} {' '.join(value)}")
    parts += [
        f"--{n} {getattr(given, n)}" for n, usual in (("draws", DRAWS), ("folds", FOLDS)) if getattr(given, n) != usual
    ]
    return [*parts, "--keep"]


if __name__ == "__main__":
    main()
