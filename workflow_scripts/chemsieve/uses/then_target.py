"""Pool and target first, the target alone after: what the pool taught is a start, and the target has the last word."""

from __future__ import annotations

from chemsieve.errors import ChemsieveError
from chemsieve.uses import Form, Given, Mixture

OPTIONS: dict = {
    "share": {
        "type": "number",
        "exclusiveMinimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.5,
        "description": "of the epochs that the pool takes part in, at least one; one is left for the target",
    }
}
NEEDS: tuple[str, ...] = ()


def form(share: float = 0.5) -> Form | None:
    return None


def mixture(given: Given, share: float = 0.5) -> Mixture:
    if given.epochs < 2:
        raise ChemsieveError("the use then_target needs two epochs: one with the pool and one without it")
    return Mixture(given.pool, with_pool=min(max(round(share * given.epochs), 1), given.epochs - 1))
