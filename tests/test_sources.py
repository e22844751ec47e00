"""Descriptor models on molecules of two sources: weights, turned labels, two correlated functions in closed form."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.svm import SVR

from chemsieve import baselines
from chemsieve.baselines import _pipeline, gaussian_process, svr
from chemsieve.baselines._sources import FOLDS, Labelled, turned, uses
from chemsieve.influence.pool_use import Fit
from chemsieve.uses import Form

FORMS = {
    "none": Form(weight=0.0, rho=0.0),
    "mixed": Form(),
    "weighted": Form(weight=None),
    "own_head": Form(weight=None, rho=None, own=True),
}


def molecules(n, seed, shift=0.0, scale=1.0, noise=0.1):
    """Molecules of a smooth property of five features."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 5))
    labels = np.sin(features[:, 0]) + features[:, 1] + noise * rng.normal(size=n)
    return Labelled(features, shift + scale * labels)


TARGET, VALIDATION, TEST = molecules(30, 0), molecules(12, 1), molecules(200, 2)
VALIDATED = (VALIDATION.features, VALIDATION.labels)


def error(model):
    return float(np.sqrt(np.mean((TEST.labels - model.predict(TEST.features)) ** 2)))


# -- weights -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [False, True])
def test_a_weight_of_two_is_a_row_that_stands_twice(wide, monkeypatch):
    """The features are prepared by each row once; the machine on them is scikit-learn's on rows repeated."""
    if wide:
        monkeypatch.setattr(_pipeline, "WIDE", 4)  # a kernel that is made beforehand
    weights = np.where(np.arange(30) < 10, 2.0, 1.0)
    options = {"C": 0.3, "epsilon": 0.1, "gamma": 0.1}
    model = svr.fit(TARGET.features, TARGET.labels, *VALIDATED, 0, [5], weights=weights, **options)
    steps = _pipeline.prepared(TARGET.features, [5])
    repeated = np.concatenate([np.arange(10), np.arange(30)])
    standardised = (TARGET.labels - TARGET.labels.mean()) / TARGET.labels.std()
    machine = SVR(C=0.3, epsilon=0.1, gamma=0.1).fit(steps.features[repeated], standardised[repeated])
    expected = TARGET.labels.mean() + TARGET.labels.std() * machine.predict(steps.transform(TEST.features))
    np.testing.assert_allclose(model.predict(TEST.features), expected, atol=5e-3)
    alone = svr.fit(TARGET.features, TARGET.labels, *VALIDATED, 0, [5], **options)
    assert np.abs(model.predict(TEST.features) - alone.predict(TEST.features)).max() > 0.02


@pytest.mark.parametrize("name", ["gradient_boosting", "svr", "gaussian_process"])
def test_a_weight_of_nearly_nothing_leaves_a_molecule_out(name):
    """A third of the molecules with labels far off no longer draws the predictions."""
    model, many = baselines.load(name), molecules(60, 0)
    labels = np.where(np.arange(60) < 20, many.labels + 8, many.labels)
    weights = np.where(np.arange(60) < 20, 1e-6, 1.0)
    options = {"max_iter": 50} if name == "gradient_boosting" else {}
    light = model.fit(many.features, labels, *VALIDATED, 0, weights=weights, **options)
    heavy = model.fit(many.features, labels, *VALIDATED, 0, **options)
    assert error(light) < 0.8 * error(heavy)


# -- labels turned into the target's -----------------------------------------------------------------------------------


def test_labels_are_turned_by_the_regression_of_the_targets_labels_on_predictions_of_the_pool():
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=50)
    target = 0.5 * predicted - 3 + 0.1 * rng.normal(size=50)
    slope, intercept = np.polyfit(predicted, target, 1)
    labels = rng.normal(size=7)
    found, offset = turned(labels, target, predicted)
    np.testing.assert_allclose(found, intercept + slope * labels)
    assert offset == pytest.approx((labels - found).mean())
    np.testing.assert_allclose(turned(labels, target, np.ones(50))[0], labels - 1 + target.mean())


