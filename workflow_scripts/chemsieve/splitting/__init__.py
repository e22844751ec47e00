"""How the target set is divided into training, validation and test molecules (extension point).

Each module is one splitter: a :class:`Splitter`, or a :class:`ColumnSplitter`, which takes the user's own folds instead
of SMILES.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, cast

import numpy as np

from chemsieve import registry
from chemsieve.errors import ChemsieveError

FOLDS = ("train", "validation", "test")
Folds = tuple[list[int], list[int], list[int]]  # 0-based positions of the molecules of each


class Splitter(Protocol):
    """A module that divides molecules, as DeepChem 2.8.0's splitter of that name does where it has one.

    (``deepchem/splits/splitters.py``.) ``OPTIONS`` is the JSON Schema of the keyword arguments of ``split``.
    """

    OPTIONS: dict
    USES_COLUMN: Literal[False]
    # LEAVES_OUT: True, where some molecules of the target are in no fold of a split.

    def split(self, smiles: Sequence[str], fractions: tuple[float, float, float], seed: int, **options: Any) -> Folds:
        """Positions of the training, validation and test molecules."""


class ColumnSplitter(Protocol):
    """A module that reads the folds which the user has given; ``OPTIONS`` as those of a :class:`Splitter`."""

    OPTIONS: dict
    USES_COLUMN: Literal[True]

    def split(self, given: Sequence[object], rows: Sequence[int] | None = None, **options: Any) -> Folds:
        """Positions of the training, validation and test molecules."""


def load(name: str) -> Splitter | ColumnSplitter:
    """The module of one splitter; ``USES_COLUMN`` says of which kind it is.

    Raises:
        ChemsieveError: there is no such splitter.
    """
    return cast("Splitter | ColumnSplitter", registry.load("splitting", name))


def divide(
    splitter: str,
    smiles: Sequence[str],
    fractions: tuple[float, float, float],
    seed: int,
    given: Sequence[object] | None = None,
    rows: Sequence[int] | None = None,
    groups: Sequence[str] | None = None,
    **options: Any,
) -> np.ndarray:
    """Fold name of each molecule.

    Args:
        splitter: name of a module of this package.
        smiles: (n,) SMILES; several splitters depend on their order.
        fractions: fractions of the molecules for training, validation and test, summing to one; a splitter that uses
            the user's column ignores them and the seed.
        seed: 0 to 2**31 - 1.
        given: (n,) the user's own fold of each molecule, for a splitter that uses a column.
        rows: (n,) row numbers to name in an error about ``given``; positions when absent.
        groups: (n,) what molecules of one fold have in common; an empty one is of that molecule alone. The splitter
            divides the first molecules of the groups, as if there were no others, and the rest go with them. The user's
            own folds are taken as they are, and must keep groups together.
        options: the splitter's own options.

    Returns:
        (n,) array of ``train``, ``validation`` or ``test``; empty for a molecule that the split leaves out.

    Raises:
        ChemsieveError: unknown splitter or option, bad fractions or seed, an unreadable SMILES or fold, an empty fold,
            a molecule that the splitter put into no fold or into two, or a group that the user's folds divide.
    """
    module = load(splitter)
    unknown = sorted(set(options) - set(module.OPTIONS))
    if unknown:
        raise ChemsieveError(f"splitter {splitter}: unknown option {unknown[0]!r}")
    if len(smiles) == 0:
        raise ChemsieveError(f"splitter {splitter}: there are no molecules to divide")
    if module.USES_COLUMN:
        if given is None or len(given) != len(smiles):
            raise ChemsieveError(f"splitter {splitter}: give the fold of each of the {len(smiles)} molecules")
        parts = module.split(given, rows=rows, **options)
    elif groups is not None:
        members = _members(groups)
        chosen = [smiles[group[0]] for group in members]
        folds = divide(splitter, chosen, fractions, seed, **options)
        return np.repeat(folds, [len(group) for group in members])[np.argsort(np.concatenate(members))]
    else:
        _check(splitter, fractions, seed)
        parts = module.split(smiles, fractions, seed, **options)

    times = np.zeros(len(smiles), dtype=int)
    folds = np.full(len(smiles), "", dtype="<U10")
    for fold, positions in zip(FOLDS, parts, strict=True):
        if len(positions) == 0:
            raise ChemsieveError(f"splitter {splitter}: the {fold} fold of {len(smiles)} molecules is empty")
        folds[positions] = fold
        np.add.at(times, positions, 1)
    wrong = times > 1 if getattr(module, "LEAVES_OUT", False) else times != 1
    if wrong.any():
        position = int(wrong.argmax())
        raise ChemsieveError(f"splitter {splitter}: molecule {position} is in {times[position]} folds instead of one")
    if groups is not None:
        _check_together(splitter, folds, groups, rows)
    return folds


def _members(groups: Sequence[str]) -> list[list[int]]:
    """Positions of the molecules of each group, groups in the order of their first ones."""
    found: dict[object, list[int]] = {}
    for position, group in enumerate(groups):
        found.setdefault(group or position, []).append(position)
    return list(found.values())


def _check_together(splitter: str, folds: np.ndarray, groups: Sequence[str], rows: Sequence[int] | None) -> None:
    for first, *others in _members(groups):
        for other in others:
            if folds[first] != folds[other]:
                row, another = (place if rows is None else rows[place] for place in (first, other))
                raise ChemsieveError(
                    f"splitter {splitter}: rows {row} ({folds[first]}) and {another} ({folds[other]}) are molecules of "
                    "one parent in two folds; change the column, or set split.group to null"
                )


def _check(splitter: str, fractions: Sequence[float], seed: int) -> None:
    # Written so that NaN fails both conditions.
    if len(fractions) != 3 or not all(f >= 0 for f in fractions) or not abs(sum(fractions) - 1) <= 1e-9:
        raise ChemsieveError(
            f"splitter {splitter}: fractions must be three numbers that are not negative and sum to one, "
            f"not {list(fractions)}"
        )
    if not 0 <= seed < 2**31:
        raise ChemsieveError(f"splitter {splitter}: the seed must lie between 0 and {2**31 - 1}, not {seed}")
