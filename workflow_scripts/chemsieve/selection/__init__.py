"""Selection strategies: each module is one way to order the pool, best first.

A module has ``OPTIONS`` (JSON Schema of its options), ``NEEDS`` (what it reads: the pool's ``labels``, ``training``,
``validation``, ``model``, ``influence``, ``predictions``, ``embeddings``, ``gram``), ``BUDGET`` (whether a budget cuts
its order; the controls ``none`` and ``all`` have none), and ``score(pool, context, seed, **options)``, which returns
one score per pool molecule, higher chosen first, or ``None`` for a missing score. Nothing that is handed to a strategy
holds a test label or the pool's hidden truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from chemsieve import registry
from chemsieve.errors import ChemsieveError
from chemsieve.study.budgets import cut

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.influence._kernel import Kernel


@dataclass(frozen=True)
class Context:
    """What strategies may read, where their ``NEEDS`` ask for it.

    ``training`` is the labelled training set, ``validation`` the labelled validation set;
    ``predict_passes(passes, seed)`` gives MC-dropout predictions (passes, pool) of the fine-tuned model;
    ``expected_gain`` is the aggregated expected gain per pool molecule; ``predictions()`` gives those of the pool
    (pool,) without dropout, in label units; ``embeddings()`` the pooled outputs of the fine-tuned encoder for training
    (train, hidden) and pool (pool, hidden), ``validation_embeddings()`` those for validation (validation, hidden);
    ``kernels()`` the Gram matrices at the kept checkpoints, first to last, and ``rates()`` the mean learning rates of
    their epochs. Embeddings are float32, as the encoder gives them. ``budget`` is for strategies that need not order
    more of the pool than it can take.
    """

    training: pd.DataFrame | None = None
    predict_passes: Callable[[int, int], np.ndarray] | None = None
    expected_gain: np.ndarray | None = None
    predictions: Callable[[], np.ndarray] | None = None
    embeddings: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None
    kernels: Callable[[], list[Kernel]] | None = None
    rates: Callable[[], list[float]] | None = None
    validation: pd.DataFrame | None = None
    validation_embeddings: Callable[[], np.ndarray] | None = None
    budget: dict | None = None


def select(
    pool: pd.DataFrame, context: Context, name: str, module_name: str, budget: dict | None, seed: int, options: dict
) -> pd.DataFrame:
    """Order the pool by a strategy and cut it by its budget: the table ``selection``, best first.

    Raises:
        ChemsieveError: a score is not finite, or the budget exceeds the pool.
    """
    import pandas as pd

    module = registry.load("selection", module_name)
    scores = np.asarray(module.score(pool, replace(context, budget=budget), seed, **options), dtype=float)
    if module.BUDGET and not np.isfinite(scores).all():
        molecule = pool["molecule_id"].iloc[int(np.argmin(np.isfinite(scores)))]
        raise ChemsieveError(f"selection {name}: the score of {molecule} is not finite; nothing was selected")
    # Stable: equal scores keep the order of the pool's file.
    order = np.argsort(-scores, kind="stable") if module.BUDGET else np.arange(len(pool))
    selected = cut(scores[order], budget, name) if module.BUDGET else np.full(len(pool), module_name == "all")
    return pd.DataFrame(
        {
            "molecule_id": pool["molecule_id"].to_numpy()[order],
            "score": scores[order] if module.BUDGET else None,
            "rank": np.arange(1, len(pool) + 1),
            "selected": selected,
        }
    )
