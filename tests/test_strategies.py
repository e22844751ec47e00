"""Strategies against planted answers and gradients written out."""

import sys
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge as Refit

from chemsieve import registry
from chemsieve.influence.kernel import Kernel
from chemsieve.selection import Context, s2l, ts_dshapley
from chemsieve.selection.ts_dshapley import Ridge
from chemsieve.study import budgets

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_draws(monkeypatch):
    """Each test begins with the same draws, whichever ran before."""
    monkeypatch.setattr(sys.modules[__name__], "RANDOM", np.random.default_rng(0))


def pool_of(labels):
    return pd.DataFrame({"encoder_smiles": ["C" * (i + 1) for i in range(len(labels))], "label": labels})


def score(name, pool, context, **options):
    return registry.load("selection", name).score(pool, context, 0, **options)


def test_residual_is_in_robust_deviations():
    values = score("residual", pool_of([0.0, 1.0, 2.0, 3.0, 50.0]), Context(predictions=lambda: np.zeros(5)))
    np.testing.assert_allclose(values, -np.array([2, 1, 0, 1, 48]) / 1.4826)


def test_disagreement_finds_planted_label_errors():
    train, pool = RANDOM.normal(size=(60, 4)), RANDOM.normal(size=(40, 4))
    weight = np.array([1.0, -2.0, 0.5, 3.0])
    labels = pool @ weight
    labels[:5] += 30
    context = Context(training=pd.DataFrame({"label": train @ weight}), embeddings=lambda: (train, pool))
    assert set(np.argsort(score("disagreement", pool_of(labels), context))[:5]) == set(range(5))


def left_out(features, labels, position, penalty):
    """A ridge on standardised features without one molecule, its prediction of that one; written out."""
    rest = np.delete(np.arange(len(labels)), position)
    mean, scale = features[rest].mean(axis=0), features[rest].std(axis=0)
    rows = (features[rest] - mean) / scale
    centre = labels[rest].mean()
    weights = np.linalg.solve(rows.T @ rows + penalty * np.eye(rows.shape[1]), rows.T @ (labels[rest] - centre))
    return centre + (features[position] - mean) / scale @ weights


def test_disagreement_is_of_a_ridge_that_knows_all_but_the_molecule():
    """As many folds as molecules: the training molecules and all others of the pool, and never itself."""
    random = np.random.default_rng(12)
    train, pool = random.normal(size=(9, 3)), random.normal(size=(7, 3)) + 1
    known, labels = random.normal(size=9), random.normal(size=7) * 3
    context = Context(training=pd.DataFrame({"label": known}), embeddings=lambda: (train, pool))
    values = score("disagreement", pool_of(labels), context, folds=7, penalties=[4.0])
    both, targets = np.concatenate([train, pool]), np.concatenate([known, labels])
    expected = [-abs(labels[i] - left_out(both, targets, 9 + i, 4.0)) for i in range(7)]
    np.testing.assert_allclose(values, expected, rtol=1e-9)


@pytest.mark.parametrize("folds", [2, 5])
def test_no_label_has_a_say_in_what_it_is_held_against(folds):
    """A label that is moved moves its own residual by as much, and those of the others in its fold by nothing."""
    random = np.random.default_rng(13)
    train, pool = random.normal(size=(30, 4)), random.normal(size=(20, 4))
    known, labels = random.normal(size=30), random.normal(size=20)
    context = Context(training=pd.DataFrame({"label": known}), embeddings=lambda: (train, pool))
    options = {"folds": folds, "penalties": [3.0]}
    before = score("disagreement", pool_of(labels), context, **options)
    for moved in range(3):
        changed = labels + np.where(np.arange(20) == moved, 100.0, 0.0)
        after = score("disagreement", pool_of(changed), context, **options)
        assert min(abs(-after[moved] - 100 - side * before[moved]) for side in (-1, 1)) < 1e-6
        assert (np.abs(after - before) < 1e-9).sum() == 20 // folds - 1


def test_target_alignment_is_the_mean_cosine_to_the_nearest():
    train, pool = np.array([[1.0, 0], [0, 2.0], [-1.0, 0]]), np.array([[3.0, 0], [1.0, 1.0]])
    values = score("target_alignment", pool_of([0.0, 0]), Context(embeddings=lambda: (train, pool)), k=2)
    np.testing.assert_allclose(values, [0.5, 0.5**0.5])


