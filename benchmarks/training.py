"""Molecules per second of fine-tuning: the plain way, and this project's, on the same molecules and model.

python benchmarks/training.py --shapes small full

The plain way is what the published studies do, with the numerics of the published code: float32, every molecule padded
to 128 (or 300) tokens, batches in random order, attention by einsum, a rotary embedding of slices, random features
drawn layer by layer, AdamW over one parameter at a time, in a bare loop. Ours is an epoch of the workflow's own
``fit``, with all that it does beside: batches of like length padded to their longest molecule, bfloat16 products where
the processor multiplies it natively, one batched draw of features for all layers, cheaper dropout, fused AdamW.

After a warm-up the ways take turns, ours over all molecules, the plain ones over some batches of them; the best of the
rounds counts.

* molecules_per_second: of each way. speedup_vs_128, speedup_vs_300: ours over the plain ways.
* peak_fraction: floating-point operations of ours (6 per weight of a dense layer and token, padding not counted) per
  second, over the measured speed of a large matrix product in the precision of its products.
* prediction_difference: the largest difference of the predictions of the plain way (padded to 128) and ours, with the
  same weights and features, in units of the predictions' standard deviation; a sanity check.
* compiled (with --compile): ours under torch.compile, bare steps, and the seconds that compiling took.

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

from chemsieve.data import embedded
from chemsieve.models import tokenization
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.dropout import Dropout
from chemsieve.models.molformer.modeling import MolformerModel, SelfAttention, orthogonal_features, rotary_tables
from chemsieve.models.regressor import Regressor
from chemsieve.study.sections.training import Regression
from chemsieve.training.batches import RegressionCollator, pad
from chemsieve.training.epochs import Settings, fit
from chemsieve.training.loop import Conditions, low_precision
from chemsieve.training.regression import squared_error

RATE = 1e-4
SHAPES = {"small": (384, 2), "full": (768, 12)}  # width and layers; heads are 64 wide


class PlainAttention(SelfAttention):
    """Attention as the published code computes it."""

    def forward(self, hidden, mask, cos, sin):
        batch, length, width = hidden.shape
        shape = (batch, length, self.heads, width // self.heads)
        cos, sin = rotary_tables(length, width // self.heads, like=hidden)
        sin = torch.cat((sin[:, shape[-1] // 2 :],) * 2, dim=-1)  # without the signs that our rotation has in its table

        def rotated(x):
            first, second = x.chunk(2, dim=-1)
            return x * cos + torch.cat((-second, first), dim=-1) * sin

        query, key, value = (layer(hidden).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        query, key = (torch.relu(rotated(x) @ self.feature_map.weight) for x in (query, key))
        key = key * mask[:, None]
        key_value = torch.einsum("bhnd,bhne->bhde", key, value)
        norm = torch.einsum("bhnd,bhd->bhn", query, key.sum(dim=-2)).clamp(min=self.eps)
        context = torch.einsum("bhnd,bhde,bhn->bhne", query, key_value, 1 / norm)
        return context.transpose(1, 2).reshape(batch, length, width)


class PlainModel(MolformerModel):
    """Computes as the published code does, and draws the random features layer by layer."""

    def __init__(self, config: MolformerConfig):
        super().__init__(config)
        for module in self.modules():
            if isinstance(module, SelfAttention):
                module.__class__ = PlainAttention
            if isinstance(module, Dropout):
                module.__class__ = torch.nn.Dropout

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

    def train(self, positions: np.ndarray) -> float:
        """Seconds of one pass over these molecules."""
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
        float(loss.detach())  # waits for a GPU
        return time.perf_counter() - began


class Ours:
    """The workflow's way."""

    def __init__(self, shape: str, precision: str, data: tuple, batch_size: int, device: torch.device):
        self.ids, self.labels, vocabulary, self.pad_id = data
        self.device = device
        chosen = Regression(epochs=1, batch_size=batch_size, learning_rate=RATE, warmup=0, precision=precision)
        self.settings = Settings(**chosen.model_dump())
        self.model = regressor(MolformerModel, shape, vocabulary, self.pad_id, device)

    def train(self, positions: np.ndarray) -> float:
        """Seconds of an epoch over these molecules, in an order of its own."""
        examples = [{"input_ids": self.ids[i], "label": float(self.labels[i])} for i in positions]
        outcome = fit(
            self.model, examples, RegressionCollator(self.pad_id), squared_error, lambda: {"validation_loss": 0.0},
            self.settings, Conditions(0, self.device),
        )  # fmt: skip
        self.model.train()
        return outcome.curve[0]["seconds"]


