"""Selection budgets: how many of the ordered pool a strategy takes."""

import numpy as np

from chemsieve.errors import ChemsieveError
from chemsieve.study.effective import AT, swept


def cut(scores: np.ndarray, budget: dict, strategy: str) -> np.ndarray:
    """How many of the ordered molecules a budget takes: ``count``, ``fraction``, ``threshold`` or ``magnitude``.

    A threshold takes scores of at least so much, a magnitude absolute scores of at least so
    much, as published studies did.

    Args:
        scores: (n,) scores in the order of choice.

    Returns:
        (n,) flags in that order.

    Raises:
        ChemsieveError: the budget asks for more molecules than the pool has.
    """
    n = len(scores)
    if "magnitude" in budget:
        return np.abs(scores) >= budget["magnitude"]
    if "threshold" in budget:
        return scores >= budget["threshold"]
    count = _size(budget, n)
    key = "selection.budgets" if AT in strategy else f"selection.strategies.{strategy}.budget"
    if count > n:
        raise ChemsieveError(f"{key}: count {count} is more than the {n} molecules of the pool")
    if count < 1:
        raise ChemsieveError(f"{key}: {budget} of {n} molecules is none")
    return np.arange(n) < count


def most(budget: dict | None, n: int) -> int:
    """The most molecules of ``n`` that a budget can take, as far as that is known without their scores."""
    return min(_size(budget, n), n) if budget and not {"count", "fraction"}.isdisjoint(budget) else n


def _size(budget: dict, n: int) -> int:
    """Molecules of ``n`` that a budget of a count or a fraction asks for."""
    return budget["count"] if "count" in budget else round(budget["fraction"] * n)


def of(config: dict) -> dict[str, dict]:
    """Budget of each strategy that a study needs and that has one, and those of its sweep."""
    needed = [*config["selection"]["run"], *config["grid"]["selections"], *config["selection"]["rank"]]
    strategies = config["selection"]["strategies"]
    own = {name: entry["budget"] for name, entry in strategies.items() if name in needed and "budget" in entry}
    return own | {name: budget for name, (_, budget) in swept(config).items()}


def check(budgets: dict[str, dict], pool_size: int) -> None:
    """Raise, before anything is trained, where a strategy's budget cannot be met by the accepted pool."""
    for strategy, budget in budgets.items():
        cut(np.zeros(pool_size), budget, strategy)
