"""Chemprop on the folds of a study, beside the study's own models: a rival that is trained from scratch.

python -m venv chemprop && chemprop/bin/pip install -r benchmarks/requirements-chemprop.txt
python benchmarks/chemprop.py value/results/lipophilicity --chemprop chemprop/bin/chemprop --directory chemprop_runs

The study is one that ``encoder_value.py`` has run, or any other; of each of its splitters the first split is taken, and
the test labels are read to report. Defaults of Chemprop 2.3, 50 epochs, seeds 0 and 1. A run that is done is not
repeated. The last line is one JSON object.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from chemsieve.statistics.evaluation import regression_metrics  # noqa: E402


def folds(split: Path) -> pd.DataFrame:
    """Columns ``molecule_id``, ``smiles``, ``y`` and ``split`` of a split of the study."""
    parts = []
    for fold, name in {"train": "train", "validation": "val", "test": "test"}.items():
        part = pd.read_parquet(split / f"{fold}.parquet")
        if fold == "test":
            part = part.merge(pd.read_parquet(split / "test_labels.parquet"), validate="one_to_one")
        parts.append(part.rename(columns={"encoder_smiles": "smiles", "label": "y"}).assign(split=name))
    return pd.concat(parts)[["molecule_id", "smiles", "y", "split"]]


def trained(chemprop: Path, data: Path, folder: Path, seed: int, epochs: int) -> float:
    """Train and predict into a folder; the seconds that it took, kept there."""
    done = folder / "seconds.json"
    if not done.exists():
        began = time.perf_counter()
        options = ["--smiles-columns", "smiles", "--accelerator", "cpu"]
        command = [chemprop, "train", "-i", data, *options, "--target-columns", "y", "--splits-column", "split"]
        command += ["--epochs", str(epochs), "--pytorch-seed", str(seed), "--num-workers", "0", "-o", folder]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        command = [chemprop, "predict", "-i", data, *options, "--model-paths", folder, "-o", folder / "predicted.csv"]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        done.write_text(json.dumps(seconds))
    return float(json.loads(done.read_text()))


def own(study: Path, splitter: str) -> dict[str, float]:
    """Mean test RMSE of the study's models without pool molecules, by origin and method."""
    labels = pd.read_parquet(study / "splits" / splitter / "0" / "test_labels.parquet")
    found: dict[str, list[float]] = {}
    for path in sorted((study / "runs" / splitter / "0").glob("*/*/*/predictions.parquet")):
        kind, name = path.parts[-3:-1]
        joined = pd.read_parquet(path).query("fold == 'test'")[["molecule_id", "prediction"]].merge(labels)
        rmse = regression_metrics(joined["label"].to_numpy(), joined["prediction"].to_numpy())["rmse"]
        found.setdefault(f"{kind}/{name}", []).append(float(rmse or 0.0))
    return {name: sum(values) / len(values) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--chemprop", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=50)
    given = parser.parse_args()
    rows, beside = [], {}
    for split in sorted((given.study / "splits").glob("*/0")):
        splitter = split.parent.name
        data = given.directory / f"{splitter}.csv"
        data.parent.mkdir(parents=True, exist_ok=True)
        table = folds(split)
        table.to_csv(data, index=False)
        for seed in given.seeds:
            folder = given.directory / f"{splitter}_{seed}"
            seconds = trained(given.chemprop, data, folder, seed, given.epochs)
            predicted = pd.read_csv(folder / "predicted.csv")["y"].to_numpy()
            test = (table["split"] == "test").to_numpy()
            rmse = regression_metrics(table["y"].to_numpy()[test], predicted[test])["rmse"]
            rows.append({"splitter": splitter, "seed": seed, "rmse": rmse, "seconds": round(seconds)})
            print(json.dumps(rows[-1]), flush=True)
        beside[splitter] = own(given.study, splitter)
    print(json.dumps({"chemprop": rows, "study": beside, "epochs": given.epochs}))


if __name__ == "__main__":
    main()
