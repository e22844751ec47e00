"""At which damping does LiSSA's ranking agree with the exact solution? For each checkpoint of a finished study.

python benchmarks/lissa_damping.py results/lipophilicity_small

The study must have run an estimator on the Gram matrix (exact, shapley or greedy) and lissa. Prints a Markdown table of
Spearman correlations over the pool.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

from chemsieve.influence import gramfile
from chemsieve.influence.kernel import first_order

DAMPINGS = (0.01, 0.1, 1.0, 3.0, 10.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a folder below results/")
    study = parser.parse_args().study
    cells = [f"{damping:g}" for damping in DAMPINGS]
    print(f"| model | checkpoint | {' | '.join(cells)} | LiSSA's own |\n" + "|---" * (len(cells) + 3) + "|")
    for matrix in sorted(study.glob("runs/*/*/*/influence/*/*/gram.safetensors")):
        folder = matrix.parent
        if not (folder / "lissa" / "scores.parquet").exists():
            continue
        kernel, _, _ = gramfile.read(matrix, folder / "gram.json")
        lissa = pd.read_parquet(folder / "lissa" / "scores.parquet")["influence"]
        effective = pd.read_parquet(folder / "lissa" / "diagnostics.parquet")["effective_damping"][0]
        found = [
            pd.Series(first_order(kernel, damping)).corr(lissa, method="spearman") for damping in (*DAMPINGS, effective)
        ]
        row = " | ".join(f"{value:.2f}" for value in found)
        print(
            f"| {'/'.join([*folder.parts[-6:-3], folder.parts[-2]])} | {folder.name} | {row} (at {effective:.2g}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
