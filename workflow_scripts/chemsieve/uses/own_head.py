"""A second head on the shared encoder predicts the pool's labels, which have their own offset and scale.

Hard parameter sharing (Caruana 1997, 10.1023/A:1007379606734). The encoder learns from both sources; the trained model
keeps the target's head alone.
"""

from __future__ import annotations

from chemsieve.uses import AUTO, WEIGHT, Form, Given, Mixture
from chemsieve.uses._weights import fixed, weights

OPTIONS: dict = {"weight": WEIGHT}
NEEDS: tuple[str, ...] = ()


def form(weight: float | str = AUTO) -> Form | None:
    return Form(weight=fixed(weight), rho=None, own=True)


def mixture(given: Given, weight: float | str = AUTO) -> Mixture:
    return Mixture(given.pool, weights(given, weight), own_head=True)
