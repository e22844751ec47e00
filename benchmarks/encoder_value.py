"""What an encoder is worth: its errors beside those of descriptor models, on measured data, with a bar for each.

python benchmarks/encoder_value.py DATA --directory value --cores 2
python benchmarks/encoder_value.py DATA --directory value --encoder FOLDER --before FOLDER --curve curve.parquet

DATA is a folder with lipophilicity.csv, esol_delaney-processed.csv and biogen_adme_3521.csv (MoleculeNet's two sets and
Biogen's ADME set). Each data set is a study of its own below the directory, run by Snakemake with one thread a cell and
as many cells at a time as there are cores; killed, the same command goes on. What it lacks, it names and skips. Hours.

``--encoder`` is by default the one that comes with the project. ``--before`` is another, whose fine-tuning on the
embedded molecules is timed in turn with it; ``--curve`` is what the encoder's pretraining measured on held-out
molecules.
The last line is one JSON object: figures, bars, what was met and what was skipped.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

from chemsieve.models.bundled import BUNDLED, local_folder  # noqa: E402
from chemsieve.statistics.comparisons import compare  # noqa: E402
from chemsieve.statistics.evaluation import regression_metrics  # noqa: E402
from chemsieve.study.sections import Configuration  # noqa: E402

NAMES = ("splitter", "split_seed", "seed", "origin", "method", "selection")
DESCRIBED = ("svr_morgan", "svr_frozen", "svr_all", "svr", "gradient_boosting")
FINE_TUNED, FROZEN, RIVAL = "baseline/full", "descriptors/svr_frozen", "descriptors/svr_morgan"
SMALL = {"train": 250, "validation": 100, "test": 1000}  # molecules of each draw from Lipophilicity
DRAWS = 5
SETS = {
    "lipophilicity": ("lipophilicity.csv", "smiles", "exp", ["random", "scaffold"]),
    "esol": ("esol_delaney-processed.csv", "smiles", "measured log solubility in mols per litre", ["scaffold"]),
    "hlm": ("biogen_adme_3521.csv", "SMILES", "LOG HLM_CLint (mL/min/kg)", ["scaffold"]),
    "solubility": ("biogen_adme_3521.csv", "SMILES", "LOG SOLUBILITY PH 6.8 (ug/mL)", ["scaffold"]),
}
# Highest test RMSE that is good enough.
BARS = {
    ("lipophilicity", "random", FINE_TUNED): 0.60,
    ("lipophilicity", "scaffold", FINE_TUNED): 0.66,
    ("lipophilicity", "random", FROZEN): 0.62,
    ("lipophilicity", "scaffold", FROZEN): 0.66,
    ("small", "column", FINE_TUNED): 0.85,
}
LEAST = {"targets_r2_minimol": 0.85, "properties_r2": 0.95}
MEGABYTES = 12


def studies(data: Path, directory: Path, encoder: str, seeds: int) -> dict[str, dict]:
    """Configurations by the study's name; of files that are there."""
    made = {}
    for name, (file, smiles, label, splitters) in SETS.items():
        if (data / file).is_file():
            target = {"source": "file", "path": str((data / file).resolve()), "smiles": smiles, "label": label}
            made[name] = {
                "target": target | {"name": label, "unit": ""},
                "split": {"splitters": splitters, "seeds": [0]},
                "seeds": list(range(seeds)),
            }
    if "lipophilicity" in made:
        frame = pd.read_csv(data / SETS["lipophilicity"][0])
        for draw in range(min(DRAWS, seeds)):
            path = directory / f"small_{draw}.csv"
            folds = np.repeat(list(SMALL), list(SMALL.values()))
            chosen = np.random.default_rng(draw).choice(len(frame), len(folds), replace=False)
            frame.iloc[chosen].assign(fold=folds).to_csv(path, index=False)
            target = {"source": "file", "path": str(path.resolve()), "smiles": "smiles", "label": "exp"}
            made[f"small_{draw}"] = {
                "target": target | {"name": "exp", "unit": "", "fold": "fold"},
                "split": {"splitters": ["column"], "seeds": [0]},
                "seeds": [draw],
            }
    for name, config in made.items():
        config |= {"study": name, "encoder": {"path": encoder}, "compute": {"threads": 1}}
    return made


