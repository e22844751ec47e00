"""What follows from the Gram matrix, against explicit regression in the space of the parameters and enumeration."""

from itertools import combinations, permutations
from math import factorial

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.kernel_ridge import KernelRidge

from chemsieve.errors import ChemsieveError, InfluenceDivergence
from chemsieve.influence import kernel as kernels
from chemsieve.influence.estimators import Task, greedy, shapley
from chemsieve.influence.scoring import from_kernel

TRAIN, QUERY, POOL, WIDTH = 20, 6, 6, 40
T, Q, Z = slice(0, TRAIN), slice(TRAIN, TRAIN + QUERY), slice(TRAIN + QUERY, None)


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(TRAIN + QUERY + POOL, WIDTH))
    return rows, kernels.Kernel(rows @ rows.T, generator.normal(size=len(rows)), TRAIN, QUERY)


def refitted_loss(rows, kernel, damping, group):
    """Mean query loss after (1/N) |r + J d|^2 + damping / 2 |d|^2 is minimised over the parameters d."""
    chosen = np.r_[np.arange(TRAIN), TRAIN + QUERY + np.asarray(group, dtype=int)]
    matrix = 2 / TRAIN * rows[chosen].T @ rows[chosen] + damping * np.eye(WIDTH)
    step = -np.linalg.solve(matrix, 2 / TRAIN * rows[chosen].T @ kernel.residuals[chosen])
    return np.mean((kernel.residuals[Q] + rows[Q] @ step) ** 2)


@pytest.mark.parametrize("damping", [0.01, 1.0])
def test_influence_is_that_of_the_explicit_inverse(problem, damping):
    rows, kernel = problem
    inverse = np.linalg.inv(2 / TRAIN * rows[T].T @ rows[T] + damping * np.eye(WIDTH))
    gradients = 2 * kernel.residuals[:, None] * rows
    expected = -gradients[Z] @ inverse @ gradients[Q].T
    np.testing.assert_allclose(kernels.per_query(kernel, damping), expected, rtol=1e-8)
    np.testing.assert_allclose(kernels.first_order(kernel, damping), expected.mean(axis=1), rtol=1e-8)
    a, b = kernels.dual_solution(kernel, damping)
    np.testing.assert_allclose(rows[T].T @ a + rows[Q].T @ b, inverse @ gradients[Q].mean(axis=0), rtol=1e-8)


def test_one_factor_serves_everything_at_one_damping(problem, monkeypatch):
    """And after another damping was asked for, the answers are the same again."""
    rows, given = problem
    kernel, made, factor = kernels.Kernel(rows @ rows.T, given.residuals, TRAIN, QUERY), [], kernels.factor
    monkeypatch.setattr(kernels, "factor", lambda matrix, constant: made.append(constant) or factor(matrix, constant))

    def everything(damping):
        a, b = kernels.dual_solution(kernel, damping)
        return np.concatenate([kernels.first_order(kernel, damping), a, b, kernels.refit(kernel, damping).pool[0]])

    first, other, again = everything(0.5), everything(0.05), everything(0.5)
    assert made == [TRAIN * damping / 2 for damping in (0.5, 0.05, 0.5)]
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("group", [[], [2], [0, 3, 5], range(POOL)])
def test_effect_of_a_group_is_that_of_the_refit(problem, group):
    rows, kernel = problem
    model = kernels.refit(kernel, 0.5)
    assert model.loss == pytest.approx(refitted_loss(rows, kernel, 0.5, []), rel=1e-9)
    expected = refitted_loss(rows, kernel, 0.5, group) - refitted_loss(rows, kernel, 0.5, [])
    assert kernels.group_effect(model, group) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_gains_along_an_order_are_those_of_its_prefixes(problem):
    rows, kernel = problem
    order = np.array([4, 0, 5, 1, 3, 2])
    gains = kernels.marginal_gains(kernels.refit(kernel, 0.5), order)
    losses = [refitted_loss(rows, kernel, 0.5, order[:k]) for k in range(POOL + 1)]
    np.testing.assert_allclose(gains, -np.diff(losses), rtol=1e-8)


