"""What a GPU computes, how fast, and what minutes of it are worth: one script for a bare machine without network.

On a machine with chemsieve's environment, beforehand (minutes):

    python benchmarks/gpu.py prepare DATA FOLDER --molecules 600000
    python -m pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux_2_28_x86_64 \
        -d wheels rdkit==VERSION                     the version in requirements.lock, for the machine's Python

DATA has lipophilicity.csv, and corpus/smiles.txt.gz (a SMILES a line). FOLDER then holds all that a run reads: token
ids of the corpus, and the folds and SMILES of Lipophilicity, a few megabytes. On the machine with the GPU, which needs
torch, transformers, peft, pandas, pyarrow, scikit-learn, scipy and, from the wheels, rdkit:

    python benchmarks/gpu.py run FOLDER OUT --minutes 9

It goes through its parts in order of worth and writes each result to OUT/results.jsonl as it comes, so that a stop at
any moment leaves what was reached; a part that fails leaves a line with its error, and the next one starts.

* correctness: against the same on the processor, in float32 with TF32 off and on, and in bfloat16 where training uses
  it: predictions, twenty steps of each method, the Gram matrix and scores from it, directional derivatives, derivatives
  through training (metagradient), the same training twice, and one that is interrupted inside an epoch.
* speed: fine-tuning at full size over batch sizes, beside the machine's own speed in a large matrix product (operations
  are 6 per weight of a dense layer and token, padding not counted), and over batches packed by tokens; prediction; the
  Gram matrix of 4,000 molecules; scores of a pool; steps as torch.compile and CUDA graphs make them, of which one that
  fails leaves a row that says so; several trainings of a small encoder at a time.
* worth: the remaining minutes pretrain an encoder of the bundled shape (OUT/encoder_small) and the full-size one
  (OUT/encoder), which is then fine-tuned on Lipophilicity, one seed, and scored by influence.

``--size toy`` runs all of it in seconds on any machine; ``--device cpu`` on the processor.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

import numpy as np
import torch

from chemsieve import methods
from chemsieve.influence import gramfile
from chemsieve.influence.continuation import Continuation
from chemsieve.influence.gram import gram
from chemsieve.influence.problem import Molecules, Problem
from chemsieve.influence.replay import Replay
from chemsieve.influence.scoring import from_kernel
from chemsieve.models import backbone, encoders, regressor, tokenization
from chemsieve.models.molformer.modeling import MolformerModel
from chemsieve.models.prediction import predict
from chemsieve.models.regressor import Regressor
from chemsieve.training import pretraining
from chemsieve.training.batches import MaskingCollator, RegressionCollator
from chemsieve.training.epochs import Settings, fit
from chemsieve.training.heads import Corpus
from chemsieve.training.loop import Conditions
from chemsieve.training.regression import Labelled, fine_tune, squared_error
from chemsieve.training.saves import Saves

CPU = torch.device("cpu")
FOLDS = ("train", "validation", "test")
LORA = {"rank": 8, "alpha": 16, "targets": ["query", "key", "value", "intermediate"]}
METHODS = {"full": {}, "bitfit": {}, "lora": LORA, "ia3": {"targets": ["key", "value", "intermediate"]}}
TRAINING = {
    "epochs": 1, "batch_size": 32, "learning_rate": 3e-5, "weight_decay": 0.01, "warmup": 0.1, "schedule": "linear",
    "patience": None, "minimum_delta": 0.0, "gradient_clip": 1.0, "group_by_length": True, "precision": "float32",
    "layer_decay": 1.0, "average": None,
}  # fmt: skip
GRAM = {"tolerance": 0.01, "rank": None, "basis": "principal", "memory_mb": 700, "largest": 6000}


@dataclass(frozen=True)
class Size:
    """How large everything is: ``architecture`` of the encoder, and numbers of molecules."""

    architecture: dict
    compared: int
    batches: tuple[int, ...]
    tokens: tuple[int, ...]  # of a batch, padding included
    jobs: tuple[int, ...]  # trainings at a time
    small: dict  # the architecture of the encoder that these train
    gram: int
    pool: int
    matrix: int
    pretraining: int  # molecules of a step
    epochs: int
    fine_tuned: int | None  # training molecules of Lipophilicity; None: all


SIZES = {
    "full": Size(
        {}, 128, (16, 32, 64, 128, 256, 512), (4096, 16_384), (1, 4, 16),
        {"hidden_size": 384, "num_hidden_layers": 2, "num_attention_heads": 6, "intermediate_size": 384},
        4000, 20_000, 8192, 256, 10, None,
    ),
    "toy": Size(
        {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
         "num_random_features": 8},
        24, (8, 16), (200,), (2,),
        {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
        40, 60, 256, 16, 1, 48,
    ),
}  # fmt: skip


class Measurement:
    """The inputs, the device, and the file of results.

    Args:
        folder: as ``prepare`` left it.
        out: where results go.
        size: of everything, by its name.
        minutes: after which nothing new begins.
    """

    def __init__(self, folder: Path, out: Path, device: torch.device, size: str, minutes: float):
        self.device, self.name, self.size, self.folder, self.out = device, size, SIZES[size], folder, out
        self.steps = 20 if device.type == "cuda" else 3  # that are timed
        self.end = time.perf_counter() + 60 * minutes
        self.tokenizer = tokenization.build()
        self.pad_id = tokenization.special_id(self.tokenizer, "pad")
        with np.load(folder / "corpus.npz") as read:
            cuts = np.cumsum(read["lengths"])[:-1]
            self.corpus = [row.tolist() for row in np.split(read["tokens"], cuts)]
        with np.load(folder / "lipophilicity.npz") as read:
            self.smiles, self.labels, self.folds = read["smiles"].tolist(), read["labels"], read["folds"]
        self.ids = tokenization.encode(self.tokenizer, self.smiles)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.end - time.perf_counter()

    def fold(self, name: str, count: int | None = None) -> Labelled:
        """Molecules of a fold, the first ``count``."""
        chosen = np.flatnonzero(self.folds == name)[:count]
        return Labelled([self.smiles[i] for i in chosen], self.labels[chosen])

    @cached_property
    def encoder_folder(self) -> Path:
        """A folder with an encoder of random weights."""
        return self.random_encoder(self.size.architecture)

    def random_encoder(self, architecture: dict) -> Path:
        """A fresh folder with an encoder of that shape, of random weights."""
        folder = Path(tempfile.mkdtemp()) / "encoder"
        model = backbone.random_masked_lm("molformer", architecture, self.tokenizer, 0)
        backbone.save_masked_lm(model, self.tokenizer, folder)
        return folder

    def model(self, method: str = "full", folder: Path | None = None) -> Regressor:
        """A fresh regressor on the processor, the same at each call."""
        folder = folder or self.encoder_folder  # made before the seed is set, since making it draws
        torch.manual_seed(1)
        model = regressor.build(folder, "molformer", {})
        methods.load(method).apply(model, **METHODS[method])
        return model

    def problem(self, device: torch.device, molecules: Molecules, model: Regressor | None = None) -> Problem:
        """The influence problem on a device."""
        return Problem((model or self.model()).to(device), molecules, self.pad_id, seed=0)

    def molecules(self, count: int) -> Molecules:
        """Molecules with standardised labels."""
        chosen = np.arange(min(count, len(self.ids)))
        labels = self.labels[chosen]
        return Molecules([self.ids[i] for i in chosen], (labels - labels.mean()) / labels.std())

    def synchronise(self) -> None:
        """Wait for the device, so that a clock shows what it has done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def peak_memory_gb(self) -> float | None:
        """Peak of the device's memory since the last call."""
        if self.device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
        return peak


