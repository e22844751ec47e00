"""Does a score predict retraining? The linear datamodelling score (Park et al. 2023, 2303.14186, section 3).

The model is retrained on the training set with random subsets of the pool. A score that is additive over molecules
predicts each subset's gain as the sum over its members; the datamodelling score is the Spearman correlation of the
predicted with the measured gains over the subsets. Training seeds move the measurement, so that no score can reach 1:
the ceiling says how far a perfect one would come.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from chemsieve.errors import ChemsieveError

LEAST = 6  # subsets; of fewer a rank correlation says nothing, whatever its interval
LEVEL = 0.95
ESTIMATOR, STRATEGY = "estimator", "strategy"
_REPLICATE = ["splitter", "split_seed", "seed"]


def subset(pool_size: int, fraction: float, index: int, seed: int) -> np.ndarray:
    """Positions (rounded ``fraction`` of the pool,) of random subset number ``index``, ascending.

    Raises:
        ChemsieveError: the fraction leaves no molecule in or none out.
    """
    count = round(fraction * pool_size)
    if not 0 < count < pool_size:
        raise ChemsieveError(f"validation.fraction: {fraction:g} of {pool_size} molecules is no proper subset")
    generator = np.random.default_rng([seed, index])
    return np.sort(generator.choice(pool_size, count, replace=False))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman correlation; NaN where a side is constant."""
    x, y = rankdata(a) - (len(a) + 1) / 2, rankdata(b) - (len(b) + 1) / 2
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else float("nan")


def interval(value: float, n: int) -> tuple[float, float]:
    """95 % interval of a rank correlation over n subsets.

    Fisher's transformation with the variance of Bonett and Wright 2000 (10.1007/BF02294183). A correlation of one is
    taken halfway to the next that n ranks can have, since no few ranks prove a perfect order.
    """
    if np.isnan(value) or n < 4:
        return float("nan"), float("nan")
    most = 1 - 6 / (n * (n * n - 1))
    half = norm.ppf((1 + LEVEL) / 2) * np.sqrt((1 + value**2 / 2) / (n - 3))
    centre = np.arctanh(np.clip(value, -most, most))
    low, high = np.tanh([centre - half, centre + half])
    return float(min(low, value)), float(max(high, value))


def score(gains: np.ndarray, membership: np.ndarray, losses: np.ndarray) -> tuple[float, float, float]:
    """Datamodelling score with a 95 % interval over the subsets.

    Args:
        gains: (pool,) expected gain of each molecule.
        membership: (subsets, pool) flags.
        losses: (subsets, seeds) validation losses after retraining.
    """
    value = spearman(membership @ gains, -losses.mean(axis=1))
    return value, *interval(value, len(losses))


def ceiling(losses: np.ndarray) -> tuple[float, float, float]:
    """Correlation that a perfect score would have with the mean over seeds of ``losses`` (subsets, seeds), and a 95 %
    interval.

    The square root of the reliability of that mean, from the mean correlation r between seeds (Spearman 1910, Brown
    1910): s r / (1 + (s - 1) r) for s seeds. NaN with one seed; 0 where the seeds do not agree at all. The interval is
    that of r, transformed alike: with more than two seeds it is on the wide side.
    """
    subsets, seeds = losses.shape
    if seeds < 2:
        return float("nan"), float("nan"), float("nan")
    pairs = [spearman(losses[:, i], losses[:, j]) for i in range(seeds) for j in range(i)]
    agreement = float(np.mean(pairs))
    low, high = interval(agreement, subsets)
    return _reached(agreement, seeds), _reached(low, seeds), _reached(high, seeds)


def _reached(agreement: float, seeds: int) -> float:
    if np.isnan(agreement):
        return float("nan")
    return float(np.sqrt(max(seeds * agreement / (1 + (seeds - 1) * agreement), 0.0))) if agreement > 0 else 0.0


def complete(retraining: pd.DataFrame) -> pd.DataFrame:
    """The table ``retraining`` without subsets that lack the training of a seed.

    Raises:
        ChemsieveError: fewer than ``LEAST`` subsets are left.
    """
    subset = [*_REPLICATE, "subset"]
    trained = retraining.groupby(subset)["retrain_seed"].transform("nunique")
    kept = retraining[trained == retraining["retrain_seed"].nunique()]
    if not len(kept) or kept.groupby(_REPLICATE)["subset"].nunique().min() < LEAST:
        raise ChemsieveError(f"validation: fewer than {LEAST} subsets were retrained with every seed")
    return kept


def table(
    influence: pd.DataFrame, retraining: pd.DataFrame, pool: Sequence[str], selections: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The table ``influence_validation`` of one replicate.

    Args:
        influence: rows of the table ``influence`` of this replicate.
        retraining: rows of the table ``retraining`` of this replicate.
        pool: molecule ids.
        selections: rows of the table ``selections`` of this replicate with a column ``origin``; strategies without a
            score for every molecule have none to be held against retraining.
    """
    losses = retraining.pivot(index="subset", columns="retrain_seed", values="validation_mse")
    members = retraining.drop_duplicates("subset").set_index("subset")["members"].loc[losses.index]
    place = {molecule: i for i, molecule in enumerate(pool)}
    membership = np.zeros((len(losses), len(pool)))
    for row, names in enumerate(members):
        membership[row, [place[name] for name in names]] = 1
    top, low, high = ceiling(losses.to_numpy())
    shared = {
        "ceiling": top,
        "ceiling_low": low,
        "ceiling_high": high,
        "subsets": len(losses),
        "retrain_seeds": losses.shape[1],
    }
    rows = []
    for facts, gains in _scores(influence, selections):
        value, low, high = score(gains.loc[list(pool)].to_numpy(), membership, losses.to_numpy())
        rows.append(facts | {"datamodelling_score": value, "low": low, "high": high} | shared)
    return pd.DataFrame(rows)


def _scores(influence: pd.DataFrame, selections: pd.DataFrame | None) -> Iterator[tuple[dict, pd.Series]]:
    """What is held against retraining, and its score of each molecule; higher promises more."""
    axes = ["origin", "checkpoint", "estimator"]
    for keys, scores in influence.groupby(axes, sort=True):
        facts = dict(zip(axes, keys, strict=True)) | {"kind": ESTIMATOR}
        yield facts, scores.set_index("molecule_id")["expected_gain"]
    for (origin, strategy), scores in () if selections is None else selections.groupby(["origin", "strategy"]):
        if scores["score"].notna().all():
            facts = {"origin": origin, "checkpoint": -1, "estimator": strategy, "kind": STRATEGY}
            yield facts, scores.set_index("molecule_id")["score"]