def test_shapley_values_are_those_of_all_coalitions(problem):
    rows, kernel = problem
    worth = {
        frozenset(group): -refitted_loss(rows, kernel, 0.5, group)
        for size in range(POOL + 1)
        for group in combinations(range(POOL), size)
    }
    expected = np.zeros(POOL)
    for player in range(POOL):
        for group in (g for g in worth if player not in g):
            weight = factorial(len(group)) * factorial(POOL - len(group) - 1) / factorial(POOL)
            expected[player] += weight * (worth[group | {player}] - worth[group])
    model = kernels.refit(kernel, 0.5)
    every = np.mean([np.bincount(o, kernels.marginal_gains(model, np.array(o))) for o in permutations(range(POOL))], 0)
    np.testing.assert_allclose(every, expected, rtol=1e-8)
    found = kernels.shapley(model, 4000, seed=0)
    values, half = found.values, found.half
    np.testing.assert_allclose(values, expected, atol=0.05 * np.abs(expected).max())
    assert values.sum() == pytest.approx(-kernels.group_effect(model, range(POOL)))
    assert not np.allclose(values, half, rtol=1e-12)
    np.testing.assert_array_equal(values, kernels.shapley(model, 4000, seed=0).values)
    assert np.mean(np.abs(values - expected) < 2 * found.errors) > 0.7, "95 % of values lie within two standard errors"
    assert found.agreement > 0.99


def test_scores_of_half_the_permutations_are_compared_with_those_of_all():
    generator = np.random.default_rng(6)
    rows = generator.normal(size=(45, 8))
    kernel = kernels.Kernel(rows @ rows.T, generator.normal(size=45), 10, 5)
    facts = {"all_train": 10, "error": 0.0, "largest_eigenvalue": 1.0, "seconds": 0.0, "peak_memory_mb": 0.0}

    def scored(permutations):
        options = {"damping": 0.1, "permutations": permutations}
        return from_kernel(kernel, np.zeros(10), facts, None, "shapley", options, 0.05, 3)

    (whole, diagnostics, _), _ = scored(8), scored(4)
    model = kernels.refit(kernel, 0.1)
    generator = np.random.default_rng(3)
    orders = [generator.permutation(30) for _ in range(4)]
    half = sum(np.bincount(o, kernels.marginal_gains(model, o)) for order in orders[::2] for o in (order, order[::-1]))
    expected = spearmanr(-whole, half).statistic
    assert expected < 0.999, "or it shows nothing"
    assert diagnostics["spearman_vs_half"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("asked", "made"), [(1, 4), (4, 4), (5, 6), (8, 8)])
def test_as_many_permutations_are_made_as_are_asked_for(problem, monkeypatch, asked, made):
    """In pairs, an order and its reverse, and at least two pairs, so that there is a half to compare with."""
    orders, gains = [], kernels.marginal_gains
    monkeypatch.setattr(kernels, "marginal_gains", lambda model, order: orders.append(order) or gains(model, order))
    model = kernels.refit(problem[1], 0.5)
    found = kernels.shapley(model, asked, 0)
    assert len(orders) == made == found.permutations
    assert all((one == other[::-1]).all() for one, other in zip(orders[::2], orders[1::2], strict=True))
    each = [np.bincount(order, gains(model, order)) for order in orders]
    np.testing.assert_allclose(found.values, np.mean(each, axis=0))
    paired = np.array(each).reshape(-1, 2, POOL).mean(axis=1)
    np.testing.assert_allclose(found.half, paired[::2].mean(axis=0))
    np.testing.assert_allclose(found.errors, paired.std(axis=0, ddof=1) / np.sqrt(len(paired)))


