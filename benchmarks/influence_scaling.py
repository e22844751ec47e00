"""How the Gram matrix's time and memory grow with molecules and with parameters, and what scoring a large pool costs.

python benchmarks/influence_scaling.py --molecules 250 500 1000 2000 4000 --threads 2

Each point is a process of its own, so that its peak memory is its own. Molecules are the project's own, or those of a
file (``--smiles``); the encoder has random weights, which changes no cost at tolerance 0. The last line is one JSON
object. The error of K is from exact products of 48 random molecules. One matrix at full size:

python benchmarks/influence_scaling.py --smiles lipophilicity.csv --molecules 4000 --shape full --shapes --pools \
  --tolerances 0.01 --memory-mb 4000 --threads 1
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

SHAPES = {"small": (128, 2), "embedded": (384, 2), "medium": (512, 6), "full": (768, 12)}


def problem_of(molecules: int, shape: str, smiles: list[str]):
    """A regressor of random weights and so many molecules."""
    import torch

    from chemsieve.influence.problem import Molecules, Problem
    from chemsieve.models import tokenization
    from chemsieve.models.molformer.configuration import MolformerConfig
    from chemsieve.models.molformer.modeling import MolformerModel
    from chemsieve.models.regressor import Regressor

    width, layers = SHAPES[shape]
    tokenizer = tokenization.build()
    torch.manual_seed(0)
    config = MolformerConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=width,
    )
    model = Regressor(MolformerModel(config), width, 0.0).eval()
    ids = tokenization.encode(tokenizer, [smiles[i % len(smiles)] for i in range(molecules)])
    chosen = Molecules(ids, np.random.default_rng(0).normal(size=molecules))
    return Problem(model, chosen, tokenization.special_id(tokenizer, "pad"), 0, 32), chosen


def read_smiles(path: str | None, count: int) -> list[str]:
    """The first SMILES of a file's column ``smiles``; without a file, 1,000 of the project's own molecules."""
    if path is None:
        return own_smiles(1000)
    import pandas as pd

    return pd.read_csv(path)["smiles"].head(count).tolist()


def own_smiles(count: int) -> list[str]:
    """SMILES of the project's own molecules."""
    from chemsieve.data.embedded import make

    return list(make(count, 30, 0.3, 0)[0]["smiles"])


def measure(
    kind: str, molecules: int, shape: str, threads: int, tolerance: float, memory_mb: int, smiles: str | None
) -> dict:
    """Seconds and peak memory of one point."""
    import torch

    from chemsieve.influence.gram import gram
    from chemsieve.models.prediction import predict

    torch.set_num_threads(threads)
    problem, chosen = problem_of(molecules, shape, read_smiles(smiles, molecules))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts = {"kind": kind, "molecules": molecules, "shape": shape, "parameters": problem.size, "tolerance": tolerance}
    began, used = time.perf_counter(), time.process_time()
    if kind == "gram":
        found = gram(problem, chosen, memory_mb=memory_mb, tolerance=tolerance)
        facts |= {"error": found.error, "columns": found.columns, "tokens": sum(map(len, chosen.ids))}
    elif kind == "scores":
        problem.pool_loss_change(torch.randn(problem.size), chosen)
    else:
        predict(problem.model, chosen.ids, problem.pad_id, problem.device, batch_size=32)
    facts["seconds"] = time.perf_counter() - began
    facts["processor_seconds"] = time.process_time() - used  # other work on the machine does not count
    facts["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts["growth_mb"] = facts["peak_mb"] - before
    return facts


def exponent(points: list[dict], key: str) -> float:
    """Slope of log seconds over log ``key`` by least squares; not a number of fewer than two points."""
    if len(points) < 2:
        return float("nan")
    x, y = np.log([p[key] for p in points]), np.log([p["seconds"] for p in points])
    return float(np.polyfit(x, y, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, nargs="+", default=[250, 500, 1000, 2000, 4000])
    parser.add_argument("--shape", default="embedded", choices=SHAPES, help="of the points over molecules")
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--shape-molecules", type=int, default=250, help="molecules of the points over parameters")
    parser.add_argument("--pools", type=int, nargs="*", default=[300, 3000, 30000])
    parser.add_argument("--pool-shape", default="embedded", choices=SHAPES)
    parser.add_argument("--tolerances", type=float, nargs="+", default=[0.0, 1e-5])
    parser.add_argument("--memory-mb", type=int, default=700, help="influence.gram.memory_mb")
    parser.add_argument("--smiles", help="a CSV file with a column smiles")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--point", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.point:
        print(json.dumps(measure(**json.loads(arguments.point))))
        return
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}

    def run(kind: str, molecules: int, shape: str, tolerance: float = 0.0) -> dict:
        point = {"kind": kind, "molecules": molecules, "shape": shape, "tolerance": tolerance}
        point |= {"threads": arguments.threads, "memory_mb": arguments.memory_mb, "smiles": arguments.smiles}
        command = [sys.executable, __file__, "--point", json.dumps(point)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        facts = json.loads(done.stdout.splitlines()[-1])
        cells = (
            facts["kind"], facts["molecules"], f"{facts['parameters']:,}", facts["tolerance"],
            f"{facts['seconds']:.1f}", f"{facts['peak_mb']:.0f}", f"{facts.get('error', 0):.1e}",
        )  # fmt: skip
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
        return facts

    print("| what | molecules | parameters | tolerance | seconds | peak MB | error of K |\n" + "|---" * 7 + "|")
    summary = {}
    for tolerance in arguments.tolerances:
        by_size = [run("gram", n, arguments.shape, tolerance) for n in arguments.molecules]
        by_shape = [run("gram", arguments.shape_molecules, shape, tolerance) for shape in arguments.shapes]
        summary[f"gram_{tolerance:g}"] = {
            "exponent_molecules": exponent(by_size, "molecules"),
            "exponent_parameters": exponent(by_shape, "parameters"),
            "points": by_size + by_shape,
        }
    scores = [run("scores", n, arguments.pool_shape) for n in arguments.pools]
    plain = [run("inference", n, arguments.pool_shape) for n in arguments.pools]
    if not scores:
        print(json.dumps(summary))
        return
    summary["pool"] = {
        "exponent": exponent(scores, "molecules"),
        "over_inference": [s["seconds"] / p["seconds"] for s, p in zip(scores, plain, strict=True)],
        "growth_mb": [s["growth_mb"] for s in scores],
        "inference_growth_mb": [p["growth_mb"] for p in plain],
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
