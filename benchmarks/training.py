"""Molecules per second of fine-tuning: the plain way, and this project's, on the same molecules and model.

python benchmarks/training.py --shapes small full

The plain way is what the published studies do: float32, every molecule padded to 128 (or 300) tokens, batches in random
order, AdamW over one parameter at a time, random features drawn layer by layer as the published code draws them, in a
bare loop. Ours is the workflow's own ``fit``, with all that it does beside: batches of like length padded to their
longest molecule, bfloat16 products where the processor multiplies it natively, one batched draw for all layers, fused
AdamW.

Each way trains on the same molecules after a warm-up; ways take turns, best of the rounds counts.

* molecules_per_second: of each way. speedup_vs_128, speedup_vs_300: ours over the plain ways.
* peak_fraction: floating-point operations of ours (6 per weight of a dense layer and token, padding not counted) per
  second, over the measured speed of a large matrix product in the precision of its products.
* loss_difference: how far the mean losses of the ways lie apart over the same molecules; a sanity check.

The last line is one JSON object, by shape.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

import numpy as np
import torch

from chemsieve import tokenization
from chemsieve.data import embedded
from chemsieve.molformer.configuration import MolformerConfig
from chemsieve.molformer.modeling import MolformerModel, orthogonal_features
from chemsieve.regressor import Regressor
from chemsieve.training.batches import RegressionCollator, pad
from chemsieve.training.loop import Settings, fit, low_precision

RATE = 1e-4
SHAPES = {"small": (384, 2), "full": (768, 12)}  # width and layers; heads are 64 wide


class PlainModel(MolformerModel):
    """Draws the random features layer by layer."""

    @torch.no_grad()
    def redraw_features(self) -> None:
        for layer in self.encoder.layer:
            feature_map = layer.attention.self.feature_map
            drawn = orthogonal_features(1, *feature_map.weight.shape, like=feature_map.weight)[0]
            feature_map.weight = drawn.contiguous()


def regressor(kind: type, shape: str, vocabulary: int, pad_id: int, device: torch.device) -> Regressor:
    """A regressor of random weights, the same for each ``kind``."""
    width, layers = SHAPES[shape]
    config = MolformerConfig(
        vocab_size=vocabulary,
        pad_token_id=pad_id,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=width,
        max_position_embeddings=512,  # more than MoLFormer's 202, for the plain way that pads to 300
    )
    torch.manual_seed(0)
    return Regressor(kind(config), width, 0.1).to(device).train()


def padded(ids: list[list[int]], length: int, pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and mask (batch, ``length``)."""
    tokens, mask = pad(ids, pad_id)
    more = length - tokens.shape[1]
    return torch.nn.functional.pad(tokens, (0, more), value=pad_id), torch.nn.functional.pad(mask, (0, more))


class Plain:
    """The plain way, with a model and an optimiser of its own."""

    def __init__(self, shape: str, length: int, data: tuple, batch_size: int, device: torch.device):
        self.ids, self.labels, vocabulary, self.pad_id = data
        self.device, self.length, self.batch_size = device, length, batch_size
        self.model = regressor(PlainModel, shape, vocabulary, self.pad_id, device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATE, foreach=False)

    def train(self, positions: np.ndarray) -> tuple[float, float]:
        """Seconds and mean loss of one pass over these molecules."""
        losses = []
        began = time.perf_counter()
        for low in range(0, len(positions), self.batch_size):
            chosen = positions[low : low + self.batch_size]
            tokens, mask = padded([self.ids[i] for i in chosen], self.length, self.pad_id)
            predicted = self.model(tokens.to(self.device), mask.to(self.device))
            loss = ((predicted - self.labels[chosen].to(self.device)) ** 2).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            losses.append(loss.detach())
        mean = float(torch.stack(losses).mean())  # also waits for a GPU
        return time.perf_counter() - began, mean


class Ours:
    """The workflow's way."""

    def __init__(self, shape: str, precision: str, data: tuple, batch_size: int, device: torch.device):
        self.ids, self.labels, vocabulary, self.pad_id = data
        self.device = device
        self.settings = Settings(epochs=1, batch_size=batch_size, learning_rate=RATE, warmup=0, precision=precision)
        self.model = regressor(MolformerModel, shape, vocabulary, self.pad_id, device)

    def train(self, positions: np.ndarray) -> tuple[float, float]:
        """Seconds and mean loss of one pass over these molecules."""
        examples = [{"input_ids": self.ids[i], "label": float(self.labels[i])} for i in positions]

        def loss(model: torch.nn.Module, inputs: dict) -> torch.Tensor:
            return ((model(inputs["input_ids"], inputs["attention_mask"]).float() - inputs["labels"]) ** 2).mean()

        outcome = fit(
            self.model, examples, RegressionCollator(self.pad_id), loss, lambda: {"validation_loss": 0.0},
            self.settings, 0, self.device,
        )  # fmt: skip
        self.model.train()
        return outcome.curve[0]["seconds"], outcome.curve[0]["train_loss"]


