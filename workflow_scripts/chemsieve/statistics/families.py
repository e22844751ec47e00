"""Which configurations are compared with which, and which of these comparisons the study asks about.

A question is an entry of ``statistics.compare``: the name of a kind of family, or one comparison, "what vs versus". The
questions share the study's error probability equally, whatever else is trained; all other comparisons are exploratory.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from chemsieve.study.effective import AT
from chemsieve.uses import MIXED

Configuration = tuple[str, str, str]  # origin, method, selection
DESCRIPTORS = "descriptors"
SELECTIONS, ADAPTATION, METHODS, SELECTIONS_OF = "selections", "adaptation", "methods on", "selections of"
USES = "uses of"
OTHERWISE = "\x1f"  # between a selection and a use of it other than mixed: a character that no name has
# What statistics.compare may name as a whole.
QUESTIONS = (SELECTIONS, ADAPTATION, "methods", DESCRIPTORS, "uses", "descriptor_selections")
VERSUS = " vs "  # between the two sides of a single comparison
CONTINUED = "continued"  # origin of runs that go on from the fine-tuned adapted regressor
CONTROLS = ("none", "random", "all")  # selections that the others are compared with


@dataclass(frozen=True)
class Pair:
    """A comparison: two configurations, and the names that they go by in their family."""

    one: Configuration
    other: Configuration
    what: str
    versus: str


@dataclass(frozen=True)
class Family:
    """Configurations that are tested together, and the comparisons among them that are made."""

    name: str
    configurations: list[Configuration]
    pairs: list[Pair]

    @property
    def kind(self) -> str:
        """The question that it answers: its name without the selection or the model that it is on or of."""
        if self.name.startswith(f"{SELECTIONS_OF} "):
            return "descriptor_selections"
        return re.split(" on | of ", self.name)[0]


@dataclass(frozen=True)
class Judged:
    """A family, or a single comparison of it, as it is judged.

    Attributes:
        question: the entry of ``statistics.compare`` that asks for it; empty where none does.
        share: of the study's error probability.
        configurations: how many the study has in the family, whether they could be trained or not.
        pairs: likewise, of the comparisons that are judged together.
    """

    family: Family
    question: str
    share: float
    configurations: int
    pairs: int


def judged(found: list[Family], planned: list[Family], compare: Sequence[str], splitters: int = 1) -> list[Judged]:
    """Each comparison that can be made with its question and its share of the error probability.

    Shares depend on what the study was meant to compare (``planned``), not on what could be trained (``found``): a
    question has one over the number of questions and of splitters, which its families divide equally. What nobody asked
    about has the whole of it for each family.
    """
    members = {entry: _asked(entry, planned) for entry in compare}
    members = {entry: asked for entry, asked in members.items() if asked}
    share = 1 / (max(1, len(members)) * splitters)
    single = {next(iter(asked)): entry for entry, asked in members.items() if VERSUS in entry}
    made = []
    for family in found:
        whole = next((one for one in planned if one.name == family.name), family)
        alone = [pair for pair in family.pairs if (family.name, pair.what, pair.versus) in single]
        rest = [pair for pair in family.pairs if pair not in alone]
        for pair in alone:
            entry = single[family.name, pair.what, pair.versus]
            made.append(Judged(Family(family.name, [pair.one, pair.other], [pair]), entry, share, 2, 1))
        if rest:
            entry = family.kind if family.kind in members else ""
            kin = len({name for name, *_ in members[entry]}) if entry else 1
            pairs = sum((whole.name, pair.what, pair.versus) not in single for pair in whole.pairs)
            made.append(
                Judged(
                    replace(family, pairs=rest),
                    entry,
                    share / kin if entry else 1.0,
                    max(len(whole.configurations), len(family.configurations)),
                    max(pairs, len(rest)),
                )
            )
    return made


def unknown(compare: Iterable[str], planned: list[Family]) -> str | None:
    """The first entry that is neither a kind of family nor a comparison of the study."""
    return next((entry for entry in compare if entry not in QUESTIONS and not _asked(entry, planned)), None)


def _asked(entry: str, planned: list[Family]) -> set[tuple[str, str, str]]:
    """The comparisons that an entry asks for, each by its family's name and its two sides."""
    sides = {side.strip() for side in entry.split(VERSUS)} if VERSUS in entry else set()
    return {
        (family.name, pair.what, pair.versus)
        for family in planned
        for pair in family.pairs
        if ({pair.what, pair.versus} == sides if sides else family.kind == entry)
    }


def named(selection: str, use: str) -> str:
    """A selection as comparisons call it: with its use behind a separator where that is not mixed."""
    return selection if use == MIXED else f"{selection}{OTHERWISE}{use}"


