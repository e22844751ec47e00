"""Which pool molecules lower or raise the error of single test molecules, for the report alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from chemsieve.influence.kernel import Kernel


def sampled(test: pd.DataFrame, labels: pd.DataFrame, most: int, seed: int) -> pd.DataFrame:
    """At most ``most`` molecules of ``test`` with their ``label``: a seeded sample, in the order of the file."""
    chosen = np.random.default_rng(seed).permutation(len(test))[:most]
    return test.iloc[np.sort(chosen)].merge(labels, on="molecule_id", validate="one_to_one")


def table(
    kernel: Kernel,
    labels: np.ndarray,
    pool: Sequence[str],
    test: pd.DataFrame,
    damping: float | None,
    seed: int,
    scale: float,
) -> pd.DataFrame:
    """Rows of the table ``influence_on_test``: each pool molecule with each test molecule.

    Args:
        kernel: with the test molecules as its query.
        labels: of the kernel's training molecules, standardised: (train,).
        pool: identifiers of the kernel's pool molecules.
        test: what :func:`sampled` returned.
        damping: None: chosen by cross-validation on the training molecules, as for the estimator ``exact``.
        scale: standard deviation by which labels were divided, in the unit of the label.

    Raises:
        ChemsieveError: the kernel has no pool.
    """
    from chemsieve.influence.kernel import damping_or_choice, pairs

    kernel.needs_pool("exact")
    damping = damping_or_choice(kernel, labels, seed, damping)
    made = pairs(kernel, pool, list(test["molecule_id"]), damping).rename(columns={"query_id": "test_id"})
    _, query, _ = kernel.parts
    errors = dict(zip(test["molecule_id"], kernel.residuals[query] * scale, strict=True))
    return made.assign(error=made["test_id"].map(errors), damping=damping)