def test_cross_fitted_values_are_those_of_held_out_errors_of_all_labelled_molecules():
    """Three players: each coalition's worth by explicit ridge regressions on the labels of the other folds."""
    random = np.random.default_rng(8)
    rows, labels = random.normal(size=(18, 6)), random.normal(size=18)
    kernel = kernels.Kernel(rows @ rows.T, random.normal(size=18), 11, 4, labels)
    folds = np.array_split(np.random.default_rng(0).permutation(15), 5)

    def worth(group):
        total = 0.0
        for held in folds:
            rest = [*np.setdiff1d(np.arange(15), held), *(15 + np.array(group, dtype=int))]
            ridge = (15 - len(held)) * 0.3 / 2
            weights = np.linalg.solve(rows[rest].T @ rows[rest] + ridge * np.eye(6), rows[rest].T @ labels[rest])
            total -= np.sum((rows[held] @ weights - labels[held]) ** 2) / 15
        return total

    orders = list(permutations(range(3)))
    wanted = np.zeros(3)
    for order in orders:
        for place, player in enumerate(order):
            wanted[player] += (worth(order[: place + 1]) - worth(order[:place])) / len(orders)
    task = Task(kernel, labels[:11], 0, None)
    found = shapley.score(task, damping=0.3, permutations=2000, settled=None)
    np.testing.assert_allclose(-found.influence, wanted, atol=6 * found.errors.max())
    assert found.influence.sum() == pytest.approx(-(worth(range(3)) - worth([])))
    plain = shapley.score(task, damping=0.3, permutations=400, settled=None, query="validation")
    assert not np.allclose(plain.influence, found.influence, rtol=0.1)


def sampled(seed=6, pool=30):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(15 + pool, 8))
    return kernels.refit(kernels.Kernel(rows @ rows.T, generator.normal(size=15 + pool), 10, 5), 0.1)


def test_standard_errors_are_the_spread_over_seeds():
    model = sampled()
    runs = [kernels.shapley(model, 40, seed) for seed in range(60)]
    spread = np.std([run.values for run in runs], axis=0, ddof=1)
    told = np.sqrt(np.mean([run.errors**2 for run in runs], axis=0))
    np.testing.assert_allclose(told.mean(), spread.mean(), rtol=0.15)


def test_the_expected_agreement_is_that_with_very_many_permutations():
    model = sampled()
    truth = kernels.shapley(model, 6000, 1000).values
    for made in (4, 16, 64):
        runs = [kernels.shapley(model, made, seed) for seed in range(60)]
        wanted = np.mean([spearmanr(run.values, truth).statistic for run in runs])
        assert np.mean([run.agreement for run in runs]) == pytest.approx(wanted, abs=0.06 if made == 4 else 0.02)


def test_permutations_end_where_the_ranking_is_settled_and_it_says_where_it_is_not():
    model = sampled()
    enough = kernels.shapley(model, 4000, 0, settled=0.98)
    assert 2 * kernels.LEAST_PAIRS <= enough.permutations < 4000
    assert enough.agreement >= 0.98
    np.testing.assert_array_equal(kernels.shapley(model, enough.permutations, 0).values, enough.values)
    few = kernels.shapley(model, 20, 0, settled=0.9999)
    assert (few.permutations, few.agreement < 0.9999) == (20, True)


def test_greedy_takes_the_best_next_molecule_each_time(problem):
    rows, kernel = problem
    order, falls = kernels.greedy(kernels.refit(kernel, 0.5))
    chosen = []
    for position, fall in zip(order, falls, strict=True):
        losses = {z: refitted_loss(rows, kernel, 0.5, [*chosen, z]) for z in range(POOL) if z not in chosen}
        assert position == min(losses, key=losses.get)
        assert fall == pytest.approx(refitted_loss(rows, kernel, 0.5, chosen) - losses[position], rel=1e-7)
        chosen.append(int(position))
    task = Task(kernel, np.zeros(TRAIN), 0, None)
    np.testing.assert_array_equal(np.argsort(greedy.score(task, damping=0.5).influence), order)


