"""Intervals from resampled molecules: a molecule is drawn with all its rows, since its errors are not independent."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

RESAMPLES = 1000
LEAST = 5  # molecules; resampling fewer says nothing about others
LEVEL = 0.95


def interval(molecules: np.ndarray, statistic: Callable[[np.ndarray], float]) -> tuple[float, float]:
    """Percentile interval of a statistic over resamples of the molecules; the same rows give the same interval.

    Args:
        molecules: (rows,) the molecule that each row is of.
        statistic: its value where row i counts ``weights[i]`` times, for (rows,) weights.

    Returns:
        Lower and upper end; missing where there are fewer than ``LEAST`` molecules.
    """
    codes, names = pd.factorize(molecules)
    if len(names) < LEAST:
        return np.nan, np.nan
    draws = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
    values = np.array([statistic(draw[codes]) for draw in draws], dtype=float)
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean(values: np.ndarray, weights: np.ndarray) -> float:
    """Mean of the values, each as often as its weight; missing where all weights are zero."""
    total = weights.sum()
    return float(values @ weights / total) if total else np.nan


def mean_of(group: pd.DataFrame, column: str) -> dict[str, float]:
    """Mean of a column with its interval, and the molecules and rows behind it."""
    values, molecules = group[column].to_numpy(), group["molecule_id"].to_numpy()
    low, high = interval(molecules, lambda weights: mean(values, weights))
    return {"mean": values.mean(), "low": low, "high": high, "molecules": len(set(molecules)), "rows": len(values)}


def line(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the least-squares line of y on x; missing where x is constant."""
    centre_x, centre_y = mean(x, weights), mean(y, weights)
    dispersion = mean((x - centre_x) ** 2, weights)
    # Equal values differ from their mean by a rounding error, whose square would pass for a dispersion.
    if not dispersion > 1e-24 * max(1.0, centre_x**2):
        return np.nan, np.nan
    slope = mean((x - centre_x) * (y - centre_y), weights) / dispersion
    return slope, centre_y - slope * centre_x


def spearman(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Rank correlation of rows that each count as often as their weight, equal values at their mean rank."""
    kept = weights > 0
    if not kept.any():
        return np.nan
    weights = weights[kept]
    ranks = [_ranks(values[kept], weights) for values in (x, y)]
    deviations = [rank - mean(rank, weights) for rank in ranks]
    scale = np.sqrt(mean(deviations[0] ** 2, weights) * mean(deviations[1] ** 2, weights))
    return mean(deviations[0] * deviations[1], weights) / scale if scale > 0 else np.nan


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    dense = stats.rankdata(values, method="dense") - 1
    sizes = np.bincount(dense, weights=weights)
    return (np.cumsum(sizes) - sizes / 2)[dense]