def set_tf32(on: bool) -> None:
    """Whether float32 products on a GPU may round their factors to TF32."""
    torch.backends.cuda.matmul.allow_tf32 = on
    torch.backends.cudnn.allow_tf32 = on


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    """The norm of the difference over that of what is wanted."""
    return float(np.linalg.norm(np.asarray(found) - np.asarray(wanted)) / np.linalg.norm(wanted))


# Correctness: each yields rows.


def predictions(m: Measurement) -> Iterator[dict]:
    """Predictions on the device against the processor's."""
    ids = m.ids[: m.size.compared]
    wanted = predict(m.model(), ids, m.pad_id, CPU)
    for tf32 in (False, True):
        set_tf32(tf32)
        found = predict(m.model().to(m.device), ids, m.pad_id, m.device)
        yield {"tf32": tf32, "largest_difference_sd": float(np.abs(found - wanted).max() / wanted.std())}
    set_tf32(False)


def _trained(m: Measurement, device: torch.device, method: str, precision: str, saves: Saves | None = None, stop=None):
    """Predictions after some steps without noise, on the device; ``stop`` breaks off after so many batches."""
    model = m.model(method)
    regressor.disable_noise(model)
    train, count = m.fold("train", m.size.compared), m.size.compared
    settings = Settings(**TRAINING | {"batch_size": max(count // 10, 1), "epochs": 2, "precision": precision})
    if stop is not None:
        return _interrupted(m, model, train, settings, device, saves, stop)
    fine_tune(model, m.tokenizer, train, m.fold("validation", 32), settings, Conditions(0, device, saves))
    return predict(model, m.ids[:count], m.pad_id, device)


def _interrupted(m: Measurement, model, train, settings, device, saves, stop: int) -> None:
    """The same training, broken off by an exception in its loss."""
    import chemsieve.training.regression as module

    calls = itertools.count()

    def loss(*arguments):
        if next(calls) == stop:
            raise KeyboardInterrupt
        return squared_error(*arguments)

    original, module.squared_error = module.squared_error, loss
    try:
        fine_tune(model, m.tokenizer, train, m.fold("validation", 32), settings, Conditions(0, device, saves))
    except KeyboardInterrupt:
        pass
    finally:
        module.squared_error = original


def training_steps(m: Measurement) -> Iterator[dict]:
    """Predictions after twenty steps of each method on the device against the processor's."""
    for method in METHODS:
        wanted = _trained(m, CPU, method, "float32")
        for tf32, precision in ((False, "float32"), (True, "float32"), (False, "bfloat16")):
            set_tf32(tf32)
            found = _trained(m, m.device, method, precision)
            difference = float(np.abs(found - wanted).max() / m.labels.std())
            yield {"method": method, "tf32": tf32, "precision": precision, "largest_difference_sd": difference}
    set_tf32(False)


def repeats_and_resumes(m: Measurement) -> Iterator[dict]:
    """The same training twice, and one that is broken off in the middle of its second epoch and resumed."""
    first, second = (_trained(m, m.device, "full", "bfloat16") for _ in range(2))
    yield {"what": "repeated", "equal_to_the_bit": bool((first == second).all())}
    with tempfile.TemporaryDirectory() as folder:
        saves = Saves(Path(folder) / "state.safetensors", "gpu", 0)
        _trained(m, m.device, "full", "bfloat16", saves, stop=14)
        resumed = _trained(m, m.device, "full", "bfloat16", replace(saves))
    yield {"what": "resumed", "equal_to_the_bit": bool((first == resumed).all()), "relative": relative(resumed, first)}


def influence(m: Measurement) -> Iterator[dict]:
    """The Gram matrix, derivatives along a vector and through training, and scores, against the processor's."""
    molecules = m.molecules(m.size.compared)
    third = len(molecules) // 3
    parts = [molecules.take(np.arange(third * k, third * (k + 1))) for k in range(3)]

    def computed(device: torch.device) -> dict[str, np.ndarray]:
        problem = m.problem(device, parts[0])
        matrix = gram(problem, molecules).matrix.cpu().numpy()
        vector = problem.gradient(parts[1])
        kernel, labels, facts = gramfile.compute(problem, parts[1], parts[2], {**GRAM, "tolerance": 0.0})
        found = {"gram": matrix, "gradient": vector.cpu().numpy()}
        found["directional_derivatives"] = problem.loss_change(vector, parts[2])
        for name, options in (
            ("exact", {"damping": 1.0, "refinements": 0, "check": False, "iterations": 30, "tolerance": 0.01}),
            ("shapley", {"damping": 1.0, "permutations": 50}),
        ):
            given = (kernel, labels, facts, lambda: (problem, parts[1], parts[2]), name, options)
            found[name] = from_kernel(*given, tolerance=0.05, seed=0)[0]
        # Through six steps of training, of which the third part's loss is asked.
        both = Molecules([*parts[0].ids, *parts[1].ids], np.concatenate([parts[0].labels, parts[1].labels]))
        quiet = Settings(**TRAINING | {"batch_size": max(third // 6, 1)})
        replay = Replay(m.model().to(device), both, parts[2], m.pad_id, quiet)
        continued = Continuation(replay, [f"{number}" for number in range(2 * third)], third, 0)
        found["metagradient"] = continued.gradients("selection", 0.5, 1, None)[0][0]
        return found

    wanted = computed(CPU)
    for tf32 in (False, True):
        set_tf32(tf32)
        found = computed(m.device)
        yield {"tf32": tf32, "relative_errors": {name: relative(found[name], wanted[name]) for name in wanted}}
    set_tf32(False)


# Speed.


def training_speed(m: Measurement) -> Iterator[dict]:
    """Molecules per second of fine-tuning, and the share of the machine's own speed in a matrix product."""
    a, b = (torch.randn(m.size.matrix, m.size.matrix, device=m.device, dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(5):
        m.synchronise()
        began = time.perf_counter()
        a @ b
        m.synchronise()
        seconds.append(time.perf_counter() - began)
    peak = 2 * m.size.matrix**3 / min(seconds)
    yield {"bfloat16_product_tflops": peak / 1e12}
    del a, b
    weights = sum(layer.weight.numel() for layer in m.model().encoder.modules() if isinstance(layer, torch.nn.Linear))
    sizes = [{"batch_size": size} for size in m.size.batches] + [{"batch_tokens": size} for size in m.size.tokens]
    for size in sizes:
        molecules = size.get("batch_size") or size["batch_tokens"] // 50
        ids = tokenization.encode(m.tokenizer, m.fold("train", molecules * m.steps).smiles)
        m.peak_memory_gb()
        taken = seconds_of_training(m, m.model(), ids, size)
        operations = 6 * weights * sum(map(len, ids)) / taken
        yield {
            **size, "molecules_per_second": len(ids) / taken, "share_of_product": operations / peak,
            "memory_gb": m.peak_memory_gb(),
        }  # fmt: skip


def seconds_of_training(m: Measurement, model: Regressor, ids: list[list[int]], changes: dict) -> float:
    """Seconds of the second epoch of a training in bfloat16; the first one warms up."""
    examples = [{"input_ids": row, "label": 0.0} for row in ids]
    outcome = fit(
        model, examples, RegressionCollator(m.pad_id), squared_error, lambda: {"validation_loss": 1.0},
        Settings(**TRAINING | {"precision": "bfloat16", "epochs": 2} | changes), Conditions(0, m.device),
    )  # fmt: skip
    return outcome.curve[1]["seconds"]


def graphs(model: Regressor, ids: torch.Tensor) -> Callable:
    """The regressor whose passes are replayed as CUDA graphs, with random features that stay as they are.

    Drawing features needs a decomposition whose library may not be captured.
    """
    for module in model.modules():
        if isinstance(module, MolformerModel):
            module.fixed_features = True
    with torch.autocast(ids.device.type, torch.bfloat16, cache_enabled=False):
        return torch.cuda.make_graphed_callables(model, (ids, torch.ones_like(ids)))


# How a step's forward pass is made of a regressor and token ids, without padding, by name; the second needs a GPU.
STEPS: dict[str, tuple[Callable[[Regressor, torch.Tensor], Callable], bool]] = {
    "plain": (lambda model, ids: model, False),
    "compile": (lambda model, ids: torch.compile(model, backend=COMPILERS[ids.device.type]), False),
    "compile_with_cuda_graphs": (lambda model, ids: torch.compile(model, mode="reduce-overhead"), True),
    "cuda_graphs": (graphs, True),
}
COMPILERS = {"cuda": "inductor", "cpu": "aot_eager"}  # on a processor that it runs at all is what is asked


def compiled_steps(m: Measurement) -> Iterator[dict]:
    """Milliseconds of a training step of one shape, as it is, compiled, and as CUDA graphs; what fails is said."""
    batch, length = m.size.batches[-1] // 4, 48 if m.size.architecture == {} else 12
    ids = torch.randint(5, 50, (batch, length), device=m.device)
    for name, (made, gpu) in STEPS.items():
        if gpu and m.device.type != "cuda":
            yield {"step": name, "skipped": "it needs a GPU"}
            continue
        try:
            yield {"step": name, "batch": [batch, length], **_timed_steps(m, made, ids)}
        except Exception as error:  # whatever a compiler raises
            yield {"step": name, "failed": f"{type(error).__name__}: {error}"[:500]}


def _timed_steps(m: Measurement, made: Callable[[Regressor, torch.Tensor], Callable], ids: torch.Tensor) -> dict:
    model = m.model().to(m.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    began = time.perf_counter()
    forward, mask, warming = made(model, ids), torch.ones_like(ids), 3
    for step in range(warming + m.steps):
        if step == warming:
            m.synchronise()
            warm = time.perf_counter()
        with torch.autocast(m.device.type, torch.bfloat16):
            loss = forward(ids, mask).float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    m.synchronise()
    taken = time.perf_counter() - warm
    return {"milliseconds": 1000 * taken / m.steps, "warm_up_seconds": warm - began}


def several_jobs(m: Measurement) -> Iterator[dict]:
    """Molecules per second of several trainings of a small encoder at a time, each a process of its own."""
    folder = m.random_encoder(m.size.small)
    for count in m.size.jobs:
        command = [sys.executable, __file__, "job", str(m.folder), str(folder), "--device", m.device.type]
        jobs = [subprocess.Popen([*command, "--size", m.name], stdout=subprocess.PIPE, text=True) for _ in range(count)]
        told = [json.loads(job.communicate()[0].splitlines()[-1]) for job in jobs]
        yield {
            "jobs": count, "molecules_per_second": sum(one["molecules_per_second"] for one in told),
            "memory_gb": [one["memory_gb"] for one in told],
        }  # fmt: skip


def job(given: argparse.Namespace) -> None:
    """One of several trainings."""
    m = Measurement(given.folder, given.folder, torch.device(given.device), given.size, 1)
    model = m.model(folder=given.encoder)
    ids = tokenization.encode(m.tokenizer, m.fold("train", 100 * m.steps).smiles)
    taken = seconds_of_training(m, model, ids, {"batch_size": 16})
    print(json.dumps({"molecules_per_second": len(ids) / taken, "memory_gb": m.peak_memory_gb()}))


def prediction_speed(m: Measurement) -> Iterator[dict]:
    """Molecules per second of prediction, float32."""
    model, ids = m.model().to(m.device), m.corpus[: m.size.pool]
    predict(model, ids[:64], m.pad_id, m.device)
    for tf32, size in ((False, 64), (False, 512), (True, 512)):
        set_tf32(tf32)
        began = time.perf_counter()
        predict(model, ids, m.pad_id, m.device, size)
        taken = time.perf_counter() - began
        yield {"tf32": tf32, "batch_size": size, "molecules_per_second": len(ids) / taken}
    set_tf32(False)


def gram_speed(m: Measurement) -> Iterator[dict]:
    """Seconds and memory of a Gram matrix, and molecules per second of scores outside it."""
    molecules = m.molecules(m.size.gram)
    problem = m.problem(m.device, molecules)
    m.peak_memory_gb()
    began = time.perf_counter()
    found = gram(problem, molecules, memory_mb=16_000 if m.device.type == "cuda" else 700, tolerance=0.01)
    yield {
        "molecules": len(molecules), "parameters": problem.size, "seconds": time.perf_counter() - began,
        "error": found.error, "columns": found.columns, "memory_gb": m.peak_memory_gb(),
    }  # fmt: skip
    pool = Molecules(m.corpus[: m.size.pool], np.zeros(min(m.size.pool, len(m.corpus))))
    vector = problem.gradient(molecules.take(np.arange(min(32, len(molecules)))))
    problem.batch_size = 256
    began = time.perf_counter()
    problem.pool_loss_change(vector, pool)
    yield {"scored": len(pool), "molecules_per_second": len(pool) / (time.perf_counter() - began)}


# Worth.


def pretrained(m: Measurement) -> Iterator[dict]:
    """Pretraining by masked tokens for what is left but four minutes, a quarter of it at the bundled encoder's shape.

    The encoders go to OUT/encoder_small and OUT/encoder.
    """
    for folder, architecture, share in (
        ("encoder_small", {**m.size.small, "attention": "kernel"}, 0.25),
        ("encoder", m.size.architecture, 1.0),
    ):
        yield {"encoder": folder, **_pretrained(m, architecture, share * (m.left - 240), m.out / folder)}


def _pretrained(m: Measurement, architecture: dict, seconds: float, folder: Path) -> dict:
    """Pretrain for some seconds, as three steps foretell; the last evaluation."""
    held = min(2000, len(m.corpus) // 10)
    train, measured = (
        Corpus(rows, np.zeros((len(rows), 0), np.float32)) for rows in (m.corpus[held:], m.corpus[:held])
    )
    collate = MaskingCollator.of(m.tokenizer, 0.15)
    settings = pretraining.Settings(
        steps=3, batch_size=m.size.pretraining, learning_rate=1.6e-4 * 4, weight_decay=0.01, warmup=0.05,
        final_rate=0.1, gradient_clip=1.0, precision="bfloat16", properties_weight=1.0, unmasked=0.0,
        evaluate_every=10**9, save_every=10**9,
    )  # fmt: skip

    def run(settings: pretraining.Settings, state: Path):
        model = backbone.random_masked_lm("molformer", architecture, m.tokenizer, 0)
        encoder = encoders.load("molformer").backbone(model)
        conditions = Conditions(0, m.device)
        return model, *pretraining.run(model, encoder, train, measured, collate, settings, conditions, state)

    with tempfile.TemporaryDirectory() as scratch:
        _, _, first = run(settings, Path(scratch) / "trial.safetensors")
        steps = max(int(seconds / max(first / 3, 1e-3) * 0.7), 3) if m.name == "full" else 6
        settings = replace(settings, steps=steps, evaluate_every=max(steps // 5, 1))
        model, curve, taken = run(settings, Path(scratch) / "state.safetensors")
    backbone.save_masked_lm(model.cpu().half(), m.tokenizer, folder)
    return {"steps": steps, "molecules": steps * settings.batch_size, "seconds": taken, "last": curve[-1]}


def lipophilicity(m: Measurement) -> Iterator[dict]:
    """Fine-tuning on Lipophilicity from the pretrained encoder, one seed, and scores of its own test molecules."""
    place = m.out / "encoder"
    model = m.model(folder=place if place.is_dir() else None)
    train, validation, test = (m.fold(name, m.size.fine_tuned) for name in FOLDS)
    settings = Settings(**TRAINING | {"epochs": m.size.epochs, "learning_rate": 1e-4, "precision": "bfloat16"})
    began = time.perf_counter()
    outcome = fine_tune(model, m.tokenizer, train, validation, settings, Conditions(0, m.device))
    ids = tokenization.encode(m.tokenizer, test.smiles)
    error = predict(model, ids, m.pad_id, m.device) - test.labels
    yield {
        "pretrained": place.is_dir(), "training_molecules": len(train.labels), "best_epoch": outcome.best_epoch,
        "validation_rmse": outcome.curve[outcome.best_epoch - 1]["validation_rmse"],
        "test_rmse": float(np.sqrt(np.mean(error**2))), "seconds": time.perf_counter() - began,
    }  # fmt: skip


PARTS: dict[str, Callable[[Measurement], Iterator[dict]]] = {
    one.__name__: one
    for one in (
        predictions, training_steps, repeats_and_resumes, influence, training_speed, gram_speed, prediction_speed,
        compiled_steps, several_jobs, pretrained, lipophilicity,
    )
}  # fmt: skip


def run(given: argparse.Namespace) -> None:
    """All parts, in order, each result on a line of its own as it comes."""
    device = torch.device(given.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    given.out.mkdir(parents=True, exist_ok=True)
    torch.backends.cudnn.benchmark = False
    m = Measurement(given.folder, given.out, device, given.size, given.minutes)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "processor"
    with (given.out / "results.jsonl").open("a", encoding="utf-8") as file:

        def tell(row: dict) -> None:
            print(json.dumps(row), flush=True)
            file.write(json.dumps(row) + "\n")
            file.flush()

        tell({"part": "machine", "device": name, "torch": torch.__version__, "size": given.size})
        for part in given.only or PARTS:
            if m.left <= 0:
                tell({"part": part, "skipped": "no time was left"})
                continue
            began = time.perf_counter()
            try:
                for row in PARTS[part](m):
                    tell({"part": part, **row, "at": round(time.perf_counter() - began, 2)})
            except Exception as error:  # whatever it is: time on a GPU is short, and the other parts go on
                traceback.print_exc()
                tell({"part": part, "error": f"{type(error).__name__}: {error}"})


def prepare(given: argparse.Namespace) -> None:
    """Token ids of the corpus, and Lipophilicity's folds by scaffold, as a run reads them."""
    import pandas as pd

    from chemsieve import splitting
    from chemsieve.data.acceptance import Reader, structure
    from chemsieve.data.chemistry import canonical_smiles
    from chemsieve.data.reading import stream

    given.folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenization.build()
    reader = Reader(tokenizer, 202)

    def accepted(texts: list[str]) -> tuple[np.ndarray, list[str], list[list[int]]]:
        found = [(place, structure(text)) for place, text in enumerate(texts)]
        read = [(place, canonical_smiles(one.molecule, stereo=False)) for place, one in found if not one.reason]
        readings = reader.read([smiles for _, smiles in read])
        kept = [(place, smiles, r.ids) for (place, smiles), r in zip(read, readings, strict=True) if not r.reason]
        places, smiles, ids = zip(*kept, strict=True)
        return np.array(places), list(smiles), list(ids)

    frame = pd.read_csv(given.data / "lipophilicity.csv")
    places, smiles, _ = accepted(frame["smiles"].tolist())
    labels, parts = frame["exp"].to_numpy(float)[places], splitting.load("scaffold").split(smiles, (0.8, 0.1, 0.1), 0)
    folds = np.empty(len(smiles), dtype="<U10")
    for name, part in zip(FOLDS, parts, strict=True):
        folds[part] = name
    np.savez_compressed(given.folder / "lipophilicity.npz", smiles=np.array(smiles), labels=labels, folds=folds)
    rows = stream(given.data / "corpus" / "smiles.txt.gz", "corpus", "1", ",", "smi", "utf-8")[1]
    ids: list[list[int]] = []
    while len(ids) < given.molecules and (texts := [row.smiles for row in itertools.islice(rows, 10_000)]):
        ids += accepted(texts)[2]
    ids = ids[: given.molecules]
    tokens = np.concatenate([np.array(row, dtype=np.int16) for row in ids])
    np.savez_compressed(given.folder / "corpus.npz", tokens=tokens, lengths=np.array([len(row) for row in ids]))
    print(f"{len(smiles)} molecules of Lipophilicity, {len(ids)} of the corpus in {given.folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    before = commands.add_parser("prepare")
    before.add_argument("data", type=Path)
    before.add_argument("folder", type=Path)
    before.add_argument("--molecules", type=int, default=600_000)
    before.set_defaults(function=prepare)
    there = commands.add_parser("run")
    there.add_argument("folder", type=Path)
    there.add_argument("out", type=Path)
    there.add_argument("--device", choices=["cpu", "cuda"])
    there.add_argument("--size", choices=list(SIZES), default="full")
    there.add_argument("--minutes", type=float, default=9.0)
    there.add_argument("--only", nargs="+", choices=list(PARTS))
    there.set_defaults(function=run)
    one = commands.add_parser("job")  # of several_jobs
    one.add_argument("folder", type=Path)
    one.add_argument("encoder", type=Path)
    one.add_argument("--device", required=True)
    one.add_argument("--size", choices=list(SIZES), required=True)
    one.set_defaults(function=job)
    given = parser.parse_args()
    given.function(given)


if __name__ == "__main__":
    main()