@pytest.mark.parametrize("damping", [0.01, 1.0])
def test_the_estimated_residual_is_that_of_independent_errors(damping):
    """Against the solution formed of explicit gradients, averaged over matrices with random errors."""
    generator = np.random.default_rng(5)
    n, m, width = 120, 15, 300
    rows = generator.normal(size=(n + m, width)) * np.arange(1, width + 1) ** -0.7
    residuals = generator.normal(size=n + m)
    whole = rows @ rows.T
    gauss_newton = 2 / n * rows[:n].T @ rows[:n] + damping * np.eye(width)
    vector = 2 / m * rows[n:].T @ residuals[n:]
    estimates, truths = [], []
    for _ in range(30):
        noise = generator.normal(size=whole.shape) * 1e-5
        noise = np.tril(noise) + np.tril(noise, -1).T
        kernel = kernels.Kernel(whole + noise, residuals, n, m)
        a, b = kernels.dual_solution(kernel, damping)
        truths.append(np.linalg.norm(gauss_newton @ (rows[:n].T @ a + rows[n:].T @ b) - vector))
        error = np.linalg.norm(noise) / np.linalg.norm(whole)
        estimates.append(kernels.estimated_residual(kernel, damping, error))
    expected = kernels.ALLOWANCE * np.mean(truths) / np.linalg.norm(vector)
    assert np.mean(estimates) == pytest.approx(expected, rel=0.1)
    assert kernels.estimated_residual(kernels.Kernel(whole, residuals, n, m), damping, 0.0) == 0


def test_norms_and_the_estimated_residual_are_those_of_their_formulas():
    """With a small kernel, where nothing is hidden by averages; the error's share is of training and query alone."""
    generator = np.random.default_rng(8)
    rows, residuals = 0.01 * generator.normal(size=(11, 5)), generator.normal(size=11)
    kernel = kernels.Kernel(rows @ rows.T, residuals, 5, 3)
    left = generator.normal(size=5)
    assert kernels.residual_norm(kernel, left) == pytest.approx(np.linalg.norm(2 / 5 * rows[:5].T @ left))
    vector = 2 / 3 * rows[5:8].T @ residuals[5:8]
    assert kernels.query_gradient_norm(kernel) == pytest.approx(np.linalg.norm(vector))
    damping, error = 0.3, 1.0
    a = -np.linalg.solve(rows[:5] @ rows[:5].T + 5 * damping / 2 * np.eye(5), rows[:5] @ vector) / damping
    b = 2 / 3 * residuals[5:8] / damping
    entry = error * np.linalg.norm(rows[:8] @ rows[:8].T) / 8
    off = entry * np.linalg.norm([*a, *b]) * 2 / 5 * np.linalg.norm(rows[:5]) / np.linalg.norm(vector)
    assert kernels.estimated_residual(kernel, damping, error) == pytest.approx(2 * off)  # with the allowance for both
    learned = kernels.Kernel(rows @ rows.T, np.where((np.arange(11) < 8) & (np.arange(11) >= 5), 0.0, residuals), 5, 3)
    assert kernels.estimated_residual(learned, damping, error) == 0


def test_pairs_stand_with_their_names(problem):
    _, kernel = problem
    labels = np.random.default_rng(2).normal(size=TRAIN)
    pool, query = [f"pool-{i}" for i in range(POOL)], [f"target-{i}" for i in range(QUERY)]
    for damping in (0.5, None):
        table = kernels.per_query_table(kernel, labels, pool, query, damping, 4)
        used = 0.5 if damping else kernels.choose_damping(kernel, labels, folds=5, seed=4)[0]
        assert set(table["damping"]) == {used}
        model, expected = kernels.refit(kernel, used), kernels.per_query(kernel, used)
        assert len(table) == POOL * QUERY
        for row in table.itertuples():
            z, q = pool.index(row.molecule_id), query.index(row.query_id)
            assert row.influence == pytest.approx(expected[z, q])
            assert row.residual == pytest.approx(model.pool_residuals[z])
            assert row.leverage == pytest.approx(kernels.leverage(model)[z])
            assert row.self_influence == pytest.approx(kernels.self_influence(model)[z])
    without = kernels.Kernel(kernel.matrix[:26, :26], kernel.residuals[:26], TRAIN, QUERY)
    with pytest.raises(ChemsieveError, match=r"estimators\.exact: it needs the pool"):
        kernels.per_query_table(without, labels, [], query, 0.5, 4)


