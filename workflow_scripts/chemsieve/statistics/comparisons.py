"""The table of comparisons: every difference of test RMSE with its interval, its tests and its verdict."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from chemsieve.statistics import assumptions, power, sequential, skewness, tukey
from chemsieve.statistics.anova import Anova, anova, negligible
from chemsieve.statistics.effects import cohen_dav, cohen_dz, hodges_lehmann, noise_floor
from chemsieve.statistics.equivalence import tost
from chemsieve.statistics.families import (
    DESCRIPTORS,
    SELECTIONS,
    Configuration,
    Judged,
    Pair,
    families,
    judged,
)
from chemsieve.statistics.friedman import friedman
from chemsieve.statistics.holm import holm
from chemsieve.statistics.replicates import Replicates, inflation, replicates
from chemsieve.statistics.verdicts import LEAST, Estimate, Evidence, verdict
from chemsieve.tables import TABLES

TUKEY, PAIRED, NONE = "Tukey", "paired t", "none"
LEARNED = 0.95  # one-sided confidence that a model predicts better than the mean label
MANY = 10_000  # units, of a critical value that no longer depends on their number
ROUND = 2  # significant digits of a number of molecules that would do


@dataclass(frozen=True)
class Planned:
    """What a study was meant to compare, whatever of it could be trained.

    Attributes:
        configurations: origin, method and selection of its runs.
        splitters: how many it has.
    """

    configurations: Sequence[Sequence[str]]
    splitters: int = 1


@dataclass(frozen=True)
class Design:
    """How a pair is judged: the standard deviation of its differences, and what follows from it for n units.

    ``floor`` is the variance of the mean difference that no number of units takes away.
    """

    sd: float
    shared: float
    df: Callable[[int], int]
    critical: Callable[[int], float]
    floor: float = 0.0

    def standard_error(self, n: int) -> float:
        """Of the mean difference of n units."""
        return math.sqrt(power.standard_error(self.sd, n, self.shared) ** 2 + self.floor)


@dataclass(frozen=True)
class Molecular:
    """What the test molecules add to the noise of a pair.

    Attributes:
        variance: of its mean difference over the splits; NaN where it is not known.
        count: test molecules of a split.
        floor: the part of the variance that the spread between units does not hold.
    """

    variance: float = math.nan
    count: int = 0
    floor: float = 0.0
    few: bool = False  # whether there is only one split, with too few of them to know their noise


def compare(
    metrics: pd.DataFrame,
    splits: pd.DataFrame,
    settings: dict[str, Any],
    predictions: pd.DataFrame | None = None,
    planned: Planned | None = None,
) -> pd.DataFrame:
    """The table ``comparisons``.

    Args:
        metrics: the table ``metrics``; only its test fold is read.
        splits: the table ``splits``.
        settings: ``margin`` (a difference that matters, in the unit of the label), ``alpha``, ``power`` and ``compare``
            (the questions of the study; absent: none, so that each family has the whole alpha).
        predictions: the table ``predictions``; only its test fold is read. Without it nothing is known of the noise of
            the test molecules.
        planned: by default, what there is.
    """
    rows = []
    test = metrics[metrics["fold"] == "test"]
    predicted = None if predictions is None else predictions[predictions["fold"] == "test"]
    splitters = planned.splitters if planned else test["splitter"].nunique()
    for splitter, here in test.groupby("splitter"):
        found = replicates(here, splits[splits["splitter"] == splitter], predicted)
        alpha = sequential.level(settings["alpha"], settings.get("looks"), len(found.units(found.errors)))
        # A replicate that one of a family lacks, because its step failed, is lost to all of it: what lacks half of
        # them is left out instead.
        lacking = found.errors.isna().mean()
        made = families(list(found.errors.columns[lacking < 0.5]))
        meant = families(_configurations(planned)) if planned else made
        for one in judged(made, meant, settings.get("compare", ()), splitters):
            rows += [{"splitter": splitter, **row} for row in compare_family(one, found, settings | {"alpha": alpha})]
    return pd.DataFrame(rows, columns=list(TABLES["comparisons"]))


def _configurations(planned: Planned) -> list[Configuration]:
    return sorted({(str(origin), str(method), str(selection)) for origin, method, selection in planned.configurations})


def compare_family(one: Judged, found: Replicates, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per pair of the family.

    Where the units are splits, the covariance passes for spherical and the residuals for normal, Tukey's test decides,
    with its simultaneous intervals. Elsewhere each pair is judged by its own paired t test at Bonferroni's level
    (Maxwell 1980, 10.3102/10769986005003269), corrected for skewness; with one split the noise of its test molecules is
    added. What ranks say stands beside it and decides nothing.
    """
    family = one.family
    paired = found.paired(family.configurations)
    errors = found.units(paired).to_numpy()
    trained = [name for name in family.configurations if name[0] != DESCRIPTORS]
    shared = {
        "family": family.name,
        "question": one.question,
        "level": one.share * settings["alpha"],
        "n_replicates": len(paired),
        "n_splits": paired.index.get_level_values("split").nunique(),
        "seed_sd": noise_floor(paired[trained]),
    }
    positions = {name: i for i, name in enumerate(family.configurations)}
    indices = [(positions[pair.one], positions[pair.other]) for pair in family.pairs]
    noise = [_molecular(pair, found) for pair in family.pairs]
    tests = _tests(errors, indices, noise, one, found, settings)
    r2 = {name: _r2(name, paired.index, found) for name in family.configurations}
    return [
        shared | _row(pair, errors[:, i], errors[:, j], tested, about, r2, one, found, settings)
        for pair, (i, j), tested, about in zip(family.pairs, indices, tests, noise, strict=True)
    ]


