"""The test error by the number of selected molecules: a curve per strategy, its area, and the number to take.

Each point is compared with the control that has no pool molecule, and with as many random ones; the area under a curve
with that control and with the area under the random curve. Intervals of one model's points are simultaneous, as are
those of its areas, and both share the error probability alpha equally. How many molecules to take is read off the
validation errors alone.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from chemsieve.statistics.comparisons import compare_family
from chemsieve.statistics.families import CONTINUED, DESCRIPTORS, Configuration, Family, Judged, Pair
from chemsieve.statistics.molecules import Molecules
from chemsieve.statistics.replicates import Replicates, inflation, replicates
from chemsieve.tables import TABLES
from chemsieve.uses import MIXED

NONE, RANDOM = "none", "random"
AREA = "@area"  # behind a strategy, where the area under its curve stands as if it were a configuration
SHARES = 2  # of alpha: points, areas

Points = Mapping[str, Mapping[str, str]]


def weights(counts: np.ndarray) -> np.ndarray:
    """What each of the errors (k,) at these numbers of molecules (k,) counts in the mean over their logarithm.

    By the trapezium rule, on a logarithmic scale: from 100 to 300 is as far as from 300 to 900. Of one number it is the
    error there.

    Args:
        counts: rising, the first at least 1.
    """
    place = np.log(counts)
    if len(place) == 1:
        return np.ones(1)
    steps = np.diff(place) / (place[-1] - place[0])
    return (np.append(steps, 0) + np.append(0, steps)) / 2


def recommended(errors: np.ndarray, factor: float = 1.0) -> int:
    """The position of the smallest number of molecules that is as good as the best, by validation errors.

    The first whose mean lies within one standard error (of the paired difference) of the lowest mean (Breiman et al.
    1984, "Classification and regression trees", 3.4.3). With one unit no error is known, and the lowest is taken.

    Args:
        errors: (units, numbers of molecules), which rise along a row.
        factor: on the variance of a mean, where units share training molecules.
    """
    means = errors.mean(axis=0)
    best, n = int(np.argmin(means)), len(errors)
    if n < 2:
        return best
    apart = errors[:, : best + 1] - errors[:, [best]]
    allowed = apart.std(axis=0, ddof=1) * np.sqrt(factor / n)
    return int(np.argmax(apart.mean(axis=0) <= allowed))


def budget_curves(
    metrics: pd.DataFrame,
    splits: pd.DataFrame,
    settings: dict[str, Any],
    points: Points,
    predictions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The table ``budget_curves``.

    Args:
        metrics: the table ``metrics``; its validation fold recommends, its test fold is reported.
        splits: the table ``splits``.
        settings: ``margin``, ``alpha`` and ``power``, as in :func:`chemsieve.statistics.comparisons.compare`.
        points: of each strategy and budget, as text, the name of the selection.
        predictions: the table ``predictions``; of its test fold follows the noise of the test molecules.
    """
    mixed = metrics[metrics["use"] == MIXED] if "use" in metrics else metrics
    named = {NONE, *(name for cut in points.values() for name in cut.values())}
    runs = mixed[mixed["selection"].isin(named)]
    predicted = None if predictions is None else predictions[predictions["fold"] == "test"]
    rows = []
    for splitter, here in runs.groupby("splitter"):
        divided = splits[splits["splitter"] == splitter]
        for model in _models(here):
            mine = here[(here["origin"] == model[0]) & (here["method"] == model[1])]
            known = None if predicted is None else predicted[predicted["run_id"].isin(mine["run_id"])]
            tested = replicates(mine[mine["fold"] == "test"], divided, known)
            validated = replicates(mine[mine["fold"] == "validation"], divided)
            counts = mine.groupby("selection")["n_selected"].mean()
            rows += [
                {"splitter": splitter, "origin": model[0], "method": model[1], **row}
                for row in _of_model(_Model(model, tested, validated, counts, settings, _made(points, model, tested)))
            ]
    return pd.DataFrame(rows, columns=list(TABLES["budget_curves"]))


