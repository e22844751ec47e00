"""Influence against explicit matrices, closed forms and retraining."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from chemsieve.errors import InfluenceDivergence
from chemsieve.influence import loading
from chemsieve.influence.estimators import lissa
from chemsieve.influence.problem import Molecules, Problem
from chemsieve.influence.scoring import from_model as influence
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import trained_state, write_tensors
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.modeling import MolformerModel
from chemsieve.models.regressor import Regressor
from chemsieve.tables import write_table
from helpers.tiny import SMILES, TINY


def _trained(name):  # enough kinds of layers, and few enough parameters for an explicit Hessian
    return name.startswith("head") or "value" in name or "output" in name or "LayerNorm" in name


@pytest.fixture(scope="module")
def tiny():
    """A float64 regressor of under a thousand trainable parameters, and 24 molecules."""
    torch.manual_seed(0)
    tokenizer = tokenization.build()
    config = MolformerConfig(**{**TINY, "hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8,
                                "initializer_range": 0.5, "vocab_size": tokenizer.get_vocab_size()})  # fmt: skip
    model = Regressor(MolformerModel(config), 8, 0.0).double().eval()
    torch.nn.init.normal_(model.head.weight, std=0.5)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_trained(name))
    ids = tokenization.encode(tokenizer, SMILES)
    molecules = Molecules(ids, np.random.default_rng(0).normal(size=len(ids)))
    return model, molecules, tokenization.special_id(tokenizer, "pad")


def explicit(problem: Problem, molecules: Molecules) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hessian of the mean loss, Gauss-Newton matrix and per-molecule loss gradients, by plain differentiation."""
    flat = torch.cat([p.reshape(-1) for p in problem.parameters.values()])

    def outputs(vector):
        values = []
        for row in molecules.ids:  # one molecule at a time: no padding, no batching
            tokens = torch.tensor([row])
            values.append(problem._outputs(problem.unflatten(vector), tokens, torch.ones_like(tokens))[0])
        return torch.stack(values)

    labels = torch.tensor(molecules.labels)
    hessian = torch.autograd.functional.hessian(lambda v: ((outputs(v) - labels) ** 2).mean(), flat)
    jacobian = torch.autograd.functional.jacobian(outputs, flat)
    gauss_newton = 2 / len(molecules) * jacobian.T @ jacobian
    gradients = 2 * (outputs(flat) - labels)[:, None] * jacobian
    return hessian, gauss_newton, gradients


@pytest.fixture(scope="module")
def matrices(tiny):
    model, molecules, pad_id = tiny
    train, query, pool = (molecules.take(range(*r)) for r in ((0, 12), (12, 16), (16, 24)))
    problem = Problem(model, train, pad_id, seed=0, batch_size=5)
    hessian, gauss_newton, _ = explicit(problem, train)
    return problem, query, pool, hessian, gauss_newton


