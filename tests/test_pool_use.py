"""The closed form of what a use of the pool gives, against refits that leave one molecule out."""

import numpy as np
import pytest
from scipy import stats

from chemsieve.errors import InfluenceDivergence
from chemsieve.influence import pool_use
from chemsieve.influence.pool_use import CORRELATIONS, WEIGHTS, Sources, choose, standardised_residuals
from chemsieve.uses import Form

FORMS = {
    "none": Form(rho=0.0),
    "mixed": Form(),
    "weighted": Form(weight=0.3),
    "own": Form(weight=1.0, rho=0.6, own=True),
    "own, weighted": Form(weight=3.0, rho=-0.4, own=True),
}


def sources(seed=0, targets=9, pool=7, noise=0.5, rank=5):
    """Random features of two sources, with labels that follow none of the models."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(targets + pool, rank))
    matrix = rows @ rows.T
    labels = rng.normal(size=targets + pool)
    t, p = slice(0, targets), slice(targets, None)
    own = (labels[p] - labels[p].mean()) / labels[p].std()
    return Sources(matrix[t, t], matrix[t, p], matrix[p, p], labels[t], labels[p], own, noise)


def refitted(data, form, weight, rho):
    """Residual of each target molecule by a Gaussian process fitted without it, and the offset with all of them."""
    t, p = data.cross.shape
    matrix = np.block([[data.target, rho * data.cross], [rho * data.cross.T, data.pool]])
    matrix += np.diag([data.noise] * t + [data.noise / weight] * p)
    labels = np.concatenate([data.target_labels, data.labels(form)])
    design = np.concatenate([np.zeros(t), np.ones(p)])[:, None]

    def offset(rows):
        if not form.own:
            return np.zeros(1)
        inverse = np.linalg.inv(matrix[np.ix_(rows, rows)])
        x = design[rows]
        return np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ labels[rows])  # generalised least squares

    residuals = []
    for left_out in range(t):
        rows = np.delete(np.arange(t + p), left_out)
        mean = design @ offset(rows)
        solved = np.linalg.solve(matrix[np.ix_(rows, rows)], labels[rows] - mean[rows])
        residuals.append(labels[left_out] - mean[left_out] - matrix[left_out, rows] @ solved)
    return np.array(residuals), offset(np.arange(t + p))[0]


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_leave_one_out_errors_are_those_of_refits(name, seed):
    data, form = sources(seed), FORMS[name]
    fit = choose(data, {name: form})[name].best
    residuals, offset = refitted(data, form, form.weight, form.rho)
    assert (fit.weight, fit.rho) == (form.weight, form.rho)
    np.testing.assert_allclose(fit.residuals, residuals, rtol=1e-8, atol=1e-10)
    assert (fit.offset is None) == (not form.own)
    if form.own:
        assert fit.offset == pytest.approx(offset, rel=1e-8)


def test_what_is_free_is_the_best_of_what_is_tried():
    data, free = sources(3), Form(weight=None, rho=None, own=True)
    found = choose(data, {"own_head": free})["own_head"]
    tried = {(w, r): np.sqrt(np.mean(refitted(data, free, w, r)[0] ** 2)) for w in WEIGHTS for r in CORRELATIONS}
    weight, rho = min(tried, key=tried.get)
    assert (found.best.weight, found.best.rho) == (weight, rho)
    assert found.best.rmse == pytest.approx(tried[weight, rho], rel=1e-8)
    for value, error in found.weights.items():
        assert error == pytest.approx(min(tried[value, r] for r in CORRELATIONS), rel=1e-8)
    for value, error in found.correlations.items():
        assert error == pytest.approx(min(tried[w, value] for w in WEIGHTS), rel=1e-8)
    assert list(found.weights) == list(WEIGHTS)
    assert list(found.correlations) == list(CORRELATIONS)


def test_without_weight_or_correlation_the_pool_is_left_out():
    data = sources(4)
    found = choose(data, {"none": FORMS["none"], "weightless": Form(weight=0.0), "own": Form(weight=0.0, own=True)})
    alone = np.linalg.inv(data.target + data.noise * np.eye(len(data.target)))
    expected = alone @ data.target_labels / np.diag(alone)
    for choice in found.values():
        np.testing.assert_allclose(choice.best.residuals, expected, rtol=1e-9)
    assert found["own"].best.offset is None


def test_an_offset_of_the_pool_is_found_and_costs_nothing():
    """A pool of the target's function, three units up: it harms as equals, and helps with an offset of its own."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(60, 12))
    labels = rows @ rng.normal(size=12) + 0.3 * rng.normal(size=60)
    labels[15:] += 3.0
    matrix, t, p = rows @ rows.T, slice(0, 15), slice(15, None)
    data = Sources(matrix[t, t], matrix[t, p], matrix[p, p], labels[t], labels[p], labels[p] - labels[p].mean(), 0.09)
    forms = {"none": FORMS["none"], "mixed": Form(), "weighted": Form(weight=None), "own": Form(rho=None, own=True)}
    found = {name: choice.best for name, choice in choose(data, forms).items()}
    assert found["own"].rmse < 0.7 * min(found[name].rmse for name in ("none", "mixed", "weighted"))
    assert labels[p].mean() + found["own"].offset == pytest.approx(3.0, abs=0.3)
    assert found["own"].rho > 0.9
    assert found["weighted"].weight < 1


