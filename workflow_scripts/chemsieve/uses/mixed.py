"""Pool molecules are trained on as if they were the target's own."""

from __future__ import annotations

from chemsieve.uses import Form, Given, Mixture

OPTIONS: dict = {}
NEEDS: tuple[str, ...] = ()


def form() -> Form | None:
    return Form()


def mixture(given: Given) -> Mixture:
    return Mixture(given.pool)