def compiled(shape: str, arguments: argparse.Namespace, data: tuple, device: torch.device) -> dict:
    """Bare steps of our model, as it is and under ``torch.compile``, on the same batches of like length."""
    ids, labels, vocabulary, pad_id = data
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    starts = np.linspace(0, len(ids) - arguments.batch_size, 12).astype(int)
    chosen = [order[low : low + arguments.batch_size] for low in starts]
    collate = RegressionCollator(pad_id)
    batches = [collate([{"input_ids": ids[i], "label": float(labels[i])} for i in rows]) for rows in chosen]
    found = {}
    for name in ("eager", "compiled"):
        model = regressor(MolformerModel, shape, vocabulary, pad_id, device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, fused=True)
        if name == "compiled":
            model.compile(dynamic=True)
        best = float("inf")
        began = time.perf_counter()
        for number in range(4):
            start = time.perf_counter()
            for batch in batches:
                with torch.autocast(device.type, torch.bfloat16, enabled=low_precision(arguments.precision, device)):
                    loss = squared_error(model, {key: value.to(device) for key, value in batch.items()})
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
            float(loss.detach())
            taken = time.perf_counter() - start
            if number == 0:
                found[f"{name}_first_seconds"] = taken
            best = min(best, taken)
        found[f"{name}_molecules_per_second"] = len(batches) * arguments.batch_size / best
        found[f"{name}_seconds"] = time.perf_counter() - began
    return found


@torch.no_grad()
def prediction_difference(plain: Plain, ours: Ours, positions: np.ndarray) -> float:
    """Largest difference of the predictions of the two models with ours' weights, in their standard deviations."""
    plain.model.load_state_dict(ours.model.state_dict())
    rows = [ours.ids[i] for i in positions]
    predicted = [
        way.model.eval()(*(part.to(way.device) for part in given))
        for way, given in ((plain, padded(rows, plain.length, plain.pad_id)), (ours, pad(rows, ours.pad_id)))
    ]
    return float((predicted[0] - predicted[1]).abs().max() / predicted[0].std())


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
    size = {name: len(data[0]) if name == "ours" else arguments.steps * arguments.batch_size for name in ways}
    for way in ways.values():
        way.train(generator.permutation(len(data[0]))[: 4 * arguments.batch_size])
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(arguments.rounds):
        order = generator.permutation(len(data[0]))
        for name, way in ways.items():
            best[name] = min(best[name], way.train(order[: size[name]]))
    speed = {name: min(size[name], len(data[0])) / seconds for name, seconds in best.items()}
    mean_tokens = float(np.mean([len(row) for row in data[0]]))
    bfloat16 = low_precision(arguments.precision, device)
    dense = sum(m.weight.numel() for m in ways["ours"].model.modules() if isinstance(m, torch.nn.Linear))
    limit = peak(torch.bfloat16 if bfloat16 else torch.float32, device)
    found = {
        "parameters": sum(p.numel() for p in ways["ours"].model.parameters()),
        "mean_tokens": mean_tokens,
        "molecules_per_second": speed,
        "speedup_vs_128": speed["ours"] / speed["plain_128"],
        "speedup_vs_300": speed["ours"] / speed["plain_300"],
        "products": "bfloat16" if bfloat16 else "float32",
        "peak_fraction": 6 * dense * mean_tokens * speed["ours"] / limit,
        "peak_gflops": limit / 1e9,
        "prediction_difference": prediction_difference(ways["plain_128"], ways["ours"], order[:64]),
    }
    return found | (compiled(shape, arguments, data, device) if arguments.compile else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["small"], choices=SHAPES)
    parser.add_argument("--molecules", type=int, default=1600)
    parser.add_argument("--smiles", metavar="FILE", help="a CSV file to sample, instead of the embedded molecules")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=8, help="of a plain way in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="the workflow's own default")
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
