"""Strategies against planted answers and gradients written out."""

import numpy as np
import pandas as pd

from chemsieve import budgets, registry
from chemsieve.influence._kernel import Kernel
from chemsieve.selection import Context

RANDOM = np.random.default_rng(0)


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


def test_influence_uncertainty_joins_ranks():
    gain, spread = np.array([3.0, 1.0, 2.0]), np.array([0.0, 5.0, 1.0])
    context = Context(expected_gain=gain, predict_passes=lambda passes, seed: np.array([spread, -spread]))
    values = score("influence_uncertainty", pool_of([0.0] * 3), context, weight=0.75)
    np.testing.assert_allclose(values, (0.75 * np.array([3, 1, 2]) + 0.25 * np.array([1, 3, 2])) / 3)


def test_curriculum_takes_short_molecules_first():
    assert list(score("curriculum", pool_of([0.0] * 3), Context())) == [-1, -2, -3]


def test_magnitude_takes_both_signs():
    assert list(budgets.cut(np.array([6.0, 1, -5]), {"magnitude": 5}, "x")) == [True, False, True]


def test_embeddings_through_the_head_are_the_predictions(encoder_folder):
    import torch

    from chemsieve import regressor
    from chemsieve.selection import _model
    from chemsieve.training.regression import predict

    model = regressor.build(encoder_folder, "molformer", {})
    model.set_label_scale(2.0, 3.0)
    ids, device = [[0, 5, 6, 1], [0, 7, 1], [0, 8, 9, 9, 1]], torch.device("cpu")
    embedded = _model.embeddings(model, ids, 2, device)
    weight, bias = model.head.weight[0].detach().numpy(), float(model.head.bias)
    np.testing.assert_allclose((embedded @ weight + bias) * 3 + 2, predict(model, ids, 2, device), rtol=1e-5)
