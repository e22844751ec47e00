"""Compare influence estimators on one trained model: this project's own, and those of other libraries.

python benchmarks/influence.py --peers-python peers/bin/python --output influence.json

One run trains a small regressor, then lets every estimator score the same pool for the same query set with the same
model, data and threads. Each works in a fresh process, so that its peak memory is its own. Seconds are those of the
computation alone: no imports, no loading, after a warm-up on two molecules. Scores are I(z) on the mean query loss,
positive raises it, and are compared with the float64 solution of the damped Gauss-Newton system, which is itself
compared with a dense solution from explicit gradients on forty molecules.

* seconds: wall time; extrapolated where said so.
* spearman, spearman_at_1: rank correlation of the scores with the float64 solution at --damping, and at damping 1.
  own_spearman_at_1, of estimators for which a second damping is free: their scores at damping 1 with that solution.
* relative_error: |s - s64| / |s64| (Euclidean), at --damping.
* peak_mb: peak resident memory with the interpreter and its imports; growth_mb: its rise over the loaded model's
  (both in 1e6 bytes).
* speedup_vs_fastest_peer_at_fidelity: seconds of the fastest peer whose scores reach Spearman 0.95 with the float64
  solution at --damping, over those of the setting named by --exact. Conjugate gradients count with the seconds to the
  first iteration that reaches it; where no peer does within --peer-limit, those are extrapolated ("extrapolated").

Peers get what makes them fast: one right-hand side (the mean query gradient), batches padded only to their own longest
molecule and sorted by length where the library takes batches as given, LiSSA's scale from here. Left out, because they
do not run beside torch 2.13 on this model: pyDVL's EK-FAC (fails for regression), and dattri 0.3's EK-FAC and LiSSA
(fail on token ids). Kronfluence's EK-FAC sees dense layers only: no embedding, no normalisation.

Sources: pyDVL 0.10 (https://pydvl.org), Kronfluence (Grosse et al. 2023, 2308.03296), Captum (TracInCP: Pruthi et al.
2020, 2002.08484; Arnoldi: Schioppa et al. 2022, 2112.03052), curvlinops (Dangel et al. 2025, 2501.19183), LiSSA as in
Koh and Liang 2017 (1703.04730).
"""

import argparse
import importlib
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

# Nothing heavy is imported here: a process starts with the peak memory of the one that started it.
if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from chemsieve.influence.problem import Molecules, Problem
    from chemsieve.models.regressor import Regressor

BATCH = 32  # molecules per batch, where an estimator has no batch size of its own
DEPTH, LISSA_BATCH = 200, 16  # of every LiSSA
FIDELITY = 0.95  # Spearman correlation with the float64 solution from which a peer counts as having solved the system
CHECKED = (20, 10, 10)  # training, query and pool molecules of the check with explicit gradients
PARTS = ("train", "query", "pool")


# -- what every process does -------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """Seconds of the computation, scores of the pool (n,) or None, and what else is worth a line in the report."""

    seconds: float
    scores: "np.ndarray | None" = None
    facts: dict = field(default_factory=dict)
    extrapolated: bool = False
    note: str = ""


@dataclass
class Bench:
    """The trained model, its data and the options of the run, as loaded by one process."""

    spec: dict
    folder: Path
    model: "Regressor"
    problem: "Problem"
    train: "Molecules"
    query: "Molecules"
    pool: "Molecules"

    @property
    def everything(self) -> "Molecules":
        """Training, query and pool molecules in the order of a kernel."""
        from chemsieve.influence.problem import Molecules

        return Molecules.joined([self.train, self.query, self.pool])


def empty_model(architecture: dict) -> "Regressor":
    """A regressor with weights as initialised."""
    from chemsieve.models.molformer.configuration import MolformerConfig
    from chemsieve.models.molformer.modeling import MolformerModel
    from chemsieve.models.regressor import Regressor

    return Regressor(MolformerModel(MolformerConfig(**architecture)), architecture["hidden_size"], 0.1)


def load(folder: Path, double: bool = False) -> Bench:
    """Read back what :func:`prepare` wrote."""
    import numpy as np

    from chemsieve.influence.problem import Molecules, Problem
    from chemsieve.models.checkpoints import load_strictly, read_tensors

    spec = json.loads((folder / "spec.json").read_text()) | json.loads((folder / "prepared.json").read_text())
    model = empty_model(spec["architecture"])
    load_strictly(model, read_tensors(folder / "model.safetensors"))
    if double:
        model.double()
    ids = json.loads((folder / "molecules.json").read_text())
    with np.load(folder / "labels.npz") as labels:
        parts = [Molecules(ids[part], labels[part]) for part in PARTS]
    problem = Problem(model, parts[0], spec["pad_id"], spec["seed"], BATCH)
    return Bench(spec, folder, model, problem, *parts)


def warm_up(bench: Bench) -> None:
    """Products on two molecules: the first call of each kind imports and initialises."""
    import torch

    two = bench.train.take([0, 1])
    vector = bench.problem.gradient(two)
    bench.problem.hessian_product(vector, two)
    bench.problem.gauss_newton_product(vector, two)
    bench.problem.loss_change(vector, two)
    torch.func.vmap(torch.func.grad(lambda x: (x**2).sum()))(torch.ones(2, 2))


