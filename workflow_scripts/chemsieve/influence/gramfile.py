"""A checkpoint's Gram matrix on disk: made once, read by every estimator that works on it."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chemsieve.influence.capacity import covered
from chemsieve.influence.kernel import Kernel
from chemsieve.runtime.files import write_atomically, write_json
from chemsieve.runtime.processes import peak_memory_mb

if TYPE_CHECKING:
    from chemsieve.influence.problem import Molecules, Problem

log = logging.getLogger(__name__)


def compute(
    problem: Problem, query: Molecules, pool: Molecules, options: dict, unlabelled: Molecules | None = None
) -> tuple[Kernel, np.ndarray, dict]:
    """The kernel of training, query and pool molecules, the training labels, and facts that readers repeat.

    Further molecules without labels that the model is for stand behind those of the pool, as many as there is room for;
    :func:`read` leaves them out, and :func:`read_unlabelled` counts them among the query.

    Args:
        options: the configuration's ``influence.gram``; :mod:`chemsieve.influence.capacity` says which molecules the
            matrix covers.
    """
    from chemsieve.influence.gram import gram
    from chemsieve.influence.problem import Molecules

    began = time.perf_counter()
    options = dict(options)
    largest = options.pop("largest")
    count, pool_inside = covered(len(problem.train), len(query), len(pool), largest)
    landmarks = problem.sample(count)
    if count < len(problem.train):
        log.info(
            "the Gram matrix is of %d of the %d training molecules, a random sample: exact scores by preconditioned "
            "conjugate gradients over all, other estimators know the sample alone",
            len(landmarks),
            len(problem.train),
        )
    parts = [landmarks, query]
    if pool_inside:
        parts.append(pool)
    else:
        log.info("the pool of %d is scored by directional derivatives, not in the Gram matrix", len(pool))
    beyond = _that_fit(unlabelled, largest - sum(map(len, parts)) if pool_inside else 0, problem.seed)
    parts += [] if beyond is None else [beyond]
    molecules = Molecules.joined(parts)
    result = gram(problem, molecules, **options)
    residuals = result.outputs.cpu().numpy() - molecules.labels
    kernel = Kernel(result.matrix.cpu().numpy(), residuals, len(landmarks), len(query), molecules.labels)
    facts = {
        "train": kernel.train,
        "all_train": len(problem.train),
        "query": kernel.query,
        "error": result.error,
        "columns": result.columns,
        "parameters": problem.size,
        **({} if beyond is None else {"unlabelled": len(beyond)}),
        "largest_eigenvalue": _largest_eigenvalue(kernel),
        "seconds": time.perf_counter() - began,
        "peak_memory_mb": peak_memory_mb(),
    }
    log.info(
        "%d molecules, %d columns for %d parameters, relative error %.1e",
        len(molecules),
        result.columns,
        problem.size,
        result.error,
    )
    return kernel, landmarks.labels, facts


def _that_fit(unlabelled: Molecules | None, room: int, seed: int) -> Molecules | None:
    """A random sample of the molecules without labels, where not all fit; None of none."""
    if unlabelled is None or not len(unlabelled) or room <= 0:
        return None
    if len(unlabelled) > room:
        log.info("the Gram matrix has room for %d of the %d molecules of target.unlabelled", room, len(unlabelled))
    return unlabelled.take(np.sort(np.random.default_rng(seed).permutation(len(unlabelled))[:room]))


def write(kernel: Kernel, labels: np.ndarray, facts: dict, matrix_path: str | Path, facts_path: str | Path) -> None:
    """Write what :func:`read` reads."""
    from safetensors.numpy import save_file

    every = labels if kernel.labels is None else kernel.labels
    tensors = {"matrix": kernel.matrix, "residuals": kernel.residuals, "labels": every}
    write_atomically(matrix_path, lambda temporary: save_file(tensors, temporary))
    write_json(facts_path, facts)


def _largest_eigenvalue(kernel: Kernel) -> float:
    """Largest eigenvalue of the Gauss-Newton matrix (2 / N) J^T J, which is that of (2 / N) K."""
    from scipy.linalg import eigh

    n = kernel.train
    return float(2 / n * eigh(kernel.matrix[:n, :n], eigvals_only=True, subset_by_index=[n - 1, n - 1])[0])


def read(matrix_path: str | Path, facts_path: str | Path) -> tuple[Kernel, np.ndarray, dict]:
    """The kernel without the molecules of ``target.unlabelled``, the training labels (standardised), and the facts."""
    matrix, residuals, labels, facts = _read(matrix_path, facts_path)
    train, n = facts["train"], len(matrix) - facts.get("unlabelled", 0)
    every = labels[:n] if len(labels) == len(matrix) else None  # a file of an earlier release has those of training
    return Kernel(matrix[:n, :n], residuals[:n], train, facts["query"], every), labels[:train], facts


def read_unlabelled(matrix_path: str | Path, facts_path: str | Path) -> Kernel:
    """The kernel with the molecules of ``target.unlabelled`` behind the others of the query.

    Its residuals say nothing of these: they are 0, and whoever reads it must ask for variances alone.
    """
    matrix, residuals, _, facts = _read(matrix_path, facts_path)
    known, more = facts["train"] + facts["query"], facts.get("unlabelled", 0)
    n = len(matrix)
    order = np.concatenate([np.arange(known), np.arange(n - more, n), np.arange(known, n - more)])
    ordered = residuals[order].copy()
    ordered[known : known + more] = 0
    return Kernel(matrix[np.ix_(order, order)], ordered, facts["train"], facts["query"] + more)


def _read(matrix_path: str | Path, facts_path: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    from safetensors.numpy import load_file

    tensors = load_file(matrix_path)
    facts = json.loads(Path(facts_path).read_text(encoding="utf-8"))
    return tensors["matrix"], tensors["residuals"], tensors["labels"], facts
