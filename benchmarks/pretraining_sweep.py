"""Which shape of encoder learns most in a given time: pretraining of several shapes, each for the same seconds.

python benchmarks/pretraining_sweep.py CORPUS.parquet --shapes 384x2x384 256x4x256 --seconds 240

CORPUS is the table that the workflow's rule ``pretrain_corpus`` makes. A shape is width x layers x intermediate size;
heads are 64 wide. Each shape's number of steps is what fits the seconds, by the speed of its first steps; the learning
rate follows its schedule to the end. Prints one row per shape, then one JSON object.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

import numpy as np
import torch

from chemsieve.models import backbone, tokenization
from chemsieve.models.encoders import molformer
from chemsieve.tables import read_table
from chemsieve.training import heads, pretraining
from chemsieve.training.batches import MaskingCollator
from chemsieve.training.loop import Conditions


def train(shape: str, rate: float, arguments: argparse.Namespace, data: tuple, steps: int) -> tuple[dict, float, int]:
    """Last row of the curve, seconds, and parameters, of an encoder of a shape trained for so many steps."""
    width, layers, intermediate = (int(part) for part in shape.split("x"))
    architecture = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "intermediate_size": intermediate,
        "num_random_features": arguments.features,
        "hidden_dropout_prob": arguments.dropout,
        "embedding_dropout_prob": arguments.dropout,
    }
    tokenizer = tokenization.build()
    model = backbone.random_masked_lm("molformer", architecture, tokenizer, seed=0)
    settings = pretraining.Settings(
        steps=steps,
        batch_size=arguments.batch_size,
        learning_rate=rate,
        weight_decay=0.01,
        warmup=0.02,
        final_rate=0.1,
        gradient_clip=1.0,
        precision="auto",
        properties_weight=arguments.weight,
        unmasked=0.0,
        evaluate_every=10**9,
        save_every=10**9,
    )
    collate = MaskingCollator.of(tokenizer, 0.15)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        began = time.perf_counter()
        conditions = Conditions(0, torch.device("cpu"))
        curve, _ = pretraining.run(model, molformer.backbone(model), *data, collate, settings, conditions, state)
    return curve[-1], time.perf_counter() - began, sum(p.numel() for p in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--shapes", nargs="+", default=["384x2x384", "256x4x256", "192x6x384"])
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--molecules", type=int, default=200_000, help="read so many of the corpus")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rates", nargs="+", type=float, default=[1e-3])
    parser.add_argument("--weight", type=float, default=1.0, help="of the properties")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    table = read_table(arguments.corpus).iloc[: arguments.molecules]
    held_out = table["held_out"].to_numpy()
    learned, held = (
        heads.Corpus(list(side["tokens"]), np.stack(list(side["properties"])))
        for side in (table[~held_out], table[held_out])
    )
    data = (learned, pretraining.sample(held, 2000, seed=0))
    print("| shape | learning rate | parameters | molecules/s | steps | seconds | loss | accuracy | R2 of properties |")
    print("|---|---|---|---|---|---|---|---|---|")
    report = []
    for shape, rate in itertools.product(arguments.shapes, arguments.learning_rates):
        train(shape, rate, arguments, data, 2)  # a warm-up
        # Two lengths: what both spend on the evaluations falls out of the difference.
        short, long = (train(shape, rate, arguments, data, steps)[1] for steps in (10, 50))
        steps = max(int(arguments.seconds * 40 / (long - short)), 50)
        last, seconds, parameters = train(shape, rate, arguments, data, steps)
        speed = steps * arguments.batch_size / seconds
        report.append(
            {"shape": shape, "parameters": parameters, "seconds": seconds, "molecules_per_second": speed, **last}
        )
        print(
            f"| {shape} | {rate:g} | {parameters:,} | {speed:.0f} | {steps} | {seconds:.0f} | "
            f"{last['validation_loss']:.4f} | {last['masked_accuracy']:.4f} | {last['properties_r2']:.3f} |",
            flush=True,
        )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