def linear():
    rows, residuals = RANDOM.normal(size=(9, 6)), RANDOM.normal(size=9)
    return rows, residuals, Kernel(rows @ rows.T, residuals, 4, 2)


def test_gradient_matching_is_the_product_of_gradients():
    rows, residuals, kernel = linear()
    gradients = 2 * residuals[:, None] * rows
    context = Context(kernels=lambda: [kernel, kernel], rates=lambda: [0.1, 0.3])
    values = score("gradient_matching", pool_of([0.0] * 3), context)
    np.testing.assert_allclose(values, 0.4 * gradients[6:] @ gradients[4:6].mean(axis=0))


def test_self_influence_puts_the_larger_residual_last():
    rows = RANDOM.normal(size=(8, 6))
    rows[7] = rows[6]
    residuals = np.array([0.0] * 6 + [1.0, 3.0])
    context = Context(kernels=lambda: [Kernel(rows @ rows.T, residuals, 4, 2)])
    values = score("self_influence", pool_of([0.0, 0]), context)
    np.testing.assert_allclose(values[1], 9 * values[0])


def test_self_influence_is_that_of_the_last_checkpoint():
    """Residual squared times J (G + damping)^-1 J^T of the last kernel, whatever the others say."""
    random = np.random.default_rng(11)
    rows, residuals = [random.normal(size=(8, 6)) for _ in range(3)], [random.normal(size=8) for _ in range(3)]
    kernels = [Kernel(one @ one.T, left, 4, 2) for one, left in zip(rows, residuals, strict=True)]
    values = score("self_influence", pool_of([0.0, 0]), Context(kernels=lambda: kernels), damping=0.7)
    own, left = rows[-1], residuals[-1]
    inverse = np.linalg.inv(2 / 4 * own[:4].T @ own[:4] + 0.7 * np.eye(6))
    step = -inverse @ (2 / 4 * own[:4].T @ left[:4])
    expected = [(left[z] + own[z] @ step) ** 2 * (2 / 4) * own[z] @ inverse @ own[z] for z in (6, 7)]
    np.testing.assert_allclose(values, -np.array(expected))


def test_influence_uncertainty_joins_ranks():
    gain, spread = np.array([3.0, 1.0, 2.0]), np.array([0.0, 5.0, 1.0])
    context = Context(expected_gain=gain, predict_passes=lambda passes, seed: np.array([spread, -spread]))
    values = score("influence_uncertainty", pool_of([0.0] * 3), context, weight=0.75)
    np.testing.assert_allclose(values, (0.75 * np.array([3, 1, 2]) + 0.25 * np.array([1, 3, 2])) / 3)


def test_curriculum_takes_short_molecules_first():
    assert list(score("curriculum", pool_of([0.0] * 3), Context())) == [-1, -2, -3]


def test_curriculum_by_loss_takes_well_predicted_molecules_first():
    context = Context(predictions=lambda: np.array([1.0, 4.0, 2.0]))
    assert list(score("curriculum_loss", pool_of([1.5, 2.0, 2.0]), context)) == [-0.25, -4, 0]


def test_magnitude_takes_both_signs():
    assert list(budgets.cut(np.array([6.0, 1, -5]), {"magnitude": 5}, "x")) == [True, False, True]


def test_embeddings_through_the_head_are_the_predictions(encoder_folder):
    import torch

    from chemsieve.models import embeddings, regressor
    from chemsieve.models.prediction import predict

    model = regressor.build(encoder_folder, "molformer", {})
    model.set_label_scale(2.0, 3.0)
    ids, device = [[0, 5, 6, 1], [0, 7, 1], [0, 8, 9, 9, 1]], torch.device("cpu")
    embedded = embeddings.pooled(model.encoder, ids, 2, device)
    weight, bias = model.head.weight[0].detach().numpy(), model.head.bias.item()
    np.testing.assert_allclose((embedded @ weight + bias) * 3 + 2, predict(model, ids, 2, device), rtol=1e-5)


# -- TS-DShapley: contributions against explicit refits ----------------------------------------------------------------