@pytest.mark.parametrize("name", ["svr", "gaussian_process"])
def test_a_shifted_and_stretched_pool_is_used_with_a_head_of_its_own(name):
    pool = molecules(150, 3, shift=6.0, scale=3.0)
    options = {"gamma": 0.05} if name == "svr" else {}
    found = uses(baselines.load(name), TARGET, VALIDATION, pool, FORMS, 0, **options)
    assert min(found, key=lambda one: found[one].rmse) == "own_head"
    errors = {one: error(chosen.model()) for one, chosen in found.items()}
    assert errors["own_head"] < 0.9 * errors["none"] < errors["mixed"]
    assert found["own_head"].offset == pytest.approx(6.0, abs=1.5)
    assert found["weighted"].weight < 1
    for one, chosen in found.items():
        for curve in chosen.curves.values():
            assert min(curve.values()) == pytest.approx(chosen.rmse), one


def test_the_model_without_the_pool_is_the_plain_one_and_no_molecule_changes_nothing():
    pool, model = molecules(40, 3), baselines.load("svr")
    plain = model.fit(TARGET.features, TARGET.labels, *VALIDATED, 0).predict(TEST.features)
    for more in (pool, pool.at(np.arange(0))):
        found = uses(model, TARGET, VALIDATION, more, FORMS, 0)
        np.testing.assert_array_equal(found["none"].model().predict(TEST.features), plain)
    assert len({chosen.rmse for chosen in found.values()}) == 1
    both = [np.concatenate(parts) for parts in ((TARGET.features, pool.features), (TARGET.labels, pool.labels))]
    mixed = uses(model, TARGET, VALIDATION, pool, FORMS, 0)["mixed"].model()
    np.testing.assert_array_equal(
        mixed.predict(TEST.features), model.fit(*both, *VALIDATED, 0, **mixed.options).predict(TEST.features)
    )


def test_held_out_errors_are_of_models_that_have_not_seen_the_molecule():
    """By hand, fold by fold."""
    pool, options = molecules(20, 3), {"C": 5, "epsilon": 0.1, "gamma": 0.05}
    found = uses(baselines.load("svr"), TARGET, VALIDATION, pool, {"weighted": Form(weight=0.3)}, 7, **options)
    folds = np.array_split(np.random.default_rng(7).permutation(30), FOLDS)
    left, squares = np.empty(30), np.zeros(12)
    for held in folds:
        rest = np.setdiff1d(np.arange(30), held)
        features = np.concatenate([TARGET.features[rest], pool.features])
        labels = np.concatenate([TARGET.labels[rest], pool.labels])
        weights = np.repeat([1.0, 0.3], [len(rest), 20])
        model = svr.fit(features, labels, *VALIDATED, 7, weights=weights, **options)
        left[held] = TARGET.labels[held] - model.predict(TARGET.features[held])
        squares += (VALIDATION.labels - model.predict(VALIDATION.features)) ** 2 / FOLDS
    np.testing.assert_allclose(found["weighted"].residuals, np.concatenate([left, np.sqrt(squares)]))
    assert found["weighted"].validation_rmse == pytest.approx(np.sqrt(squares.mean()))


# -- the Gaussian process ----------------------------------------------------------------------------------------------


def test_the_process_is_that_of_scikit_learn():
    gamma, noise, weights = 0.02, 0.1, np.linspace(0.2, 3, 30)
    options = {"gamma": gamma, "noise": noise}
    model = gaussian_process.fit(TARGET.features, TARGET.labels, *VALIDATED, 0, weights=weights, **options)
    steps = _pipeline.prepared(TARGET.features, [5])
    mean, scale = TARGET.labels.mean(), TARGET.labels.std()
    theirs = GaussianProcessRegressor(RBF((2 * gamma) ** -0.5), alpha=noise / weights, optimizer=None)
    theirs.fit(steps.features, (TARGET.labels - mean) / scale)
    expected = mean + scale * theirs.predict(steps.transform(TEST.features))
    np.testing.assert_allclose(model.predict(TEST.features), expected, rtol=1e-7, atol=1e-8)


