"""Hold influence through training, and the other estimators, against retraining with random halves of a pool.

python benchmarks/metagradient.py --results results/embedded --replicate draws/0/0 --work build/metagradient

The results are those of a finished study, and are only read. The trainings are of two kinds:

* selection: the continuation that selections are trained by (selection.training), in the steps that all subsets share.
  The draws are fixed: for one seed, nothing differs between two trainings but the molecules.
* validation: the retraining of validate_influence (validation.training), whose order is each subset's own, so that the
  seeds disagree, and the ceiling says how far a perfect score would come.

For each kind and each estimator: the rank correlation of predicted and measured losses (the linear datamodelling
score), for the first seed alone and for the mean over seeds, with the ceiling of that, and the slope of measured on
predicted losses, which is 1 where the scores have the right size. `rounding` is the deviation between the same
trainings in bfloat16 and in float32, over as many subsets as --exact asks for.

What is done is kept in --work, and not done again.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

import numpy as np
import pandas as pd
import torch
import yaml

from chemsieve.influence.continuation import Continuation
from chemsieve.influence.datamodelling import ceiling, interval, spearman, subset
from chemsieve.influence.loading import continuation
from chemsieve.tables import read_table
from chemsieve.training.loop import Conditions
from chemsieve.training.run import validation_loss
from chemsieve.training.saves import Saves

CPU = torch.device("cpu")
KINDS = ("selection", "validation")


class Files(dict):
    """Named paths, as a rule's inputs have them."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


class Bench:
    """One replicate of a finished study."""

    def __init__(self, results: Path, replicate: str, config: dict, work: Path, precision: str):
        split, seed = replicate.rsplit("/", 1)
        run = results / "runs" / replicate
        pool = results / "splits" / split / "pool.parquet"
        self.files = Files(
            encoder=[run / "mlm/config.json"],
            checkpoint=run / "finetune/adapted/model.safetensors",
            train=results / "splits" / split / "train.parquet",
            validation=results / "splits" / split / "validation.parquet",
            pool=pool if pool.exists() else results / "data/pool.parquet",
        )
        self.run, self.seed, self.config, self.work, self.precision = run, int(seed), config, work, precision
        self.train, self.pool = (read_table(self.files[name]) for name in ("train", "pool"))
        self.validation = read_table(self.files.validation)

    def cached(self, name: str, compute: Callable[[], Any]) -> tuple[Any, float]:
        """What was computed, and the seconds that it took."""
        path = self.work / f"{name}.json"
        if not path.exists():
            began = time.perf_counter()
            value = compute()
            path.write_text(json.dumps([value, time.perf_counter() - began]), encoding="utf-8")
            print(name, f"{time.perf_counter() - began:.1f} s", flush=True)
        return json.loads(path.read_text(encoding="utf-8"))

    def training(self, kind: str, precision: str | None) -> dict:
        """Settings of one kind of training."""
        finetune = {k: v for k, v in self.config["finetune"].items() if k not in ("checkpoints", "dropout", "head")}
        return finetune | self.config[kind]["training"] | {"precision": precision or self.precision}

    def spec(self, kind: str, precision: str | None) -> dict:
        chosen = self.config["finetune"]
        return {
            "family": self.config["encoder"]["family"],
            "head": chosen["head"],
            "dropout": chosen["dropout"],
            "training": self.training(kind, precision),
            "noise": False,
        }

    def continued(self, kind: str, seed: int, precision: str | None = None) -> Continuation:
        """The training of one kind with all molecules."""
        return continuation(self.files, self.spec(kind, precision), seed, CPU, Saves(self.work / "state", "", None))

    def members(self, index: int) -> np.ndarray:
        return subset(len(self.pool), 0.5, index, self.seed)

    def loss(self, kind: str, seed: int, index: int, precision: str | None = None) -> float:
        """Validation loss (squared label units) after training with a random half of the pool."""
        name = f"{kind}-{precision or self.precision}-{seed}-{index}"
        if kind == "selection":

            def measured() -> float:
                made = self.continued(kind, seed, precision)
                weights = made.weights(0.0)
                weights[made.train + self.members(index)] = 1.0
                return made.replay.loss(weights, made.batches(kind, 0, 0.5)) * made.replay.scale**2

        else:

            def measured() -> float:
                added = self.pool.iloc[self.members(index)]
                data = pd.concat([self.train, added], ignore_index=True)
                spec, start = self.spec(kind, precision), self.files.checkpoint
                encoder = Path(self.files.encoder[0]).parent
                return validation_loss(encoder, data, self.validation, spec, Conditions(seed, CPU), start)

        return self.cached(name, measured)[0]

    def metagradient(self, kind: str, weight: float, point: int) -> tuple[np.ndarray, float]:
        """Scores of the pool (squared label units), and seconds."""

        def found() -> list[list[float]]:
            made = self.continued(kind, self.seed + point)
            scores, _ = made.gradients(kind, weight, 1, None)
            return (scores[0] * made.replay.scale**2).tolist()

        scores, seconds = self.cached(f"scores-{kind}-{self.precision}-{weight:g}-{point}", found)
        return np.array(scores), seconds

    def others(self, scale: float) -> dict[str, np.ndarray]:
        """Scores of the estimators that the study ran, at the last checkpoint, in the same unit."""
        found = {}
        for path in sorted(self.run.glob("influence/adapted/*/*/scores.parquet")):
            found[path.parent.name] = read_table(path)["influence"].to_numpy() * scale**2
        return found


