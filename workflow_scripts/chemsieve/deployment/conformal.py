"""Split conformal intervals (Vovk et al. 2005; Lei et al. 2018, 10.1080/01621459.2017.1307116).

They are calibrated on molecules that nothing before has looked at. Validation molecules are no such: they decided when
to stop, what was selected, and which run became the model, so that their errors are smaller than those of fresh ones. A
half of the test molecules calibrates, and how many the interval then holds is counted on the other half.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chemsieve.errors import ChemsieveError

SHARE = 0.5  # of the test molecules that calibrate
FEWEST = 30  # validation molecules of which a trend of the errors says anything
SURE = 0.05  # p value of that trend, above which all molecules have an interval of one width
NARROWEST, WIDEST = 0.5, 2.0  # width of an interval over that of a typical molecule
_EDGE = 1e-9  # 100 x 0.07 is 7.000000000000001


def half_width(errors: np.ndarray, coverage: float) -> float:
    """Half the width of an interval around a prediction that holds the label with probability ``coverage`` or more.

    The k-th smallest absolute error, k = ceil((n + 1) coverage). For molecules exchangeable with those of the errors,
    none of which the model has seen, the probability is k / (n + 1) where no two errors are equal.

    Args:
        errors: (n,) label minus prediction, in label units; signs do not matter.
        coverage: between 0 and 1, both excluded.

    Raises:
        ChemsieveError: so few errors that only an infinite interval would do.
    """
    count = len(errors)
    rank = math.ceil((count + 1) * coverage - _EDGE)
    if rank > count:
        most = math.floor(1000 * count / (count + 1)) / 1000
        raise ChemsieveError(
            f"predict.coverage: {count} test molecules calibrate an interval of at most {most:g}, not of "
            f"{coverage:g}; lower it"
        )
    return float(np.sort(np.abs(errors))[rank - 1])


def calibrating(molecules: Sequence[str], coverage: float) -> np.ndarray:
    """(n,) whether each test molecule calibrates; the others check.

    Half of the distinct molecules, drawn at random in the same way for every model, and more where an interval of that
    coverage takes more: c / (1 - c) of them.
    """
    names = sorted(set(molecules))
    needed = math.ceil(coverage / (1 - coverage) - _EDGE)
    count = min(len(names), max(math.ceil(SHARE * len(names)), needed))
    drawn = {names[i] for i in np.random.RandomState(0).permutation(len(names))[:count]}
    return np.array([molecule in drawn for molecule in molecules], dtype=bool)


@dataclass(frozen=True)
class Trend:
    """How the width of an interval goes with the similarity to the nearest training molecule.

    Attributes:
        slope: by which share of a typical molecule's width it is wider where the similarity is one less; 0: it is not.
        centre: similarity of that typical molecule.
    """

    slope: float = 0.0
    centre: float = 0.0

    @classmethod
    def of(cls, errors: np.ndarray, similarity: np.ndarray) -> "Trend":
        """The line of (n,) absolute errors on (n,) similarities; none where it does not fall beyond doubt.

        These are the validation molecules': they say how errors differ among molecules, which a choice by the
        validation error hardly touches, and not how large errors are.
        """
        if len(errors) < FEWEST or not np.ptp(similarity) or not np.ptp(errors):
            return cls()
        from scipy.stats import linregress

        line = linregress(similarity, errors, alternative="less")
        if not line.pvalue < SURE:
            return cls()
        return cls(float(-line.slope / np.mean(errors)), float(np.mean(similarity)))

    def widths(self, similarity: np.ndarray) -> np.ndarray:
        """(n,) widths over that of a typical molecule."""
        similarity = np.asarray(similarity, dtype=float)
        return np.clip(1 + self.slope * (self.centre - similarity), NARROWEST, WIDEST)


@dataclass(frozen=True)
class Interval:
    """A calibrated interval, and how it did on molecules that did not calibrate it.

    Attributes:
        half_width: half its width for a typical molecule, in label units.
        trend: how the width goes with similarity.
        molecules: those that calibrated it.
        checked, covered: test molecules that did not, and how many of their labels lie within.
    """

    half_width: float
    trend: Trend
    molecules: int
    checked: int
    covered: int

    def facts(self) -> dict:
        """Its numbers, as ``chemsieve.json`` has them, with the 95 % interval (Wilson) of the share that is covered."""
        found = {
            "half_width": self.half_width,
            "slope": self.trend.slope,
            "centre": self.trend.centre,
            "molecules": self.molecules,
            "test_molecules": self.checked,
            "test_covered": self.covered,
        }
        return found | {"test_share": list(share_between(self.covered, self.checked))}


def share_between(covered: int, checked: int) -> tuple[float, float]:
    """The 95 % interval (Wilson) of a share; 0 and 1 where nothing was counted."""
    if not checked:
        return 0.0, 1.0
    from scipy.stats import binomtest

    found = binomtest(covered, checked).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def calibrated(
    errors: np.ndarray, molecules: Sequence[str], coverage: float, similarity: np.ndarray | None, trend: Trend
) -> Interval:
    """The interval of a model, of its errors on the test molecules.

    Args:
        errors: (n,) label minus prediction, in label units.
        molecules: (n,) their ids.
        similarity: (n,) similarity to the nearest training molecule; None: all have the same width.
        trend: of the validation molecules.

    Raises:
        ChemsieveError: too few test molecules for that coverage.
    """
    widths = np.ones(len(errors)) if similarity is None else trend.widths(similarity)
    scores = np.abs(errors) / widths
    own = calibrating(molecules, coverage)
    half = half_width(scores[own], coverage)
    covered = int((scores[~own] <= half).sum())
    return Interval(half, Trend() if similarity is None else trend, int(own.sum()), int((~own).sum()), covered)