def resident_mb() -> float:
    """Resident memory now in MB (1e6 bytes), or its peak where the system does not tell."""
    from chemsieve.runtime.processes import peak_memory_mb

    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_memory_mb()
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def work(name: str, folder: Path) -> None:
    """Run one piece of work in this process and write ``name.json``, and ``name.npy`` where it gives scores."""
    # A requirement of a requirement of curvlinops that nothing here uses. Its wheel for GPUs beside a torch for
    # processors cannot be imported, and transformers would try.
    sys.modules["torchvision"] = None

    import numpy as np
    import torch

    from chemsieve.runtime.processes import peak_memory_mb

    spec = json.loads((folder / "spec.json").read_text())
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(spec["seed"])
    if name in STEPS:
        result = STEPS[name](folder)
    else:
        modules, estimator = (OURS | PEERS)[name]
        for module in modules:  # now, so that they count neither as time nor as growth
            importlib.import_module(module)
        bench = load(folder)
        warm_up(bench)
        before = resident_mb()
        outcome = estimator(bench)
        peak = peak_memory_mb()
        if outcome.scores is not None:
            if not np.isfinite(outcome.scores).all():
                raise FloatingPointError("a score is not finite")
            np.save(folder / f"{name}.npy", outcome.scores)
        result = {
            "seconds": outcome.seconds,
            "peak_mb": peak,
            "growth_mb": peak - before,
            "extrapolated": outcome.extrapolated,
            "note": outcome.note,
            **outcome.facts,
        }
    (folder / f"{name}.json").write_text(json.dumps(result))


def spearman(a: "np.ndarray", b: "np.ndarray") -> float:
    """Spearman correlation; 0 where a side is constant."""
    from scipy.stats import spearmanr

    correlation = float(spearmanr(a, b).statistic)
    return 0.0 if math.isnan(correlation) else correlation


# -- preparation, the reference, and its check -------------------------------------------------------------------------


