"""What labels look like by themselves: how they are rounded, and whether they tell stereoisomers apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chemsieve.audit.label_source import tolerance
from chemsieve.audit.labelled import Labelled
from chemsieve.audit.rounding import unit_of, whole_ratio
from chemsieve.data import chemistry

_FEWEST = 3  # shared molecules of which a line says anything


def facts(pool: Labelled, target: Labelled) -> dict:
    """Plain values, for JSON.

    Returns:
        ``pool`` and ``target``: ``molecules``, ``decimals``, ``unit`` that all labels are multiples of, ``groups`` of
        molecules with one first block of the InChIKey, and how many of the groups have one label (``identical``);
        ``unit_ratio`` k where the target's unit is k times the pool's; ``shared`` pool molecules that are target
        molecules, by level; ``same_label`` of those with one InChIKey, and the ``largest_difference``; ``agreement`` of
        the labels of shared molecules, as :func:`agreement` returns it.
    """
    sides = {"pool": _side(pool), "target": _side(target)}
    differences = _differences(pool, target)
    return sides | {
        "unit_ratio": whole_ratio(sides["target"]["unit"], sides["pool"]["unit"]),
        "shared": _shared(pool, target),
        "same_label": int((differences <= tolerance(pool)).sum()),
        "largest_difference": float(differences.max(initial=0.0)),
        "agreement": agreement(pool, target),
    }


def agreement(pool: Labelled, target: Labelled) -> dict | None:
    """How the labels of molecules that both sets have go together, by InChIKey, else by the parent.

    Returns:
        ``molecules``, ``offset`` (median of the pool's label less the target's; of several labels of a molecule the
        median counts), ``deviation`` (of all target labels), and, where three molecules or more have labels that
        differ, ``slope`` of the pool's labels against the target's (least squares) and ``correlation`` (Pearson), else
        None; all in the unit of the label. None where no molecule is shared.
    """
    ours, theirs = _shared_labels(pool, target)
    if not len(ours):
        return None
    slope = correlation = None
    if len(ours) >= _FEWEST and np.ptp(ours) and np.ptp(theirs):
        from scipy.stats import linregress

        line = linregress(theirs, ours)
        slope, correlation = float(line.slope), float(line.rvalue)
    return {
        "molecules": len(ours),
        "offset": float(np.median(ours - theirs)),
        "deviation": float(np.std(target.values)),
        "slope": slope,
        "correlation": correlation,
    }


def _shared_labels(pool: Labelled, target: Labelled) -> tuple[np.ndarray, np.ndarray]:
    """(n,) median labels of the pool and of the target, of each molecule of the pool's file that the target has."""
    known = [_medians(keys, target.values) for keys in (target.inchikeys, target.parents)]
    pairs, parents = [], []
    for key, value in _medians(pool.inchikeys, pool.values).items():
        if key in known[0]:
            pairs.append((value, known[0][key]))
    exact = {parent for key, parent in zip(pool.inchikeys, pool.parents, strict=True) if key in known[0]}
    for parent, value in _medians(pool.parents, pool.values).items():
        if parent in known[1] and parent not in exact:
            parents.append((value, known[1][parent]))
    made = np.array([*pairs, *parents], dtype=float).reshape(-1, 2)
    return made[:, 0], made[:, 1]


def _medians(keys: np.ndarray, values: np.ndarray) -> dict[str, float]:
    groups: dict[str, list[float]] = {}
    for key, value in zip(keys, values, strict=True):
        groups.setdefault(key, []).append(float(value))
    groups.pop("", None)
    return {key: float(np.median(group)) for key, group in groups.items()}


def _side(labelled: Labelled) -> dict:
    groups: dict[str, list[float]] = {}
    for key, value in zip(labelled.inchikeys, labelled.values, strict=True):
        groups.setdefault(chemistry.block_of(key), []).append(float(value))
    several = [values for block, values in groups.items() if block and len(values) > 1]
    return {
        "molecules": len(labelled),
        "decimals": labelled.decimals,
        "unit": unit_of(labelled.values, labelled.decimals),
        "groups": len(several),
        "identical": sum(len(set(values)) == 1 for values in several),
    }


def _shared(pool: Labelled, target: Labelled) -> dict[str, int]:
    levels = {
        "canonical SMILES": [_canonical(side) for side in (pool, target)],
        "InChIKey": [list(side.inchikeys) for side in (pool, target)],
        "InChIKey first block": [list(map(chemistry.block_of, side.inchikeys)) for side in (pool, target)],
        "first block of the parent": [list(side.parents) for side in (pool, target)],
    }
    return {level: _common(*sides) for level, sides in levels.items()}


def _canonical(side: Labelled) -> list[str]:
    return [chemistry.canonical_smiles(chemistry.accepted(text)) for text in side.smiles]


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    known = set(theirs) - {""}
    return sum(value in known for value in ours)


def _differences(pool: Labelled, target: Labelled) -> np.ndarray:
    """|label - label| of molecules with one InChIKey; of several the closest."""
    known: dict[str, list[float]] = {}
    for key, value in zip(target.inchikeys, target.values, strict=True):
        known.setdefault(key, []).append(value)
    known.pop("", None)
    pairs = [(value, known[key]) for key, value in zip(pool.inchikeys, pool.values, strict=True) if key in known]
    return np.array([min(abs(value - other) for other in others) for value, others in pairs])
