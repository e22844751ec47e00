"""A Gram matrix on disk: made once per checkpoint, read by every estimator that works on it."""

import json
import logging
import time
from pathlib import Path

import numpy as np

from chemsieve.files import write_atomically, write_json
from chemsieve.influence._kernel import Kernel
from chemsieve.processes import peak_memory_mb

log = logging.getLogger(__name__)


def make(problem, query, pool, options: dict, matrix_path: str | Path, facts_path: str | Path) -> None:
    """Compute the Gram matrix of ``problem`` and write it with the facts that its readers repeat.

    Args:
        options: of the configuration's ``influence.gram``. Beyond ``largest`` molecules the pool stays out (it is then
            scored by directional derivatives), and beyond it again a sample of the training set defines the curvature.
    """
    from safetensors.numpy import save_file

    from chemsieve.influence._gram import gram
    from chemsieve.influence._problem import Molecules

    began = time.perf_counter()
    options = dict(options)
    largest = options.pop("largest")
    if len(problem.train) + len(query) > largest:
        problem.train = problem.sample(largest - len(query))
        log.info("%d training molecules, drawn at random, define the curvature", len(problem.train))
    parts = [problem.train, query]
    if sum(map(len, parts)) + len(pool) <= largest:
        parts.append(pool)
    else:
        log.info("the pool of %d is scored by directional derivatives, not in the Gram matrix", len(pool))
    molecules = Molecules([row for part in parts for row in part.ids], np.concatenate([part.labels for part in parts]))
    result = gram(problem, molecules, **options)
    tensors = {
        "matrix": result.matrix.cpu().numpy(),
        "residuals": result.outputs.cpu().numpy() - molecules.labels,
        "labels": problem.train.labels,
    }
    facts = {
        "train": len(problem.train),
        "query": len(query),
        "error": result.error,
        "columns": result.columns,
        "parameters": problem.size,
        "largest_eigenvalue": 2 / len(problem.train) * largest_eigenvalue(tensors["matrix"], len(problem.train)),
        "seconds": time.perf_counter() - began,
        "peak_memory_mb": peak_memory_mb(),
    }
    log.info(
        "%d molecules, %d of %d columns, relative error %.1e",
        len(molecules),
        result.columns,
        problem.size,
        result.error,
    )
    write_atomically(matrix_path, lambda temporary: save_file(tensors, temporary))
    write_json(facts_path, facts)


def largest_eigenvalue(matrix: np.ndarray, train: int) -> float:
    """Largest eigenvalue of the training molecules' part."""
    from scipy.linalg import eigh

    return float(eigh(matrix[:train, :train], eigvals_only=True, subset_by_index=[train - 1, train - 1])[0])


def read(matrix_path: str | Path, facts_path: str | Path) -> tuple[Kernel, np.ndarray, dict]:
    """The kernel, the training labels (standardised), and the facts."""
    from safetensors.numpy import load_file

    tensors = load_file(matrix_path)
    facts = json.loads(Path(facts_path).read_text(encoding="utf-8"))
    return Kernel(tensors["matrix"], tensors["residuals"], facts["train"], facts["query"]), tensors["labels"], facts
