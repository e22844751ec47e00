"""What a design would detect: components of the variance of a difference, and what splits, seeds and molecules buy.

The difference of two configurations' errors on split s with seed r is d + a_s + b_sr, of variances ``split`` and
``seed``; where splits have test molecules of their own, the noise of these is part of ``split``, and where they share
them it is common to all. ANOVA estimators of a nested design: Searle, Casella and McCulloch 1992, "Variance
components", chapter 3. A mean over splits has the variance of Nadeau and Bengio 2003, as everywhere here
(:mod:`chemsieve.statistics.replicates`).
"""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from chemsieve.statistics import power
from chemsieve.statistics.families import SELECTIONS, Family, families
from chemsieve.statistics.replicates import CONFIGURATION, replicates
from chemsieve.tables import TABLES

SPLITS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30)
SEEDS = (1, 2, 3, 5, 10)
# Before anything was measured: of differences of RMSE, where labels are log units. Another seed moves a fine-tuning
# from the encoder by 0.053 and a quiet continuation by 0.007 (standard deviations of one RMSE; a difference has two).
ASSUMED_SEED = {"encoder": 0.053 * math.sqrt(2), "regressor": 0.007 * math.sqrt(2)}
ASSUMED_SPLIT = 0.03
ASSUMED_SECONDS = 10.0  # of a training
ASSUMED, MEASURED = "assumed", "measured"


@dataclass(frozen=True)
class Components:
    """Standard deviations of a difference of RMSE: between splits, between seeds of a split, and of its test molecules.

    Attributes:
        seed: missing (NaN) where no split has two seeds; it is then part of ``split``.
        test: standard error by the test molecules alone; NaN where it was not estimated.
        shared: as of :class:`chemsieve.statistics.replicates.Replicates`.
        source: :data:`ASSUMED` or :data:`MEASURED`.
    """

    split: float
    seed: float
    test: float
    shared: float
    source: str


def nested(differences: pd.Series) -> tuple[float, float]:
    """Variances between splits and between the seeds of a split, of differences indexed by (split, seed).

    Estimates below zero are zero. A component that the design does not show is NaN: between splits where there is one
    split, between seeds where no split has two.
    """
    groups = differences.groupby(level="split")
    sizes = groups.size().to_numpy(dtype=float)
    n, a = sizes.sum(), len(sizes)
    within = float(((differences - groups.transform("mean")) ** 2).sum())
    seed = within / (n - a) if n > a else math.nan
    if a < 2:
        return math.nan, seed
    between = float((sizes * (groups.mean() - differences.mean()) ** 2).sum()) / (a - 1)
    typical = (n - (sizes**2).sum() / n) / (a - 1)
    return max(0.0, (between - (0.0 if math.isnan(seed) else seed)) / typical), seed


def difference_error(errors: np.ndarray, others: np.ndarray) -> float:
    """Standard error of RMSE(errors) - RMSE(others) over test molecules, each (molecules,), paired; delta method."""
    parts = [one**2 / (2 * math.sqrt(float(np.mean(one**2)))) for one in (errors, others)]
    return float(np.std(parts[0] - parts[1], ddof=1)) / math.sqrt(len(errors))


def assumed(start: str, shared: float) -> Components:
    """Components before anything was measured, for selections that start as ``selection.start`` says."""
    return Components(ASSUMED_SPLIT, ASSUMED_SEED[start], math.nan, shared, ASSUMED)


def measured(metrics: pd.DataFrame, splits: pd.DataFrame, predictions: pd.DataFrame | None = None) -> Components | None:
    """Components of the family of selections, pooled over its pairs; None where one replicate shows nothing.

    Args:
        metrics, splits, predictions: these tables, of one splitter.
    """
    test = metrics[metrics["fold"] == "test"]
    found = replicates(test, splits)
    family = _selections(list(found.errors.columns))
    if family is None:
        return None
    errors = found.paired(family.configurations)
    pairs = list(combinations(family.configurations, 2))
    of_split, of_seed = np.array([nested(errors[one] - errors[other]) for one, other in pairs]).T
    if np.isnan(of_split).all() and np.isnan(of_seed).all():
        return None
    split = 0.0 if np.isnan(of_split).all() else math.sqrt(float(np.mean(of_split)))
    seed = math.nan if np.isnan(of_seed).all() else math.sqrt(float(np.mean(of_seed)))
    noise = math.nan if predictions is None else _test_noise(test, predictions, family)
    return Components(split, seed, noise, found.shared, MEASURED)


def _selections(found: list[tuple[str, str, str]]) -> Family | None:
    return next((family for family in families(found) if family.name == SELECTIONS), None)


def _test_noise(test: pd.DataFrame, predictions: pd.DataFrame, family: Family) -> float:
    """Standard error by test molecules, pooled over replicates and pairs of the family."""
    rows = predictions[predictions["fold"] == "test"]
    errors = (rows["prediction"] - rows["label"]).groupby(rows["run_id"]).apply(np.asarray)
    squares = []
    for _, runs in test.groupby(["split_seed", "seed"]):
        names = runs.set_index(CONFIGURATION)["run_id"]
        known = [names[one] for one in family.configurations if one in names.index]
        squares += [difference_error(errors[a], errors[b]) ** 2 for a, b in combinations(known, 2)]
    return math.sqrt(float(np.mean(squares))) if squares else math.nan


