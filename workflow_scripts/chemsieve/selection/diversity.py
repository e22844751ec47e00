"""MaxMin diversity on Morgan fingerprints (Ashton et al. 2002, 10.1002/qsar.200290002).

From a random first molecule, each next one is that whose nearest chosen molecule is farthest. A pool is ordered so to
its end where it is small; of a large one only as far as the budget reaches, since each choice is compared with all. The
rest then follows by the same distance, to all that are chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chemsieve.runtime.processes import progress
from chemsieve.study.budgets import most

if TYPE_CHECKING:
    import pandas as pd

    from chemsieve.selection import Context

OPTIONS: dict = {
    "radius": {"type": "integer", "minimum": 0},
    "bits": {"type": "integer", "minimum": 16},
}
NEEDS: tuple[str, ...] = ()
BUDGET = True

LEAST = 2000  # choices that are made in any case


def score(pool: pd.DataFrame, context: Context, seed: int, radius: int = 2, bits: int = 2048) -> np.ndarray:
    """Tanimoto distance to the nearest earlier choice at the moment of choice (n,); the first has 1.

    The distances fall along the order of choice, so that sorting by them gives that order back, those of molecules that
    no choice was made of last.
    """
    from rdkit import Chem, DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
    prints = [generator.GetFingerprint(Chem.MolFromSmiles(smiles)) for smiles in pool["encoder_smiles"]]
    n = len(prints)
    distance = np.full(n, np.inf)
    result = np.empty(n)
    chosen = np.zeros(n, dtype=bool)
    current = int(np.random.default_rng(seed).integers(n))
    choices = min(n, max(LEAST, most(context.budget, n)))
    budget = context.budget or {}
    floor = budget.get("threshold", budget.get("magnitude", -np.inf))
    for position in progress(range(choices), "choices"):
        # Ties in distance are kept in order of choice by a step far below the grid of Tanimoto distances; upwards, so
        # that a distance equal to a threshold meets it.
        result[current] = (1.0 if position == 0 else distance[current]) + (n - 1 - position) * 1e-12
        chosen[current] = True
        similarity = np.array(DataStructs.BulkTanimotoSimilarity(prints[current], prints))
        distance = np.minimum(distance, 1 - similarity)
        current = int(np.argmax(np.where(chosen, -np.inf, distance)))
        if position + 1 >= LEAST and distance[current] < floor:
            break  # no molecule that is left can meet it
    result[~chosen] = distance[~chosen]
    return result
