"""Pool molecules have another weight in the loss than the target's: a pool whose labels are noisier counts for less."""

from __future__ import annotations

from chemsieve.uses import AUTO, WEIGHT, Form, Given, Mixture
from chemsieve.uses._weights import fixed, weights

OPTIONS: dict = {"weight": WEIGHT}
NEEDS: tuple[str, ...] = ()


def form(weight: float | str = AUTO) -> Form | None:
    return Form(weight=fixed(weight))


def mixture(given: Given, weight: float | str = AUTO) -> Mixture:
    return Mixture(given.pool, weights(given, weight))