def _models(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Origin and method of what is trained on selections: full fine-tuning, then the descriptor models."""
    full = CONTINUED if (runs["origin"] == CONTINUED).any() else "adapted"
    described = sorted(runs.loc[runs["origin"] == DESCRIPTORS, "method"].unique())
    return [(full, "full"), *((DESCRIPTORS, name) for name in described)]


def _made(points: Points, model: tuple[str, str], found: Replicates) -> dict[str, dict[str, str]]:
    """The strategies all of whose points the model was trained on, in most replicates at least."""
    lacking = found.errors.isna().mean()
    there = {name[2] for name in found.errors.columns[lacking < 0.5] if name[:2] == model}
    if NONE not in there:
        return {}
    return {strategy: dict(cut) for strategy, cut in points.items() if there.issuperset(cut.values())}


class _Model:
    """The curves of one model on one splitter."""

    def __init__(
        self,
        model: tuple[str, str],
        tested: Replicates,
        validated: Replicates,
        counts: pd.Series,
        settings: dict[str, Any],
        points: dict[str, dict[str, str]],
    ):
        self.model, self.tested, self.validated, self.counts, self.settings = model, tested, validated, counts, settings
        # Along each curve molecules rise: fractions and counts may stand in any order.
        self.points = {
            strategy: dict(sorted(cut.items(), key=lambda point: counts[point[1]])) for strategy, cut in points.items()
        }

    def named(self, selection: str) -> Configuration:
        return (*self.model, selection)

    def number(self, strategy: str) -> np.ndarray:
        """Molecules at each budget (k,)."""
        return self.counts.loc[list(self.points[strategy].values())].to_numpy(dtype=float)

    def judged(self, family: Family, found: Replicates) -> dict[tuple[str, str], dict[str, Any]]:
        """Rows of the comparisons by their two sides."""
        asked = Judged(family, "", 1 / SHARES, len(family.configurations), len(family.pairs))
        return {(row["what"], row["versus"]): row for row in compare_family(asked, found, self.settings)}

    def of_points(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Each point against none, then against as many random molecules."""
        none = self.named(NONE)
        pairs = []
        for strategy, cut in self.points.items():
            for budget, selection in cut.items():
                one, what = self.named(selection), f"{strategy}{AREA[0]}{budget}"
                pairs.append(Pair(one, none, what, NONE))
                blind = self.points.get(RANDOM, {}).get(budget)
                if blind and strategy != RANDOM:
                    pairs.append(Pair(one, self.named(blind), what, RANDOM))
        selections = dict.fromkeys(selection for cut in self.points.values() for selection in cut.values())
        family = Family("budgets", [none, *(self.named(selection) for selection in selections)], pairs)
        return self.judged(family, self.tested)

    def of_areas(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Each area against none, then against that of the random curve."""
        combined = {
            self.named(f"{strategy}{AREA}"): dict(
                zip(map(self.named, cut.values()), weights(self.number(strategy)), strict=True)
            )
            for strategy, cut in self.points.items()
        }
        found = _with_means(self.tested, combined)
        none = self.named(NONE)
        pairs = [Pair(area, none, area[2].removesuffix(AREA), NONE) for area in combined]
        blind = self.named(f"{RANDOM}{AREA}")
        if blind in combined:
            pairs += [
                Pair(area, blind, area[2].removesuffix(AREA), RANDOM) for area in combined if area != blind
            ]  # fmt: skip
        return self.judged(Family("areas", [none, *combined], pairs), found)

    def advice(self, strategy: str) -> tuple[str, str]:
        """The budget that the validation errors recommend, 0 for none, and in words."""
        cut = self.points[strategy]
        names = [self.named(NONE), *map(self.named, cut.values())]
        errors = self.validated.units(self.validated.paired(names)).to_numpy()
        budgets, counts = ["0", *cut], [0, *self.number(strategy)]
        if not len(errors):
            return "", "no replicate has all budgets"
        place = recommended(errors, inflation(len(errors), self.validated.shared))
        means = errors.mean(axis=0)
        best = int(np.argmin(means))
        taken = f"{_molecules(counts[place])} (validation RMSE {means[place]:.3f}; without the pool {means[0]:.3f})"
        if place == 0:
            lowest = f"{means[best]:.3f} at best, " if best else ""
            beyond = " beyond its noise" if best else ""
            text = f"none: no budget lowers the validation error{beyond} ({lowest}{means[0]:.3f} without the pool)"
        elif place == len(counts) - 1:
            text = f"{taken}, the most that was tried: more may be better still"
        elif place == best:
            text = f"{taken}: more do not lower it"
        else:
            text = f"{taken}: {_molecules(counts[best])} lower it to {means[best]:.3f}, which is within its noise"
        return budgets[place], text


def _molecules(count: float) -> str:
    return f"{round(count):,} molecule{'' if round(count) == 1 else 's'}"


def _of_model(model: _Model) -> list[dict[str, Any]]:
    if not model.points:
        return []
    points, areas = model.of_points(), model.of_areas()
    rows = []
    for strategy, cut in model.points.items():
        budget, text = model.advice(strategy)
        area = areas[strategy, NONE]
        shared = {
            "strategy": strategy,
            "n_units": area["n_units"],
            "area": area["error"],
            **_compared(area, "area_"),
            **_compared(areas.get((strategy, RANDOM)), "area_random_"),
            "recommendation": text,
        }
        first = points[f"{strategy}{AREA[0]}{next(iter(cut))}", NONE]
        rows.append(
            {
                **shared,
                "budget": "0",
                "n_selected": 0.0,
                "error": first["error_versus"],
                "validation_rmse": model.validated.errors[model.named(NONE)].mean(),
                **_compared(None, ""),
                **_compared(None, "random_"),
                "recommended": budget == "0",
            }
        )
        for (name, selection), count in zip(cut.items(), model.number(strategy), strict=True):
            what = f"{strategy}{AREA[0]}{name}"
            rows.append(
                {
                    **shared,
                    "budget": name,
                    "n_selected": count,
                    "error": points[what, NONE]["error"],
                    "validation_rmse": model.validated.errors[model.named(selection)].mean(),
                    **_compared(points[what, NONE], ""),
                    **_compared(points.get((what, RANDOM)), "random_"),
                    "recommended": budget == name,
                }
            )
    return rows


def _compared(row: dict[str, Any] | None, prefix: str) -> dict[str, Any]:
    """Difference, interval and verdict of a comparison; missing where it is not made."""
    given = row or {}
    return {f"{prefix}{name}": given.get(name) for name in ("difference", "low", "high")} | {
        f"{prefix}verdict": given.get("verdict", "")
    }


def _with_means(found: Replicates, combined: dict[Configuration, dict[Configuration, float]]) -> Replicates:
    """The replicates with further columns: weighted means of others, for which everything is linear."""

    def extended(frame: pd.DataFrame) -> pd.DataFrame:
        further = {
            area: sum(weight * frame[one] for one, weight in parts.items())
            for area, parts in combined.items()
            if set(parts) <= {*frame}
        }
        made = pd.concat([frame, pd.DataFrame(further, index=frame.index)], axis=1)
        made.columns = pd.MultiIndex.from_tuples(made.columns, names=frame.columns.names)
        return made

    tested = found.molecules
    return replace(
        found,
        errors=extended(found.errors),
        r2=None if found.r2 is None else extended(found.r2),
        molecules=None
        if tested is None
        else Molecules([extended(part) for part in tested.shares], [extended(part) for part in tested.gains]),
    )
