"""Which of the target's molecules each pool label was computed from, under a rule that was found."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from chemsieve.audit import fingerprints
from chemsieve.audit.labelled import Labelled
from chemsieve.audit.neighbour_rule import Rule, means
from chemsieve.data import chemistry

EXACT, WITHIN_TIES, OTHER = "exact", "within ties", "not reproduced"
MOST_TIED = 500  # molecules at one distance among which subsets are looked for


@dataclass(frozen=True)
class Found:
    """A rule, how closely it must meet a pool label, and the decimals of the labels that it takes the mean of."""

    rule: Rule
    tolerance: float
    decimals: int

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict | None) -> Found | None:
        """From what :meth:`as_dict` gave; None stays None."""
        return cls(**(values | {"rule": Rule(**values["rule"])})) if values else None


def reproduce(rule: Rule, molecules: Sequence[str], known: Sequence[str], known_labels: np.ndarray) -> np.ndarray:
    """(m,) labels that the rule gives SMILES from those of ``known`` (n,); among ties the earlier counts."""
    parsed, made = [chemistry.accepted(text) for text in known], []
    theirs = fingerprints.bits_of(parsed, rule.fingerprint, rule.bits)
    for _, ours in _bits(molecules, rule):
        ((positions, order),) = fingerprints.nearest(ours, theirs, [rule.metric], rule.k)
        made.append(means(known_labels[positions], order, rule.metric, rule.weighting))
    return rule.slope * np.concatenate(made) + rule.intercept


def _bits(smiles: Iterable[str], rule: Rule) -> Iterator[tuple[slice, np.ndarray]]:
    return fingerprints.unpacked(fingerprints.packed(smiles, rule.fingerprint, rule.bits), rule.bits)


def trace(found: Found, pool: Labelled, target: Labelled) -> pd.DataFrame:
    """Explain each pool label by the rule.

    Returns:
        The table ``label_sources``, one row per pool molecule: ``match`` is ``exact`` (no tie involved), ``within
        ties`` (some choice among the equally near gives the label) or ``not reproduced``; ``nearer`` are target rows
        that count in any case, ``tied`` those at the distance of the last, among which the rest was chosen (empty
        without a tie); ``used`` is one choice that gives the label, or the nearest where none does.
    """
    rule = found.rule
    theirs, records = fingerprints.bits_of(target.molecules, rule.fingerprint, rule.bits), []
    for part, ours in _bits(pool.smiles, rule):
        for i, order in zip(range(part.start, part.stop), _orders(ours, theirs, rule.metric), strict=True):
            near = np.argsort(order, kind="stable")[: rule.k]
            last = order[near[-1]]
            nearer, tied = near[order[near] < last], np.flatnonzero(order == last)
            if len(nearer) + len(tied) == rule.k:
                nearer, tied = near, tied[:0]
            mean = means(target.values[near][None], order[near][None], rule.metric, rule.weighting)[0]
            value, used = rule.slope * mean + rule.intercept, near
            agrees = abs(value - pool.values[i]) <= found.tolerance
            if len(tied) and not agrees:
                chosen = _choice(found, pool.values[i], target.values[nearer], target.values[tied])
                if chosen is not None:
                    agrees, used = True, np.concatenate([nearer, tied[chosen]])
            records.append(
                {
                    "row": int(pool.rows[i]),
                    "label": float(pool.values[i]),
                    "reproduced": float(value),
                    "match": OTHER if not agrees else WITHIN_TIES if len(tied) else EXACT,
                    "nearer": target.rows[nearer].tolist(),
                    "nearer_labels": target.values[nearer].tolist(),
                    "tied": target.rows[tied].tolist(),
                    "tied_labels": target.values[tied].tolist(),
                    "used": target.rows[used].tolist(),
                }
            )
    return pd.DataFrame(records)


def _orders(ours: np.ndarray, theirs: np.ndarray, metric: str) -> Iterator[np.ndarray]:
    """What orders ``theirs`` (n,), for each of ``ours``."""
    for _, (block,) in fingerprints.orderings(ours, theirs, [metric]):
        yield from block


def must_use(found: Found, source: dict, rows: Collection[int]) -> bool:
    """Whether every choice that gives a label uses one of these target rows, for example those of a test fold.

    Args:
        found: the rule.
        source: a row of the table ``label_sources``.
        rows: target rows.
    """
    if source["match"] == OTHER:
        return False
    if any(row in rows for row in source["nearer"]):
        return True
    if not any(row in rows for row in source["used"]):
        return False
    free = [label for row, label in zip(source["tied"], source["tied_labels"], strict=True) if row not in rows]
    return _choice(found, source["label"], source["nearer_labels"], free) is None


def _choice(found: Found, label: float, nearer: Collection[float], tied: Collection[float]) -> np.ndarray | None:
    """Positions of the labels ``tied`` that together with ``nearer`` give the label, or None where no choice does.

    Labels are whole numbers of their last decimal, so that sums are exact; the sums that a count of tied labels can
    have are the bits of one long number, so that all choices are followed at once. Only for plain means: with weights
    the sum is no whole number.
    """
    rule = found.rule
    missing = rule.k - len(nearer)
    if rule.weighting != "uniform" or not missing <= len(tied) <= MOST_TIED:
        return None
    unit = 10**found.decimals
    ends = sorted((label + side * found.tolerance - rule.intercept) / rule.slope * rule.k * unit for side in (-1, 1))
    values = [round(value * unit) for value in tied]
    least = min(values)  # sums count from it, so that no bit lies below zero
    base = sum(round(value * unit) for value in nearer) + missing * least
    low, high = math.ceil(ends[0] - 1e-6) - base, math.floor(ends[1] + 1e-6) - base
    steps = [[1] + [0] * missing]
    for value in values:
        last = steps[-1]
        steps.append([last[0], *((last[c] | (last[c - 1] << (value - least))) for c in range(1, missing + 1))])
    total = next((s for s in range(max(low, 0), high + 1) if steps[-1][missing] >> s & 1), None)
    if total is None:
        return None
    chosen, count = [], missing
    for item in range(len(values), 0, -1):
        if not steps[item - 1][count] >> total & 1:  # not reached without this one
            total, count = total - (values[item - 1] - least), count - 1
            chosen.append(item - 1)
    return np.array(chosen[::-1], dtype=np.int64)
