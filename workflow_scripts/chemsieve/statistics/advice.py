"""Which of several methods to take, by one rule that their comparisons decide.

The best is the method with the lowest mean error. Another is *as good* where the interval of its difference from the
best lies below the margin, so that it is equivalent, or better, or no worse by as much as matters. Of the best and
those as good, the one with the least to store for a task is taken. A method is *worse* where its interval lies above
zero and it is not as good; of any other nothing can be told. Where the comparisons find no method as good as the best
and none worse, nothing is decided, and none is taken. Two that predict no better than the mean label are not compared.
"""

import math
from dataclasses import dataclass

import pandas as pd

NO_VERDICT = "no verdict"  # how the verdict begins where neither side has learned anything
NO_NUMBER = "more than 1,000"  # units that it would take, where the comparisons have no number


@dataclass(frozen=True)
class Advice:
    """What the rule says of the methods of one family.

    Attributes:
        take: the method to take; None where nothing is decided.
        best: the one with the lowest mean error.
        alike: methods as good as the best, without it.
        worse: methods that are worse.
        untold: methods of which nothing can be told, those with the least to store first.
        cheaper: of these, methods with less to store than the one that is taken.
        needed: units that would tell of the cheaper ones, or of all where nothing is decided; None where no number is
            known.
        molecules: test molecules that it would take too; None where there are enough.
        units: ``splits``, or ``seeds of this split``.
        margin: a difference of errors that matters, in the unit of the label.
        stored: bytes to store for a task, by method.
    """

    take: str | None
    best: str
    alike: tuple[str, ...]
    worse: tuple[str, ...]
    untold: tuple[str, ...]
    cheaper: tuple[str, ...]
    needed: int | None
    molecules: int | None
    units: str
    margin: float
    stored: dict[str, float]

    @property
    def sentence(self) -> str:
        """The advice, in words."""
        more = f"{f'about {self.needed:,}' if self.needed else NO_NUMBER} {self.units}"
        if self.molecules:
            more = f"{f'{more} and ' if self.needed else ''}about {self.molecules:,} test molecules"
        if self.take is None:
            return (
                f"Nothing is decided: {self.best} has the lowest mean error, and of no other method can it be told "
                f"whether it is worse, or as good within {self.margin:g}; {more} would tell."
            )
        size = size_of(self.stored[self.take])
        if self.take == self.best:
            why = f"it has the lowest mean error, and {_reason(self)}; a task takes {size} to store"
        else:
            why = (
                f"its error is no worse than that of the best, {self.best}, by as much as {self.margin:g}, and a task "
                f"takes {size} to store in place of {size_of(self.stored[self.best])}"
            )
        if not self.cheaper:
            return f"Take {self.take}: {why}."
        verb = "stores" if len(self.cheaper) == 1 else "store"
        return (
            f"Take {self.take}: {why}. Whether {_listed(self.cheaper)}, which {verb} less, would do cannot be told "
            f"yet; {more} would tell."
        )


def advise(errors: pd.Series, stored: pd.Series, comparisons: pd.DataFrame, margin: float) -> Advice:
    """The advice on some methods.

    Args:
        errors: mean test RMSE by method, at least one.
        stored: bytes that a task takes to store, by method.
        comparisons: rows of the table ``comparisons`` of one family and splitter, whose sides are the methods.
        margin: a difference that matters, in the unit of the label.
    """
    best = min(errors.index, key=lambda name: (errors[name], stored[name], name))
    intervals = _intervals(comparisons, best)
    alike: list[str] = []
    worse: list[str] = []
    untold: list[str] = []
    for name in sorted(errors.index.drop(best), key=lambda name: (stored[name], errors[name], name)):
        low, high = intervals.get(name, (math.nan, math.nan))
        (alike if high < margin else worse if low > 0 else untold).append(name)
    decided = bool(alike or worse) or len(errors) == 1
    take = min([best, *alike], key=lambda name: (stored[name], errors[name], name)) if decided else None
    cheaper = [name for name in untold if take is not None and stored[name] < stored[take]]
    alone = bool(len(comparisons)) and int(comparisons["n_splits"].max()) < 2
    return Advice(
        take,
        best,
        tuple(alike),
        tuple(worse),
        tuple(untold),
        tuple(cheaper),
        _needed(comparisons, best, cheaper if decided else untold),
        _molecules(comparisons, best, cheaper if decided else untold),
        "seeds of this split" if alone else "splits",
        margin,
        {name: float(stored[name]) for name in errors.index},
    )


def _against(comparisons: pd.DataFrame, best: str) -> dict[str, tuple[pd.Series, int]]:
    """The row that compares each method with the best, and 1, or -1 where the best is its first side."""
    found = {}
    for _, row in comparisons.iterrows():
        if row["versus"] == best:
            found[row["what"]] = (row, 1)
        elif row["what"] == best:
            found[row["versus"]] = (row, -1)
    return found


def _intervals(comparisons: pd.DataFrame, best: str) -> dict[str, tuple[float, float]]:
    """Interval of each method's error less that of the best, where one is known."""
    found = {}
    for name, (row, sign) in _against(comparisons, best).items():
        if str(row["verdict"]).startswith(NO_VERDICT):
            continue
        ends = sorted(sign * float(row[end]) for end in ("low", "high") if pd.notna(row[end]))
        if len(ends) == 2:
            found[name] = (ends[0], ends[1])
    return found


def _needed(comparisons: pd.DataFrame, best: str, names: list[str]) -> int | None:
    """Units that would tell of all these methods; None where one has no number, or there is none."""
    rows = _against(comparisons, best)
    needed = [rows[name][0]["replicates_needed"] if name in rows else None for name in names]
    known = [int(one) for one in needed if one is not None and pd.notna(one)]
    return max(known, default=None) if len(known) == len(needed) else None


def _molecules(comparisons: pd.DataFrame, best: str, names: list[str]) -> int | None:
    """Test molecules that it would take, where some of these comparisons have too few."""
    rows = _against(comparisons, best)
    needed = [rows[name][0]["molecules_needed"] for name in names if name in rows]
    return max((int(one) for one in needed if pd.notna(one)), default=None)


def _reason(advice: Advice) -> str:
    if advice.alike:
        return f"of those as good ({_listed(advice.alike)}) none has less to store"
    return f"{_listed(advice.worse)} {'is' if len(advice.worse) == 1 else 'are'} worse" if advice.worse else "is alone"


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def size_of(count: float) -> str:
    """Bytes in words: ``55 kB``, ``15.0 MB``; two significant digits at least."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            value = count / size
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{count:.0f} bytes"