def test_products_equal_the_explicit_matrices(matrices):
    problem, query, pool, hessian, gauss_newton = matrices
    vector = torch.randn(problem.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(problem.hessian_product(vector, problem.train), hessian @ vector, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(problem.gauss_newton_product(vector), gauss_newton @ vector, rtol=1e-8, atol=1e-10)
    _, _, gradients = explicit(problem, query)
    torch.testing.assert_close(problem.gradient(query), gradients.mean(0), rtol=1e-8, atol=1e-10)
    _, _, gradients = explicit(problem, pool)
    np.testing.assert_allclose(problem.loss_change(vector, pool), (gradients @ vector).numpy(), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("damping", [pytest.param(1.0, marks=pytest.mark.slow), 0.05])
def test_cg_scores_equal_the_explicit_inverse(matrices, damping):
    problem, query, pool, _, gauss_newton = matrices
    _, _, query_gradients = explicit(problem, query)
    _, _, pool_gradients = explicit(problem, pool)
    eye = torch.eye(problem.size, dtype=torch.float64)
    x = torch.linalg.solve(gauss_newton + damping * eye, query_gradients.mean(0))
    options = {"damping": damping, "iterations": 60, "tolerance": 1e-10}
    scores, diagnostics = influence(problem, query, pool, "cg", options, tolerance=0.01)
    np.testing.assert_allclose(scores, -(pool_gradients @ x).numpy(), rtol=1e-6, atol=1e-9)
    assert diagnostics["converged"]
    assert diagnostics["relative_residual"] < 1e-8
    top = torch.linalg.eigvalsh(gauss_newton)[-1].item()
    assert 0.9 * top < diagnostics["largest_eigenvalue"] <= top * (1 + 1e-9)


@pytest.mark.slow
def test_lissa_with_whole_batches_follows_the_recursion_and_its_fixed_point(matrices):
    problem, query, _, hessian, _ = matrices
    vector = problem.gradient(query)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    scale, damping = 2 * eigenvalues[-1].item(), 0.3
    # Sampling without replacement at the size of the training set uses all of it at each step.
    options = {"damping": damping, "scale": scale, "batch_size": len(problem.train)}
    one = lissa.solve(problem, vector, depth=3, repeats=2, **options)
    h = vector.clone()
    for _ in range(3):
        h = vector + (1 - damping) * h - hessian @ h / scale
    torch.testing.assert_close(one.x, h / scale, rtol=1e-8, atol=1e-10)
    assert eigenvalues[0] + damping * scale > 0, "the fixed point exists"
    many = lissa.solve(problem, vector, depth=600, repeats=1, **options)
    assert many.effective_damping == pytest.approx(damping * scale)
    eye = torch.eye(problem.size, dtype=torch.float64)
    torch.testing.assert_close(
        many.x, torch.linalg.solve(hessian + damping * scale * eye, vector), rtol=1e-6, atol=1e-9
    )


@pytest.mark.slow
def test_a_diverging_recursion_is_an_error_that_names_a_scale_that_works(matrices):
    problem, query, _, hessian, _ = matrices
    vector = problem.gradient(query)
    size = len(problem.train)
    small = torch.linalg.eigvalsh(hessian)[-1].item() / 5
    with pytest.raises(InfluenceDivergence, match=r"diverged at step \d+ .* try scale: (\d+)") as caught:
        lissa.solve(problem, vector, depth=200, damping=0.01, scale=small, batch_size=size)
    advised = float(str(caught.value).split("try scale: ")[1].split()[0])
    solution = lissa.solve(problem, vector, depth=200, damping=0.01, scale=max(advised, 1e-6), batch_size=size)
    assert torch.isfinite(solution.x).all()


@pytest.fixture(scope="module")
def indefinite(tiny):
    """A model that fits badly: its Hessian's smallest eigenvalue lies further from zero than its largest."""
    model, molecules, pad_id = tiny
    train = molecules.take(range(12))
    far = Molecules(train.ids, train.labels + 40 * np.sign(train.labels))
    problem = Problem(model, far, pad_id, seed=0, batch_size=5)
    return problem, problem.gradient(far.take(range(6))), explicit(problem, far)[0]


@pytest.mark.slow
def test_the_automatic_scale_is_safe_where_the_hessian_is_indefinite(indefinite):
    problem, vector, hessian = indefinite
    eigenvalues = torch.linalg.eigvalsh(hessian)
    smallest, largest = eigenvalues[0].item(), eigenvalues[-1].item()
    assert smallest < -largest / 2, "or this shows nothing"
    found = problem.batch_eigenvalues(vector, len(problem.train), batches=1, steps=12)
    # At least the true ends, up to how far Lanczos's method has come; and not far beyond them.
    assert 1.5 * smallest < found[0] < 0.98 * smallest
    assert 0.98 * largest < found[1] < 1.5 * largest
    options = {"depth": 60, "damping": 0.01, "batch_size": len(problem.train)}
    with pytest.raises(InfluenceDivergence, match="diverged"):
        lissa.solve(problem, vector, scale=0.1 * -smallest, **options)
    solution = lissa.solve(problem, vector, **options)
    eye = torch.eye(problem.size, dtype=torch.float64)
    damped = hessian + solution.effective_damping * eye
    residual = float((damped @ solution.x - vector).norm() / vector.norm())
    assert residual <= 1
    assert solution.relative_residual == pytest.approx(residual, rel=1e-6)
    assert str(f"scale {solution.scale:.6g}") in solution.attempts[-1]


@pytest.mark.slow
def test_a_scale_that_fails_is_raised_and_each_attempt_kept(indefinite, monkeypatch):
    problem, vector, _ = indefinite
    safe = lissa._safe
    options = {"depth": 60, "damping": 0.01, "batch_size": len(problem.train)}
    monkeypatch.setattr(lissa, "_safe", lambda *given: safe(*given) / lissa.RAISED**3)
    solution = lissa.solve(problem, vector, **options)
    assert 1 < len(solution.attempts) <= 4
    assert all("diverged at step" in attempt or "above 1" in attempt for attempt in solution.attempts[:-1])
    query = problem.train.take(range(6))
    scores, diagnostics = influence(problem, query, query, "lissa", {"scale": None, **options}, tolerance=1e-9)
    assert np.isfinite(scores).all()
    assert diagnostics["attempts"].count("; ") == len(solution.attempts) - 1
    assert not diagnostics["converged"]
    monkeypatch.setattr(lissa, "ATTEMPTS", 1)
    with pytest.raises(InfluenceDivergence, match=r"each scale that was tried \(scale .*: diverged at step"):
        lissa.solve(problem, vector, **options)


@pytest.mark.slow
def test_lissa_reports_the_residual_of_its_own_system(matrices):
    """Solved to the last digits, its residual on the Hessian vanishes, and on the Gauss-Newton matrix it does not."""
    problem, query, pool, hessian, _ = matrices
    scale = 2 * torch.linalg.eigvalsh(hessian)[-1].item()
    options = {"depth": 400, "repeats": 1, "damping": 0.3, "scale": scale, "batch_size": len(problem.train)}
    _, diagnostics = influence(problem, query, pool, "lissa", options, tolerance=1e-6)
    assert diagnostics["curvature"] == "hessian"
    assert diagnostics["relative_residual"] < 1e-8
    assert diagnostics["converged"]
    vector = problem.gradient(query)
    x = lissa.solve(problem, vector, **options).x
    assert problem.relative_residual(x, 0.3 * scale, vector, "gauss_newton") > 1e-3


def test_the_reported_residual_is_at_the_damping_that_the_recursion_applies(matrices):
    """The configured damping times the scale, in the scores' diagnostics too; far from a solution they differ."""
    problem, query, pool, hessian, _ = matrices
    vector = problem.gradient(query)
    size = len(problem.train)
    scale = 2 * torch.linalg.eigvalsh(hessian)[-1].item()
    for given in (scale, None):
        options = {"depth": 6, "repeats": 1, "damping": 0.3, "scale": given, "batch_size": size}
        solution = lissa.solve(problem, vector, **options)
        _, diagnostics = influence(problem, query, pool, "lissa", options, tolerance=0.01)

        def residual(damping, x=solution.x):
            return float((hessian @ x + damping * x - vector).norm() / vector.norm())

        assert abs(residual(0.3) - residual(0.3 * solution.scale)) > 0.01, "or it shows nothing"
        assert diagnostics["relative_residual"] == pytest.approx(residual(0.3 * solution.scale), rel=1e-6)
        assert (diagnostics["damping"], diagnostics["scale"]) == (0.3, solution.scale)
        assert diagnostics["effective_damping"] == pytest.approx(0.3 * solution.scale)


@pytest.mark.parametrize("estimator", ["lissa", "cg"])
def test_half_the_iterations_are_compared_with_all(matrices, estimator):
    """The scores of half the steps by a run of its own; on these molecules they rank otherwise than those of all."""
    problem, query, pool, hessian, _ = matrices
    pool = Molecules.joined([pool, problem.train])
    scale = 2 * torch.linalg.eigvalsh(hessian)[-1].item()
    options, steps, count = {
        "lissa": ({"repeats": 1, "damping": 0.001, "scale": scale, "batch_size": 3}, "depth", 12),
        "cg": ({"damping": 1e-3, "tolerance": 1e-12}, "iterations", 4),
    }[estimator]
    whole, diagnostics = influence(problem, query, pool, estimator, options | {steps: count}, 0.01)
    half, _ = influence(problem, query, pool, estimator, options | {steps: count // 2}, 0.01)
    expected = spearmanr(whole, half).statistic
    assert expected < 0.999, "or it shows nothing"
    assert diagnostics["spearman_vs_half"] == pytest.approx(expected, rel=1e-9)


def test_samples_follow_from_the_seed(tiny):
    model, molecules, pad_id = tiny
    labels = []
    for seed in (0, 0, 1, 2):
        drawn = Problem(model, molecules, pad_id, seed=seed).sample(10).labels
        assert len(set(drawn)) == 10
        assert set(drawn) <= set(molecules.labels)
        labels.append(tuple(drawn))
    assert labels[0] == labels[1]
    assert len(set(labels)) == 3
    assert len(Problem(model, molecules, pad_id, seed=1).sample(99)) == len(molecules)


def test_batches_of_the_recursion_follow_from_the_seed(tiny):
    model, molecules, pad_id = tiny
    options = {"depth": 4, "damping": 0.1, "scale": 1e4, "batch_size": 3}
    found = []
    for seed in (0, 0, 1):
        problem = Problem(model, molecules, pad_id, seed=seed)
        vector = problem.gradient(molecules)
        found.append((lissa.solve(problem, vector, **options).x, problem.batch_eigenvalues(vector, 3)))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    assert not torch.allclose(found[0][0], found[2][0], rtol=1e-9)
    assert found[0][1] != found[2][1]


class Files(SimpleNamespace):
    """Stands in for a rule's named inputs."""

    def get(self, name, default=None):
        return getattr(self, name, default)


def test_losses_are_of_labels_in_the_units_of_the_training(encoder_folder, tmp_path):
    """Training, query and pool alike, with the mean and the scale that the checkpoint was trained with."""
    torch.manual_seed(0)
    model = regressor.build(encoder_folder, "molformer", {})
    torch.nn.init.normal_(model.head.weight)
    model.set_label_scale(50.0, 20.0)
    write_tensors(trained_state(model), tmp_path / "checkpoint")
    frames = {}
    for name, (first, last) in {"train": (0, 12), "validation": (12, 16), "pool": (16, 22), "test": (22, 24)}.items():
        frames[name] = pd.DataFrame({"encoder_smiles": SMILES[first:last], "label": np.arange(first, last) * 10.0})
        frames[name]["molecule_id"] = [f"{name}-{i}" for i in range(last - first)]
        write_table(frames[name], tmp_path / name, "labelled")
    files = Files(
        encoder=[str(encoder_folder / "config.json")],
        checkpoint=tmp_path / "checkpoint",
        **{name: tmp_path / name for name in ("train", "validation", "pool")},
    )
    spec = {"family": "molformer", "batch_size": 4}
    tokenizer = tokenization.encode(backbone.load_tokenizer(encoder_folder), SMILES)
    with torch.no_grad():
        outputs = [float(model.eval()(torch.tensor([row]), torch.ones(1, len(row)))[0]) for row in tokenizer]
    for given in (None, frames["test"]):
        problem, query, pool = loading.load(files, spec, 0, torch.device("cpu"), query=given)
        asked = "validation" if given is None else "test"
        for found, name in ((problem.train, "train"), (query, asked), (pool, "pool")):
            np.testing.assert_allclose(found.labels, (frames[name]["label"] - 50) / 20)
            assert [list(row) for row in found.ids] == [
                tokenizer[SMILES.index(s)] for s in frames[name]["encoder_smiles"]
            ]
        first = SMILES.index(frames[asked]["encoder_smiles"].iloc[0])
        # d/d bias of the mean query loss (f - y)^2, in standardised units.
        expected = np.mean([2 * (outputs[first + i] - query.labels[i]) for i in range(len(query))])
        bias = problem.unflatten(problem.gradient(query))["head.bias"]
        assert float(bias) == pytest.approx(expected, rel=1e-4)
    sampled, _, _ = loading.load(files, spec, 0, torch.device("cpu"), most=5)
    assert len(sampled.train) == 5


def test_a_model_with_a_nan_gives_an_error_and_no_scores(tiny):
    model, molecules, pad_id = tiny
    problem = Problem(model, molecules, pad_id, seed=0)
    name = next(iter(problem.parameters))
    problem.parameters[name] = torch.full_like(problem.parameters[name], float("nan"))
    with pytest.raises(InfluenceDivergence, match="not finite"):
        influence(problem, molecules, molecules, "cg", {"damping": 1.0, "iterations": 5, "tolerance": 0.1}, 0.01)


def test_influence_predicts_the_sign_and_size_of_retraining_on_a_convex_head(tiny):
    """On a ridge regression (frozen encoder, linear head) up-weighting z moves the query loss by I(z) per unit."""
    model, molecules, pad_id = tiny
    head = {name: tensor.clone() for name, tensor in model.head.state_dict().items()}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("head"))
    try:
        train, query, pool = (molecules.take(range(*r)) for r in ((0, 12), (12, 16), (16, 24)))
        features = np.array([_features(model, row) for row in molecules.ids])
        damping = 0.5

        def minimise(weight, position):
            """argmin of mean training loss + damping / 2 |theta|^2 + weight * L(z), in closed form."""
            a, b = features[:12], train.labels
            matrix = 2 / 12 * a.T @ a + damping * np.eye(a.shape[1])
            right = 2 / 12 * a.T @ b
            z, y = features[16 + position], pool.labels[position]
            return np.linalg.solve(matrix + 2 * weight * np.outer(z, z), right + 2 * weight * y * z)

        optimum = minimise(0.0, 0)
        with torch.no_grad():
            model.head.weight.copy_(torch.tensor(optimum[None, :-1]))
            model.head.bias.copy_(torch.tensor(optimum[-1:]))
        problem = Problem(model, train, pad_id, seed=0)
        options = {"damping": damping, "iterations": 40, "tolerance": 1e-12}
        scores, _ = influence(problem, query, pool, "cg", options, tolerance=0.01)
        step = 1e-5
        for position, score in enumerate(scores):
            losses = [np.mean((features[12:16] @ minimise(w, position) - query.labels) ** 2) for w in (step, -step)]
            assert score == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-4)
    finally:
        model.head.load_state_dict(head)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(_trained(name))


def _features(model, row):
    """The head's input and a one for its bias."""
    tokens = torch.tensor([row])
    with torch.no_grad():
        pooled = model.encoder(tokens, torch.ones_like(tokens)).pooler_output[0]
    return np.append(pooled.numpy(), 1.0)
