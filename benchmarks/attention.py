"""What kernel attention costs beside random features: processor time per molecule, one thread.

python benchmarks/attention.py smiles.txt.gz --shapes 2x384x384 4x384x384

A shape is layers x width x intermediate size; heads are 64 wide, random features 32. The first molecules of the file,
sorted by length, in batches of 64; the least of some repetitions, in time of the processor, so that other work on the
machine disturbs little. Prints one row per shape and kind, then one JSON object.
"""

import argparse
import gzip
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

import torch

from chemsieve.models import backbone, tokenization
from chemsieve.training.batches import by_length, pad


def least(work: Callable[[], None], repetitions: int) -> float:
    """Seconds of the processor, after one run to warm up."""
    work()
    taken = []
    for _ in range(repetitions):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("smiles", type=Path, help="SMILES, one a line, plain or gzipped")
    parser.add_argument("--shapes", nargs="+", default=["2x384x384", "4x384x384"])
    parser.add_argument("--molecules", type=int, default=640)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--bfloat16", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = tokenization.build()
    with (gzip.open if arguments.smiles.suffix == ".gz" else open)(arguments.smiles, "rt") as file:
        lines = itertools.islice(file, arguments.molecules)
        ids = tokenization.encode(tokenizer, [line.split()[0] for line in lines])
    batches = [pad([ids[i] for i in positions], 2) for positions in by_length(ids, 64)]
    print("| shape | attention | forward, ms | forward and backward, ms |")
    print("|---|---|---|---|")
    report = []
    for shape in arguments.shapes:
        layers, width, intermediate = (int(part) for part in shape.split("x"))
        for kind in ("random_features", "kernel"):
            architecture = {
                "hidden_size": width,
                "num_hidden_layers": layers,
                "num_attention_heads": width // 64,
                "intermediate_size": intermediate,
                "attention": kind,
            }
            encoder = backbone.random_masked_lm("molformer", architecture, tokenizer, seed=0).molformer

            def forward(encoder=encoder) -> None:
                encoder.eval()
                with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=arguments.bfloat16):
                    for batch in batches:
                        encoder(*batch)

            def both(encoder=encoder) -> None:
                encoder.train()
                for batch in batches:
                    with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bfloat16):
                        pooled = encoder(*batch).pooler_output
                    pooled.square().sum().backward()
                    encoder.zero_grad()

            found = [1e3 * least(work, arguments.repetitions) / len(ids) for work in (forward, both)]
            report.append({"shape": shape, "attention": kind, "forward_ms": found[0], "forward_backward_ms": found[1]})
            print(f"| {shape} | {kind} | {found[0]:.2f} | {found[1]:.2f} |", flush=True)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