def _molecular(pair: Pair, found: Replicates) -> Molecular:
    if found.molecules is None:
        return Molecular()
    variance = found.molecules.variance(pair.one, pair.other)
    few = found.alone and not (found.molecules.count >= LEAST and math.isfinite(variance))
    # The spread between units knows nothing of other test molecules where all units have the same.
    same = (found.alone and not few) or (found.molecules.common and math.isfinite(variance))
    return Molecular(variance, found.molecules.count, variance if same else 0.0, few)


@dataclass(frozen=True)
class Skill:
    """Mean R2 of a configuration on the test molecules, and whether it is above zero beyond its noise."""

    r2: float = math.nan
    learned: bool = True


def _r2(name: Configuration, replicates_used: pd.Index, found: Replicates) -> Skill:
    """Its noise is that between the units, and with one split that of the test molecules too."""
    if found.r2 is None:
        return Skill()
    values = found.units(found.r2.loc[replicates_used, [name]]).to_numpy().ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        return Skill()
    mean, n = float(values.mean()), len(values)
    variance = power.standard_error(float(np.std(values, ddof=1)), n, found.shared) ** 2 if n > 1 else 0.0
    if found.alone and found.molecules is not None:
        variance += np.nan_to_num(found.molecules.variance_of_r2(name))
    return Skill(mean, mean > float(stats.t.ppf(LEARNED, max(1, n - 1))) * math.sqrt(variance))


@dataclass(frozen=True)
class Tested:
    """What the tests say of a pair: p values, adjusted for the family; None where the units leave nothing to test.

    ``omnibus`` is of the whole family. The interval of ``estimate`` is that of ``test_used``, and decides.
    """

    p_tukey: float | None = None
    p_paired: float | None = None
    p_conover: float | None = None
    p_equivalence: float | None = None
    omnibus: float | None = None
    test_used: str = NONE
    estimate: Estimate | None = None
    molecules_needed: int | None = None


def _tests(
    errors: np.ndarray,
    indices: list[tuple[int, int]],
    noise: list[Molecular],
    one: Judged,
    found: Replicates,
    settings: dict[str, Any],
) -> list[Tested]:
    """The tests of each pair, given by its columns of the (units, configurations) errors of a family."""
    n, m, level = len(errors), one.pairs, one.share * settings["alpha"]
    differences = np.array([errors[:, i] - errors[:, j] for i, j in indices])
    means, spread = [float(one.mean()) if n else 0.0 for one in differences], [_spread(one) for one in differences]
    if not any(spread) or any(about.few for about in noise):
        return [Tested()] * len(indices)
    factor = inflation(n, found.shared)
    analysis, ranked = anova(errors, factor), friedman(errors, factor)
    seeds_alone = any(about.floor for about in noise)  # and what tests these alone says nothing of other molecules
    spherical, normal = assumptions.spherical(errors), assumptions.normal(errors, settings["alpha"])
    # Two configurations are a single pair, which nothing is pooled for.
    pooled = not seeds_alone and errors.shape[1] > 2 and spherical and normal
    omnibus = ranked.p if spherical and not normal else analysis.p
    size = one.configurations
    designs = [
        _pooled_design(analysis, size, found, level) if pooled and sd else _own_design(sd, m, about, found, level)
        for sd, about in zip(spread, noise, strict=True)
    ]
    honest = tukey.p_values(errors, analysis, size)
    by_rank = holm([ranked.pairs[index] for index in indices])
    alike = holm(
        [
            tost(mean, design.standard_error(n), design.df(n), settings["margin"]) if design.sd else 1.0
            for mean, design in zip(means, designs, strict=True)
        ]
    )
    made = []
    for pair, index in enumerate(indices):
        tested = Tested() if seeds_alone else Tested(honest[index], None, by_rank[pair], None, omnibus)
        if spread[pair]:
            own = _own_design(spread[pair], m, noise[pair], found, level)
            skew = _skewness(differences[pair], own.standard_error(n))
            p = skewness.p_value(means[pair], own.standard_error(n), own.df(n), skew)
            design = designs[pair]
            tested = replace(
                tested,
                p_paired=min(1.0, m * p),
                p_equivalence=alike[pair],
                test_used=TUKEY if pooled else PAIRED,
                estimate=_estimate(design, differences[pair], 0.0 if pooled else skew, settings),
                molecules_needed=_molecules_needed(noise[pair], design.critical(MANY), settings["margin"]),
            )
        made.append(tested)
    return made


