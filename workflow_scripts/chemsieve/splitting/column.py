"""The user's own division, from a column of the target file."""

from collections.abc import Sequence

from chemsieve.errors import ChemsieveError
from chemsieve.splitting import Folds

OPTIONS: dict = {}
USES_COLUMN = True

_NAMES = {"train": 0, "validation": 1, "valid": 1, "val": 1, "test": 2}


def split(given: Sequence[object], rows: Sequence[int] | None = None) -> Folds:
    """Ascending positions of the training, validation and test molecules.

    Args:
        given: (n,) train, validation (or valid, val) or test, in any case, blanks around it allowed.
        rows: (n,) row numbers to name in an error; positions when absent.

    Raises:
        ChemsieveError: an entry is none of these.
    """
    folds: Folds = ([], [], [])
    for position, value in enumerate(given):
        fold = _NAMES.get(str(value).strip().lower())
        if fold is None:
            row = position if rows is None else rows[position]
            raise ChemsieveError(
                f"the split column must hold train, validation (valid, val) or test, but row {row} holds {value!r}"
            )
        folds[fold].append(position)
    return folds
