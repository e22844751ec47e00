"""The table of comparisons: every difference of test RMSE with its interval, its tests and its verdict."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from chemsieve.statistics import assumptions, power, tukey
from chemsieve.statistics.anova import Anova, anova, negligible
from chemsieve.statistics.effects import cohen_dav, cohen_dz, noise_floor
from chemsieve.statistics.equivalence import tost
from chemsieve.statistics.families import DESCRIPTORS, Family, Pair, families
from chemsieve.statistics.friedman import friedman
from chemsieve.statistics.holm import holm
from chemsieve.statistics.replicates import Replicates, inflation, replicates
from chemsieve.statistics.verdicts import Estimate, Evidence, verdict
from chemsieve.tables import TABLES

TUKEY, PAIRED, CONOVER, WILCOXON, NONE = "Tukey", "paired t", "Conover", "Wilcoxon", "none"


@dataclass(frozen=True)
class Design:
    """How a pair is judged: the standard deviation of its differences, and what follows from it for n units."""

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
    errors = found.units(paired).to_numpy()
    trained = [name for name in family.configurations if name[0] != DESCRIPTORS]
    shared = {
        "family": family.name,
        "n_replicates": len(paired),
        "n_splits": paired.index.get_level_values("split").nunique(),
        "seed_sd": noise_floor(paired[trained]),
    }
    positions = {name: i for i, name in enumerate(family.configurations)}
    indices = [(positions[pair.one], positions[pair.other]) for pair in family.pairs]
    return [
        shared | _row(pair, errors[:, i], errors[:, j], tested, found, settings)
        for pair, (i, j), tested in zip(family.pairs, indices, _tests(errors, indices, found, settings), strict=True)
    ]


@dataclass(frozen=True)
class Tested:
    """What the tests say of a pair: p values, adjusted for the family; None where the units leave nothing to test.

    ``omnibus`` is of the whole family. ``differs`` is what ``test_used`` decides, ``estimate`` goes with it.
    """

    p_tukey: float | None = None
    p_paired: float | None = None
    p_conover: float | None = None
    p_equivalence: float | None = None
    omnibus: float | None = None
    test_used: str = NONE
    differs: bool = False
    estimate: Estimate | None = None


def _tests(
    errors: np.ndarray, indices: list[tuple[int, int]], found: Replicates, settings: dict[str, float]
) -> list[Tested]:
    """The tests of each pair, given by its columns of the (units, configurations) errors of a family."""
    n, m, alpha = len(errors), len(indices), settings["alpha"]
    differences = np.array([errors[:, i] - errors[:, j] for i, j in indices])
    means, spread = [float(one.mean()) if n else 0.0 for one in differences], [_spread(one) for one in differences]
    if not any(spread):
        return [Tested()] * m
    factor = inflation(n, found.shared)
    analysis, ranked = anova(errors, factor), friedman(errors, factor)
    used = _test(errors, alpha)
    designs = [_design(used == TUKEY, analysis, sd, m, found, alpha) for sd in spread]
    honest = tukey.p_values(errors, analysis)
    by_rank = holm([ranked.pairs[index] for index in indices])
    alike = holm(
        [
            tost(mean, design.standard_error(n), design.df(n), settings["margin"]) if design.sd else 1.0
            for mean, design in zip(means, designs, strict=True)
        ]
    )
    omnibus = analysis.p if used in (TUKEY, PAIRED) else ranked.p
    made = []
    for pair, index in enumerate(indices):
        tested = Tested(p_tukey=honest[index], p_conover=by_rank[pair], omnibus=omnibus)
        if spread[pair]:
            own = abs(means[pair]) / power.standard_error(spread[pair], n, found.shared)
            by_pair = min(1.0, 2 * m * float(stats.t.sf(own, n - 1)))
            # After Friedman's test, Conover compares pairs only where that test rejects.
            p = {TUKEY: honest[index], PAIRED: by_pair}.get(used, max(ranked.p, by_rank[pair]))
            tested = replace(
                tested,
                p_paired=by_pair,
                p_equivalence=alike[pair],
                test_used=used,
                differs=p < alpha,
                estimate=_estimate(designs[pair], means[pair], n, m, settings),
            )
        made.append(tested)
    return made


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


def _design(fair: bool, analysis: Anova, sd: float, m: int, found: Replicates, alpha: float) -> Design:
    """The pooled residual and Tukey's critical values, or the pair's own deviation and Bonferroni's for m pairs."""
    if fair:
        k, pooled = analysis.k, math.sqrt(2 * analysis.ms_residual) if sd else 0.0
        return Design(
            pooled, found.shared, lambda n: (n - 1) * (k - 1), lambda n: tukey.critical(alpha, k, (n - 1) * (k - 1))
        )
    return Design(sd, found.shared, lambda n: n - 1, lambda n: float(stats.t.ppf(1 - alpha / (2 * m), n - 1)))


def _estimate(design: Design, mean: float, n: int, m: int, settings: dict[str, float]) -> Estimate:
    """The mean difference of n units, one of m in its family, and how many units would show it, or equivalence."""
    half = design.critical(n) * design.standard_error(n)
    detect = power.to_detect(mean, design.standard_error, design.critical, design.df, settings["power"])
    equate = power.to_equate(
        mean, settings["margin"], design.standard_error, settings["alpha"] / m, design.df, settings["power"]
    )
    return Estimate(
        mean=mean,
        low=mean - half,
        high=mean + half,
        detectable=power.detectable(design.standard_error(n), design.critical(n), design.df(n), settings["power"]),
        needed=min((count for count in (detect, equate) if count is not None), default=None),
    )


def _row(
    pair: Pair, one: np.ndarray, other: np.ndarray, tested: Tested, found: Replicates, settings: dict[str, float]
) -> dict[str, Any]:
    """What the table says of a pair with (units,) errors, apart from what its family shares."""
    n, estimate = len(one), tested.estimate
    evidence = Evidence(
        versus=pair.versus,
        n=n,
        unit=found.unit,
        alone=found.splits < 2,
        margin=settings["margin"],
        estimate=estimate,
        differs=tested.differs,
        equivalent=tested.p_equivalence is not None and tested.p_equivalence < settings["alpha"],
    )
    return {
        "what": pair.what,
        "versus": pair.versus,
        "method": pair.one[1],
        "n_units": n,
        "difference": float(one.mean() - other.mean()) if n else None,
        "low": estimate.low if estimate else None,
        "high": estimate.high if estimate else None,
        "sd": float(np.std(one - other, ddof=1)) if n > 1 else None,
        "cohen_dz": cohen_dz(one - other),
        "cohen_dav": cohen_dav(one, other),
        "p_tukey": tested.p_tukey,
        "p_paired": tested.p_paired,
        "p_conover": tested.p_conover,
        "p_equivalence": tested.p_equivalence,
        "omnibus": tested.omnibus,
        "detectable": estimate.detectable if estimate else None,
        "replicates_needed": estimate.needed if estimate else None,
        "test_used": tested.test_used,
        "verdict": verdict(evidence),
    }