def labelled(count, width=4, noise=0.1, random=None):
    """Features and labels of molecules that one linear rule explains."""
    random = random or RANDOM
    rows = random.normal(size=(count, width))
    return rows, rows @ np.arange(1.0, width + 1) + 5 + noise * random.normal(size=count)


def worth(base, joining, query, penalty, group):
    """Minus the validation error of scikit-learn's ridge, refitted with the group."""
    group = list(group)
    model = Refit(alpha=penalty).fit(
        np.concatenate([base[0], joining[0][group]]), np.concatenate([base[1], joining[1][group]])
    )
    return -np.mean((model.predict(query[0]) - query[1]) ** 2)


@pytest.mark.parametrize("pool", [3, 64, 150])  # within one block, just one, and over several
def test_gains_are_those_of_refitting_with_each_molecule(pool):
    game = labelled(12), labelled(pool, noise=2), labelled(9)
    order = np.random.default_rng(1).permutation(pool)
    gains = Ridge.fit(*game, 2.0).gains(order)
    worths = [worth(*game, 2.0, order[:size]) for size in range(pool + 1)]
    np.testing.assert_allclose(gains, np.diff(worths), rtol=1e-6, atol=1e-11)
    assert gains.sum() == pytest.approx(worths[-1] - worths[0], rel=1e-9)


def test_shapley_values_are_means_over_all_orders():
    game = labelled(6), labelled(5, noise=3), labelled(7)
    known = {group: worth(*game, 1.5, group) for size in range(6) for group in combinations(range(5), size)}
    exact = np.zeros(5)
    for order in permutations(range(5)):
        for place, player in enumerate(order):
            exact[player] += known[tuple(sorted(order[: place + 1]))] - known[tuple(sorted(order[:place]))]
    exact /= 120
    proxy = Ridge.fit(*game, 1.5)
    estimate = ts_dshapley.shapley(proxy, 1000, 1.0, 0)
    np.testing.assert_allclose(estimate, exact, atol=0.02 * np.abs(exact).max())
    # However few the permutations, the values share out the worth of the whole pool.
    few = ts_dshapley.shapley(proxy, 3, 1.0, 0)
    assert few.sum() == pytest.approx(known[tuple(range(5))] - known[()], rel=1e-9)
    assert np.abs(few - exact).max() > 0.05 * np.abs(exact).max()


def test_chains_over_one_molecule_each_are_first_contributions():
    game = labelled(6), labelled(5, noise=3), labelled(7)
    values = ts_dshapley.shapley(Ridge.fit(*game, 1.0), 2, 0.2, 0)
    np.testing.assert_allclose(values, [worth(*game, 1.0, [i]) - worth(*game, 1.0, []) for i in range(5)], rtol=1e-8)


def proxy_context(wrong=5, pool=60):
    """A pool whose first molecules carry wrong labels, and the embeddings of a rule that all others follow."""
    random = np.random.default_rng(7)
    parts = {name: labelled(n, 5, random=random) for name, n in {"train": 40, "pool": pool, "validation": 40}.items()}
    labels = parts["pool"][1].copy()
    labels[:wrong] += 25  # all upwards: errors that cancel out may help each other
    context = Context(
        training=pd.DataFrame({"label": parts["train"][1]}),
        validation=pd.DataFrame({"label": parts["validation"][1]}),
        embeddings=lambda: (parts["train"][0], parts["pool"][0]),
        validation_embeddings=lambda: parts["validation"][0],
    )
    return pool_of(labels), context


@pytest.mark.parametrize("options", [{}, {"share": 0.25}, {"ridge": 3.0, "components": 5}], ids=str)
def test_wrong_labels_have_the_lowest_values(options):
    values = score("ts_dshapley", *proxy_context(), permutations=60, **options)
    assert set(np.argsort(values)[:5]) == set(range(5))
    assert (values[:5] < 0).all()


def test_fewer_components_are_another_proxy():
    pool, context = proxy_context()
    narrow, wide = (ts_dshapley.fitted(pool, context, count, None) for count in (2, 64))
    assert (narrow.rows.shape, wide.rows.shape) == ((60, 3), (60, 6))  # with the intercept; five where there are five