def test_width_and_noise_have_the_lowest_leave_one_out_error():
    model = gaussian_process.fit(TARGET.features, TARGET.labels, *VALIDATED, 0)
    steps = _pipeline.prepared(TARGET.features, [5])
    labels = (TARGET.labels - TARGET.labels.mean()) / TARGET.labels.std()

    def left_out(gamma, noise):
        kernel = svr.kernel(steps.features, steps.features, gamma)
        total = 0.0
        for i in range(30):
            rest = np.delete(np.arange(30), i)
            solved = np.linalg.solve(kernel[np.ix_(rest, rest)] + noise * np.eye(29), labels[rest])
            total += (labels[i] - kernel[i, rest] @ solved) ** 2
        return total

    errors = {(g, n): left_out(g, n) for g in gaussian_process.GAMMAS for n in gaussian_process.NOISES}
    assert model.pipeline[-1].regressor_.numbers_["gamma"] == min(errors, key=errors.get)[0]


@pytest.mark.parametrize("own", [False, True])
def test_two_correlated_functions_are_predicted_as_from_their_joint_distribution(own):
    """Conditioned by hand on the whole covariance; an offset of the pool is a constant with a very wide prior."""
    pool, gamma, noise, rho, weight = molecules(25, 3, shift=2.0), 0.05, 0.2, 0.7, 0.5
    known = (TARGET.features, TARGET.labels, pool.features, pool.labels)
    numbers = gaussian_process.joint(*known, Fit(weight, rho, None, np.zeros(1)), own, gamma, noise)
    found = gaussian_process.evaluate(numbers, TEST.features)

    def kernel(one, other):
        return np.exp(-gamma * ((one[:, None] - other[None]) ** 2).sum(axis=2))

    across = rho * kernel(TARGET.features, pool.features)
    covariance = np.block(
        [[kernel(TARGET.features, TARGET.features), across], [across.T, kernel(pool.features, pool.features)]]
    )
    covariance += np.diag(np.repeat([noise, noise / weight], [30, 25]))
    if own:
        covariance[30:, 30:] += 1e7
    tested = np.concatenate([kernel(TARGET.features, TEST.features), rho * kernel(pool.features, TEST.features)])
    labels = np.concatenate([TARGET.labels, pool.labels])
    np.testing.assert_allclose(found, tested.T @ np.linalg.solve(covariance, labels), atol=1e-5)


def test_leave_one_out_errors_of_two_sources_are_those_of_conditioning_on_all_others():
    pool, forms = molecules(15, 3), {"mine": Form(weight=0.3, rho=0.8, own=False)}
    found = gaussian_process.with_pool(TARGET, VALIDATION, pool, forms, 0, gamma=0.02, noise=0.1)["mine"]
    ready = _pipeline.prepared(np.concatenate([TARGET.features, pool.features]), [5])
    values = np.concatenate([ready.features[:30], ready.transform(VALIDATION.features), ready.features[30:]])
    mean, scale = TARGET.labels.mean(), TARGET.labels.std()
    labels = (np.concatenate([TARGET.labels, VALIDATION.labels, pool.labels]) - mean) / scale
    of_pool = np.arange(57) >= 42
    covariance = svr.kernel(values, values, 0.02) * np.where(of_pool[:, None] == of_pool, 1.0, 0.8)
    covariance += np.diag(np.where(of_pool, 0.1 / 0.3, 0.1))
    for i in (0, 29, 30, 41):
        rest = np.delete(np.arange(57), i)
        predicted = covariance[i, rest] @ np.linalg.solve(covariance[np.ix_(rest, rest)], labels[rest])
        assert found.residuals[i] == pytest.approx(scale * (labels[i] - predicted), rel=1e-6)
