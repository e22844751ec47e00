"""Draws from the target: each split seed has training and validation molecules of its own, and all have one test fold.

So the errors of the seeds are independent given the test molecules: no molecule is trained on in two splits. Where
there are many labelled molecules this asks what would be found with other training molecules, few of them.
"""

from collections.abc import Sequence

import numpy as np

from chemsieve.errors import ChemsieveError
from chemsieve.splitting import Folds

OPTIONS: dict = {
    "draws": {
        "type": "integer",
        "minimum": 2,
        "default": 8,
        "description": "disjoint training sets, one per split seed; all are tested on the same molecules, and the "
        "fractions are of the molecules that one draw sees",
    }
}
USES_COLUMN = False
LEAVES_OUT = True  # the molecules of the other draws are in no fold


def split(smiles: Sequence[str], fractions: tuple[float, float, float], seed: int, draws: int = 8) -> Folds:
    """Positions of the training, validation and test molecules of draw ``seed``; SMILES are not read.

    ``fractions`` are shares of the molecules that a draw sees: its own training and validation molecules, and the test
    molecules of all draws. So n molecules give each draw n t / (draws (t + v) + s) for training, with t, v and s the
    three fractions.

    Raises:
        ChemsieveError: there is no such draw.
    """
    if not 0 <= seed < draws:
        raise ChemsieveError(f"splitter draws: there is no draw {seed} of {draws}; raise split.options.draws.draws")
    train, validation, test = fractions
    unit = len(smiles) / (draws * (train + validation) + test)
    # A product that should be whole may fall short of it by rounding.
    n_train, n_validation = (int(share * unit + 1e-9) for share in (train, validation))
    order = np.random.RandomState(0).permutation(len(smiles)).tolist()
    own = order[seed * (n_train + n_validation) :][: n_train + n_validation]
    return own[:n_train], own[n_train:], order[draws * (n_train + n_validation) :]