def deviation(found: Components, splits: int, seeds: int) -> float:
    """Standard deviation of a unit's difference: of a split's mean over its seeds, or with one split of a seed's.

    Raises:
        ValueError: a number that is not positive.
    """
    if splits < 1 or seeds < 1:
        raise ValueError(f"{splits} splits, {seeds} seeds")
    seed = 0.0 if math.isnan(found.seed) else found.seed
    return seed if splits == 1 else math.sqrt(found.split**2 + seed**2 / seeds)


def detectable(found: Components, splits: int, seeds: int, pairs: int, alpha: float, wanted: float) -> float:
    """Smallest true difference that paired t tests at Bonferroni's level of ``pairs`` find with probability ``wanted``.

    That is what decides where one noise does not fit all pairs, and is no smaller than where it does. NaN with fewer
    than two units, or where the units' noise is not known.
    """
    units = splits if splits > 1 else seeds
    sd = deviation(found, splits, seeds)
    if units < 2 or not sd > 0:
        return math.nan
    error = power.standard_error(sd, units, found.shared if splits > 1 else 0.0)
    critical = float(stats.t.ppf(1 - alpha / (2 * pairs), units - 1))
    return power.detectable(error, critical, units - 1, wanted)


def table(
    splitter: str, found: Components, arms: int, seconds: float, fixed: float, settings: dict[str, float]
) -> pd.DataFrame:
    """The table ``plan`` of a splitter: a row per number of splits and seeds.

    Args:
        arms: configurations that are compared with each other.
        seconds: of trainings on a selection, per replicate.
        fixed: of the other trainings, per replicate.
        settings: ``margin``, which is the difference that is wished to be seen, ``alpha`` and ``power``.
    """
    pairs = max(1, arms * (arms - 1) // 2)
    rows = [
        {
            "splitter": splitter,
            "splits": splits,
            "seeds": seeds,
            "detectable": smallest,
            "enough": bool(smallest <= settings["margin"]),
            "seconds": splits * seeds * (seconds + fixed),
            "wished": settings["margin"],
            "source": found.source,
            "split_sd": found.split,
            "seed_sd": found.seed,
            "test_error": found.test,
        }
        for splits in SPLITS
        for seeds in SEEDS
        for smallest in [detectable(found, splits, seeds, pairs, settings["alpha"], settings["power"])]
    ]
    return pd.DataFrame(rows, columns=list(TABLES["plan"]))


def told(plan: pd.DataFrame) -> list[str]:
    """The table ``plan`` in sentences: the components, and the cheapest designs that are enough."""
    sentences = []
    for splitter, rows in plan.groupby("splitter", sort=False):
        first = rows.iloc[0]
        known = ", ".join(
            f"{first[key]:.3f} {what}"
            for key, what in (
                ("split_sd", "between splits"),
                ("seed_sd", "between seeds of a split"),
                ("test_error", "by the test molecules (standard error)"),
            )
            if not pd.isna(first[key])
        )
        sentences.append(f"{splitter} split, standard deviations of a difference of RMSE, {first['source']}: {known}.")
        for several, scope in ((True, "for this data set"), (False, "for one split alone")):
            enough = rows[rows["enough"] & ((rows["splits"] > 1) == several)].sort_values(["seconds", "detectable"])
            if enough.empty:
                sentences.append(f"No design of the table would probably show {first['wished']:g} {scope}.")
                continue
            best = enough.iloc[0]
            sentences.append(
                f"The cheapest design that would probably show {best['wished']:g} {scope}: {best['splits']} x "
                f"{best['seeds']} (splits x seeds), about {best['seconds']:,.0f} s of training; it would show "
                f"{best['detectable']:.2g}."
            )
    return sentences


def components(
    splitter: str, spec: dict, metrics: pd.DataFrame | None = None, splits: pd.DataFrame | None = None
) -> Components:
    """Components of a splitter: measured where the tables are given and show some, else assumed; as of_splitter."""
    found = None
    if metrics is not None and splits is not None:
        found = measured(metrics[metrics["splitter"] == splitter], splits[splits["splitter"] == splitter])
    return found or assumed(spec["start"], spec["shared"][splitter])


def of_splitter(
    splitter: str,
    spec: dict,
    metrics: pd.DataFrame | None = None,
    splits: pd.DataFrame | None = None,
    predictions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The table ``plan`` of a splitter, from the tables of the study where they are given.

    Args:
        spec: ``start`` (``selection.start``), ``shared`` (by splitter), ``arms``, ``others`` (trainings per replicate
            besides these) and ``statistics``.
    """
    arms, others = spec["arms"], spec["others"]
    found, on_arms, on_others = None, arms * ASSUMED_SECONDS, others * ASSUMED_SECONDS
    if metrics is not None and splits is not None:
        here = metrics[(metrics["splitter"] == splitter) & (metrics["fold"] == "test")]
        found = measured(here, splits[splits["splitter"] == splitter], predictions)
        family = _selections(list(here.groupby(CONFIGURATION).groups))
        if family is not None and len(here):
            count = len(here[["split_seed", "seed"]].dropna().drop_duplicates())
            chosen = pd.MultiIndex.from_frame(here[CONFIGURATION]).isin(family.configurations)
            on_arms = float(here.loc[chosen, "train_seconds"].sum()) / count
            on_others = float(here.loc[~chosen, "train_seconds"].sum()) / count
    return table(
        splitter,
        found or assumed(spec["start"], spec["shared"][splitter]),
        arms,
        on_arms,
        on_others,
        spec["statistics"],
    )