def compared(predicted: np.ndarray, losses: np.ndarray) -> dict[str, float]:
    """How scores' sums over subsets agree with the mean over seeds of ``losses`` (subsets, seeds)."""
    mean = losses.mean(axis=1)
    value = spearman(predicted, mean)
    low, high = interval(value, len(mean))
    slope = np.polyfit(predicted, mean, 1)[0]
    return {"score": value, "low": low, "high": high, "slope": float(slope)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder of a finished study")
    parser.add_argument("--replicate", required=True, help="splitter/split_seed/seed")
    parser.add_argument("--config", type=Path, nargs="+", default=[Path("config.yaml")], help="the study's, in layers")
    parser.add_argument("--work", type=Path, required=True, help="a folder for what is computed")
    parser.add_argument("--subsets", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--weight", type=float, default=0.5)
    parser.add_argument("--points", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--exact", type=int, default=0, help="subsets that are also trained with in float32")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config: dict = {}
    for path in arguments.config:
        config = _laid_over(config, yaml.safe_load(path.read_text(encoding="utf-8")))
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.results, arguments.replicate, config, arguments.work, arguments.precision)
    scale = bench.continued("selection", bench.seed).replay.scale
    membership = np.zeros((arguments.subsets, len(bench.pool)))
    for index in range(arguments.subsets):
        membership[index, bench.members(index)] = 1
    made, seconds = {}, {}
    for kind in arguments.kinds:
        parts = [bench.metagradient(kind, arguments.weight, point) for point in range(arguments.points)]
        made[f"metagradient, {kind}"] = np.mean([scores for scores, _ in parts], axis=0)
        seconds[kind] = round(sum(part for _, part in parts), 1)
    results: dict[str, Any] = {"seconds": seconds, "subsets": arguments.subsets, "seeds": arguments.seeds}
    for kind in arguments.kinds:
        losses = np.array(
            [[bench.loss(kind, seed, index) for seed in arguments.seeds] for index in range(arguments.subsets)]
        )
        results[kind] = {
            "spread": float(losses.mean(axis=1).std()),
            "ceiling": ceiling(losses)[0] if len(arguments.seeds) > 1 else None,
            "first_seed": {n: compared(membership @ s, losses[:, :1]) for n, s in (bench.others(scale) | made).items()},
            "all_seeds": {n: compared(membership @ s, losses) for n, s in (bench.others(scale) | made).items()},
        }
        if arguments.exact:
            plain = [bench.loss(kind, arguments.seeds[0], index, "float32") for index in range(arguments.exact)]
            results[kind]["rounding"] = float((losses[: arguments.exact, 0] - plain).std())
    print(json.dumps(results))


def _laid_over(below: dict, above: dict) -> dict:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _laid_over(merged[key], value) if both else value
    return merged


if __name__ == "__main__":
    main()