def run(directory: Path, config: dict, cores: int) -> bool:
    """Train a study's cells; whether all ended well."""
    name = config["study"]
    path = directory / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    wanted = [f"results/{name}/tables/splits.parquet"]
    for splitter, seed in itertools.product(config["split"]["splitters"], config["seeds"]):
        cell = f"results/{name}/runs/{splitter}/0/{seed}"
        wanted += [f"{cell}/finetune/baseline/run.json"] + [f"{cell}/descriptors/{one}/run.json" for one in DESCRIBED]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", str(cores)]
    command += ["--rerun-incomplete", "--quiet", "rules", "--configfile"]
    command += [str(ROOT / "studies" / "encoder_value.yaml"), str(path.resolve()), "--", *wanted]
    settings = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "OMP_NUM_THREADS": "1"}
    print(f"{name}: {len(wanted)} files", flush=True)
    return subprocess.run(command, cwd=directory, env={**os.environ, **settings}, check=False).returncode == 0


def errors(directory: Path, config: dict) -> pd.DataFrame:
    """A row per cell of a study, with what the table ``metrics`` has of the test fold."""
    results, rows = directory / "results" / config["study"], [*means(directory, config)]
    for splitter, seed in itertools.product(config["split"]["splitters"], config["seeds"]):
        labels = pd.read_parquet(results / "splits" / splitter / "0" / "test_labels.parquet")
        cell = results / "runs" / splitter / "0" / str(seed)
        for folder in (cell / "finetune" / "baseline", *(cell / "descriptors" / one for one in DESCRIBED)):
            predicted = pd.read_parquet(folder / "predictions.parquet").query("fold == 'test'")
            joined = predicted[["molecule_id", "prediction"]].merge(labels, validate="one_to_one")
            facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            names = dict(zip(NAMES, facts["run_id"].split("/"), strict=True))
            names |= {"split_seed": 0, "seed": seed, "fold": "test", "seconds": facts["train_seconds"]}
            rows.append(names | regression_metrics(joined["label"].to_numpy(), joined["prediction"].to_numpy()))
    return pd.DataFrame(rows).assign(data=config["study"].split("_")[0])


def means(directory: Path, config: dict) -> Iterator[dict]:
    """A row per split of what ``predict.model: mean`` exports, chosen on validation as it is there."""
    results = directory / "results" / config["study"]
    for splitter in config["split"]["splitters"]:
        folds = results / "splits" / splitter / "0"
        validation = pd.read_parquet(folds / "validation.parquet").set_index("molecule_id")["label"]
        test = pd.read_parquet(folds / "test_labels.parquet").set_index("molecule_id")["label"]
        best = {}
        for kind in ("finetune", "descriptors"):
            candidates = []
            for path in sorted((results / "runs" / splitter / "0").glob(f"*/{kind}/*/predictions.parquet")):
                predicted = pd.read_parquet(path).set_index("molecule_id")["prediction"]
                error = float(np.mean((predicted.loc[validation.index] - validation) ** 2))
                candidates.append((error, str(path), predicted))
            best[kind] = min(candidates, key=lambda one: one[:2])[2]
        mean = (best["finetune"].loc[test.index] + best["descriptors"].loc[test.index]) / 2
        names = {"splitter": splitter, "split_seed": 0, "seed": None, "origin": "mean", "method": "of two"}
        yield (
            names
            | {"selection": "none", "use": "mixed", "fold": "test"}
            | regression_metrics(test.to_numpy(), mean.to_numpy())
        )


def verdicts(directory: Path, config: dict, rows: pd.DataFrame) -> list[dict]:
    """The study's own comparison of fine-tuning with the rival, by splitter."""
    splits = pd.read_parquet(directory / "results" / config["study"] / "tables" / "splits.parquet")
    settings = Configuration().model_dump()["statistics"]
    pair = rows[(rows["origin"] == "baseline") | (rows["method"] == RIVAL.split("/")[1])]
    found = compare(pair, splits, {key: settings[key] for key in ("margin", "alpha", "power")})
    found = found[found["family"] == "descriptors"]
    keep = ["splitter", "difference", "low", "high", "p_equivalence", "verdict"]
    return json.loads(found[keep].assign(data=config["study"]).to_json(orient="records"))


def time_ratio(encoder: str, before: str, rounds: int = 3) -> float:
    """Processor time of an epoch of fine-tuning on the embedded molecules, over the same with the encoder before.

    The two take turns, and the shortest time of each counts.
    """
    import torch

    from chemsieve.data.chemistry import canonical_smiles, parse
    from chemsieve.data.embedded import make
    from chemsieve.models import backbone, regressor
    from chemsieve.training.epochs import Settings
    from chemsieve.training.loop import Conditions
    from chemsieve.training.regression import Labelled, fine_tune

    torch.set_num_threads(1)
    chosen = Configuration().model_dump()["finetune"] | {"epochs": 1, "patience": None}
    options = {key: value for key, value in chosen.items() if key not in ("dropout", "head", "checkpoints")}
    target = make(400, 3, 0.3, 0)[0]
    smiles = [canonical_smiles(parse(text), stereo=False) for text in target["smiles"]]
    labels = target["crippen_logp_with_noise"].to_numpy(float)
    train, validation = Labelled(smiles[:320], labels[:320]), Labelled(smiles[320:], labels[320:])
    taken: dict[str, list[float]] = {encoder: [], before: []}
    for _, folder in itertools.product(range(rounds), taken):
        place = local_folder(folder)
        torch.manual_seed(0)
        model, tokenizer = regressor.build(place, "molformer", chosen["dropout"]), backbone.load_tokenizer(place)
        began = time.process_time()
        fine_tune(model, tokenizer, train, validation, Settings(**options), Conditions(0, torch.device("cpu")))
        taken[folder].append(time.process_time() - began)
    return min(taken[encoder]) / min(taken[before])