def families(found: list[Configuration]) -> list[Family]:
    """Families of the configurations of a study.

    Selections under full fine-tuning, all pairs, where they continue a regressor with the control that does so too; the
    adapted encoder against the baseline; the methods on each selection, all pairs; full fine-tuning, of either encoder
    and on each selection, against each descriptor model that saw no pool molecule; and of each descriptor model its
    selections, each against that control. Selections that are others cut by another budget are compared elsewhere
    (:mod:`chemsieve.statistics.budget_curves`), so that a sweep widens no interval. A selection that is used in several
    ways has a family of these, with no pool at all: each other use is compared with none and with mixed. Later names
    are compared with earlier ones, controls and full fine-tuning being the first.
    """
    found = [one for one in found if AT not in one[2]]
    origin = "adapted" if any(one[0] == "adapted" for one in found) else "baseline"
    otherwise = [one for one in found if OTHERWISE in one[2]]
    found = [one for one in found if OTHERWISE not in one[2]]
    continued = CONTINUED if any(one[0] == CONTINUED for one in found) else origin
    made = [_selections(found, continued), _adaptation(found), *_methods(found, origin)]
    made += [*_uses(found, otherwise), _against_descriptors(found), *_of_descriptors(found)]
    return [family for family in made if family.pairs]


def _selections(found: list[Configuration], origin: str) -> Family:
    names = _first([s for o, m, s in found if (o, m) == (origin, "full")], CONTROLS)
    return _all_pairs(SELECTIONS, {name: (origin, "full", name) for name in names})


def _adaptation(found: list[Configuration]) -> Family:
    encoders = [name for name in ("baseline", "adapted") if (name, "full", "none") in found]
    return _all_pairs(ADAPTATION, {name: (name, "full", "none") for name in encoders})


def _methods(found: list[Configuration], origin: str) -> list[Family]:
    """A family for each selection that another method than full fine-tuning was trained on."""
    made = []
    for selection in _first([s for o, m, s in found if o == origin and m != "full"], CONTROLS):
        names = _first([m for o, m, s in found if (o, s) == (origin, selection)], ("full",))
        made.append(_all_pairs(f"{METHODS} {selection}", {name: (origin, name, selection) for name in names}))
    return made


def _uses(found: list[Configuration], otherwise: list[Configuration]) -> list[Family]:
    """A family for each selection that is used in other ways than mixed."""
    made = []
    models = list(dict.fromkeys(one[:2] for one in sorted(otherwise)))  # descriptors is the last origin by alphabet
    selections = _first([s.partition(OTHERWISE)[0] for *_, s in otherwise], CONTROLS)
    for model, selection in product(models, selections):
        mine = sorted(one for one in otherwise if one[:2] == model and one[2].partition(OTHERWISE)[0] == selection)
        if not mine:
            continue
        known = {"none": (*mine[0][:2], "none"), "mixed": (*mine[0][:2], selection)}
        known = {name: one for name, one in known.items() if one in found}
        pairs = [
            Pair(one, other, one[2].partition(OTHERWISE)[2], versus) for versus, other in known.items() for one in mine
        ]
        by = f" by {model[1]}" if model[0] == DESCRIPTORS else ""
        made.append(Family(f"{USES} {selection}{by}", [*known.values(), *mine], pairs))
    return made


def _against_descriptors(found: list[Configuration]) -> Family:
    # Without pool molecules alone: with every selection of every model this would be a comparison of many.
    described = sorted(one for one in found if one[0] == DESCRIPTORS and one[2] == "none")
    models = [one for one in found if one[1] == "full" and one[0] != DESCRIPTORS]
    order = _first([selection for _, _, selection in models], CONTROLS)
    models.sort(key=lambda one: (one[0] != "baseline", order.index(one[2])))
    pairs = [Pair(one, other, f"{one[0]}, {one[2]}", other[1]) for other in described for one in models]
    return Family(DESCRIPTORS, [*models, *described], pairs)


def _of_descriptors(found: list[Configuration]) -> list[Family]:
    """A family for each descriptor model that was fitted on selections too."""
    made = []
    for model in sorted({one[1] for one in found if one[0] == DESCRIPTORS}):
        names = _first([s for o, m, s in found if (o, m) == (DESCRIPTORS, model)], CONTROLS)
        named = {name: (DESCRIPTORS, model, name) for name in names}
        pairs = [Pair(named[name], named["none"], name, "none") for name in names[1:] if "none" in named]
        made.append(Family(f"{SELECTIONS_OF} {model}", list(named.values()), pairs))
    return made


def _all_pairs(name: str, named: dict[str, Configuration]) -> Family:
    pairs = [Pair(named[what], named[versus], what, versus) for versus, what in combinations(named, 2)]
    return Family(name, list(named.values()), pairs)


def _first(names: list[str], first: tuple[str, ...]) -> list[str]:
    found = set(names)
    return [name for name in first if name in found] + sorted(found - set(first))
