"""The mixture of a use as the configuration has it, with what the closed form chose for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from chemsieve.uses import Given, Mixture, load

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)

NONE = "none"  # the row of the table ``pool_use`` for leaving the pool out


def configured(
    use: dict[str, Any],
    pool: np.ndarray,
    epochs: int,
    candidates: dict[str, Any],
    choice: pd.DataFrame | None,
    residuals: pd.DataFrame | None = None,
    added: pd.DataFrame | None = None,
) -> Mixture:
    """The mixture of a use.

    Args:
        use: its ``name``, ``module`` and ``options``.
        pool: which training molecules are of the pool (n,).
        epochs: that are trained, at most.
        candidates: the uses among which the closed form chose, by name: their ``module`` and ``options``.
        choice: the table ``use_choices`` of one strategy; None where no use reads it.
        residuals: the table ``pool_use_residuals`` of one strategy; None where the use does not read it.
        added: the pool molecules among those, in their order.
    """

    def weight() -> float:
        chosen = float(_chosen(choice).set_index("use").loc[use["name"], "weight"])
        log.info("weight of a pool molecule, chosen in closed form: %g", chosen)
        return chosen

    def preferred() -> Mixture:
        table = _chosen(choice)
        name = str(table.loc[table["chosen"], "use"].iloc[0])
        log.info("use that the closed form prefers: %s", name)
        if name == NONE:
            return Mixture(pool, with_pool=0)
        return configured({"name": name, **candidates[name]}, pool, epochs, candidates, choice)

    def fits() -> np.ndarray:
        values = _chosen(residuals).set_index("molecule_id")["residual"]
        return values.loc[_chosen(added)["molecule_id"]].to_numpy()

    return load(use["module"]).mixture(Given(pool, epochs, weight, preferred, fits), **use["options"])


def _chosen(table: pd.DataFrame | None) -> pd.DataFrame:
    if table is None:
        raise LookupError("the use reads something of the closed form that it does not ask for")
    return table
