"""Division by clusters of similar molecules, as DeepChem 2.8.0's ``ButinaSplitter``."""

from collections.abc import Sequence

import numpy as np
from rdkit import DataStructs

from chemsieve.splitting import Folds
from chemsieve.splitting._common import fill, fingerprints

OPTIONS: dict = {
    "cutoff": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.6,
        "description": "largest Tanimoto distance (1 - similarity) between a molecule and its cluster's centre",
    }
}
USES_COLUMN = False


def split(smiles: Sequence[str], fractions: tuple[float, float, float], seed: int, cutoff: float = 0.6) -> Folds:
    """Positions of the training, validation and test molecules; molecules of one cluster stay together.

    Butina clustering (Butina 1999) of Morgan fingerprints (radius 2, 1,024 bits); the largest cluster goes first.
    ``cutoff`` is a distance, although DeepChem's documentation calls it a similarity. The seed has no effect.
    """
    clusters = _clusters(_neighbours(fingerprints(smiles), cutoff))
    return fill(sorted(clusters, key=len, reverse=True), fractions, len(smiles))


def _neighbours(prints: list, cutoff: float) -> list[list[int]]:
    """Ascending positions within the cutoff of each molecule, itself included."""
    lower = []
    for i, fingerprint in enumerate(prints):
        similarity = np.array(DataStructs.BulkTanimotoSimilarity(fingerprint, prints[:i]))
        lower.append(np.flatnonzero(1 - similarity <= cutoff).tolist())
    neighbours = [[*near, i] for i, near in enumerate(lower)]
    for i, near in enumerate(lower):
        for j in near:
            neighbours[j].append(i)
    return neighbours


def _clusters(neighbours: list[list[int]]) -> list[list[int]]:
    """As ``rdkit.ML.Cluster.Butina.ClusterData``, which needs all n * n distances in memory.

    Centres are taken by decreasing number of neighbours, the last position first among equals; members of earlier
    clusters still count.
    """
    seen = np.zeros(len(neighbours), dtype=bool)
    clusters = []
    for centre in sorted(range(len(neighbours)), key=lambda i: (len(neighbours[i]), i), reverse=True):
        if not seen[centre]:
            cluster = [centre, *(j for j in neighbours[centre] if j != centre and not seen[j])]
            seen[cluster] = True
            clusters.append(cluster)
    return clusters
