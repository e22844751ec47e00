"""Split conformal intervals (Vovk et al. 2005; Lei et al. 2018, 10.1080/01621459.2017.1307116)."""

import math

import numpy as np

from chemsieve.errors import ChemsieveError


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
    rank = math.ceil((count + 1) * coverage - 1e-9)  # 100 x 0.07 is 7.000000000000001
    if rank > count:
        most = math.floor(1000 * count / (count + 1)) / 1000
        raise ChemsieveError(
            f"predict.coverage: {count} validation molecules calibrate an interval of at most {most:g}, not of "
            f"{coverage:g}; lower it"
        )
    return float(np.sort(np.abs(errors))[rank - 1])