def test_noise_below_the_precision_of_the_matrix_is_one_sentence():
    data = sources(6)
    broken = Sources(**{**vars(data), "target": data.target - 1e3 * np.eye(9)})
    with pytest.raises(InfluenceDivergence, match="raise the damping"):
        choose(broken, {"mixed": Form()})


def test_a_mean_shift_of_all_labels_changes_no_own_offset_residual():
    """With an offset of its own, what is added to every pool label is no matter."""
    data = sources(7)
    shifted = Sources(**{**vars(data), "own_labels": data.own_labels + 11.0})
    form = {"own": FORMS["own"]}
    one, other = (choose(some, form)["own"].best for some in (data, shifted))
    np.testing.assert_allclose(one.residuals, other.residuals, rtol=1e-7)
    assert other.offset == pytest.approx(one.offset + 11.0)
    assert pool_use.choose(data, form)["own"].best.offset == one.offset


# -- robust ------------------------------------------------------------------------------------------------------------


def test_residuals_of_the_pool_are_those_of_refits():
    data = sources(8)
    found = standardised_residuals(data, rounds=1)
    t, p = data.cross.shape
    matrix = np.block([[data.target, data.cross], [data.cross.T, data.pool]])
    labels, squares = np.concatenate([data.target_labels, data.pool_labels]), []
    for left_out in range(t + p):
        rows = np.delete(np.arange(t + p), left_out)
        gain = np.linalg.solve(matrix[np.ix_(rows, rows)] + data.noise * np.eye(t + p - 1), matrix[rows, left_out])
        variance = matrix[left_out, left_out] - gain @ matrix[rows, left_out] + data.noise
        squares.append((labels[left_out] - gain @ labels[rows]) ** 2 / variance)
    expected = np.array(squares) / np.median(squares) * stats.chi2.median(1)
    np.testing.assert_allclose(found**2, expected[t:], rtol=1e-8)


def test_wrong_labels_do_not_make_their_neighbours_look_wrong():
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(80, 8))
    labels = rows @ rng.normal(size=8) + 0.3 * rng.normal(size=80)
    wrong = np.arange(20, 80) % 4 == 0
    labels[20:][wrong] += 12.0
    matrix, t, p = rows @ rows.T, slice(0, 20), slice(20, None)
    data = Sources(matrix[t, t], matrix[t, p], matrix[p, p], labels[t], labels[p], labels[p], 0.09)
    found, once = np.abs(standardised_residuals(data)), np.abs(standardised_residuals(data, rounds=1))
    assert found[wrong].min() > 3 * found[~wrong].max()
    assert found[wrong].min() / found[~wrong].max() > once[wrong].min() / once[~wrong].max()
