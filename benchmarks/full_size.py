"""What a study with the full-size encoder takes on processors: pieces measured, a study estimated, a part checked.

    python benchmarks/full_size.py pieces LIPOPHILICITY.csv > pieces.json       processor seconds on one thread, minutes
    python benchmarks/full_size.py check LIPOPHILICITY.csv pieces.json          a tenth of a replicate, against them
    python benchmarks/full_size.py estimate pieces.json --configfile studies/lipophilicity.yaml ...

``estimate`` takes what else it is given as Snakemake does, plans the study by a dry run and says for each step how many
jobs it has, what one takes by the pieces, and the hours of the whole on 2, 8 and 64 cores: all work over the cores, or
the longest chain of jobs where that is longer. All epochs are counted, as if patience ended none; each job has one
thread; cores are taken to be as fast together as one alone. What computes no gradient is left out, since it is minutes.

Processor seconds are those of the process, so that other work on the machine does not count. The encoder has random
weights. The Gram matrix's pieces are those of benchmarks/results/gram_full.json.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT / "benchmarks")]

from influence_scaling import problem_of, read_smiles  # noqa: E402 (beside this file)

CORES = (2, 8, 64)
BATCH = 32
CHAIN = ("mlm", "finetune", "gram", "influence", "finetune_on_selection")  # each needs one of those before
SETTINGS = {
    "batch_size": BATCH, "learning_rate": 3e-5, "weight_decay": 0.01, "warmup": 0.1, "schedule": "linear",
    "patience": None, "minimum_delta": 0.0, "gradient_clip": 1.0, "group_by_length": True, "precision": "auto",
    "layer_decay": 1.0, "average": None,
}  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


class Work:
    """The pieces of a replicate on ``count`` molecules, each as a function to be timed."""

    def __init__(self, path: str, count: int):
        torch.set_num_threads(1)
        self.problem, self.molecules = problem_of(count, "full", read_smiles(path, count))
        self.vector = torch.randn(self.problem.size)

    def train(self, epochs: int) -> None:
        """Fine-tuning on all of the molecules."""
        from chemsieve.training.batches import RegressionCollator
        from chemsieve.training.epochs import Settings, fit
        from chemsieve.training.loop import Conditions
        from chemsieve.training.regression import squared_error

        given = zip(self.molecules.ids, self.molecules.labels, strict=True)
        examples = [{"input_ids": ids, "label": float(label)} for ids, label in given]
        settings = Settings(epochs=epochs, **SETTINGS)
        collate, device = RegressionCollator(self.problem.pad_id), torch.device("cpu")
        fit(
            self.problem.model, examples, collate, squared_error, lambda: {"validation_loss": 1.0}, settings,
            Conditions(0, device),
        )  # fmt: skip

    def predict(self) -> None:
        """Predictions of all."""
        from chemsieve.models.prediction import predict

        predict(self.problem.model, self.molecules.ids, self.problem.pad_id, self.problem.device)

    def score(self) -> None:
        """Derivatives along a vector of all."""
        self.problem.loss_change(self.vector, self.molecules)

    def hessian(self) -> None:
        """A Hessian product over all."""
        self.problem.hessian_product(self.vector, self.molecules)

    def gauss_newton(self) -> None:
        """A Gauss-Newton product over all."""
        self.problem.gauss_newton_product(self.vector, self.molecules)


KINDS = ("predict", "score", "hessian", "gauss_newton")


def pieces(path: str, count: int) -> dict[str, float]:
    """Processor seconds per molecule of each kind of work, by its name."""
    work = Work(path, count)
    seconds(work.predict)  # warms up
    return {
        **{kind: seconds(getattr(work, kind)) / count for kind in KINDS},
        "train": (seconds(lambda: work.train(2)) - seconds(lambda: work.train(1))) / count,
    }


def check(path: str, measured: dict[str, float], count: int, chosen: list[str]) -> list[dict]:
    """A tenth of a replicate: expected and measured processor seconds of the chosen pieces."""
    work, rows = Work(path, count), []
    runs = {"train": lambda: work.train(1), **{kind: getattr(work, kind) for kind in KINDS}}
    for name, run in ((name, runs[name]) for name in chosen):
        rows.append({"work": name, "molecules": count, "expected": measured[name] * count, "measured": seconds(run)})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def planned(arguments: list[str]) -> dict[str, int]:
    """Jobs of each rule, by a dry run."""
    command = [sys.executable, "-m", "snakemake", "-n", "all", "--cores", "1", "--forceall", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    table = re.search(r"(?s)Job stats:\n.*?\n\n", done.stdout)
    if done.returncode or table is None:
        raise SystemExit(done.stdout + done.stderr)
    return {rule: int(jobs) for rule, jobs in re.findall(r"(?m)^(\w+) +(\d+)$", table[0]) if rule != "total"}


def configuration(arguments: list[str]) -> dict:
    """config.yaml with the files after ``--configfile`` on top."""

    def merged(base: dict, change: dict) -> dict:
        both = base | change
        inner = {k for k in base.keys() & change.keys() if isinstance(base[k], dict) and isinstance(change[k], dict)}
        return both | {key: merged(base[key], change[key]) for key in inner}

    found = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for name in arguments:
        if name.endswith(".yaml"):
            found = merged(found, yaml.safe_load(Path(name).read_text(encoding="utf-8")))
    return found


def estimate(found: dict[str, float], targets: int, pool: int, arguments: list[str]) -> dict:
    """Seconds of a job of each step, and hours of the study."""
    config, jobs = configuration(arguments), planned(arguments)
    train, held = (round(share * targets) for share in config["split"]["fractions"][:2])
    tuned, selected = config["finetune"], [s.get("budget", {}) for s in config["selection"]["strategies"].values()]
    chosen = max((budget.get("count") or 0 for budget in selected), default=0)

    def training(molecules: float, given: dict) -> float:
        epochs = (tuned | given)["epochs"]
        return epochs * (molecules * found["train"] + held * found["predict"])

    options = config["influence"]["estimators"]
    lissa, every = options["lissa"], min(config["influence"]["hessian_molecules"] or train, train)
    of_estimators = {
        "exact": 4 * train * found["gauss_newton"] if options["exact"]["check"] else 0.0,
        "shapley": 0.0,
        "greedy": 0.0,
        "lissa": (lissa["depth"] * lissa["repeats"] * lissa["batch_size"] + 4 * 8 * lissa["batch_size"] + every)
        * found["hessian"],
        "cg": (1 + options["cg"]["iterations"]) * every * found["gauss_newton"],
    }
    run = config["influence"]["run"]
    scores = [of_estimators[name] + (pool + held) * found["score"] for name in run]
    n = min(train + held + pool, config["influence"]["gram"]["largest"])
    matrix = found["gram_fixed"] + n * found["gram_molecule"] + n**2 * found["gram_pair"]
    retrained = train + config["validation"]["fraction"] * pool
    methods = config["grid"]["methods"]
    grid = [training(train + chosen, methods[name].get("training") or {}) for name in config["grid"]["run"]]
    on_selection = [training(train + chosen, {}), *grid]
    of_one = {  # the mean, and the longest
        "mlm": [config["mlm"]["epochs"] * train * found["train"]] * 2,
        "finetune": [training(train, {})] * 2,
        "gram": [matrix] * 2,
        "influence": [sum(scores) / len(scores), max(scores)],
        "finetune_on_selection": [sum(on_selection) / len(on_selection), training(train + pool, {})],
        "retrain": [training(retrained, config["validation"]["training"])] * 2,
    }
    rows = {rule: {"jobs": jobs[rule], "seconds": mean} for rule, (mean, _) in of_one.items() if jobs.get(rule)}
    total = sum(row["jobs"] * row["seconds"] for row in rows.values())
    longest = sum(of_one[rule][1] for rule in CHAIN if jobs.get(rule))
    hours = {cores: max(total / cores, longest) / 3600 for cores in CORES}
    without = total - (rows["retrain"]["jobs"] * rows["retrain"]["seconds"] if "retrain" in rows else 0.0)
    return {
        "steps": rows, "core_hours": total / 3600, "chain_hours": longest / 3600, "hours": hours,
        "hours_without_retraining": {cores: max(without / cores, longest) / 3600 for cores in CORES},
    }  # fmt: skip


def gram_pieces() -> dict[str, float]:
    """Processor seconds of a Gram matrix: once, for each molecule, and for each pair of them."""
    raw = json.loads((ROOT / "benchmarks" / "results" / "gram_full.json").read_text(encoding="utf-8"))["raw"]
    return {f"gram_{name}": raw["processor_seconds"][name] for name in ("fixed", "molecule", "pair")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("pieces", "check", "estimate"):
        one = commands.add_parser(name)
        if name != "estimate":
            one.add_argument("molecules", help="a CSV file with a column smiles")
        if name != "pieces":
            one.add_argument("pieces", type=Path)
        one.add_argument("--count", type=int, default=96 if name == "pieces" else 336, help="molecules to measure on")
        one.add_argument("--only", nargs="+", choices=["train", *KINDS], default=["train", *KINDS], help="of check")
        one.add_argument("--targets", type=int, default=4200)
        one.add_argument("--pool", type=int, default=300)
    given, arguments = parser.parse_known_args()
    if given.command != "pieces":
        measured = json.loads(given.pieces.read_text(encoding="utf-8"))
    if given.command == "pieces":
        result: object = pieces(given.molecules, given.count)
    elif given.command == "check":
        result = check(given.molecules, measured, given.count, given.only)
    else:
        result = estimate(measured | gram_pieces(), given.targets, given.pool, arguments)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