def test_some_choices_are_the_first_of_all(problem):
    model = kernels.refit(problem[1], 0.5)
    order, falls = kernels.greedy(model)
    some, fell = kernels.greedy(model, 2)
    assert some.tolist() == order[:2].tolist()
    np.testing.assert_array_equal(fell, falls[:2])


def test_folds_of_the_choice_of_damping_follow_from_their_number_and_seed():
    generator = np.random.default_rng(5)
    rows, labels = generator.normal(size=(30, 12)), generator.normal(size=30)
    kernel = kernels.Kernel(rows @ rows.T, np.zeros(30), 30, 0)

    def errors(**options):
        return tuple(kernels.choose_damping(kernel, labels, dampings=[0.1, 1.0], **options)[1])

    assert errors() == errors(folds=5, seed=0)
    assert len({errors(), errors(seed=1), errors(folds=3)}) == 3
    alone = [
        np.mean([(_left_out(rows, labels, i, damping) - labels[i]) ** 2 for i in range(30)]) for damping in (0.1, 1.0)
    ]
    np.testing.assert_allclose(errors(folds=30), alone, rtol=1e-8)


def test_where_no_damping_is_configured_the_seeds_choice_is_taken():
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(20, 6))
    labels = 1.5 * generator.normal(size=20) + rows[:, 0]
    kernel = kernels.Kernel(rows @ rows.T, np.zeros(20), 20, 0)
    chosen = [kernels.damping_or_choice(kernel, labels, seed, None) for seed in range(12)]
    assert chosen == [kernels.choose_damping(kernel, labels, seed=seed)[0] for seed in range(12)]
    assert len(set(chosen)) > 1, "or it shows nothing of the seed"
    assert kernels.damping_or_choice(kernel, labels, 0, 0.123) == 0.123


def _left_out(rows, labels, i, damping):
    """Prediction of one molecule by the ridge of all others, in the space of the parameters."""
    rest = np.delete(np.arange(len(labels)), i)
    matrix = rows[rest].T @ rows[rest] + len(rest) * damping / 2 * np.eye(rows.shape[1])
    return rows[i] @ np.linalg.solve(matrix, rows[rest].T @ labels[rest])


def test_leverage_and_self_influence_are_those_of_joining(problem):
    rows, kernel = problem
    model = kernels.refit(kernel, 0.5)
    leverage, own = kernels.leverage(model), kernels.self_influence(model)
    inverse = np.linalg.inv(2 / TRAIN * rows[T].T @ rows[T] + 0.5 * np.eye(WIDTH))
    step = -inverse @ (2 / TRAIN * rows[T].T @ kernel.residuals[T])
    for z in range(POOL):
        row = rows[TRAIN + QUERY + z]
        both = np.vstack([rows[T], row])
        hat = 2 / TRAIN * row @ np.linalg.inv(2 / TRAIN * both.T @ both + 0.5 * np.eye(WIDTH)) @ row
        assert leverage[z] == pytest.approx(hat, rel=1e-8)
        residual = kernel.residuals[Z][z] + row @ step
        assert own[z] == pytest.approx(residual**2 * (2 / TRAIN) * row @ inverse @ row, rel=1e-8)


def test_damping_is_the_one_that_cross_validation_of_a_peer_chooses():
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(60, 30))
    labels = rows @ generator.normal(size=30) + generator.normal(size=60) * 3
    kernel = kernels.Kernel(rows @ rows.T, np.zeros(60), 50, 5)
    damping, errors = kernels.choose_damping(kernel, labels[:50], folds=5, seed=0)
    places = np.array_split(np.random.default_rng(0).permutation(50), 5)
    expected = []
    for candidate in kernels.DAMPINGS:
        squares = 0.0
        for held in places:
            rest = np.setdiff1d(np.arange(50), held)
            peer = KernelRidge(alpha=len(rest) * candidate / 2, kernel="precomputed")
            peer.fit(kernel.matrix[np.ix_(rest, rest)], labels[rest])
            squares += np.sum((peer.predict(kernel.matrix[np.ix_(held, rest)]) - labels[held]) ** 2)
        expected.append(squares / 50)
    np.testing.assert_allclose(errors, expected, rtol=1e-6)
    assert damping == kernels.DAMPINGS[int(np.argmin(expected))]


