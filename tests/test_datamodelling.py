"""The datamodelling score against scipy, a planted answer and simulated noise."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm, spearmanr

from chemsieve.errors import ChemsieveError
from chemsieve.influence import datamodelling


def planted(noise, seeds=2, subsets=60, pool=40):
    """Additive effects of pool molecules, subsets, and losses after retraining with noise."""
    generator = np.random.default_rng(0)
    effects = generator.normal(size=pool)
    membership = np.zeros((subsets, pool))
    for index in range(subsets):
        membership[index, datamodelling.subset(pool, 0.5, index, 7)] = 1
    losses = -(membership @ effects)[:, None] + noise * generator.normal(size=(subsets, seeds))
    return effects, membership, losses


def test_subsets_are_random_of_the_right_size_and_reproducible():
    first, second = datamodelling.subset(41, 0.5, 0, 3), datamodelling.subset(41, 0.5, 1, 3)
    assert len(first) == len(set(first)) == 20
    assert set(first) != set(second)
    np.testing.assert_array_equal(first, datamodelling.subset(41, 0.5, 0, 3))
    shares = np.mean([np.isin(np.arange(41), datamodelling.subset(41, 0.5, i, 3)) for i in range(2000)], axis=0)
    assert np.abs(shares - 20 / 41).max() < 0.05
    with pytest.raises(ChemsieveError, match="no proper subset"):
        datamodelling.subset(3, 0.1, 0, 0)


def test_a_true_score_reaches_one_and_its_opposite_minus_one():
    effects, membership, losses = planted(noise=0.0)
    value, low, high = datamodelling.score(effects, membership, losses)
    assert value == pytest.approx(1)
    assert 0.99 < low < 1, "no number of ranks proves a perfect order"
    assert high == pytest.approx(1)
    assert datamodelling.score(-effects, membership, losses)[0] == pytest.approx(-1)
    assert datamodelling.ceiling(losses)[0] == pytest.approx(1)


def test_it_is_the_spearman_correlation_and_the_interval_holds_it():
    effects, membership, losses = planted(noise=4.0)
    guess = effects + np.random.default_rng(1).normal(size=len(effects))
    value, low, high = datamodelling.score(guess, membership, losses)
    assert value == pytest.approx(spearmanr(membership @ guess, -losses.mean(axis=1)).statistic)
    assert low < value < high
    unrelated = datamodelling.score(np.random.default_rng(2).normal(size=len(effects)), membership, losses)
    assert unrelated[1] < 0 < unrelated[2]


def test_the_interval_is_as_wide_as_its_level_says():
    """Without any relation a rank correlation of n subsets has the standard error 1 / sqrt(n - 1); 95 % are 1.96."""
    generator, n, widths = np.random.default_rng(4), 300, []
    for _ in range(12):
        membership, losses = np.eye(n), generator.normal(size=(n, 2))
        _, low, high = datamodelling.score(generator.normal(size=n), membership, losses)
        widths.append((high - low) / 2 * np.sqrt(n - 1))
    assert np.mean(widths) == pytest.approx(norm.ppf(0.975), rel=0.08)  # 90 % would be 1.64


def test_ceiling_is_what_the_truth_reaches_under_noise():
    reached, said = [], []
    generator = np.random.default_rng(3)
    for _ in range(60):
        truth = generator.normal(size=300)
        losses = -truth[:, None] + 1.5 * generator.normal(size=(300, 3))
        reached.append(spearmanr(truth, -losses.mean(axis=1)).statistic)
        said.append(datamodelling.ceiling(losses)[0])
    assert np.mean(said) == pytest.approx(np.mean(reached), abs=0.02)
    assert np.isnan(datamodelling.ceiling(losses[:, :1])).all()


@pytest.mark.parametrize("subsets", [6, 7])
def test_few_subsets_without_any_relation_seldom_say_so(subsets):
    """Over all orders of the measured gains: the interval leaves out zero in at most 5 % of them."""
    orders = [np.array(order) for order in itertools.permutations(range(subsets))]
    first = np.arange(subsets)
    values = [round(datamodelling.spearman(first, order), 9) for order in orders]
    outside = {
        value: not (lambda ends: ends[0] <= 0 <= ends[1])(datamodelling.interval(value, subsets))
        for value in set(values)
    }
    assert np.mean([outside[value] for value in values]) <= 0.05
    low, high = datamodelling.interval(1.0, subsets)
    assert 0 < low < 0.9
    assert high == 1


def test_the_interval_of_the_ceiling_holds_what_the_truth_reaches():
    generator, held, times = np.random.default_rng(5), 0, 300
    for _ in range(times):
        truth = generator.normal(size=8)
        losses = -truth[:, None] + generator.normal(size=(8, 2))
        value, low, high = datamodelling.ceiling(losses)
        assert low <= value <= high
        held += low <= 0.8165 <= high  # the root of 2 / 3, the reliability of two seeds of half the variance each
    assert held >= binom.ppf(0.001, times, 0.95)


def test_table_joins_subsets_by_molecule():
    effects, membership, losses = planted(noise=0.0, subsets=10)
    pool = [f"pool-{i}" for i in range(len(effects))]
    retraining = pd.DataFrame(
        [
            {"subset": s, "retrain_seed": k, "validation_mse": losses[s, k],
             "members": [pool[i] for i in np.flatnonzero(membership[s])]}
            for s in range(10) for k in range(2)
        ]
    )  # fmt: skip
    influence = pd.DataFrame({"molecule_id": pool, "expected_gain": effects}).sample(frac=1, random_state=0)
    influence = influence.assign(origin="adapted", checkpoint=-1, estimator="exact")
    table = datamodelling.table(influence, retraining, pool)
    assert list(table["datamodelling_score"]) == [pytest.approx(1)]
    assert list(table["subsets"]) == [10]
    # A strategy's score is held against retraining as it is; one that scores not every molecule is left out.
    chosen = pd.DataFrame({"molecule_id": pool, "score": -effects, "strategy": "contrary", "origin": "adapted"})
    blind = chosen.assign(strategy="random", score=np.nan)
    table = datamodelling.table(influence, retraining, pool, pd.concat([chosen, blind]))
    assert list(table["kind"]) == ["estimator", "strategy"]
    assert list(table["estimator"]) == ["exact", "contrary"]
    assert list(table["datamodelling_score"]) == [pytest.approx(1), pytest.approx(-1)]
