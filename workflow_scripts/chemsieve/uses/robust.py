"""Each pool molecule has a weight of its own: small where its label is far from what all other molecules say of it.

The weights are those of Student's t noise, 1 / (1 + z^2 / freedom), z being the residual of the molecule given all
others, in closed form (:func:`chemsieve.influence.pool_use.standardised_residuals`), in standard deviations.
"""

from __future__ import annotations

import numpy as np

from chemsieve.uses import Form, Given, Mixture

OPTIONS: dict = {
    "freedom": {
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 4.0,
        "description": "degrees of freedom of Student's t: the fewer, the less a label that does not fit counts",
    }
}
NEEDS: tuple[str, ...] = ("residuals",)


def form(freedom: float = 4.0) -> Form | None:
    return None


def mixture(given: Given, freedom: float = 4.0) -> Mixture:
    weights = np.ones(len(given.pool))
    weights[given.pool] = 1 / (1 + given.residuals() ** 2 / freedom)
    return Mixture(given.pool, weights)
