"""Where the pool's labels come from: can they be computed from the target's?

Many rules are tried: nearest neighbours over fingerprints, metrics, numbers and weights (means, medians, means weighted
by one over the distance or by the similarity), linear models that were fitted to the target, single computed
properties; each as it is and after a straight line. A rule reproduces a label where they agree to the last decimal that
labels are written with. Skill alone does that now and then, most often where labels are coarse, so a rule's count is
held against that of other molecules with nearly the same prediction: as much skill, and no reason to agree to the last
decimal.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from chemsieve.audit import fingerprints, properties
from chemsieve.audit.labelled import Labelled
from chemsieve.audit.neighbour_rule import Rule, means, smoothed

MOST_NEIGHBOURS = 12
SURE = 1e-6  # p value, after correction for all rules tried, below which agreement is no accident
SHARE = 0.05  # of the labels, beyond chance, that a rule must reproduce
FEWEST = 5  # labels
_AROUND = 10  # molecules before and after, by prediction, that stand for chance
NEIGHBOURS, LINEAR, PROPERTY = "nearest neighbours", "linear model", "computed property"
SMOOTHED = "nearest neighbours, median or similarity"  # rules of which no label is traced


def tolerance(pool: Labelled) -> float:
    """Half the last decimal of the pool's labels; where they have very many, a millionth of their spread."""
    return max(0.5 * 10.0**-pool.decimals * (1 + 1e-6), 1e-6 * float(np.std(pool.values)))


def search(pool: Labelled, target: Labelled) -> tuple[pd.DataFrame, Rule | None]:
    """Try every rule on the pool's labels.

    A molecule is left out where a tie makes a rule ambiguous, and where the nearest one is itself (by the parent's
    InChIKey): that two files report one measurement is no computation.

    Returns:
        One row per rule tried: ``kind``, ``features``, ``bits``, ``metric``, ``k``, ``weighting``, ``map`` (equal or
        line), ``slope``, ``intercept``, ``rows`` (labels that it determines), ``matched``, ``expected`` (by chance),
        ``p_value`` (binomial, times the number of rules tried), ``found``; and the best rule found by nearest
        neighbours, if any.
    """
    from scipy.stats import binom

    allowed = tolerance(pool)
    records = []
    for facts, rows, predicted in _predictions(pool, target):
        labels = pool.values[rows]
        for mapping, slope, intercept in _lines(predicted, labels):
            fitted = slope * predicted + intercept
            matched = int((np.abs(fitted - labels) <= allowed).sum())
            chance = _chance(fitted, labels, allowed)
            p_value = float(binom.sf(matched - 1, len(rows), chance)) if len(rows) else 1.0
            records.append(
                facts
                | {"map": mapping, "slope": slope, "intercept": intercept, "rows": len(rows), "matched": matched}
                | {"expected": chance * len(rows), "p_value": p_value}
            )
    tried = pd.DataFrame(records)
    tried["p_value"] = np.minimum(1.0, tried["p_value"] * len(tried))
    beyond = (tried["matched"] - tried["expected"]) >= SHARE * tried["rows"]
    tried["found"] = (tried["p_value"] < SURE) & beyond & (tried["matched"] >= FEWEST)
    return tried, _best(tried)


def _best(tried: pd.DataFrame) -> Rule | None:
    """The rule that reproduces the largest share; of equals the plain one, and the one that determines more labels."""
    found = tried[tried["found"] & (tried["kind"] == NEIGHBOURS)]
    if found.empty:
        return None
    share = (found["matched"] / found["rows"]).round(6)
    plain = (found["map"] == "equal").astype(int) + (found["weighting"] == "uniform")
    order = pd.DataFrame({"share": share, "plain": plain, "rows": found["rows"]})
    best = found.loc[order.sort_values(["share", "plain", "rows"], ascending=False, kind="stable").index[0]]
    return Rule(
        fingerprint=str(best["features"]),
        bits=int(best["bits"]),
        metric=str(best["metric"]),
        k=int(best["k"]),
        weighting=str(best["weighting"]),
        slope=float(best["slope"]),
        intercept=float(best["intercept"]),
    )


