"""The answer of a study in a few sentences of plain English, and what each arm gained.

A gain is how far the test RMSE of an arm lies below that of the model that nothing was added to: positive helps.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from inspect import signature
from typing import Any

import pandas as pd

from chemsieve.report.study import DESCRIPTORS, Study
from chemsieve.report.words import between, listing, number
from chemsieve.splitting import draws
from chemsieve.statistics.families import ADAPTATION, SELECTIONS, VERSUS
from chemsieve.statistics.verdicts import LEAST, units

NONE, RANDOM, ALL = "none", "random", "all"
SELECTION, DESCRIBED, ENCODER = "selection", "descriptor model", "encoder"
HELPS, HURTS, EQUIVALENT, SAME, UNDECIDED, UNLEARNED = "helps", "hurts", "equivalent", "same", "undecided", "unlearned"
# How the sentence of a verdict in the table ``comparisons`` begins.
_BEGINNINGS = {
    "better than": HELPS,
    "worse than": HURTS,
    "equivalent to": EQUIVALENT,
    "chose the same": SAME,
    "the same errors": SAME,
    "cannot tell": UNDECIDED,
    "no verdict": UNLEARNED,
}
DRAWS = "draws"  # the splitter
LISTED = 20  # seeds that are written out
_OPPOSITE = {HELPS: HURTS, HURTS: HELPS}


@dataclass(frozen=True)
class Arm:
    """One arm against nothing added.

    Attributes:
        name: strategy, descriptor model or encoder.
        kind: SELECTION, DESCRIBED or ENCODER.
        rmse, versus: test RMSE of the arm and of the model that nothing was added to, in the unit of the label.
        gain, low, high: fall of the RMSE and its interval, which is missing (NaN) with too few units.
        outcome: HELPS, HURTS, EQUIVALENT, SAME, UNDECIDED or UNLEARNED.
        n, alone: units, and whether they are seeds of one split.
        needed: units that would probably decide; NaN where it is not known.
        verdict: the sentence of the table ``comparisons``.
    """

    name: str
    kind: str
    rmse: float
    versus: float
    gain: float
    low: float
    high: float
    outcome: str
    n: int
    alone: bool
    needed: float
    verdict: str

    @property
    def size(self) -> float:
        """The gain without its sign."""
        return abs(self.gain)


def outcome(verdict: str) -> str:
    """What a verdict of the table ``comparisons`` says, in one word."""
    return next((kind for start, kind in _BEGINNINGS.items() if verdict.startswith(start)), UNDECIDED)


def asked(study: Study) -> pd.DataFrame:
    """The comparisons that the study asks about; all, where its configuration states no question."""
    made = study.comparisons
    return made[made["question"] != ""] if study.statistics.get("compare") else made


def arms(study: Study, splitter: str) -> list[Arm]:
    """Every arm that was compared with nothing added on a splitter, largest gain first."""
    here = asked(study)
    here = here[here["splitter"] == splitter]
    of_pool = here[(here["family"] == SELECTIONS) & (here["versus"] == NONE)]
    found = [_arm(row, row.what, SELECTION, False) for row in of_pool.itertuples(index=False)]
    described = here[(here["family"] == DESCRIPTORS) & (here["what"] == f"{study.strategy_origin}, {NONE}")]
    found += [_arm(row, row.versus, DESCRIBED, True) for row in described.itertuples(index=False)]
    if study.strategy_origin == "adapted":  # otherwise nothing added means the regressor that is continued
        encoders = here[(here["family"] == ADAPTATION) & (here["what"] == "adapted") & (here["versus"] == "baseline")]
        found += [_arm(row, "encoder as it came", ENCODER, True) for row in encoders.itertuples(index=False)]
    return sorted(found, key=lambda arm: (-arm.gain if arm.gain == arm.gain else math.inf, arm.name))


def _arm(row: Any, name: str, kind: str, turned: bool) -> Arm:
    """An arm from a row of comparisons; ``turned`` where the row compares nothing added with the arm."""
    said = outcome(row.verdict)
    rmse, versus = (row.error_versus, row.error) if turned else (row.error, row.error_versus)
    low, high = (row.low, row.high) if turned else (-row.high, -row.low)
    return Arm(
        name=name,
        kind=kind,
        rmse=rmse,
        versus=versus,
        gain=row.difference if turned else -row.difference,
        low=low,
        high=high,
        outcome=_OPPOSITE.get(said, said) if turned else said,
        n=int(row.n_units),
        alone=int(row.n_splits) < 2,
        needed=float("nan") if pd.isna(row.replicates_needed) else float(row.replicates_needed),
        verdict=row.verdict,
    )


def recommended(found: Iterable[Arm]) -> Arm | None:
    """The selection that helps most, of those that are shown to help; None where none is."""
    helpful = [arm for arm in found if arm.kind == SELECTION and arm.outcome == HELPS]
    return max(helpful, key=lambda arm: arm.gain, default=None)


def sentences(study: Study, splitter: str) -> list[str]:
    """What to do, how sure that is, and what a descriptor model makes of it; names stand between backticks."""
    found = arms(study, splitter)
    of_pool = [arm for arm in found if arm.kind == SELECTION]
    said: list[str] = []
    if of_pool:
        best = recommended(found)
        said += _add(study, splitter, best, of_pool) if best else _add_nothing(study, of_pool)
    elif not study.labelled:
        said.append("The pool has no labels, so nothing was trained on it: the lists say what to measure next.")
    said += _other_comparisons(study, splitter)
    said += _descriptors(study, splitter, recommended(found))
    if _alone(study, splitter):
        said.append("All this holds for the one split that was made; another may answer otherwise.")
    return said


def confidence(study: Study) -> str:
    """The confidence level of the intervals: ``95 %``."""
    return f"{number(100 * (1 - float(study.statistics.get('alpha') or 0.05)), 3)} %"


def test_molecules(study: Study, splitter: str) -> str:
    """The size of the test folds of a splitter: ``600``, or ``190 to 211``."""
    rows = study.splits[(study.splits["splitter"] == splitter) & (study.splits["fold"] == "test")]
    sizes = rows.groupby("split_seed").size()
    if not len(sizes):
        return "0"
    low, high = int(sizes.min()), int(sizes.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def basis(study: Study, splitter: str) -> str:
    """What the answer rests on, in one sentence."""
    here = study.comparisons[study.comparisons["splitter"] == splitter]
    n, alone = int(here["n_units"].max()), int(here["n_splits"].max()) < 2
    replicates = int(here["n_replicates"].max())
    seeds = f", {replicates} trainings of each arm in all" if not alone and replicates > n else ""
    return (
        f"Judged on the {splitter} split by {units(n, alone)}{seeds}, {test_molecules(study, splitter)} test molecules "
        f"each; intervals are {confidence(study)} and hold together."
    )


def seconds_per_unit(study: Study, splitter: str) -> float:
    """Seconds of training that one more split, or seed of the one split, would cost."""
    runs = study.metrics[study.metrics["splitter"] == splitter].drop_duplicates("run_id")
    curves = study.learning_curves
    adapted = curves[(curves["stage"] == "mlm") & curves["run_id"].str.startswith(f"{splitter}/")]
    several = runs["split_seed"].nunique() > 1
    n = runs["split_seed"].nunique() if several else max(1, runs["seed"].dropna().nunique())
    return (float(runs["train_seconds"].sum()) + float(adapted["seconds"].fillna(0).sum())) / max(1, n)


def settling(study: Study, splitter: str) -> str:
    """What would probably decide the undecided arm that is nearest to a decision; empty where nothing is known."""
    found = [arm for arm in arms(study, splitter) if arm.outcome == UNDECIDED and arm.needed > arm.n]
    if not found:
        return ""
    arm = min(found, key=lambda one: (one.kind != SELECTION, one.needed))
    wanted = int(arm.needed)
    key = "seeds" if arm.alone else "split.seeds"
    seeds = ", ".join(map(str, range(wanted))) if wanted <= LISTED else f"0, 1, ..., {wanted - 1}"
    what = f"{wanted} seeds" if arm.alone else f"{wanted} splits"
    if not arm.alone and wanted > (most := _most_splits(study, splitter)):
        return (
            f"About {what} instead of {arm.n} would probably decide whether `{arm.name}` "
            f"{'helps' if arm.kind == SELECTION else 'is better'}. The {splitter} split has at most {most} here: more "
            f"of them (`split.options.{splitter}.{splitter}: {wanted}`) have fewer training molecules each, unless the "
            "target grows."
        )
    minutes = _duration((wanted - arm.n) * seconds_per_unit(study, splitter))
    return (
        f"Run {what} instead of {arm.n} (`{key}: [{seeds}]`) to find out whether `{arm.name}` "
        f"{'helps' if arm.kind == SELECTION else 'is better'}: that would probably decide it, and takes about "
        f"{minutes} more of training."
    )


def _most_splits(study: Study, splitter: str) -> float:
    """How many splits a splitter has to give: endless, but for draws."""
    if splitter != DRAWS:
        return math.inf
    options = (study.config.get("split") or {}).get("options") or {}
    chosen = (options.get(DRAWS) or {}).get("draws")
    return int(chosen or signature(draws.split).parameters["draws"].default)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:.0f} hours"


def _add(study: Study, splitter: str, best: Arm, of_pool: list[Arm]) -> list[str]:
    """A selection that helps, whether it does so more than chance, and what must not be added."""
    said = [
        f"Add {_molecules(study, splitter, best.name)}: the test RMSE falls from {number(best.versus, 3)} to "
        f"{number(best.rmse, 3)}{_in_unit(study)}, by {_with_interval(best)}."
    ]
    if best.name != RANDOM and (row := _pair(study, splitter, best.name, RANDOM)) is not None:
        kind, low, high = row
        if kind == HELPS:
            said.append(f"That is better than as many drawn at random, by {_size(low)} to {_size(high)}.")
        elif kind == UNDECIDED:
            said.append("Whether it is better than as many drawn at random is undecided.")
        elif kind == EQUIVALENT:
            said.append("As many drawn at random would do as well.")
    worse = [arm for arm in of_pool if arm.outcome == HURTS]
    if worse:
        said.append(f"{_named(worse)} would make it worse.")
    return said


def _add_nothing(study: Study, of_pool: list[Arm]) -> list[str]:
    """No selection is shown to help: what was ruled out, and what is known to hurt."""
    best, first = of_pool[0], of_pool[0].versus
    if max(arm.n for arm in of_pool) < LEAST:
        return [
            f"Nothing can be concluded yet: {units(best.n, best.alone)} cannot show how large the noise is, and "
            f"{LEAST} are the least.",
            f"The lowest mean test RMSE is that of `{best.name}`, {number(best.rmse, 3)} against "
            f"{number(first, 3)}{_in_unit(study)} with nothing added, which may be chance.",
        ]
    worse = [arm for arm in of_pool if arm.outcome == HURTS]
    open_ones = [arm for arm in of_pool if arm.outcome == UNDECIDED]
    if all(arm.outcome == UNLEARNED for arm in of_pool):
        return ["Nothing can be concluded: the models predict no better than the mean label, with or without the pool."]
    if not open_ones and len(worse) == len(of_pool):
        return [
            "Add no molecules from this pool: every selection that was tried makes the model worse.",
            f"The least harmful, `{best.name}`, raises the test RMSE from {number(best.versus, 3)} to "
            f"{number(best.rmse, 3)}{_in_unit(study)}, by {_with_interval(best)}.",
        ]
    said = [
        "Add nothing yet: no selection from this pool is shown to help.",
        f"The best, `{best.name}`, has a test RMSE of {number(best.rmse, 3)} against {number(first, 3)}"
        f"{_in_unit(study)} with nothing added{_still_possible(best)}.",
    ]
    if worse:
        said.append(f"{_named(worse)} {'makes' if len(worse) == 1 else 'make'} it worse.")
    return said


def _still_possible(arm: Arm) -> str:
    """What an interval that decides nothing has ruled out."""
    if arm.outcome == EQUIVALENT:
        return ", a difference too small to matter"
    if arm.low != arm.low or arm.outcome != UNDECIDED:
        return ""
    if arm.high <= 0:
        return ": any gain is ruled out"
    return f": a gain of more than {_size(arm.high)} is ruled out, as is a loss of more than {_size(arm.low)}"


def _descriptors(study: Study, splitter: str, best: Arm | None) -> list[str]:
    """The best descriptor model beside what was recommended, or beside nothing added."""
    here = asked(study)
    here = here[(here["splitter"] == splitter) & (here["family"] == DESCRIPTORS)]
    if here.empty:
        return []
    name = here.groupby("versus")["error_versus"].mean().idxmin()
    ours = best.name if best else NONE
    rows = here[(here["versus"] == name) & here["what"].isin([f"{study.strategy_origin}, {ours}", f"baseline, {ours}"])]
    if rows.empty:
        return []
    row = rows.iloc[-1]
    kind = outcome(row["verdict"])
    begins = (
        f"The best descriptor model, `{name}`, trains in seconds and has a test RMSE of {number(row.error_versus, 3)}"
    )
    low, high = sorted((abs(row.low), abs(row.high)))
    if kind == HURTS:
        end = f", lower by {_size(low)} to {_size(high)} than {number(row.error, 3)}: use that instead."
    elif kind == HELPS:
        end = f"; fine-tuning, at {number(row.error, 3)}, is better by {_size(low)} to {_size(high)}."
    elif kind == EQUIVALENT:
        end = f", as good as fine-tuning at {number(row.error, 3)}: use the simpler one."
    elif row.low != row.low:
        end = f", against {number(row.error, 3)} of fine-tuning."
    else:
        end = (
            f"; whether it or fine-tuning, at {number(row.error, 3)}, is better is undecided (it may be "
            f"{_size(row.high)} better or {_size(row.low)} worse)."
        )
    return [begins + end]


def _other_comparisons(study: Study, splitter: str) -> list[str]:
    """Single comparisons that statistics.compare names, unless they are with nothing added."""
    here = asked(study)
    here = here[(here["splitter"] == splitter) & here["question"].str.contains(VERSUS, regex=False)]
    here = here[~((here["family"] == SELECTIONS) & (here["versus"] == NONE))]
    return [
        f"`{row.what}` has a test RMSE of {number(row.error, 3)} and `{row.versus}` of {number(row.error_versus, 3)}: "
        f"{plainly(row.verdict)}."
        for row in here.itertuples(index=False)
    ]


def plainly(verdict: str) -> str:
    """A verdict of the table ``comparisons`` as the page says it."""
    text = verdict.replace("cannot tell with ", "undecided with ").replace("cannot tell: ", "undecided: ")
    start, about, rest = text.partition("; about ")
    if not about or "would" not in rest:
        return text
    number_of, _, end = rest.partition(" would")
    return f"{start}; about {number_of} would probably decide{end}"


def adaptation(study: Study, splitter: str) -> list[str]:
    """What adapting the encoder did, in a sentence."""
    here = asked(study)
    rows = here[(here["splitter"] == splitter) & (here["family"] == ADAPTATION)]
    said = []
    for row in rows.itertuples(index=False):
        errors = f"(test RMSE {number(row.error, 3)} adapted, {number(row.error_versus, 3)} as it came)"
        low, high = sorted((abs(row.low), abs(row.high)))
        said.append(
            {
                HELPS: f"Adapting the encoder helps, by {_size(low)} to {_size(high)} {errors}.",
                HURTS: f"Adapting the encoder makes it worse, by {_size(low)} to {_size(high)} {errors}.",
                EQUIVALENT: f"Adapting the encoder makes no difference that matters {errors}.",
            }.get(outcome(row.verdict), f"Whether adapting the encoder helps is undecided {errors}.")
        )
    return said


def _pair(study: Study, splitter: str, one: str, other: str) -> tuple[str, float, float] | None:
    """Outcome of one selection against another, and the ends of the interval without sign, the smaller first."""
    here = asked(study)
    here = here[(here["splitter"] == splitter) & (here["family"] == SELECTIONS)]
    for what, versus, turned in ((one, other, False), (other, one, True)):
        rows = here[(here["what"] == what) & (here["versus"] == versus)]
        if len(rows):
            row = rows.iloc[0]
            said = outcome(row["verdict"])
            low, high = sorted((abs(row["low"]), abs(row["high"])))
            return (_OPPOSITE.get(said, said) if turned else said), low, high
    return None


def _molecules(study: Study, splitter: str, strategy: str) -> str:
    """``the 100 molecules of `influence```."""
    if strategy == ALL:
        return "the whole pool"
    rows = study.strategy_runs
    sizes = rows.loc[(rows["selection"] == strategy) & (rows["splitter"] == splitter), "n_selected"]
    how_many = f"{round(sizes.mean()):,} " if len(sizes) else ""
    return f"the {how_many}molecules of `{strategy}`" if strategy != RANDOM else f"any {how_many}molecules of the pool"


def _named(found: list[Arm]) -> str:
    names = [f"`{arm.name}`" for arm in found if arm.name != ALL]
    whole = ["the whole pool" if names else "The whole pool"] if len(names) < len(found) else []
    return listing([*names, *whole])


def _with_interval(arm: Arm) -> str:
    low, high = sorted((abs(arm.low), abs(arm.high)))
    return between(arm.size, low, high)


def _size(value: float) -> str:
    return f"{abs(value):.{3 if abs(value) < 0.0995 else 2}f}"


def _in_unit(study: Study) -> str:
    return f" {study.unit}" if study.unit else ""


def _alone(study: Study, splitter: str) -> bool:
    here = study.comparisons[study.comparisons["splitter"] == splitter]
    return bool(len(here)) and int(here["n_splits"].max()) < 2 and int(here["n_units"].max()) >= LEAST
