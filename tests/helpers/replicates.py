"""Errors of replicates that are made here, and Holm's adjustment by its definition."""

import numpy as np
import pandas as pd

SETTINGS = {"margin": 0.05, "alpha": 0.05, "power": 0.8}
SELECTIONS = ["none", "random", "all", "diversity", "influence"]


def study(rng, n, deviation=0.02, means=None, n_splits=1, seeds=None):
    """Metrics and splits of a study whose selections have these means (default: all 1); n replicates per split."""
    means = means or dict.fromkeys(SELECTIONS, 1.0)
    deviations = np.broadcast_to(deviation, len(means))
    rows = []
    for split in range(n_splits):
        for seed in seeds or range(n):
            shared = rng.normal(0, 0.05)
            for (name, mean), sd in zip(means.items(), deviations, strict=True):
                rmse = mean + shared + rng.normal(0, sd)
                rows.append(("scaffold", split, seed, "adapted", "full", name, "test", rmse))
    metrics = pd.DataFrame(
        rows, columns=["splitter", "split_seed", "seed", "origin", "method", "selection", "fold", "rmse"]
    ).assign(use="mixed")
    return metrics, divisions(n_splits)


def divisions(n_splits, same=False):
    """Splits of ten molecules, eight to train on and one to test; ``same`` makes them equal."""
    parts = []
    for split in range(n_splits):
        folds = np.roll(["train"] * 8 + ["validation", "test"], 0 if same else split)
        ids = [f"target-{i}" for i in range(10)]
        parts.append(pd.DataFrame({"molecule_id": ids, "splitter": "scaffold", "split_seed": split, "fold": folds}))
    return pd.concat(parts, ignore_index=True)


def step_down(p):
    """Holm's adjustment by its definition: reject in turn, the smallest first, at alpha over those that are left."""
    ordered = sorted(p)
    return [max(min(1.0, (len(p) - place) * value) for place, value in enumerate(ordered) if value <= one) for one in p]