def _molecules_needed(noise: Molecular, critical: float, margin: float) -> int | None:
    """Test molecules of a split with which their noise alone would stay within the margin; None where it does."""
    half = critical * math.sqrt(noise.variance)
    if not half > margin:  # which an unknown variance is not either
        return None
    needed = noise.count * (half / margin) ** 2
    return math.ceil(round(needed, ROUND - 1 - math.floor(math.log10(needed))))


def _skewness(difference: np.ndarray, error: float) -> float:
    """Of the mean of the differences, which noise without skewness (that of the test molecules, say) dilutes."""
    n = len(difference)
    if n < 3:
        return 0.0
    own = float(np.std(difference, ddof=1)) / math.sqrt(n)
    return float(stats.skew(difference)) / math.sqrt(n) * min(1.0, own / error) ** 3


def _spread(difference: np.ndarray) -> float:
    """Standard deviation of paired differences; 0 where there is none to speak of."""
    sd = float(np.std(difference, ddof=1)) if len(difference) > 1 else 0.0
    return 0.0 if sd == 0 or negligible(sd, difference) else sd


def _pooled_design(analysis: Anova, size: int, found: Replicates, level: float) -> Design:
    """The pooled residual, and Tukey's critical values for ``size`` configurations."""
    k, pooled = analysis.k, math.sqrt(2 * analysis.ms_residual)
    return Design(
        pooled,
        found.shared,
        lambda n: (n - 1) * (k - 1),
        lambda n: tukey.critical(level, size, (n - 1) * (k - 1)),
    )


def _own_design(sd: float, m: int, noise: Molecular, found: Replicates, level: float) -> Design:
    """The pair's own deviation, and Bonferroni's critical values for m pairs.

    Where the variance has two parts, the degrees of freedom are Satterthwaite's (1946, 10.2307/3002019), rounded down.
    """

    def df(n: int) -> int:
        seeds = power.standard_error(sd, n, found.shared) ** 2
        if not noise.floor or not sd:
            return n - 1
        parts = seeds**2 / (n - 1) + noise.floor**2 / (noise.count - 1)
        return max(1, int((seeds + noise.floor) ** 2 / parts))

    return Design(sd, found.shared, df, lambda n: float(stats.t.ppf(1 - level / (2 * m), df(n))), noise.floor)


def _estimate(design: Design, difference: np.ndarray, skew: float, settings: dict[str, Any]) -> Estimate:
    """The mean difference of a pair, and how many units would show it, or equivalence."""
    n, mean = len(difference), float(difference.mean())
    low, high = skewness.interval(mean, design.standard_error(n), design.critical(n), skew)
    detect = power.to_detect(mean, design.standard_error, design.critical, design.df, settings["power"])
    equate = power.to_equate(
        mean, settings["margin"], design.standard_error, design.critical, design.df, settings["power"]
    )
    return Estimate(
        mean=mean,
        low=low,
        high=high,
        detectable=power.detectable(design.standard_error(n), design.critical(n), design.df(n), settings["power"]),
        needed=min((count for count in (detect, equate) if count is not None), default=None),
        median=hodges_lehmann(difference),
    )


def _row(
    pair: Pair,
    one: np.ndarray,
    other: np.ndarray,
    tested: Tested,
    noise: Molecular,
    r2: dict[Configuration, Skill],
    asked: Judged,
    found: Replicates,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """What the table says of a pair with (units,) errors, apart from what its family shares."""
    n, estimate = len(one), tested.estimate
    skills = (r2[pair.one], r2[pair.other])
    evidence = Evidence(
        versus=pair.versus,
        n=n,
        alone=found.alone,
        margin=settings["margin"],
        estimate=estimate,
        same=_same(pair, one, other, asked),
        unlearned=None if any(skill.learned for skill in skills) else (skills[0].r2, skills[1].r2),
        molecules=noise.count if tested.molecules_needed or noise.few else None,
        molecules_needed=tested.molecules_needed,
        exploratory=bool(settings.get("compare")) and not asked.question,
    )
    return {
        "what": pair.what,
        "versus": pair.versus,
        "method": pair.one[1],
        "n_units": n,
        "error": float(one.mean()) if n else None,
        "error_versus": float(other.mean()) if n else None,
        "r2": skills[0].r2,
        "r2_versus": skills[1].r2,
        "difference": float(one.mean() - other.mean()) if n else None,
        "median": estimate.median if estimate else None,
        "low": estimate.low if estimate else None,
        "high": estimate.high if estimate else None,
        "sd": float(np.std(one - other, ddof=1)) if n > 1 else None,
        "molecules": noise.count or None,
        "molecules_sd": math.sqrt(noise.variance),
        "molecules_needed": tested.molecules_needed,
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


def _same(pair: Pair, one: np.ndarray, other: np.ndarray, asked: Judged) -> str:
    """In words, why both sides have the same errors to the last bit; empty where they do not.

    Training is deterministic: fully fine-tuned on the same molecules, two runs of a replicate do not differ.
    """
    if not len(one) or not np.array_equal(one, other):
        return ""
    chosen = asked.family.name == SELECTIONS
    return f"chose the same molecules as {pair.versus}" if chosen else f"the same errors as {pair.versus}"