def _predictions(pool: Labelled, target: Labelled) -> Iterator[tuple[dict, np.ndarray, np.ndarray]]:
    """Each rule's facts, the positions of the molecules that it determines, and what it says of them."""
    shared = np.isin(pool.parents, target.parents[target.parents != ""])
    for name, bits in fingerprints.TRIED:
        ours = fingerprints.bits_of(pool.molecules, name, bits)
        theirs = fingerprints.bits_of(target.molecules, name, bits)
        found = fingerprints.nearest(ours, theirs, list(fingerprints.METRICS), MOST_NEIGHBOURS + 1)
        for metric, (positions, order) in zip(fingerprints.METRICS, found, strict=True):
            # Pool molecules that are in the target too, or have the same fingerprint as one there. Their nearest
            # neighbour is that molecule, and its label alone decides every mean that is weighted by distance.
            itself = shared | (order[:, 0] == 0)
            for k in range(1, min(MOST_NEIGHBOURS + 1, positions.shape[1])):
                untied = order[:, k - 1] < order[:, k]
                for weighting in ("uniform",) if k == 1 else ("uniform", "distance"):
                    alone = k == 1 or weighting == "distance"
                    rows = np.flatnonzero(untied & ~itself if alone else untied)
                    predicted = means(target.values[positions[rows, :k]], order[rows, :k], metric, weighting)
                    facts = {"kind": NEIGHBOURS, "features": name, "bits": bits, "metric": metric, "k": k}
                    yield facts | {"weighting": weighting}, rows, predicted
                if k > 2 and metric == "tanimoto":
                    rows = np.flatnonzero(untied & ~itself)
                    for weighting in ("median", "similarity"):
                        predicted = smoothed(target.values[positions[rows, :k]], order[rows, :k], metric, weighting)
                        yield facts | {"kind": SMOOTHED, "weighting": weighting}, rows, predicted
        if (name, bits) == fingerprints.TRIED[0]:
            yield from _linear(name, bits, ours, theirs, target.values)
    ours, theirs = (properties.properties_of(side.molecules) for side in (pool, target))
    yield from _linear("properties", None, ours, theirs, target.values)
    everyone = np.arange(len(pool))
    for column, name in enumerate(properties.PROPERTIES):
        yield _facts(PROPERTY, name, None, "itself"), everyone, ours[:, column]


def _linear(
    name: str, bits: int | None, ours: np.ndarray, theirs: np.ndarray, values: np.ndarray
) -> Iterator[tuple[dict, np.ndarray, np.ndarray]]:
    """Linear models with scikit-learn's defaults, fitted to the target."""
    from sklearn.linear_model import LinearRegression, Ridge

    # Least squares on thousands of bits takes longer than everything else, and has no one solution.
    for model in (Ridge(),) if bits else (Ridge(), LinearRegression()):
        predicted = model.fit(theirs.astype(float), values).predict(ours.astype(float))
        yield _facts(LINEAR, name, bits, type(model).__name__), np.arange(len(ours)), predicted


def _facts(kind: str, features: str, bits: int | None, metric: str) -> dict:
    return {"kind": kind, "features": features, "bits": bits, "metric": metric, "k": None, "weighting": "uniform"}


def _lines(predicted: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, float, float]]:
    """No line, and the line through the half of the labels that lie closest to one (least trimmed squares)."""
    yield "equal", 1.0, 0.0
    if len(predicted) < 2 * FEWEST:
        return
    inside = np.arange(len(predicted))
    for _ in range(5):
        x = predicted[inside]
        if np.ptp(x) < 1e-12:
            return
        slope, intercept = np.polyfit(x, labels[inside], 1)
        inside = np.argsort(np.abs(slope * predicted + intercept - labels), kind="stable")[: len(predicted) // 2]
    if slope:
        yield "line", float(slope), float(intercept)


def _chance(fitted: np.ndarray, labels: np.ndarray, allowed: float) -> float:
    """Probability that a label agrees with the prediction of another molecule whose own is nearly the same."""
    order = np.argsort(fitted, kind="stable")
    fitted, labels = fitted[order], labels[order]
    hits, pairs = 0, 0
    for shift in range(1, min(_AROUND, len(order) - 1) + 1):
        hits += int((np.abs(fitted[shift:] - labels[:-shift]) <= allowed).sum())
        hits += int((np.abs(fitted[:-shift] - labels[shift:]) <= allowed).sum())
        pairs += 2 * (len(order) - shift)
    return (hits + 1) / (pairs + 1)
