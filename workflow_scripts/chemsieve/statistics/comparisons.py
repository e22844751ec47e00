"""The table of comparisons: every difference of test RMSE with its interval, its tests and its verdict."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from chemsieve.statistics import assumptions, power, tukey
from chemsieve.statistics.anova import anova, negligible
from chemsieve.statistics.effects import cohen_dav, cohen_dz, noise_floor
from chemsieve.statistics.equivalence import tost
from chemsieve.statistics.families import DESCRIPTORS, Family, Pair, families
from chemsieve.statistics.friedman import friedman
from chemsieve.statistics.holm import holm
from chemsieve.statistics.replicates import Replicates, inflation, replicates
from chemsieve.statistics.verdicts import verdict
from chemsieve.tables import TABLES

TUKEY, PAIRED, CONOVER, WILCOXON, NONE = "Tukey", "paired t", "Conover", "Wilcoxon", "none"


@dataclass(frozen=True)
class Design:
    """How a pair is judged: its standard deviation of differences, and what a number of units makes of it."""

    sd: float
    shared: float
    df: Callable[[int], int]
    critical: Callable[[int], float]

    def standard_error(self, n: int) -> float:
        """Of the mean difference of n units."""
        return power.standard_error(self.sd, n, self.shared)


def compare(metrics: pd.DataFrame, splits: pd.DataFrame, settings: dict[str, float]) -> pd.DataFrame:
    """The table ``comparisons``.

    Args:
        metrics: the table ``metrics``; only its test fold is read.
        splits: the table ``splits``.
        settings: ``margin`` (a difference that matters, in the unit of the label), ``alpha`` and ``power``.
    """
    rows = []
    test = metrics[metrics["fold"] == "test"]
    for splitter, here in test.groupby("splitter"):
        found = replicates(here, splits[splits["splitter"] == splitter])
        # A replicate that one of a family lacks, because its step failed, is lost to all of it: what lacks half of
        # them is left out instead.
        lacking = found.errors.isna().mean()
        for family in families(list(found.errors.columns[lacking < 0.5])):
            rows += [{"splitter": splitter, **row} for row in compare_family(family, found, settings)]
    return pd.DataFrame(rows, columns=list(TABLES["comparisons"]))


def compare_family(family: Family, found: Replicates, settings: dict[str, float]) -> list[dict[str, Any]]:
    """A row per pair of the family.

    Where the covariance passes for spherical and the residuals for normal, Tukey's test decides, with its simultaneous
    intervals. Without sphericity each pair is judged by its own paired t test at Bonferroni's level (Maxwell 1980,
    10.3102/10769986005003269). With it but without normality Conover's test after Friedman's decides, adjusted by Holm
    (for a family of two Wilcoxon's), and the interval is that of the paired t test.
    """
    paired = found.paired(family.configurations)
    units = found.units(paired)
    errors, n = units.to_numpy(), len(units)
    positions = {name: i for i, name in enumerate(family.configurations)}
    indices = [(positions[pair.one], positions[pair.other]) for pair in family.pairs]
    differences = np.array([errors[:, i] - errors[:, j] for i, j in indices])
    trained = [name for name in family.configurations if name[0] != DESCRIPTORS]
    shared = {
        "family": family.name,
        "n_replicates": len(paired),
        "n_splits": paired.index.get_level_values("split").nunique(),
        "seed_sd": noise_floor(paired[trained]),
    }
    spread = [_spread(difference) for difference in differences]
    if not any(spread):
        return [
            _row(pair, found, settings, shared, errors, i, {}) for pair, i in zip(family.pairs, indices, strict=True)
        ]

    factor = inflation(n, found.shared)
    alpha = settings["alpha"]
    analysis, ranked = anova(errors, factor), friedman(errors, factor)
    used = _test(errors, alpha)
    designs = [
        _design(used == TUKEY, analysis.ms_residual, sd, len(errors[0]), len(spread), found, settings) for sd in spread
    ]
    honest = tukey.p_values(errors, analysis)
    by_rank = holm([ranked.pairs[i] for i in indices])
    alike = holm(
        [
            tost(float(difference.mean()), design.standard_error(n), design.df(n), settings["margin"])
            if design.sd
            else 1.0
            for difference, design in zip(differences, designs, strict=True)
        ]
    )
    rows = []
    for m, (pair, index) in enumerate(zip(family.pairs, indices, strict=True)):
        tested = {"p_tukey": honest[index], "p_conover": by_rank[m]}
        tested |= {"omnibus": analysis.p if used in (TUKEY, PAIRED) else ranked.p}
        if spread[m]:
            own = abs(float(differences[m].mean())) / power.standard_error(spread[m], n, found.shared)
            tested["p_paired"] = min(1.0, 2 * len(spread) * float(stats.t.sf(own, n - 1)))
            # After Friedman's test, Conover compares pairs only where that test rejects.
            p = {TUKEY: honest[index], PAIRED: tested["p_paired"]}.get(used, max(ranked.p, by_rank[m]))
            tested |= {"test_used": used, "p_equivalence": alike[m], "differs": p < alpha}
            tested |= _plan(designs[m], float(differences[m].mean()), n, len(spread), settings)
        rows.append(_row(pair, found, settings, shared, errors, index, tested))
    return rows


def _test(errors: np.ndarray, alpha: float) -> str:
    """The test whose assumptions the errors meet."""
    if not assumptions.spherical(errors):
        return PAIRED
    if assumptions.normal(errors, alpha):
        return TUKEY
    return CONOVER if errors.shape[1] > 2 else WILCOXON


def _spread(difference: np.ndarray) -> float:
    """Standard deviation of paired differences; 0 where there is none to speak of."""
    sd = float(np.std(difference, ddof=1)) if len(difference) > 1 else 0.0
    return 0.0 if sd == 0 or negligible(sd, difference) else sd


def _design(
    fair: bool, ms_residual: float, sd: float, k: int, m: int, found: Replicates, settings: dict[str, float]
) -> Design:
    """The pooled residual and Tukey's critical values, or the pair's own deviation and Bonferroni's."""
    alpha = settings["alpha"]
    if fair:
        pooled = math.sqrt(2 * ms_residual) if sd else 0.0
        return Design(
            pooled, found.shared, lambda n: (n - 1) * (k - 1), lambda n: tukey.critical(alpha, k, (n - 1) * (k - 1))
        )
    return Design(sd, found.shared, lambda n: n - 1, lambda n: float(stats.t.ppf(1 - alpha / (2 * m), n - 1)))


def _plan(design: Design, mean: float, n: int, m: int, settings: dict[str, float]) -> dict[str, Any]:
    """Simultaneous interval, detectable effect, and the units that would tell the difference or equivalence."""
    half = design.critical(n) * design.standard_error(n)
    tell = power.to_tell(mean, design.standard_error, design.critical, design.df, settings["power"])
    equate = power.to_equate(
        mean, settings["margin"], design.standard_error, settings["alpha"] / m, design.df, settings["power"]
    )
    return {
        "low": mean - half,
        "high": mean + half,
        "detectable": power.detectable(design.standard_error(n), design.critical(n), design.df(n), settings["power"]),
        "replicates_needed": min((count for count in (tell, equate) if count is not None), default=None),
    }


def _row(
    pair: Pair,
    found: Replicates,
    settings: dict[str, float],
    shared: dict[str, Any],
    errors: np.ndarray,
    index: tuple[int, int],
    tested: dict[str, Any],
) -> dict[str, Any]:
    one, other = errors[:, index[0]], errors[:, index[1]]
    n = len(errors)
    known = {
        "low": None,
        "high": None,
        "p_tukey": None,
        "p_paired": None,
        "p_conover": None,
        "p_equivalence": None,
        "omnibus": None,
    }
    known |= {"detectable": None, "replicates_needed": None, "test_used": NONE, "differs": False} | tested
    differs = known.pop("differs")
    mean = float(one.mean() - other.mean()) if n else None
    return {
        **shared,
        "what": pair.what,
        "versus": pair.versus,
        "method": pair.one[1],
        "n_units": n,
        "difference": mean,
        "sd": float(np.std(one - other, ddof=1)) if n > 1 else None,
        "cohen_dz": cohen_dz(one - other),
        "cohen_dav": cohen_dav(one, other),
        **known,
        "verdict": verdict(
            pair.versus,
            n,
            found.unit,
            mean,
            (known["low"], known["high"]),
            differs,
            known["p_equivalence"] is not None and known["p_equivalence"] < settings["alpha"],
            known["test_used"] == NONE,
            settings["margin"],
            known["detectable"],
            known["replicates_needed"],
            found.splits < 2,
        ),
    }