def test_best_removal_cuts_at_the_least_validation_error():
    pool, context = proxy_context()
    values = score("ts_dshapley", pool, context, permutations=20)
    moved = score("ts_dshapley", pool, context, permutations=20, best_removal=True)
    np.testing.assert_allclose(moved - values, (moved - values)[0])  # moved together: the order stays
    proxy = ts_dshapley.fitted(pool, context, 64, None)
    order = np.argsort(-values)
    losses = [-proxy.gains(order[:kept]).sum() for kept in range(len(order) + 1)]
    best = int(np.argmin(losses))
    assert 0 < best <= 55
    assert set(np.flatnonzero(moved >= 0)) == set(order[:best])


def test_best_removal_may_keep_nothing():
    pool, context = proxy_context(wrong=60)
    assert (score("ts_dshapley", pool, context, permutations=20, best_removal=True) < 0).all()


# -- S2L: trajectories against training in steps, order against the paper's algorithm ----------------------------------


def test_trajectories_are_those_of_gradient_descent_in_small_steps():
    rows, labels = labelled(12, 3)
    steps = 4000
    losses = s2l.trajectories([rows], labels, 5, 100.0)
    first = 1 / np.linalg.eigvalsh(rows.T @ rows / 12)[-1]
    for place, time in enumerate([1, 10**0.5, 10, 10**1.5, 100]):
        weights = np.zeros(3)
        for _ in range(steps):
            weights -= first * time / steps * rows.T @ (rows @ weights - labels) / 12
        np.testing.assert_allclose(losses[:, place], (rows @ weights - labels) ** 2, rtol=0.02, atol=1e-3)


def test_trajectories_end_at_least_squares():
    rows, labels = labelled(12, 3)
    best = rows @ np.linalg.lstsq(rows, labels, rcond=None)[0]
    losses = s2l.trajectories([rows], labels, 2, 1e9)
    np.testing.assert_allclose(losses[:, 1], (labels - best) ** 2, atol=1e-9)
    wide = np.column_stack([rows, RANDOM.normal(size=(12, 20))])  # more features than molecules: every label is met
    np.testing.assert_allclose(s2l.trajectories([wide], labels, 2, 1e9)[:, 1], 0, atol=1e-9)


def published_counts(sizes, budget):
    """How many molecules algorithm 1 of the paper takes of each cluster, smallest cluster first."""
    taken, left = {}, len(sizes)
    for cluster in sorted(range(len(sizes)), key=lambda c: (sizes[c], c)):
        taken[cluster] = min(sizes[cluster], (budget - sum(taken.values())) // left)
        left -= 1
    return [taken[c] for c in range(len(sizes))]


@pytest.mark.parametrize("budget", [1, 5, 12, 20, 37, 48])
def test_every_beginning_of_the_order_takes_what_the_paper_takes(budget):
    sizes = [20, 3, 15, 10]
    groups = np.random.default_rng(2).permutation(np.repeat(range(4), sizes))
    order = s2l.balanced(groups, 0)
    assert sorted(order) == list(range(48))
    counts = np.bincount(groups[order[:budget]], minlength=4)
    # The paper's divisions leave remainders to the larger clusters, turns leave them to the smaller.
    assert np.abs(counts - published_counts(sizes, budget)).max() <= 1
    assert list(groups[order[:5]]) == [1, 3, 2, 0, 1]


def test_order_within_a_cluster_is_random():
    orders = {tuple(s2l.balanced(np.zeros(8, dtype=int), seed)) for seed in range(20)}
    assert len(orders) > 10


def test_planted_clusters_of_trajectories_come_out_balanced():
    """Equal losses at first; then one kind is learned fast, one slowly, and one contradicts the others."""
    random = np.random.default_rng(3)
    kinds = np.repeat([0, 1, 2], [60, 12, 6])
    signs = random.choice([-1.0, 1.0], size=(78, 1))
    rows = signs * np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])[kinds]
    labels = signs[:, 0] * np.array([1.0, 1.0, -1.0])[kinds]
    context = Context(training=pd.DataFrame({"label": labels[:9]}), embeddings=lambda: (rows[:9], rows))
    values = score("s2l", pool_of(labels), context, clusters=3)
    assert sorted(-values) == list(range(78))
    order = np.argsort(-values)
    assert list(kinds[order[:3]]) == [2, 1, 0]
    assert list(np.bincount(kinds[order[:18]])) == [6, 6, 6]
    assert list(np.bincount(kinds[order[:30]])) == [12, 12, 6]
