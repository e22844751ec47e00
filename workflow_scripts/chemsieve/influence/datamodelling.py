"""Does a score predict retraining? The linear datamodelling score (Park et al. 2023, 2303.14186, section 3).

The model is retrained on the training set with random subsets of the pool. A score that is additive over molecules
predicts each subset's gain as the sum over its members; the datamodelling score is the Spearman correlation of the
predicted with the measured gains over the subsets. Training seeds move the measurement, so that no score can reach 1:
the ceiling says how far a perfect one would come.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from chemsieve.errors import ChemsieveError

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


def score(
    gains: np.ndarray, membership: np.ndarray, losses: np.ndarray, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Datamodelling score with a 95 % percentile interval over resampled subsets.

    Args:
        gains: (pool,) expected gain of each molecule.
        membership: (subsets, pool) flags.
        losses: (subsets, seeds) validation losses after retraining.
    """
    predicted, measured = membership @ gains, -losses.mean(axis=1)
    generator = np.random.default_rng(seed)
    resampled = generator.integers(len(measured), size=(resamples, len(measured)))
    values = [spearman(predicted[subsets], measured[subsets]) for subsets in resampled]
    low, high = np.nanpercentile(values, [2.5, 97.5]) if not np.isnan(values).all() else (np.nan, np.nan)
    return spearman(predicted, measured), float(low), float(high)


def ceiling(losses: np.ndarray) -> float:
    """Correlation that a perfect score would have with the mean over seeds of ``losses`` (subsets, seeds).

    The square root of the reliability of that mean, from the mean correlation r between seeds (Spearman 1910, Brown
    1910): s r / (1 + (s - 1) r) for s seeds. NaN with one seed; 0 where the seeds do not agree at all.
    """
    seeds = losses.shape[1]
    if seeds < 2:
        return float("nan")
    pairs = [spearman(losses[:, i], losses[:, j]) for i in range(seeds) for j in range(i)]
    agreement = float(np.mean(pairs))
    if np.isnan(agreement):
        return float("nan")
    return float(np.sqrt(max(seeds * agreement / (1 + (seeds - 1) * agreement), 0.0))) if agreement > 0 else 0.0


def complete(retraining: pd.DataFrame) -> pd.DataFrame:
    """The table ``retraining`` without subsets that lack the training of a seed.

    Raises:
        ChemsieveError: fewer than three subsets are left.
    """
    subset = [*_REPLICATE, "subset"]
    trained = retraining.groupby(subset)["retrain_seed"].transform("nunique")
    kept = retraining[trained == retraining["retrain_seed"].nunique()]
    if len(kept[subset].drop_duplicates()) < 3:
        raise ChemsieveError("validation: fewer than three subsets were retrained with every seed")
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
    shared = {"ceiling": ceiling(losses.to_numpy()), "subsets": len(losses), "retrain_seeds": losses.shape[1]}
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
