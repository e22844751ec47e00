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


def compute(problem: Problem, query: Molecules, pool: Molecules, options: dict) -> tuple[Kernel, np.ndarray, dict]:
    """The kernel of training, query and pool molecules, the training labels, and facts that readers repeat.

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
    """The kernel, the training labels (standardised), and the facts."""
    from safetensors.numpy import load_file

    tensors = load_file(matrix_path)
    facts = json.loads(Path(facts_path).read_text(encoding="utf-8"))
    train, labels = facts["train"], tensors["labels"]
    every = (
        labels if len(labels) == len(tensors["matrix"]) else None
    )  # a file of an earlier release has those of training
    return Kernel(tensors["matrix"], tensors["residuals"], train, facts["query"], every), labels[:train], facts
