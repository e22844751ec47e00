"""What a compressed Gram matrix leaves undone: true and estimated residuals, and the scores' error, by damping.

python benchmarks/compression.py results/embedded

At the last checkpoint of a finished study's last adapted regressor, against the whole matrix. Prints a Markdown table:
per tolerance seconds and the matrix's error, and per damping the relative residual in the space of the parameters, in
brackets its estimate from that error, and the Spearman correlation of the pool's scores with the exact ones.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from landmarks import load_study

from chemsieve.influence import kernel as kernels
from chemsieve.influence.gram import gram


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a folder below results/")
    parser.add_argument("--tolerances", type=float, nargs="+", default=[0.03, 0.01, 0.001])
    parser.add_argument("--dampings", type=float, nargs="+", default=[1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    problem, query, _, together = load_study(arguments.study)

    def timed(tolerance: float) -> tuple[float, kernels.Kernel, float]:
        began = time.perf_counter()
        result = gram(problem, together, tolerance=tolerance)
        residuals = result.outputs.numpy() - together.labels
        kernel = kernels.Kernel(result.matrix.numpy(), residuals, len(problem.train), len(query))
        return time.perf_counter() - began, kernel, result.error

    seconds, whole, _ = timed(0.0)
    t, q, _ = whole.parts
    print(f"{whole.train} training molecules; the whole matrix took {seconds:.1f} s\n")
    print("| tolerance | seconds | error | " + " | ".join(f"damping {d:g}" for d in arguments.dampings) + " |")
    print("|---" * (3 + len(arguments.dampings)) + "|")
    for tolerance in arguments.tolerances:
        seconds, kernel, error = timed(tolerance)
        cells = [f"{tolerance:g}", f"{seconds:.1f}", f"{error:.1e}"]
        for damping in arguments.dampings:
            a, b = kernels.dual_solution(kernel, damping)
            left = whole.matrix[t, t] @ a + whole.matrix[t, q] @ b + whole.constant(damping) * a
            residual = kernels.residual_norm(whole, left) / kernels.query_gradient_norm(whole)
            estimate = kernels.estimated_residual(kernel, damping, error)
            scores, exact = (pd.Series(kernels.first_order(k, damping)) for k in (kernel, whole))
            cells.append(f"{residual:.2g} ({estimate:.2g}), {np.round(scores.corr(exact, method='spearman'), 4):g}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