def peak(dtype: torch.dtype, device: torch.device, size: int = 2048) -> float:
    """Floating-point operations per second of a large matrix product."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        began = time.perf_counter()
        product = a @ b
        float(product[0, 0])
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def molecules(smiles: str | None, count: int) -> tuple:
    """Token ids that fit the plain ways, standardised labels, vocabulary and padding id."""
    tokenizer = tokenization.build()
    if smiles:
        import pandas as pd

        frame = pd.read_csv(smiles)
        column = next(name for name in frame if name.lower() in ("smiles", "canonical_smiles"))
        texts = list(frame[column].sample(min(4 * count, len(frame)), random_state=0))
    else:
        texts = list(embedded.make(count, 30, 0.3, 0)[0]["smiles"])
    ids = [row for row in tokenization.encode(tokenizer, texts) if len(row) <= 128][:count]
    labels = torch.tensor([len(row) for row in ids], dtype=torch.float32)
    labels = (labels - labels.mean()) / labels.std()
    return ids, labels, tokenizer.get_vocab_size(), tokenization.special_id(tokenizer, "pad")


def compare(shape: str, arguments: argparse.Namespace, data: tuple, device: torch.device) -> dict:
    """Figures of one shape."""
    make = {
        "ours": lambda: Ours(shape, arguments.precision, data, arguments.batch_size, device),
        "plain_128": lambda: Plain(shape, 128, data, arguments.batch_size, device),
        "plain_300": lambda: Plain(shape, 300, data, arguments.batch_size, device),
    }
    ways = {name: way() for name, way in make.items()}
    generator = np.random.default_rng(0)
    for way in ways.values():
        way.train(generator.permutation(len(data[0]))[: 2 * arguments.batch_size])
    best, losses, tokens = dict.fromkeys(ways, float("inf")), {name: [] for name in ways}, 0.0
    size = max(arguments.steps // arguments.rounds, 1) * arguments.batch_size
    for _ in range(arguments.rounds):
        positions = generator.permutation(len(data[0]))[:size]
        for name, way in ways.items():
            seconds, loss = way.train(positions)
            losses[name].append(loss)
            if seconds < best[name]:
                best[name] = seconds
                tokens = sum(len(data[0][i]) for i in positions) / seconds if name == "ours" else tokens
    speed = {name: len(positions) / seconds for name, seconds in best.items()}
    bfloat16 = low_precision(arguments.precision, device)
    dense = sum(m.weight.numel() for m in ways["ours"].model.modules() if isinstance(m, torch.nn.Linear))
    limit = peak(torch.bfloat16 if bfloat16 else torch.float32, device)
    means = {name: float(np.mean(values)) for name, values in losses.items()}
    return {
        "parameters": sum(p.numel() for p in ways["ours"].model.parameters()),
        "mean_tokens": float(np.mean([len(row) for row in data[0]])),
        "molecules_per_second": speed,
        "speedup_vs_128": speed["ours"] / speed["plain_128"],
        "speedup_vs_300": speed["ours"] / speed["plain_300"],
        "products": "bfloat16" if bfloat16 else "float32",
        "peak_fraction": 6 * dense * tokens / limit,
        "peak_gflops": limit / 1e9,
        "loss_difference": abs(means["ours"] - means["plain_128"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["small"], choices=SHAPES)
    parser.add_argument("--molecules", type=int, default=2000)
    parser.add_argument("--smiles", metavar="FILE", help="a CSV file to sample, instead of the embedded molecules")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60, help="of each way, over all rounds")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = molecules(arguments.smiles, arguments.molecules)
    print("| shape | parameters | way | molecules/s | |\n|---|---|---|---|---|")
    report = {}
    for shape in arguments.shapes:
        report[shape] = found = compare(shape, arguments, data, torch.device(arguments.device))
        for name, speed in found["molecules_per_second"].items():
            times = (
                "" if name == "ours" else f"ours is {found['molecules_per_second']['ours'] / speed:.1f} times as fast"
            )
            print(f"| {shape} | {found['parameters']:,} | {name} | {speed:.1f} | {times} |", flush=True)
    print()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
