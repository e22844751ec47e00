"""Labels cut in two at the mean of the training labels: regression on 0 and 1, for protocols that classify."""

import numpy as np
import pandas as pd

from chemsieve.errors import ChemsieveError


def binarised(molecules: pd.DataFrame, training: np.ndarray) -> pd.DataFrame:
    """``molecules`` with labels 1 above the mean label of the training molecules, else 0.

    Args:
        molecules: table with a column ``label``, in its own unit.
        training: (molecules,) whether each is a training molecule; no other label has a say in the mean.

    Raises:
        ChemsieveError: there is no training molecule.
    """
    training = np.asarray(training, dtype=bool)
    if not training.any():
        raise ChemsieveError("target.binarise: there is no training molecule whose labels have a mean")
    labels = molecules["label"]
    return molecules.assign(label=(labels > labels[training].mean()).astype(float))
