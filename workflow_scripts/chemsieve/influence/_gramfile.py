"""A checkpoint's Gram matrix on disk: made once, read by every estimator that works on it."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chemsieve import registry
from chemsieve.errors import ChemsieveError
from chemsieve.files import write_atomically, write_json
from chemsieve.influence._kernel import Kernel
from chemsieve.processes import peak_memory_mb

if TYPE_CHECKING:
    from chemsieve.influence._problem import Molecules, Problem

log = logging.getLogger(__name__)


def compute(problem: Problem, query: Molecules, pool: Molecules, options: dict) -> tuple[Kernel, np.ndarray, dict]:
    """The kernel of training, query and pool molecules, the training labels, and facts that readers repeat.

    Args:
        options: the configuration's ``influence.gram``; which molecules there is room for, :func:`room` says.
    """
    from chemsieve.influence._gram import gram
    from chemsieve.influence._problem import Molecules

    began = time.perf_counter()
    options = dict(options)
    largest = options.pop("largest")
    count, pool_inside = room(len(problem.train), len(query), len(pool), largest)
    landmarks = problem.sample(count)
    if count < len(problem.train):
        log.info(
            "the Gram matrix is of %d of the %d training molecules, drawn at random: exact scores by preconditioned "
            "conjugate gradients over all, other estimators know the sample alone",
            len(landmarks),
            len(problem.train),
        )
    parts = [landmarks, query]
    if pool_inside:
        parts.append(pool)
    else:
        log.info("the pool of %d is scored by directional derivatives, not in the Gram matrix", len(pool))
    molecules = Molecules([row for part in parts for row in part.ids], np.concatenate([part.labels for part in parts]))
    result = gram(problem, molecules, **options)
    kernel = Kernel(
        result.matrix.cpu().numpy(), result.outputs.cpu().numpy() - molecules.labels, len(landmarks), len(query)
    )
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


def room(train: int, query: int, pool: int, largest: int) -> tuple[int, bool]:
    """How many training molecules a matrix of at most ``largest`` molecules covers, and whether the pool is in it.

    All where they fit. Otherwise the pool is in where it takes at most half of what the query leaves, beside a sample
    of the training set; a larger pool is out, and scored by directional derivatives.

    Raises:
        ChemsieveError: the query leaves no room.
    """
    left = largest - query
    if left < 2:
        raise ChemsieveError(
            f"influence.gram.largest: {largest} leaves no room for training molecules beside the {query} of validation"
        )
    if train + pool <= left:
        return train, True
    if 2 * pool <= left:
        return left - pool, True
    return min(train, left), False


def check_pool(config: dict, targets: int, pool: int) -> None:
    """Raise, before anything is trained, where an estimator needs a pool in the matrix that has no room there.

    The sizes of the folds are those of ``split.fractions``, which a column of folds need not keep to.
    """
    largest = config["influence"]["gram"]["largest"]
    train, query = (round(share * targets) for share in config["split"]["fractions"][:2])
    for name in config["influence"]["run"]:
        module = registry.load("influence", name)
        if getattr(module, "NEEDS_POOL", False) and not room(train, query, pool, largest)[1]:
            enough = min(train + query + pool, query + 2 * pool)
            raise ChemsieveError(
                f"influence.run: {name} works on all {pool} pool molecules together, which influence.gram.largest "
                f"({largest}) has no room for: raise it to {enough} (it then takes about {24 * enough**2 / 1e9:.0f} GB "
                "of memory), or run exact in its place, which scores a pool of any size, and select by it"
            )


def write(kernel: Kernel, labels: np.ndarray, facts: dict, matrix_path: str | Path, facts_path: str | Path) -> None:
    """Write what :func:`read` reads."""
    from safetensors.numpy import save_file

    tensors = {"matrix": kernel.matrix, "residuals": kernel.residuals, "labels": labels}
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
    return Kernel(tensors["matrix"], tensors["residuals"], facts["train"], facts["query"]), tensors["labels"], facts
