"""Influence on single test molecules, against the explicit inverse in the space of the parameters."""

import numpy as np
import pandas as pd
import pytest

from chemsieve.errors import ChemsieveError
from chemsieve.influence import on_test
from chemsieve.influence.kernel import Kernel

TRAIN, TEST, POOL, WIDTH = 12, 3, 5, 20
IDS = [f"pool-{i}" for i in range(POOL)]


def test_molecules_are_a_seeded_sample_in_the_order_of_the_file_with_their_labels():
    test = pd.DataFrame({"molecule_id": [f"target-{i}" for i in range(30)], "encoder_smiles": "C"})
    labels = pd.DataFrame({"molecule_id": test["molecule_id"], "label": np.arange(30.0)}).sample(frac=1, random_state=0)
    samples = []
    for seed in (0, 0, 1):
        found = on_test.sampled(test, labels, 4, seed)
        places = [int(name.removeprefix("target-")) for name in found["molecule_id"]]
        assert len(places) == 4
        assert places == sorted(places)
        assert list(found["label"]) == places
        samples.append(places)
    assert samples[0] == samples[1] != samples[2]
    assert list(on_test.sampled(test, labels, 99, 0)["molecule_id"]) == list(test["molecule_id"])


def test_each_pair_has_its_influence_and_each_test_molecule_its_error():
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(TRAIN + TEST + POOL, WIDTH))
    residuals = generator.normal(size=len(rows))
    kernel = Kernel(rows @ rows.T, residuals, TRAIN, TEST)
    test = pd.DataFrame({"molecule_id": ["target-9", "target-2", "target-5"], "label": 0.0})
    found = on_test.table(kernel, generator.normal(size=TRAIN), IDS, test, 0.7, 0, scale=2.5)
    inverse = np.linalg.inv(2 / TRAIN * rows[:TRAIN].T @ rows[:TRAIN] + 0.7 * np.eye(WIDTH))
    gradients = 2 * residuals[:, None] * rows
    expected = -gradients[TRAIN + TEST :] @ inverse @ gradients[TRAIN : TRAIN + TEST].T
    assert len(found) == TEST * POOL
    for row in found.itertuples():
        pool, place = IDS.index(row.molecule_id), list(test["molecule_id"]).index(row.test_id)
        assert row.influence == pytest.approx(expected[pool, place], rel=1e-8)
        assert row.error == pytest.approx(2.5 * residuals[TRAIN + place])
    assert set(found["damping"]) == {0.7}
    without = Kernel((rows @ rows.T)[: TRAIN + TEST, : TRAIN + TEST], residuals[: TRAIN + TEST], TRAIN, TEST)
    with pytest.raises(ChemsieveError, match=r"estimators\.exact: it needs the pool"):
        on_test.table(without, np.zeros(TRAIN), [], test, 0.7, 0, 1.0)
