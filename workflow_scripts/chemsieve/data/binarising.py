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
    labels = molecules["label"]
    return molecules.assign(label=above_mean(labels, labels[np.asarray(training, dtype=bool)]))


def above_mean(labels: pd.Series, training: pd.Series) -> pd.Series:
    """1.0 where a label lies above the mean of the training labels, else 0.0.

    Raises:
        ChemsieveError: there is no training label.
    """
    if training.empty:
        raise ChemsieveError("target.binarise: there is no training molecule whose labels have a mean")
    return (labels > training.mean()).astype(float)
