"""Which configurations are compared with which: the families within which errors of the tests are bounded."""

from dataclasses import dataclass
from itertools import combinations

Configuration = tuple[str, str, str]  # origin, method, selection
DESCRIPTORS = "descriptors"
SELECTIONS, ADAPTATION, METHODS = "selections", "adaptation", "methods on"
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


def families(found: list[Configuration]) -> list[Family]:
    """Families of the configurations of a study.

    Selections under full fine-tuning, all pairs, where they continue a regressor with the control that does so too;
    the adapted encoder against the baseline; the methods on each selection, all pairs; and full fine-tuning, of either
    encoder and on each selection, against each descriptor model. Later names are compared with earlier ones, controls
    and full fine-tuning being the first.
    """
    origin = "adapted" if any(one[0] == "adapted" for one in found) else "baseline"
    continued = CONTINUED if any(one[0] == CONTINUED for one in found) else origin
    made = [_selections(found, continued), _adaptation(found), *_methods(found, origin), _against_descriptors(found)]
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


def _against_descriptors(found: list[Configuration]) -> Family:
    described = sorted(one for one in found if one[0] == DESCRIPTORS)
    models = [one for one in found if one[1] == "full" and one[0] != DESCRIPTORS]
    order = _first([selection for _, _, selection in models], CONTROLS)
    models.sort(key=lambda one: (one[0] != "baseline", order.index(one[2])))
    pairs = [Pair(one, other, f"{one[0]}, {one[2]}", other[1]) for other in described for one in models]
    return Family(DESCRIPTORS, [*models, *described], pairs)


def _all_pairs(name: str, named: dict[str, Configuration]) -> Family:
    pairs = [Pair(named[what], named[versus], what, versus) for versus, what in combinations(named, 2)]
    return Family(name, list(named.values()), pairs)


def _first(names: list[str], first: tuple[str, ...]) -> list[str]:
    found = set(names)
    return [name for name in first if name in found] + sorted(found - set(first))
