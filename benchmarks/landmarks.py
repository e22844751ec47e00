"""Exact influence with more training molecules than the Gram matrix holds: what the landmarks save, and what they miss.

python benchmarks/landmarks.py results/embedded --landmarks 60 200 400

At the last checkpoint of a finished study's last adapted regressor, with a Gram matrix of so few training molecules:
conjugate gradients over all of them, preconditioned by the matrix and plain, and what the matrix says alone. The truth
is the closed form of the whole matrix. Prints a Markdown table: iterations to the tolerance, seconds, Spearman and
relative error of the pool's scores.
"""

import argparse
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

from chemsieve.influence.estimators import cg
from chemsieve.influence.gram import gram
from chemsieve.influence.kernel import Kernel, first_order
from chemsieve.influence.landmarks import solve as solve_on_landmarks
from chemsieve.influence.loading import load
from chemsieve.influence.problem import Molecules, Problem


class Files(SimpleNamespace):
    """Named paths, as Snakemake gives them."""

    def get(self, name: str) -> object:
        return getattr(self, name, None)


def last_adapted(study: Path) -> Files:
    """The files of the study's last replicate at its last checkpoint."""
    checkpoint = sorted(study.glob("runs/*/*/*/finetune/adapted/checkpoint-*.safetensors"))[-1]
    seed = checkpoint.parents[2]
    split = study / "splits" / seed.parts[-3] / seed.parts[-2]
    return Files(
        encoder=[seed / "mlm" / "config.json"],
        checkpoint=checkpoint,
        train=split / "train.parquet",
        validation=split / "validation.parquet",
        pool=study / "data" / "pool.parquet",
    )


def load_study(study: Path) -> tuple[Problem, Molecules, Molecules, Molecules]:
    """Problem, query and pool at that checkpoint, and all their molecules in the order of a Gram matrix."""
    spec = {"family": "molformer", "batch_size": 16}
    problem, query, pool = load(last_adapted(study), spec, 0, torch.device("cpu"))
    return problem, query, pool, Molecules.joined([problem.train, query, pool])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a folder below results/")
    parser.add_argument("--landmarks", type=int, nargs="+", default=[60, 200, 400])
    parser.add_argument("--dampings", type=float, nargs="+", default=[0.01, 1.0])
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--iterations", type=int, default=40, help="at most so many")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    problem, query, pool, together = load_study(arguments.study)
    began = time.perf_counter()
    result = gram(problem, together)
    whole = Kernel(result.matrix.numpy(), result.outputs.numpy() - together.labels, len(problem.train), len(query))
    print(f"{len(problem.train)} training molecules; the whole matrix took {time.perf_counter() - began:.1f} s\n")
    vector = problem.gradient(query)
    print(
        "| damping | way | iterations | relative residual | seconds | Spearman | relative error |\n" + "|---" * 7 + "|"
    )

    def row(damping: float, way: str, scores: np.ndarray, seconds: float, iterations: object, residual: str) -> None:
        truth = first_order(whole, damping)
        spearman = pd.Series(scores).corr(pd.Series(truth), method="spearman")
        error = np.linalg.norm(scores - truth) / np.linalg.norm(truth)
        print(
            f"| {damping:g} | {way} | {iterations} | {residual} | {seconds:.1f} | {spearman:.4f} | {error:.1e} |",
            flush=True,
        )

    for damping in arguments.dampings:
        for count in arguments.landmarks:
            landmarks = problem.sample(count)
            began = time.perf_counter()
            matrix = gram(problem, landmarks).matrix.numpy()
            solution, residual = solve_on_landmarks(
                problem, landmarks, matrix, vector, damping, arguments.iterations, arguments.tolerance
            )
            seconds = time.perf_counter() - began
            scores = -problem.pool_loss_change(solution.x, pool)
            row(damping, f"{count} landmarks", scores, seconds, solution.iterations, f"{residual:.1e}")
            all_train, problem.train = problem.train, landmarks
            # The preconditioner alone: the closed form over the landmarks.
            alone, _ = solve_on_landmarks(problem, landmarks, matrix, vector, damping, 1, 1e-12)
            problem.train = all_train
            row(damping, f"{count} alone", -problem.pool_loss_change(alone.x, pool), 0.0, "", "")
        began = time.perf_counter()
        plain = cg.solve(problem, vector, damping, arguments.iterations, arguments.tolerance)
        seconds = time.perf_counter() - began
        left = problem.gauss_newton_product(plain.x) + damping * plain.x - vector
        scores = -problem.pool_loss_change(plain.x, pool)
        row(damping, "plain", scores, seconds, plain.iterations, f"{float(left.norm() / vector.norm()):.1e}")


if __name__ == "__main__":
    main()