def judged(table: pd.DataFrame, compared: list[dict], facts: dict) -> list[dict]:
    """Each bar with what was measured; ``met`` is missing where nothing was."""
    means = table.set_index(["data", "splitter", "model"])["rmse"]
    bars = [
        {"what": " ".join(key), "bar": bar, "measured": means.get(key), "met": key in means and bool(means[key] <= bar)}
        for key, bar in BARS.items()
    ]
    for one in (row for row in compared if row["data"] not in ("lipophilicity", *(f"small_{d}" for d in range(DRAWS)))):
        alike = one["p_equivalence"] is not None and one["p_equivalence"] < 0.05
        met = one["difference"] <= 0 or alike
        bars.append(
            {"what": f"{one['data']} no worse than {RIVAL}", "bar": 0, "measured": one["difference"], "met": met}
        )
    for name, least in LEAST.items():
        value = facts.get(name)
        bars.append({"what": name, "bar": least, "measured": value, "met": value is not None and value >= least})
    ratio = facts.get("time_ratio")
    bars.append({"what": "time ratio", "bar": 1.0, "measured": ratio, "met": ratio is not None and ratio <= 1.0})
    size = facts["megabytes"]
    bars.append({"what": "megabytes", "bar": MEGABYTES, "measured": size, "met": size <= MEGABYTES})
    return [bar | ({} if bar["measured"] is not None else {"met": None}) for bar in bars]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--encoder", default=BUNDLED)
    parser.add_argument("--before", help="folder of an encoder to time against")
    parser.add_argument("--curve", type=Path, help="curve.parquet of the encoder's pretraining")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--only", nargs="+", help="these data sets alone, by name; small is Lipophilicity in draws")
    parser.add_argument("--config", type=Path, help="more configuration, on top of studies/encoder_value.yaml")
    given = parser.parse_args()
    given.directory.mkdir(parents=True, exist_ok=True)
    encoder = given.encoder if given.encoder == BUNDLED else str(Path(given.encoder).resolve())
    made = studies(given.data, given.directory, encoder, given.seeds)
    skipped = [name for name in SETS if name not in made]
    more = yaml.safe_load(given.config.read_text()) if given.config else {}
    rows, compared = [], []
    for name, config in made.items():
        if given.only and name.split("_")[0] not in given.only:
            skipped.append(name)
        elif run(given.directory, config | more, given.cores):
            rows.append(errors(given.directory, config))
            compared += verdicts(given.directory, config, rows[-1])
        else:
            skipped.append(f"{name} (it failed)")
    each = pd.concat(rows).assign(model=lambda frame: frame["origin"] + "/" + frame["method"])
    groups = each.groupby(["data", "splitter", "model"], sort=False)
    table = groups.agg(
        rmse=("rmse", "mean"), sd=("rmse", "std"), runs=("rmse", "size"), seconds=("seconds", "mean")
    ).reset_index()
    size = sum(path.stat().st_size for path in local_folder(encoder).iterdir()) / 1e6
    facts: dict = {"megabytes": round(size, 2)}
    if given.curve:
        last = pd.read_parquet(given.curve).iloc[-1]
        facts |= {name: float(last[name]) for name in LEAST if name in last}
    else:
        skipped.append("R2 on held-out molecules (--curve)")
    if given.before:
        facts["time_ratio"] = round(time_ratio(encoder, given.before), 3)
    else:
        skipped.append("time of fine-tuning (--before)")
    print(table.round(3).to_string(index=False))
    for one in compared:
        print(f"{one['data']} ({one['splitter']}): fine-tuned less {RIVAL} {one['difference']:+.3f}: {one['verdict']}")
    bars = judged(table, compared, facts)
    result = {"table": json.loads(table.round(4).to_json(orient="records")), "compared": compared, "facts": facts}
    print(json.dumps(result | {"bars": bars, "skipped": skipped}))


if __name__ == "__main__":
    main()
