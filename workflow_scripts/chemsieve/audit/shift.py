"""How unlike the pool is to the target: computed properties, and embeddings by maximum mean discrepancy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from chemsieve.audit.properties import PROPERTIES, properties_of
from chemsieve.data import chemistry
from chemsieve.errors import ChemsieveError

EMBEDDING = "embedding"


def compare(name: str, target: np.ndarray, pool: np.ndarray) -> dict:
    """One property of two sets: means, standard deviations, and the Kolmogorov-Smirnov test.

    Returns:
        ``what``, ``target_mean``, ``target_sd``, ``pool_mean``, ``pool_sd``, ``standardised_difference`` (of the
        means, over the root mean square of the deviations; 0 where both are constant), ``statistic`` and ``p_value``.
    """
    from scipy.stats import ks_2samp

    if min(len(target), len(pool)) < 2:
        raise ChemsieveError(f"audit: {name} of {len(target)} and {len(pool)} molecules cannot be compared")
    deviation = float(np.sqrt((target.std(ddof=1) ** 2 + pool.std(ddof=1) ** 2) / 2))
    test = ks_2samp(target, pool, method="asymp")
    return {
        "what": name,
        "target_mean": float(target.mean()),
        "target_sd": float(target.std(ddof=1)),
        "pool_mean": float(pool.mean()),
        "pool_sd": float(pool.std(ddof=1)),
        "standardised_difference": float(pool.mean() - target.mean()) / deviation if deviation else 0.0,
        "statistic": float(test.statistic),
        "p_value": float(test.pvalue),
    }


def discrepancy(first: np.ndarray, second: np.ndarray, permutations: int, seed: int) -> tuple[float, float]:
    """Squared maximum mean discrepancy of two samples and its permutation p value (Gretton et al. 2012, JMLR 13).

    The unbiased estimate (their equation 3) with a Gaussian kernel whose width is the median distance of the pooled
    sample; the p value is (1 + permutations at least as large) / (1 + permutations).

    Args:
        first: (m, d) embeddings, m >= 2.
        second: (n, d) embeddings, n >= 2.

    Raises:
        ChemsieveError: an embedding is not finite, or a sample has one molecule.
    """
    m, n = len(first), len(second)
    if min(m, n) < 2:
        raise ChemsieveError(f"audit: the discrepancy of {m} and {n} molecules is undefined; each side needs two")
    both = np.concatenate([first, second]).astype(np.float64)
    if not np.isfinite(both).all():
        raise ChemsieveError(
            f"audit: the embedding of molecule {int(np.argmin(np.isfinite(both).all(axis=1)))} is not finite"
        )
    kernel = _gaussian(both)
    np.fill_diagonal(kernel, 0.0)
    total, sums = kernel.sum(), kernel.sum(axis=1)

    def statistics(members: np.ndarray) -> np.ndarray:
        """For each column of membership (m + n, p): the statistic with those as the first sample."""
        within = np.einsum("ip,ip->p", members, kernel @ members)
        across = sums @ members - within
        rest = total - within - 2 * across
        return within / (m * (m - 1)) + rest / (n * (n - 1)) - 2 * across / (m * n)

    given = np.zeros((m + n, 1))
    given[:m] = 1
    observed = float(statistics(given)[0])
    rng, larger, done = np.random.default_rng(seed), 0, 0
    while done < permutations:
        many = min(128, permutations - done)
        members = np.zeros((m + n, many))
        for column in range(many):
            members[rng.permutation(m + n)[:m], column] = 1
        larger += int((statistics(members) >= observed - 1e-12).sum())
        done += many
    return observed, (1 + larger) / (1 + permutations)


def _gaussian(points: np.ndarray) -> np.ndarray:
    squares = (points**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * points @ points.T, 0)
    median = np.median(distances[np.triu_indices(len(points), 1)])
    return np.exp(-distances / (median if median > 0 else 1.0))


def positions(n: int, most: int, seed: int = 0) -> np.ndarray:
    """At most ``most`` of ``n`` positions, drawn without replacement, ascending."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def compare_all(
    molecules: pd.DataFrame, embed: Callable[[list[str]], np.ndarray], most: int, permutations: int
) -> pd.DataFrame:
    """The table ``audit_shift``: properties, tokens and labels, and the embedding's discrepancy.

    Args:
        molecules: the table ``molecules``.
        embed: embeddings (n, d) of (n,) encoder SMILES.
        most: molecules of each side that are compared at most, drawn at random where there are more.
        permutations: of the discrepancy's test.
    """
    sides = []
    for source in ("target", "pool"):
        side = molecules[molecules["source"] == source]
        sides.append(side.iloc[positions(len(side), most)])
    computed = [properties_of([chemistry.accepted(text) for text in side["smiles"]]) for side in sides]
    rows = [compare(name, *(values[:, i] for values in computed)) for i, name in enumerate(PROPERTIES)]
    for column in ("tokens", "label"):
        values = [side[column].dropna().to_numpy(dtype=float) for side in sides]
        if all(len(part) > 1 for part in values):
            rows.append(compare(column, *values))
    rows = [row | {"target": len(sides[0]), "pool": len(sides[1])} for row in rows]
    ours, theirs = (embed(list(side["encoder_smiles"])) for side in sides)
    statistic, p_value = discrepancy(ours, theirs, permutations, seed=0)
    rows.append(
        {"what": EMBEDDING, "statistic": statistic, "p_value": p_value, "target": len(sides[0]), "pool": len(sides[1])}
    )
    return pd.DataFrame(rows)
