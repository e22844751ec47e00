"""The splitter draws: disjoint training sets, one test fold."""

import numpy as np
import pytest

from chemsieve.errors import ChemsieveError
from chemsieve.splitting import divide

SMILES = ["C" * (n + 1) for n in range(220)]
FRACTIONS = (0.1875, 0.0625, 0.75)


def folds(seed: int, draws: int = 8) -> np.ndarray:
    return divide("draws", SMILES, FRACTIONS, seed, draws=draws)


def test_seeds_train_on_disjoint_molecules_and_are_tested_on_the_same():
    made = [folds(seed) for seed in range(8)]
    used = np.array([(fold == "train") | (fold == "validation") for fold in made])
    assert (used.sum(axis=0) <= 1).all()
    for fold in made:
        assert [(fold == name).sum() for name in ("train", "validation", "test", "")] == [15, 5, 60, 140]
        assert ((fold == "test") == (made[0] == "test")).all()


def test_there_are_no_more_seeds_than_draws():
    with pytest.raises(ChemsieveError, match="no draw 8 of 8"):
        folds(8)
    assert len(folds(8, draws=10)) == len(SMILES)