def test_leaving_out_a_training_molecule_is_predicted_on_a_convex_model(problem):
    """First-order influence of molecules in the training set against refits without them."""
    generator = np.random.default_rng(1)
    features = generator.normal(size=(300, 10))
    labels = features @ generator.normal(size=10) + generator.normal(size=300)
    train, query = slice(0, 250), slice(250, 300)
    damping = 0.1
    n = 250

    def fit(keep):
        matrix = 2 / n * features[keep].T @ features[keep] + damping * np.eye(10)
        return np.linalg.solve(matrix, 2 / n * features[keep].T @ labels[keep])

    theta = fit(np.arange(n))
    both = np.vstack([features[train], features[query], features[train][:60]])
    target = np.r_[labels[train], labels[query], labels[train][:60]]
    kernel = kernels.Kernel(both @ both.T, both @ theta - target, n, 50)
    predicted = -kernels.first_order(kernel, damping) / n
    losses = [np.mean((features[query] @ fit(np.delete(np.arange(n), z)) - labels[query]) ** 2) for z in range(60)]
    measured = np.array(losses) - np.mean((features[query] @ theta - labels[query]) ** 2)
    assert np.corrcoef(predicted, measured)[0, 1] > 0.99
    assert np.polyfit(predicted, measured, 1)[0] == pytest.approx(1, abs=0.1)


def test_a_damping_that_rounding_outweighs_is_not_chosen():
    """Labels without noise ask for the smallest damping, with which an indefinite matrix has no solution."""
    generator = np.random.default_rng(1)
    rows = generator.normal(size=(30, 8))
    labels = rows[:20] @ generator.normal(size=8)
    whole = kernels.Kernel(rows @ rows.T, generator.normal(size=30), 20, 5)
    assert kernels.choose_damping(whole, labels)[0] == 1e-4
    rounded = whole.matrix.copy()
    empty = np.linalg.svd(rows[:20])[0][:, -1]  # a direction that no gradient has
    rounded[:20, :20] -= 0.02 * np.outer(empty, empty)
    kernel = kernels.Kernel(rounded, whole.residuals, 20, 5)
    with pytest.raises(InfluenceDivergence, match="raise the damping"):
        kernels.first_order(kernel, 1e-4)
    damping, errors = kernels.choose_damping(kernel, labels)
    assert len(errors) == len(kernels.DAMPINGS)
    assert kernel.constant(damping) > 0.02
    assert np.isfinite(kernels.first_order(kernel, damping)).all()
    # Where rounding outweighs all of them, the largest is what is left; its solve says whether that is enough.
    assert kernels.choose_damping(kernels.Kernel(-1e6 * rounded, whole.residuals, 20, 5), labels)[0] == 100.0


def test_what_cannot_be_computed_is_an_error(problem):
    _, kernel = problem
    with pytest.raises(InfluenceDivergence, match="not finite"):
        kernels.Kernel(np.full((4, 4), np.nan), np.zeros(4), 2, 1)
    with pytest.raises(InfluenceDivergence, match="not finite"):
        kernels.Kernel(np.diag([1.0, np.inf, 1.0, 1.0]), np.zeros(4), 2, 1)
    with pytest.raises(InfluenceDivergence, match="not finite"):
        kernels.Kernel(np.eye(4), np.array([0.0, 0.0, np.nan, 0.0]), 2, 1)
    negative = kernels.Kernel(-kernel.matrix, kernel.residuals, TRAIN, QUERY)
    with pytest.raises(InfluenceDivergence, match="raise the damping"):
        kernels.first_order(negative, 0.01)
    without = kernels.Kernel(kernel.matrix[:26, :26], kernel.residuals[:26], TRAIN, QUERY)
    with pytest.raises(ChemsieveError, match=r"estimators\.shapley: it needs the pool"):
        shapley.score(Task(without, np.zeros(TRAIN), 0, None))