def prepare(folder: Path) -> dict:
    """Make the data, train the model, and write both without pickle, so that another environment can load them."""
    import numpy as np
    import torch

    from chemsieve.influence.problem import Molecules, Problem
    from chemsieve.models import tokenization
    from chemsieve.models.checkpoints import write_tensors
    from chemsieve.training.batches import pad

    spec = json.loads((folder / "spec.json").read_text())
    tokenizer = tokenization.build()
    counts = [spec[part] for part in PARTS]
    ids, labels = (_from_csv if spec["smiles"] else _embedded)(spec, tokenizer)
    labels = (labels - labels[: counts[0]].mean()) / labels[: counts[0]].std()
    cuts = np.cumsum([0, *counts])
    parts = [Molecules(ids[a:b], labels[a:b]) for a, b in itertools.pairwise(cuts)]
    train, query, _ = parts

    hidden = spec["hidden"]
    architecture = {
        "vocab_size": tokenizer.get_vocab_size(),
        "pad_token_id": tokenization.special_id(tokenizer, "pad"),
        "hidden_size": hidden,
        "num_hidden_layers": spec["layers"],
        "num_attention_heads": max(hidden // 64, 1),  # heads as wide as MoLFormer's
        "intermediate_size": hidden,
        "num_random_features": 32,
    }
    model = empty_model(architecture).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    for _ in range(spec["epochs"]):
        for positions in torch.randperm(len(train)).split(16):
            tokens, mask = pad([train.ids[i] for i in positions], architecture["pad_token_id"])
            target = torch.as_tensor(train.labels[positions.numpy()], dtype=torch.float32)
            loss = ((model(tokens, mask) - target) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    problem = Problem(model, train, architecture["pad_token_id"], spec["seed"], BATCH)
    scale = 2 * problem.batch_eigenvalues(problem.gradient(query), min(LISSA_BATCH, len(train)))[1]
    write_tensors(model.state_dict(), folder / "model.safetensors")
    (folder / "molecules.json").write_text(json.dumps(dict(zip(PARTS, (part.ids for part in parts), strict=True))))
    np.savez(folder / "labels.npz", **dict(zip(PARTS, (part.labels for part in parts), strict=True)))
    facts = {
        "architecture": architecture,
        "pad_id": architecture["pad_token_id"],
        "parameters": problem.size,
        "scale": scale,  # twice the largest Hessian eigenvalue of a batch
        "train_loss": _loss(problem, train),
        "query_loss": _loss(problem, query),
    }
    (folder / "prepared.json").write_text(json.dumps(facts))
    return facts


def _loss(problem: "Problem", molecules: "Molecules") -> float:
    """Mean squared error in units of the training labels' variance."""
    import torch

    with torch.no_grad():
        total = sum(
            float(((problem.model(tokens, mask) - labels) ** 2).sum())
            for _, tokens, mask, labels in problem.batches(molecules)
        )
    return total / len(molecules)


def _embedded(spec: dict, tokenizer) -> "tuple[list[list[int]], np.ndarray]":
    """Molecules of the embedded data set: training and query from its target, the pool from its pool."""
    import numpy as np

    from chemsieve.data import embedded
    from chemsieve.models import tokenization

    target, pool, _ = embedded.make(spec["train"] + spec["query"], spec["pool"], 0.3, spec["seed"])
    smiles = [*target[embedded.SMILES], *pool[embedded.SMILES]]
    labels = np.concatenate([target[embedded.LABEL], pool[embedded.LABEL]])
    return tokenization.encode(tokenizer, smiles), labels


def _from_csv(spec: dict, tokenizer) -> "tuple[list[list[int]], np.ndarray]":
    """A random sample of a CSV file, of molecules that fit MoLFormer's 202 tokens."""
    import numpy as np
    import pandas as pd

    from chemsieve.models import tokenization

    frame = pd.read_csv(spec["smiles"])[[spec["column"], spec["label"]]].dropna().drop_duplicates(spec["column"])
    ids = tokenization.encode(tokenizer, list(frame[spec["column"]]))
    fit = np.array([position for position, row in enumerate(ids) if len(row) <= 202])
    count = sum(spec[part] for part in PARTS)
    if len(fit) < count:
        raise ValueError(f"{spec['smiles']}: {len(fit)} molecules are usable and {count} are asked for")
    chosen = np.random.default_rng(spec["seed"]).choice(fit, count, replace=False)
    return [ids[i] for i in chosen], frame[spec["label"]].to_numpy(dtype=float)[chosen]


def oracle(folder: Path) -> dict:
    """The float64 solution: ``oracle.npy`` (2, n), at the run's damping and at 1."""
    import numpy as np

    bench = load(folder, double=True)
    began = time.perf_counter()
    kernel, _ = make_kernel(bench, tolerance=0.0)
    np.save(folder / "oracle.npy", solve_kernel(kernel, [bench.spec["damping"], 1.0]))
    return {"seconds": time.perf_counter() - began}


def check(folder: Path) -> dict:
    """The float64 solution of a small problem against explicit gradients, largest relative differences.

    All gradients lie in the span of the rows of J, in an orthonormal basis of which the damped Gauss-Newton matrix is
    a small dense one: neither the Gram matrix nor Woodbury's identity is used. ``check_residual`` is that of the
    solution among all parameters.
    """
    import numpy as np
    import torch

    from chemsieve.influence.problem import Problem

    bench = load(folder, double=True)
    parts = [getattr(bench, part) for part in PARTS]
    counts = [min(count, len(part)) for count, part in zip(CHECKED, parts, strict=True)]
    small = [part.take(range(count)) for part, count in zip(parts, counts, strict=True)]
    n, m, _ = counts
    damping = bench.spec["damping"]
    bench.train, bench.query, bench.pool = small
    bench.problem = Problem(bench.model, small[0], bench.spec["pad_id"], bench.spec["seed"], BATCH)
    kernel, matrix = make_kernel(bench, tolerance=0.0)
    (scores,) = solve_kernel(kernel, [damping])

    rows, residuals = [], []
    for tokens, label in zip(bench.everything.ids, bench.everything.labels, strict=True):
        ids = torch.tensor([tokens])  # alone: no padding, no batching
        output = bench.model(ids, torch.ones_like(ids))[0]
        gradients = torch.autograd.grad(output, list(bench.model.parameters()))
        rows.append(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        residuals.append(float(output) - label)
    jacobian, residual = torch.stack(rows), torch.tensor(residuals, dtype=torch.float64)
    basis, coordinates = torch.linalg.qr(jacobian.T)  # a molecule's gradient is a column of the coordinates
    t, q, z = slice(0, n), slice(n, n + m), slice(n + m, None)
    curvature = 2 / n * coordinates[:, t] @ coordinates[:, t].T
    gradient = coordinates[:, q] @ residual[q] * 2 / m
    x = torch.linalg.solve(curvature + damping * torch.eye(len(curvature), dtype=torch.float64), gradient)
    explicit = -2 * residual[z] * (coordinates[:, z].T @ x)
    whole = basis @ x
    left = 2 / n * jacobian[t].T @ (jacobian[t] @ whole) + damping * whole - jacobian[q].T @ residual[q] * 2 / m
    products = (jacobian @ jacobian.T).numpy()
    return {
        "check_gram": float(np.abs(matrix - products).max() / np.abs(products).max()),
        "check_scores": float(np.abs(scores - explicit.numpy()).max() / explicit.abs().max()),
        "check_residual": float(left.norm() / (jacobian[q].T @ residual[q] * 2 / m).norm()),
    }


def pool_scoring(folder: Path) -> dict:
    """Seconds of scoring a large pool along one vector, and of plain inference over it: best of two each.

    The pool is all molecules of the run, twice: from ``LARGE_POOL`` molecules on central differences score.
    """
    import torch

    from chemsieve.influence.problem import Molecules

    bench = load(folder)
    warm_up(bench)
    vector = bench.problem.gradient(bench.query)
    pool = Molecules.joined([bench.everything] * 2)

    def inference() -> None:
        with torch.no_grad():
            for _, tokens, mask, _ in bench.problem.batches(pool):
                bench.model(tokens, mask)

    def best(call: Callable[[], object]) -> float:
        times = []
        for _ in range(2):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
        return min(times)

    return {
        "molecules": len(pool),
        "pool_scoring_seconds": best(lambda: bench.problem.pool_loss_change(vector, pool)),
        "forward_mode_seconds": best(lambda: bench.problem.loss_change(vector, pool)),
        "inference_seconds": best(inference),
    }


STEPS: dict[str, Callable[[Path], dict]] = {
    "prepare": prepare,
    "oracle": oracle,
    "check": check,
    "pool_scoring": pool_scoring,
}


# -- this project's estimators -----------------------------------------------------------------------------------------


def make_kernel(bench: Bench, **options):
    """The kernel of all molecules, and its matrix."""
    from chemsieve.influence.gram import gram
    from chemsieve.influence.kernel import Kernel

    everything = bench.everything
    result = gram(bench.problem, everything, **options)
    matrix = result.matrix.numpy()
    return Kernel(matrix, result.outputs.numpy() - everything.labels, len(bench.train), len(bench.query)), matrix


def solve_kernel(kernel, dampings: list[float]) -> "np.ndarray":
    """Scores (dampings, pool)."""
    import numpy as np

    from chemsieve.influence.kernel import first_order

    return np.stack([first_order(kernel, damping) for damping in dampings])


def from_gram(bench: Bench, note: str = "", **options) -> Outcome:
    """The Gram matrix and the solution; a second damping costs only the second solution, which is not timed."""
    import numpy as np

    if "rank" in options:  # the run's
        options["rank"] = bench.spec["rank"]
    began = time.perf_counter()
    kernel, _ = make_kernel(bench, **options)
    (scores,) = solve_kernel(kernel, [bench.spec["damping"]])
    seconds = time.perf_counter() - began
    at_one = np.load(bench.folder / "oracle.npy")[1]
    return Outcome(seconds, scores, {"own_spearman_at_1": spearman(solve_kernel(kernel, [1.0])[0], at_one)}, note=note)


def lissa(bench: Bench) -> Outcome:
    from chemsieve.influence.estimators import lissa as estimator

    began = time.perf_counter()
    vector = bench.problem.gradient(bench.query)
    solution = estimator.solve(
        bench.problem, vector, depth=DEPTH, damping=bench.spec["damping"], scale=None, batch_size=LISSA_BATCH
    )
    scores = -bench.problem.loss_change(solution.x, bench.pool)
    note = f"depth {DEPTH}, effective damping {solution.effective_damping:.3g}"
    return Outcome(time.perf_counter() - began, scores, note=note)


def cg(bench: Bench) -> Outcome:
    from chemsieve.influence.estimators import cg as estimator

    began = time.perf_counter()
    vector = bench.problem.gradient(bench.query)
    solution = estimator.solve(bench.problem, vector, damping=bench.spec["damping"], iterations=40, tolerance=1e-3)
    scores = -bench.problem.loss_change(solution.x, bench.pool)
    return Outcome(time.perf_counter() - began, scores, note=f"{solution.iterations} iterations")


def tracin(bench: Bench) -> Outcome:
    began = time.perf_counter()
    vector = bench.problem.gradient(bench.query)
    scores = -bench.problem.loss_change(vector, bench.pool)
    return Outcome(time.perf_counter() - began, scores, note="one checkpoint, no curvature")


_KERNEL = ("chemsieve.influence.gram", "chemsieve.influence.kernel", "scipy.stats")
# What to import first, and the function.
OURS: dict[str, tuple[Sequence[str], Callable[[Bench], Outcome]]] = {
    "exact": (_KERNEL, partial(from_gram, tolerance=0.0)),
    "exact_1e-5": (_KERNEL, partial(from_gram, tolerance=1e-5)),
    "exact_3e-5": (_KERNEL, partial(from_gram, tolerance=3e-5)),
    "exact_1e-4": (_KERNEL, partial(from_gram, tolerance=1e-4)),
    "projected": (_KERNEL, partial(from_gram, rank=None, basis="random", note="random directions")),
    "projected_principal": (_KERNEL, partial(from_gram, rank=None, basis="principal", note="principal directions")),
    "lissa": (("chemsieve.influence.estimators.lissa",), lissa),
    "cg": (("chemsieve.influence.estimators.cg",), cg),
    "tracin": ((), tracin),
}


# -- peers -------------------------------------------------------------------------------------------------------------


def batches(bench: Bench, molecules: "Molecules", size: int = BATCH) -> "Iterator[tuple[Tensor, Tensor, Tensor]]":
    """Token ids, mask and labels of batches of similar length, shortest first."""
    import torch

    from chemsieve.training.batches import by_length, pad

    for positions in by_length(molecules.ids, size):
        tokens, mask = pad([molecules.ids[i] for i in positions], bench.spec["pad_id"])
        yield tokens, mask, torch.as_tensor(molecules.labels[positions], dtype=torch.float32)


def in_order(molecules: "Molecules", sorted_scores) -> "np.ndarray":
    """Scores by length, shortest first, put back into the order of the molecules."""
    import numpy as np

    from chemsieve.training.batches import by_length

    (order,) = by_length(molecules.ids, len(molecules))
    scores = np.empty(len(molecules))
    scores[order] = np.asarray(sorted_scores, dtype=float)
    return scores


def loader(items: list):
    """A loader that hands out finished batches, for libraries that want a ``DataLoader``."""
    from torch.utils.data import DataLoader

    return DataLoader(items, batch_size=None)


def one_input(bench: Bench) -> "torch.nn.Module":
    """The model of token ids alone, for libraries that take a single tensor: the mask follows from the padding."""
    import torch

    class OneInput(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.regressor = bench.model

        def forward(self, ids: "Tensor") -> "Tensor":
            return self.regressor(ids, (ids != bench.spec["pad_id"]).long())

    return OneInput().eval()


def even_size(count: int) -> int:
    """A batch size that divides ``count``, as pyDVL weighs unequal batches equally; ``BATCH`` where all are small."""
    size = max(size for size in range(1, min(BATCH, count) + 1) if count % size == 0)
    return size if size >= BATCH // 4 else BATCH


def pydvl_scores(bench: Bench, influence, data) -> "np.ndarray":
    """Scores by a pyDVL estimator: its inverse applied to the mean query gradient, then its products with the pool."""
    import torch

    fitted = influence.fit(data)
    (block,) = fitted.block_mapper.composable_block_dict.values()
    # Through the operator, because the public call solves for each query molecule separately.
    factor = block.op.apply(bench.problem.gradient(bench.query)).reshape(1, -1)
    parts = [fitted.influences_from_factors(factor, ids, y)[0] for ids, _, y in batches(bench, bench.pool, 16)]
    return -in_order(bench.pool, torch.cat(parts).detach().numpy())


def pydvl_data(bench: Bench):
    """Training batches of equal size, sorted by length."""
    items = batches(bench, bench.train, even_size(len(bench.train)))
    return loader([(ids, labels) for ids, _, labels in items])


def pydvl_lissa(bench: Bench) -> Outcome:
    import torch
    from pydvl.influence.torch import LissaInfluence
    from torch.utils.data import DataLoader, Dataset

    from chemsieve.training.batches import pad

    class Rows(Dataset):
        """pyDVL draws its own batches; ``__getitems__`` lets each be padded to its own longest molecule."""

        def __len__(self) -> int:
            return len(bench.train)

        def __getitems__(self, positions: list[int]) -> "list[tuple[Tensor, Tensor]]":
            tokens, _ = pad([bench.train.ids[i] for i in positions], bench.spec["pad_id"])
            labels = torch.as_tensor(bench.train.labels[positions], dtype=torch.float32)
            return list(zip(tokens, labels, strict=True))

    began = time.perf_counter()
    influence = LissaInfluence(
        one_input(bench),
        torch.nn.functional.mse_loss,
        regularization=bench.spec["damping"],
        maxiter=DEPTH,
        scale=bench.spec["scale"],
        rtol=0.0,
    )
    data = DataLoader(Rows(), batch_size=min(LISSA_BATCH, len(bench.train)))
    scores = pydvl_scores(bench, influence, data)
    return Outcome(
        time.perf_counter() - began, scores, note=f"depth {DEPTH}, scale {bench.spec['scale']:.3g} (its search untimed)"
    )


def pydvl_cg(bench: Bench) -> Outcome:
    import torch
    from pydvl.influence.torch import CgInfluence

    began = time.perf_counter()
    influence = CgInfluence(
        one_input(bench),
        torch.nn.functional.mse_loss,
        regularization=bench.spec["damping"],
        rtol=1e-7,
        maxiter=10,
        warn_on_max_iteration=False,
    )
    scores = pydvl_scores(bench, influence, pydvl_data(bench))
    return Outcome(time.perf_counter() - began, scores, note="Hessian, 10 iterations")


def pydvl_nystroem(bench: Bench) -> Outcome:
    import torch
    from pydvl.influence.torch import NystroemSketchInfluence

    began = time.perf_counter()
    influence = NystroemSketchInfluence(
        one_input(bench), torch.nn.functional.mse_loss, regularization=bench.spec["damping"], rank=10
    )
    scores = pydvl_scores(bench, influence, pydvl_data(bench))
    return Outcome(time.perf_counter() - began, scores, note="Hessian, rank 10")


def kronfluence_ekfac(bench: Bench) -> Outcome:
    import torch
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task
    from kronfluence.utils.dataset import DataLoaderKwargs

    from chemsieve.training.batches import RegressionCollator, by_length

    class SquaredError(Task):
        def compute_train_loss(self, batch: dict, model: torch.nn.Module, sample: bool = False) -> "Tensor":
            outputs = model(batch["input_ids"], batch["attention_mask"])
            # (f - y)^2 is the negative log-likelihood of a Gaussian of variance 1/2: its Fisher matrix is our G.
            target = torch.normal(outputs.detach(), 0.5**0.5) if sample else batch["labels"]
            return ((outputs - target) ** 2).sum()

        def compute_measurement(self, batch: dict, model: torch.nn.Module) -> "Tensor":
            return self.compute_train_loss(batch, model)

        def get_attention_mask(self, batch: dict) -> "Tensor":
            return batch["attention_mask"]

    def examples(molecules: "Molecules") -> list[dict]:
        (order,) = by_length(molecules.ids, len(molecules))
        return [{"input_ids": molecules.ids[i], "label": molecules.labels[i]} for i in order]

    began = time.perf_counter()
    task = SquaredError()
    prepared = prepare_model(bench.model, task)
    # It keeps its factors in files, and would take up those of an earlier run.
    with tempfile.TemporaryDirectory() as output:
        analyzer = Analyzer("run", prepared, task, cpu=True, output_dir=output, disable_tqdm=True)
        analyzer.set_dataloader_kwargs(DataLoaderKwargs(collate_fn=RegressionCollator(bench.spec["pad_id"])))
        analyzer.fit_all_factors(
            "factors", examples(bench.train), per_device_batch_size=BATCH, factor_args=FactorArguments("ekfac")
        )
        analyzer.compute_pairwise_scores(
            "scores",
            "factors",
            query_dataset=examples(bench.query),
            train_dataset=examples(bench.pool),
            per_device_query_batch_size=BATCH,
            per_device_train_batch_size=BATCH,
            score_args=ScoreArguments(damping_factor=bench.spec["damping"], aggregate_query_gradients=True),
        )
        scores = analyzer.load_pairwise_scores("scores")["all_modules"]
    scores = -in_order(bench.pool, scores[0].numpy()) / len(bench.query)
    return Outcome(time.perf_counter() - began, scores, note="dense layers only")


def captum_tracin(bench: Bench) -> Outcome:
    import torch
    from captum.influence._core.tracincp import TracInCP

    began = time.perf_counter()
    estimator = TracInCP(
        bench.model,
        loader(list(batches(bench, bench.pool))),
        checkpoints=["the loaded model"],
        checkpoints_load_func=lambda model, checkpoint: 1.0,  # gives the learning rate
        loss_fn=torch.nn.MSELoss(reduction="none"),
    )
    sums = estimator.influence(loader(list(batches(bench, bench.query))), aggregate=True)[0]
    scores = -in_order(bench.pool, sums.numpy()) / len(bench.query)
    return Outcome(time.perf_counter() - began, scores, note="one checkpoint, no curvature")


def captum_arnoldi(bench: Bench) -> Outcome:
    import torch

    # Not exported from captum.influence.
    from captum.influence._core.arnoldi_influence_function import ArnoldiInfluenceFunction

    began = time.perf_counter()
    estimator = ArnoldiInfluenceFunction(
        bench.model,
        loader(list(batches(bench, bench.pool))),
        checkpoint="the loaded model",
        checkpoints_load_func=lambda model, checkpoint: 1.0,
        loss_fn=torch.nn.MSELoss(reduction="none"),
        hessian_dataset=loader(list(batches(bench, bench.train))),
        arnoldi_dim=20,
        projection_dim=10,
        hessian_reg=bench.spec["damping"] * len(bench.train),  # its Hessian is of the summed loss
    )
    scores = estimator.influence(loader(list(batches(bench, bench.query)))).mean(dim=0) * len(bench.train)
    scores = -in_order(bench.pool, scores.numpy())
    return Outcome(time.perf_counter() - began, scores, note="Hessian, 20 Arnoldi steps, rank 10")


def course_loop(bench: Bench) -> Outcome:
    """A LiSSA recursion for every pool molecule, as course notebooks have it; one short one is measured."""
    import numpy as np
    import torch

    from chemsieve.training.batches import pad

    measured = 10
    parameters = list(bench.model.parameters())
    generator = np.random.default_rng(bench.spec["seed"])
    damping, scale = bench.spec["damping"], bench.spec["scale"]

    def gradients(molecules: "Molecules", graph: bool = False) -> "list[Tensor]":
        tokens, mask = pad(molecules.ids, bench.spec["pad_id"])
        labels = torch.as_tensor(molecules.labels, dtype=torch.float32)
        loss = ((bench.model(tokens, mask) - labels) ** 2).mean()
        return list(torch.autograd.grad(loss, parameters, create_graph=graph))

    began = time.perf_counter()
    query = bench.problem.gradient(bench.query)
    of_query = time.perf_counter() - began
    began = time.perf_counter()
    vector = gradients(bench.pool.take([0]))
    h = list(vector)
    of_gradient = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(measured):
        chosen = generator.choice(len(bench.train), min(LISSA_BATCH, len(bench.train)), replace=False)
        first = gradients(bench.train.take(chosen), graph=True)
        inner = sum((g * x).sum() for g, x in zip(first, h, strict=True))
        products = torch.autograd.grad(inner, parameters, allow_unused=True)
        # Unused: parameters whose gradient does not depend on any parameter have a zero row.
        h = [
            v + (1 - damping) * x - (0 if p is None else p / scale) for v, x, p in zip(vector, h, products, strict=True)
        ]
    of_step = (time.perf_counter() - began) / measured
    began = time.perf_counter()
    float(torch.cat([x.reshape(-1) for x in h]) @ query)
    of_product = time.perf_counter() - began
    seconds = of_query + len(bench.pool) * (of_gradient + DEPTH * of_step + of_product)
    note = f"LiSSA of depth {DEPTH} per pool molecule, from {measured} steps for one"
    return Outcome(seconds, extrapolated=True, note=note)


class _OutOfTime(Exception):
    """Ends SciPy's conjugate gradients, which know no time limit."""


def cg_gauss_newton(bench: Bench) -> Outcome:
    """SciPy's conjugate gradients on curvlinops' Gauss-Newton products: the system that we solve, by iteration.

    After each iteration the pool is scored (by this project's directional derivatives) for the correlation reached so
    far; that is not part of the seconds, except once. ``trace`` holds seconds and correlation after each iteration.
    """
    import numpy as np
    import torch
    from curvlinops import GGNLinearOperator
    from scipy.sparse.linalg import LinearOperator
    from scipy.sparse.linalg import cg as conjugate_gradients

    damping, limit = bench.spec["damping"], 0.8 * bench.spec["peer_limit"]  # the rest is for start and scoring
    reference = np.load(bench.folder / "oracle.npy")[0]
    began = time.perf_counter()
    model = one_input(bench)
    data = [(ids, labels) for ids, _, labels in batches(bench, bench.train)]
    ggn = GGNLinearOperator(
        model, torch.nn.MSELoss(), list(model.parameters()), data, check_deterministic=False, num_data=len(bench.train)
    )
    # Vectors in float64, products in float32.
    matrix = LinearOperator(
        ggn.shape,
        matvec=lambda v: (ggn @ torch.from_numpy(v.ravel()).float()).double().numpy() + damping * v.ravel(),
        dtype=np.float64,
    )
    vector = bench.problem.gradient(bench.query).double().numpy()
    trace: list[tuple[float, float]] = []
    last: dict = {"paused": 0.0}

    def after(x: "np.ndarray") -> None:
        elapsed = time.perf_counter() - began - last["paused"]
        start = time.perf_counter()
        last["scores"] = -bench.problem.loss_change(torch.from_numpy(x).float(), bench.pool)
        trace.append((elapsed, spearman(last["scores"], reference)))
        last["scoring"] = time.perf_counter() - start
        last["paused"] += last["scoring"]
        if time.perf_counter() - began > limit:
            raise _OutOfTime

    ended = "relative residual 1e-6"
    try:
        _, failed = conjugate_gradients(matrix, vector, rtol=1e-6, maxiter=5000, callback=after)
        if failed:
            ended = "5000 iterations"
    except _OutOfTime:
        ended = "the time limit"
    seconds = trace[-1][0] + last["scoring"]
    facts = {
        "iterations": len(trace),
        "trace": [[round(elapsed, 3), round(rank, 6)] for elapsed, rank in trace],
        "fidelity": _fidelity(trace, last["scoring"]),
    }
    return Outcome(seconds, last["scores"], facts, note=f"{len(trace)} iterations, to {ended}")


def _fidelity(trace: list[tuple[float, float]], scoring: float) -> dict | None:
    """Iterations and seconds (with one scoring of the pool) to the correlation that counts as solved.

    Where the trace does not reach it: extrapolated, linearly in log(1 - correlation) over the second half of the
    iterations. None where that does not fall.
    """
    import numpy as np

    for iteration, (elapsed, rank) in enumerate(trace, start=1):
        if rank >= FIDELITY:
            return {"iterations": iteration, "seconds": elapsed + scoring, "extrapolated": False}
    half = len(trace) // 2
    if len(trace) - half < 2:
        return None
    iterations = np.arange(half, len(trace)) + 1
    slope, start = np.polyfit(iterations, np.log([max(1 - rank, 1e-12) for _, rank in trace[half:]]), 1)
    if slope >= 0:
        return None
    needed = max((math.log(1 - FIDELITY) - start) / slope, len(trace))
    per_iteration = trace[-1][0] / len(trace)
    return {"iterations": math.ceil(needed), "seconds": needed * per_iteration + scoring, "extrapolated": True}


_PYDVL = ("pydvl.influence.torch",)
PEERS: dict[str, tuple[Sequence[str], Callable[[Bench], Outcome]]] = {
    "pydvl_lissa": (_PYDVL, pydvl_lissa),
    "pydvl_cg": (_PYDVL, pydvl_cg),
    "pydvl_nystroem": (_PYDVL, pydvl_nystroem),
    "kronfluence_ekfac": (("kronfluence.analyzer",), kronfluence_ekfac),
    "captum_tracin": (("captum.influence._core.tracincp",), captum_tracin),
    "captum_arnoldi": (("captum.influence._core.arnoldi_influence_function",), captum_arnoldi),
    "course_loop": ((), course_loop),
    "cg_gauss_newton": (("curvlinops", "scipy.sparse.linalg", "scipy.stats"), cg_gauss_newton),
}


# -- the run -----------------------------------------------------------------------------------------------------------


def run(python: str, name: str, folder: Path, threads: int, limit: float | None = None) -> dict:
    """One piece of work in a process of its own: its result, or ``{"error": ...}``."""
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    environment |= {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS")}
    command = [python, __file__, "--work", name, "--folder", str(folder)]
    log = folder / f"{name}.log"
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    began = time.perf_counter()
    try:
        with log.open("w") as sink:
            status = subprocess.run(
                command, stdout=sink, stderr=subprocess.STDOUT, env=environment, timeout=limit
            ).returncode
        if status == 0:
            result = json.loads((folder / f"{name}.json").read_text())
        else:
            result = {"error": _last_words(log) if status > 0 else f"ended by signal {-status}"}
    except subprocess.TimeoutExpired:
        result = {"error": f"no result within {limit:g} s"}
    print(f"{time.perf_counter() - began:.1f} s", result.get("error", ""), file=sys.stderr, flush=True)
    return result


def _last_words(log: Path) -> str:
    """What a failed process said last."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else "no message"
    return last.replace("ModuleNotFoundError: No module named", "not installed:")


def judge(result: dict, name: str, folder: Path) -> dict:
    """Add how far the scores are from the float64 solution."""
    import numpy as np

    path = folder / f"{name}.npy"
    if "error" in result:
        return result
    quality = {"spearman": None, "spearman_at_1": None, "relative_error": None}
    if path.is_file():
        scores, (reference, at_one) = np.load(path), np.load(folder / "oracle.npy")
        quality = {
            "spearman": spearman(scores, reference),
            "spearman_at_1": spearman(scores, at_one),
            "relative_error": float(np.linalg.norm(scores - reference) / np.linalg.norm(reference)),
        }
    return {"seconds": result["seconds"], **quality, **result}


def fastest_at_fidelity(peers: dict[str, dict]) -> tuple[str, float, bool] | None:
    """The peer that reaches the float64 solution's order soonest: name, seconds, whether extrapolated."""
    found = []
    for name, result in peers.items():
        if "fidelity" in result:
            if reached := result["fidelity"]:
                found.append((reached["extrapolated"], reached["seconds"], name))
        elif not result.get("extrapolated", True) and (result["spearman"] or 0.0) >= FIDELITY:
            found.append((False, result["seconds"], name))
    if not found:
        return None
    extrapolated, seconds, name = min(found)  # a measured one goes before an extrapolated one
    return name, seconds, extrapolated


def _difference(folder: Path, name: str, other: str) -> float | None:
    """Largest difference of two estimators' scores, relative to the largest score."""
    import numpy as np

    paths = [folder / f"{which}.npy" for which in (name, other)]
    if not all(path.is_file() for path in paths):
        return None
    a, b = (np.load(path) for path in paths)
    return float(np.abs(a - b).max() / np.abs(b).max())


def _ratio(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b


def compare(arguments: argparse.Namespace, folder: Path) -> dict:
    """Run everything in turn: never two at once, so that times are comparable."""
    names = list(PEERS) if arguments.peers is None else arguments.peers
    if arguments.only == "ours":
        names = []
    spec = {key: value for key, value in vars(arguments).items() if key not in ("work", "folder", "output")}
    (folder / "spec.json").write_text(json.dumps(spec))
    here = partial(run, sys.executable, folder=folder, threads=arguments.threads)
    there = partial(run, arguments.peers_python or sys.executable, folder=folder, threads=arguments.threads)

    steps = {}
    for name in STEPS:
        steps[name] = here(name)
        if "error" in steps[name]:
            raise SystemExit(f"{name} failed:\n{(folder / f'{name}.log').read_text()[-4000:]}")
    ours = {
        name: here(name)
        for name in OURS
        if arguments.ours is None or name in {*arguments.ours, arguments.exact, "projected", "tracin"}
    }
    peers = {name: there(name, limit=arguments.peer_limit) for name in names}
    ours = {name: judge(result, name, folder) for name, result in ours.items()}
    peers = {name: judge(result, name, folder) for name, result in peers.items()}

    exact, projected = ours[arguments.exact], ours["projected"]
    pydvl = peers.get("pydvl_lissa", {}).get("seconds")
    best = fastest_at_fidelity(peers)
    scoring = steps["pool_scoring"]
    return {
        "exact": arguments.exact,
        "exact_spearman": exact.get("spearman"),
        "exact_relative_error": exact.get("relative_error"),
        "exact_seconds": exact.get("seconds"),
        "exact_peak_mb": exact.get("peak_mb"),
        "projected_seconds": projected.get("seconds"),
        "projected_spearman": projected.get("spearman"),
        "tracin_seconds": ours["tracin"].get("seconds"),
        "captum_tracin_seconds": peers.get("captum_tracin", {}).get("seconds"),
        "tracin_max_relative_difference": _difference(folder, "tracin", "captum_tracin"),
        "pydvl_lissa_seconds": pydvl,
        "exact_over_pydvl_lissa": _ratio(exact.get("seconds"), pydvl),
        "projected_over_pydvl_lissa": _ratio(projected.get("seconds"), pydvl),
        "speedup_vs_fastest_peer_at_fidelity": _ratio(best and best[1], exact.get("seconds")),
        "fastest_peer_at_fidelity": best and best[0],
        "extrapolated": best and best[2],
        "pool_scoring_over_inference": _ratio(scoring["pool_scoring_seconds"], scoring["inference_seconds"]),
        "forward_mode_over_inference": _ratio(scoring["forward_mode_seconds"], scoring["inference_seconds"]),
        "pool_scoring_molecules": scoring["molecules"],
        "parameters": steps["prepare"]["parameters"],
        "n": {part: spec[part] for part in PARTS},
        "threads": arguments.threads,
        "damping": arguments.damping,
        "train_loss": steps["prepare"]["train_loss"],
        "query_loss": steps["prepare"]["query_loss"],
        "oracle_seconds": steps["oracle"]["seconds"],
        **steps["check"],
        "ours": ours,
        "peers": peers,
    }


def table(report: dict) -> str:
    """The settings as a Markdown table."""
    heads = {
        "seconds": ".2f",
        "spearman": ".4f",
        "spearman_at_1": ".4f",
        "relative_error": ".2g",
        "peak_mb": ".0f",
        "growth_mb": ".0f",
    }
    lines = ["| | " + " | ".join(heads) + " | |", "|---" * (len(heads) + 2) + "|"]
    for group in ("ours", "peers"):
        for name, result in report[group].items():
            cells = ["" if result.get(key) is None else format(result[key], style) for key, style in heads.items()]
            if result.get("extrapolated"):
                cells[0] += " (extrapolated)"
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {result.get('error') or result.get('note', '')} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default=1000, type=int, help="training molecules, which define the curvature")
    parser.add_argument("--pool", default=300, type=int, help="pool molecules, which are scored")
    parser.add_argument("--query", default=200, type=int, help="query molecules")
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--hidden", default=384, type=int, help="width of the model and of its feed-forward layers")
    parser.add_argument("--layers", default=2, type=int)
    parser.add_argument("--epochs", default=3, type=int)
    parser.add_argument("--damping", default=0.01, type=float)
    parser.add_argument("--rank", default=64, type=int, help="of the projected settings, per side of a dense layer")
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--exact", default="exact_1e-5", choices=[name for name in OURS if name.startswith("exact")])
    parser.add_argument("--smiles", metavar="FILE", help="a CSV file to sample, instead of the embedded molecules")
    parser.add_argument("--column", default="smiles", help="its column of SMILES")
    parser.add_argument("--label", default="exp", help="its column of labels")
    parser.add_argument("--only", choices=["ours"], help="skip the peers")
    parser.add_argument("--ours", type=lambda text: text.split(","), metavar="LIST", help=f"of {','.join(OURS)}")
    parser.add_argument("--peers", type=lambda text: text.split(","), metavar="LIST", help=f"of {','.join(PEERS)}")
    parser.add_argument("--peers-python", metavar="PATH", help="interpreter with benchmarks/requirements-peers.txt")
    parser.add_argument("--peer-limit", default=600.0, type=float, help="seconds for each peer, start included")
    parser.add_argument("--output", type=Path, help="file for the JSON report")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.ours or ()) - set(OURS):
        parser.error(f"unknown estimators of ours: {', '.join(sorted(unknown))}")
    if unknown := set(arguments.peers or ()) - set(PEERS):
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}")
    return arguments


def main() -> None:
    arguments = parse()
    if arguments.work:
        work(arguments.work, arguments.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        report = compare(arguments, Path(folder))
    text = json.dumps(report)
    if arguments.output:
        arguments.output.write_text(text + "\n", encoding="utf-8")
    print(table(report), end="\n\n")
    print(text)


if __name__ == "__main__":
    main()
