"""The use that the closed form prefers: of those that it knows, the one with the lowest leave-one-out error."""

from __future__ import annotations

from chemsieve.uses import Form, Given, Mixture

OPTIONS: dict = {}
NEEDS: tuple[str, ...] = ("choice",)


def form() -> Form | None:
    return None


def mixture(given: Given) -> Mixture:
    return given.preferred()
