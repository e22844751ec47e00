"""Selection strategies (extension point): each module is one way to order the pool, best first, a :class:`Strategy`.

Nothing that is handed to a strategy holds a test label or the pool's hidden truth.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar, cast

import numpy as np

from chemsieve import registry
from chemsieve.errors import ChemsieveError
from chemsieve.study.budgets import cut, most

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.influence.kernel import Kernel

log = logging.getLogger(__name__)

T = TypeVar("T")


def _not_needed(*_: Any) -> NoReturn:
    raise LookupError("the strategy reads something that its NEEDS do not ask for")


def needed(part: T | None) -> T:
    """A part of the :class:`Context` that is no function.

    Raises:
        LookupError: it was not given, since the strategy's ``NEEDS`` do not ask for it.
    """
    return _not_needed() if part is None else part


@dataclass(frozen=True)
class Context:
    """What strategies may read, where their ``NEEDS`` ask for it; to read anything else is a :class:`LookupError`.

    ``training`` is the labelled training set, ``validation`` the labelled validation set; ``predict_passes(passes,
    seed)`` gives MC-dropout predictions (passes, pool) of the fine-tuned model; ``expected_gain`` is the aggregated
    expected gain per pool molecule; ``predictions()`` gives those of the pool (pool,) without dropout, in label units;
    ``embeddings()`` the pooled outputs of the fine-tuned encoder for training (train, hidden) and pool (pool, hidden),
    ``validation_embeddings()`` those for validation (validation, hidden); ``kernels()`` the Gram matrices at the kept
    checkpoints, first to last, ``gram_labels()`` the standardised labels of the training molecules in them, and
    ``rates()`` the mean learning rates of their epochs. Of a pool without labels the matrices have residuals that are
    not a number. ``design_kernel()`` is the last of these with the molecules of ``target.unlabelled`` in its query,
    ``unlabelled_embeddings()`` those for these, none where there are none. Embeddings are float32, as the encoder gives
    them. ``budget`` is for strategies that need not order more of the pool than it can take, and ``available`` (pool,)
    says which molecules may be chosen, where not all: it is for those whose choice depends on what else they chose.
    """

    training: pd.DataFrame | None = None
    predict_passes: Callable[[int, int], np.ndarray] = _not_needed
    expected_gain: np.ndarray | None = None
    predictions: Callable[[], np.ndarray] = _not_needed
    embeddings: Callable[[], tuple[np.ndarray, np.ndarray]] = _not_needed
    kernels: Callable[[], list[Kernel]] = _not_needed
    gram_labels: Callable[[], np.ndarray] = _not_needed
    rates: Callable[[], list[float]] = _not_needed
    validation: pd.DataFrame | None = None
    validation_embeddings: Callable[[], np.ndarray] = _not_needed
    unlabelled_embeddings: Callable[[], np.ndarray] | None = None
    design_kernel: Callable[[], Kernel] | None = None
    budget: dict[str, Any] | None = None
    available: np.ndarray | None = None


class Strategy(Protocol):
    """A module that orders the pool.

    ``OPTIONS`` is the JSON Schema of the keyword arguments of ``score``. ``NEEDS`` is what it reads beside the pool's
    molecules: the pool's ``labels``, ``training``, ``validation``, ``model``, ``influence``, ``predictions``,
    ``embeddings``, ``gram``, ``unlabelled``. ``BUDGET``: a budget cuts its order; the controls ``none`` and ``all``
    have none. One that reads ``influence``, ``gram`` or ``validation`` is taken to choose what lowers the error of
    validation molecules; a module that does not has ``AIMS_AT_VALIDATION = False``.
    """

    OPTIONS: dict
    NEEDS: tuple[str, ...]
    BUDGET: bool

    def score(self, pool: pd.DataFrame, context: Context, seed: int, **options: Any) -> np.ndarray:
        """One score per pool molecule (n,), higher chosen first."""


def load(name: str) -> Strategy:
    """The module of one strategy.

    Raises:
        ChemsieveError: there is no such strategy.
    """
    return cast("Strategy", registry.load("selection", name))


def select(
    pool: pd.DataFrame,
    context: Context,
    name: str,
    module_name: str,
    budget: dict[str, Any] | None,
    seed: int,
    options: dict[str, Any],
    sweep: Sequence[dict[str, Any]] = (),
) -> pd.DataFrame:
    """Order the pool by a strategy and cut it by its budget: the table ``selection``, best first.

    Molecules that are not ``context.available`` come last, and none of them is selected. Where the order is to be cut
    by the budgets of a ``sweep`` too (:func:`recut`), it reaches as far as the largest of them.

    Raises:
        ChemsieveError: a score is not finite, there is no budget, or it exceeds the pool.
    """
    import pandas as pd

    module = load(module_name)
    reached = replace(context, budget=_reached(budget, sweep, len(pool)))
    scores = np.asarray(module.score(pool, reached, seed, **options), dtype=float)
    aside = np.zeros(len(pool), dtype=bool) if context.available is None else ~context.available
    kept = int((~aside).sum())
    if not module.BUDGET:
        order = np.argsort(aside, kind="stable")
        selected = (module_name == "all") & ~aside[order]
    elif budget is None:
        raise ChemsieveError(f"selection.strategies.{name}: it needs a budget")
    elif not np.isfinite(scores).all():
        molecule = pool["molecule_id"].iloc[int(np.argmin(np.isfinite(scores)))]
        raise ChemsieveError(f"selection {name}: the score of {molecule} is not finite; nothing was selected")
    else:
        # Stable: equal scores keep the order of the pool's file.
        order = np.lexsort((-scores, aside))
        selected = np.zeros(len(pool), dtype=bool)
        selected[:kept] = cut(scores[order[:kept]], budget, name)
    return pd.DataFrame(
        {
            "molecule_id": pool["molecule_id"].to_numpy()[order],
            "score": scores[order] if module.BUDGET else None,
            "rank": np.arange(1, len(pool) + 1),
            "selected": selected,
            "set_aside": aside[order],
        }
    )


def _reached(budget: dict[str, Any] | None, sweep: Sequence[dict[str, Any]], n: int) -> dict[str, Any] | None:
    """The budget that the order has to reach to; one that scores decide may reach to the end of the pool."""
    return {"count": max(most(one, n) for one in [budget, *sweep])} if sweep and budget else budget


def recut(ordered: pd.DataFrame, name: str, budget: dict[str, Any]) -> pd.DataFrame:
    """The table ``selection`` of a strategy, cut by another budget than its own: what comes first in the same order.

    Raises:
        ChemsieveError: it exceeds the molecules that may be chosen.
    """
    ordered = ordered.sort_values("rank", kind="stable")
    may = ~ordered["set_aside"].to_numpy()
    selected = np.zeros(len(ordered), dtype=bool)
    selected[may] = cut(ordered["score"].to_numpy(dtype=float)[may], budget, name)
    return ordered.assign(selected=selected)


def left_in(before: pd.DataFrame, pool: pd.DataFrame) -> np.ndarray:
    """Which molecules of the pool (n,) a selection that goes before another leaves in.

    Args:
        before: that selection's table.

    Raises:
        ChemsieveError: it leaves none in.
    """
    kept = pool["molecule_id"].isin(before.loc[before["selected"], "molecule_id"]).to_numpy()
    name, out = before["strategy"].iloc[0], int((~kept).sum())
    if not kept.any():
        raise ChemsieveError(f"selection.strategies: {name} leaves no molecule to choose from; widen its budget")
    log.info("%d of %d molecules, which %s leaves out, are set aside", out, len(kept), name)
    return kept
