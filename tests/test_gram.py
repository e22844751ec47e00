"""The Gram matrix against gradients by plain differentiation, molecule by molecule."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from chemsieve import registry
from chemsieve.errors import ChemsieveError
from chemsieve.influence import capacity, gramfile
from chemsieve.influence import kernel as kernels
from chemsieve.influence.estimators import Task, cg, exact
from chemsieve.influence.gram import extrapolated, gram
from chemsieve.influence.landmarks import solve as solve_on_landmarks
from chemsieve.influence.parameter_subsets import restrict
from chemsieve.influence.problem import Molecules, Problem
from chemsieve.influence.scoring import from_kernel
from chemsieve.models import tokenization
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.modeling import MolformerModel
from chemsieve.models.regressor import Regressor, head_inputs
from helpers.tiny import SMILES, TINY, rounding

TOKENIZER = tokenization.build()
PAD = tokenization.special_id(TOKENIZER, "pad")
IDS = tokenization.encode(TOKENIZER, SMILES)
MOLECULES = Molecules(IDS, np.random.default_rng(0).normal(size=len(IDS)))


def molformer(seed=0, width=8, head=None):
    torch.manual_seed(seed)
    config = MolformerConfig(**{**TINY, "hidden_size": width, "num_hidden_layers": 2, "intermediate_size": 12,
                                "initializer_range": 0.5, "vocab_size": TOKENIZER.get_vocab_size()})  # fmt: skip
    return with_head(MolformerModel(config), width, head_inputs(head, width, TOKENIZER, 0.0))


def with_head(encoder, width, inputs=None):
    model = Regressor(encoder, width, 0.0, inputs).double().eval()
    torch.nn.init.normal_(model.head.weight, std=0.5)
    return model


def described():
    model = molformer(head={"descriptors": True, "morgan": 4, "hidden": 5, "dropout": 0.0})
    model.head_inputs.standardise(IDS)
    return model


def transformer(kind):
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

    config, model = {"bert": (BertConfig, BertModel), "roberta": (RobertaConfig, RobertaModel)}[kind]
    torch.manual_seed(0)
    settings = config(
        vocab_size=TOKENIZER.get_vocab_size(),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=220,
        pad_token_id=PAD,
        attn_implementation="eager",
    )
    return with_head(model(settings, add_pooling_layer=False), 8)


def adapted(method):
    model = molformer()
    registry.load("methods", method).apply(model, **({"rank": 2} if method == "lora" else {}))
    model.double()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and any(part in name for part in ("lora_B", "ia3", "pooled")):
            # Away from where training starts.
            torch.nn.init.normal_(parameter, mean=0.5)
    return model


def jacobian(problem, molecules=MOLECULES):
    """Gradients of the outputs (n, parameters): one molecule at a time, no padding, no hooks."""
    rows = []
    for ids in molecules.ids:
        tokens, leaves = torch.tensor([ids]), problem._leaves()
        output = problem._outputs(leaves, tokens, torch.ones_like(tokens))[0]
        gradients = torch.autograd.grad(output, list(leaves.values()), allow_unused=True)
        filled = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, leaves.values(), strict=True)]
        rows.append(torch.cat([part.reshape(-1) for part in filled]))
    return torch.stack(rows)


@pytest.mark.parametrize(
    "make",
    [molformer, described, lambda: transformer("roberta"), lambda: transformer("bert")]
    + [lambda m=method: adapted(m) for method in ("bitfit", "lora", "ia3", "ia3_pooled")],
    ids=["molformer", "described", "roberta", "bert", "bitfit", "lora", "ia3", "ia3_pooled"],
)
@pytest.mark.parametrize("memory_mb", [600, 0])  # 0: one layer and one row of outputs at a time
def test_it_is_that_of_explicit_gradients(make, memory_mb):
    problem = Problem(make(), MOLECULES, PAD, seed=0, batch_size=5)
    rows = jacobian(problem)
    result = gram(problem, MOLECULES, memory_mb=memory_mb)
    torch.testing.assert_close(result.matrix, rows @ rows.T, rtol=1e-10, atol=1e-10)
    outputs = [float(problem.model(torch.tensor([i]), torch.ones(1, len(i))).detach()) for i in IDS]
    np.testing.assert_allclose(result.outputs.numpy(), outputs, rtol=1e-10)
    assert result.error == 0
    assert all(p.requires_grad == (n in problem.parameters) for n, p in problem.model.named_parameters())


@pytest.mark.parametrize("subset", ["attention", "head"])
def test_parts_of_the_model_have_matrices_of_their_own(subset):
    model = molformer()
    everything = Problem(model, MOLECULES, PAD, seed=0, batch_size=5)
    chosen = torch.cat([torch.full((p.numel(),), subset in name) for name, p in everything.parameters.items()])
    rows = jacobian(everything)[:, chosen]
    restrict(model, subset)
    problem = Problem(model, MOLECULES, PAD, seed=0, batch_size=5)
    assert 0 < problem.size == chosen.sum() < everything.size
    torch.testing.assert_close(gram(problem, MOLECULES).matrix, rows @ rows.T, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
def test_float32_at_a_real_size_agrees_with_a_float64_solve():
    """2.7 M parameters; the float64 side has explicit gradients, one molecule at a time, and solves for x itself."""
    train = MOLECULES.take(range(14))
    torch.manual_seed(0)
    config = MolformerConfig(vocab_size=TOKENIZER.get_vocab_size(), hidden_size=384, num_hidden_layers=2,
                             num_attention_heads=6, intermediate_size=384)  # fmt: skip
    model = Regressor(MolformerModel(config), 384, 0.0).eval()
    single = gram(Problem(model, train, PAD, seed=0), MOLECULES)
    kernel = kernels.Kernel(single.matrix.numpy(), single.outputs.numpy() - MOLECULES.labels, 14, 4)
    rows = jacobian(Problem(model.double(), train, PAD, seed=0))
    residuals = torch.tensor([float(model(torch.tensor([i]), torch.ones(1, len(i))).detach()) for i in IDS])
    residuals = residuals.double() - torch.as_tensor(MOLECULES.labels)
    v = 2 / 4 * rows[14:18].T @ residuals[14:18]
    # K + c with a condition number of 11: errors of K reach the scores at most so many times enlarged.
    condition = 11.0
    damping = 2 / 14 * float(torch.linalg.eigvalsh(rows[:14] @ rows[:14].T)[-1]) / (condition - 1)
    # Conjugate gradients end in as many steps as there are distinct eigenvalues; a few more mend rounding.
    x, r = torch.zeros_like(v), v.clone()
    p = r.clone()
    for _ in range(40):
        product = 2 / 14 * rows[:14].T @ (rows[:14] @ p) + damping * p
        step = (r @ r) / (p @ product)
        x, before = x + step * p, r @ r
        r = r - step * product
        p = r + (r @ r) / before * p
        if r.norm() < 1e-13 * v.norm():
            break
    expected = (-2 * residuals[18:] * (rows[18:] @ x)).numpy()
    scores = kernels.first_order(kernel, damping)
    error = np.linalg.norm(scores - expected) / np.linalg.norm(expected)
    assert error < rounding(width=384, products=30) * condition


@pytest.fixture
def small_pilot(monkeypatch):
    """Compression for as few molecules as there are here."""
    monkeypatch.setattr("chemsieve.influence.basis.PILOT", 12)


def test_few_molecules_are_not_compressed():
    problem = Problem(molformer(width=16), MOLECULES, PAD, seed=0, batch_size=5)
    torch.testing.assert_close(gram(problem, MOLECULES, tolerance=0.1).matrix, gram(problem, MOLECULES).matrix)


def test_compression_leaves_out_what_it_says(small_pilot):
    problem = Problem(molformer(width=16), MOLECULES, PAD, seed=0, batch_size=5)
    rows = jacobian(problem)
    full = rows @ rows.T
    before = 0.0
    for tolerance in (1e-12, 1e-4, 1e-2):
        result = gram(problem, MOLECULES, tolerance=tolerance)
        error = float((result.matrix - full).norm() / result.matrix.norm())
        assert before <= error <= 10 * tolerance**0.5 + 1e-9
        assert result.error == pytest.approx(error, rel=1e-6, abs=1e-12)  # all 24 molecules are checked
        before = error


class Bag(nn.Module):
    """A regressor that looks at every token, padding too, whose embedding is zero and no parameter of it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embeddings = nn.Embedding(TOKENIZER.get_vocab_size(), 6, padding_idx=PAD)
        self.dense = nn.Linear(6, 5, bias=False)
        self.head = nn.Linear(5, 1)

    def forward(self, tokens, mask):
        return self.head(torch.tanh(self.dense(self.embeddings(tokens)).sum(1)))[:, 0]


def test_padding_is_no_token_of_an_embedding():
    """What reaches the padding is no gradient, as torch has it; in batches of molecules of unequal length."""
    problem = Problem(Bag().double(), MOLECULES, PAD, seed=0, batch_size=5)
    assert len({len(row) for row in IDS}) > 3
    rows = jacobian(problem)
    result = gram(problem, MOLECULES)
    torch.testing.assert_close(result.matrix, rows @ rows.T, rtol=1e-10, atol=1e-10)


def test_the_error_of_a_part_stands_for_that_of_the_whole():
    """Over all principal submatrices, the mean square of what each says is that of the whole matrix."""
    noise = np.random.default_rng(0).normal(size=(7, 7))
    whole = torch.as_tensor(noise + noise.T + 5 * np.diag(np.arange(7.0)))
    for m in (2, 4, 7):
        parts = [list(chosen) for chosen in itertools.combinations(range(7), m)]
        squares = [extrapolated(whole[at][:, at], 7) ** 2 for at in parts]
        assert np.mean(squares) == pytest.approx(float(whole.square().sum()), rel=1e-12)
    diagonal = torch.diag(torch.full((1,), 3.0, dtype=torch.float64))
    assert extrapolated(diagonal, 4) == pytest.approx(6)


def test_the_error_is_that_of_all_molecules_though_few_are_checked(small_pilot, monkeypatch):
    monkeypatch.setattr("chemsieve.influence.gram.CHECKED", 8)
    model = molformer(width=16)
    rows = jacobian(Problem(model, MOLECULES, PAD, seed=0, batch_size=5))
    ratios, said = [], set()
    for seed in range(12):
        result = gram(Problem(model, MOLECULES, PAD, seed=seed, batch_size=5), MOLECULES, tolerance=1e-2)
        ratios.append(result.error / float((result.matrix - rows @ rows.T).norm() / result.matrix.norm()))
        said.add(result.error)
    assert len(said) > 6
    # Without the extrapolation it would be about a third, the share that 8 of 24 molecules are.
    assert np.sqrt(np.mean(np.square(ratios))) == pytest.approx(1, abs=0.35)


def test_a_layer_that_sees_one_vector_a_molecule_is_kept_whole(small_pilot):
    """A pilot of fewer molecules than the head is wide would know only some of its directions."""
    model = molformer(width=64)
    restrict(model, "head")
    problem = Problem(model, MOLECULES, PAD, seed=0, batch_size=5)
    result = gram(problem, MOLECULES, tolerance=0.5)
    rows = jacobian(problem)
    torch.testing.assert_close(result.matrix, rows @ rows.T, rtol=1e-10, atol=1e-10)


def test_random_projection_is_right_on_average():
    model = molformer(width=16)
    rows = jacobian(Problem(model, MOLECULES, PAD, seed=0))
    full = rows @ rows.T
    drawn = [gram(Problem(model, MOLECULES, PAD, seed=s), MOLECULES, rank=6, basis="random").matrix for s in range(60)]
    single = float((drawn[0] - full).norm() / full.norm())
    averaged = float((torch.stack(drawn).mean(0) - full).norm() / full.norm())
    assert single > 0.02
    assert averaged < single / 3


def test_refinement_with_true_products_mends_a_compressed_matrix(small_pilot):
    train, query, pool = (MOLECULES.take(range(*r)) for r in ((0, 14), (14, 18), (18, 24)))
    model = molformer(width=12)
    model.encoder.embeddings.word_embeddings.weight.requires_grad_(False)  # few enough for an explicit matrix
    problem = Problem(model, train, PAD, seed=0, batch_size=5)
    rows = jacobian(problem)
    damping = 5.0
    gauss_newton = 2 / 14 * rows[:14].T @ rows[:14]
    residuals = np.array([float(problem.model(torch.tensor([i]), torch.ones(1, len(i))).detach()) for i in IDS])
    residuals -= MOLECULES.labels
    v = 2 / 4 * rows[14:18].T @ torch.tensor(residuals[14:18])
    x = torch.linalg.solve(gauss_newton + damping * torch.eye(problem.size, dtype=torch.float64), v)
    expected = -2 * residuals[18:] * (rows[18:] @ x).numpy()
    found = {}
    for refinements in (0, 3):
        result = gram(problem, MOLECULES, tolerance=3e-2)
        kernel = kernels.Kernel(result.matrix.numpy(), result.outputs.numpy() - MOLECULES.labels, 14, 4)
        task = Task(kernel, train.labels, 0, lambda: (problem, query, pool))
        found[refinements] = exact.score(task, damping=damping, refinements=refinements, check=True)
    errors = {k: np.linalg.norm(s.influence - expected) / np.linalg.norm(expected) for k, s in found.items()}
    assert errors[0] > 1e-3
    assert errors[3] < errors[0] / 20
    # What it says of its own error is of the size of the error.
    assert found[3].relative_residual < found[0].relative_residual / 20


def test_a_residual_is_measured_where_its_estimate_is_too_large(small_pilot):
    train, query, pool = (MOLECULES.take(range(*r)) for r in ((0, 14), (14, 18), (18, 24)))
    problem = Problem(molformer(width=16), train, PAD, seed=0, batch_size=5)
    options = {"largest": 100, "memory_mb": 50, "tolerance": 1e-2, "rank": None, "basis": "principal"}
    compressed = gramfile.compute(problem, query, pool, options)

    def diagnostics(estimator="exact", **options):
        return from_kernel(*compressed, lambda: (problem, query, pool), estimator, options, 0.05, 0)[1]

    for damping in (1e-3, 0.1, 10.0, 1e4):
        measured = diagnostics(damping=damping, check=True)
        assert 0.5 < measured["estimated_residual"] / measured["relative_residual"] < 40
        assert measured["converged"] == (measured["relative_residual"] <= 0.05)
        alone = diagnostics(damping=damping, check=False)
        assert alone["relative_residual"] is None
        assert alone["converged"] == (alone["estimated_residual"] <= 0.05)
        chosen = diagnostics(damping=damping)
        if alone["converged"] or measured["converged"]:
            assert chosen == {**(alone if alone["converged"] else measured), **timed(chosen)}
        else:  # what the matrix lacks is made up for by iterations
            assert (chosen["solver"], chosen["converged"]) == ("preconditioned conjugate gradients", True)
        shapley = diagnostics("shapley", damping=damping, permutations=4, settled=None)
        assert (shapley["estimated_residual"], shapley["converged"]) == (
            alone["estimated_residual"],
            alone["converged"],
        )
    assert not diagnostics(damping=1e-3, check=False)["converged"]
    assert diagnostics(damping=1e4, check=False)["converged"]


@pytest.mark.parametrize("damping", [1e-4, 0.1])
def test_scores_are_those_of_the_whole_matrix_whatever_was_left_out(small_pilot, damping):
    train, query, pool = (MOLECULES.take(range(*r)) for r in ((0, 14), (14, 18), (18, 24)))
    problem = Problem(molformer(width=16), train, PAD, seed=0, batch_size=5)
    options = {"largest": 100, "memory_mb": 50, "tolerance": 0.3, "rank": None, "basis": "principal"}
    compressed = gramfile.compute(problem, query, pool, options)

    def score(**options):
        options = {"damping": damping, "iterations": 100, "tolerance": 1e-9} | options
        return from_kernel(*compressed, lambda: (problem, query, pool), "exact", options, 1e-6, 0)

    expected = dense_scores(problem, query, pool, damping)
    scores, diagnostics, _ = score()
    assert diagnostics["converged"]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    without, diagnostics, _ = score(check=False)
    assert not diagnostics["converged"]
    assert np.linalg.norm(without - expected) > 1e-3 * np.linalg.norm(expected)


def timed(diagnostics):
    return {name: diagnostics[name] for name in ("seconds", "peak_memory_mb")}


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 0.02), (torch.float32, 0.02)])
def test_a_pool_that_is_not_in_the_matrix_is_scored_alike(dtype, bound):
    train, query, pool = (MOLECULES.take(range(*r)) for r in ((0, 14), (14, 18), (18, 24)))
    problem = Problem(molformer().to(dtype), train, PAD, seed=0, batch_size=5)
    result = gram(problem, MOLECULES)
    residuals = result.outputs.numpy() - MOLECULES.labels
    scores = []
    for n in (24, 18):
        kernel = kernels.Kernel(result.matrix.numpy()[:n, :n], residuals[:n], 14, 4)
        task = Task(kernel, train.labels, 0, lambda: (problem, query, pool))
        scores.append(exact.score(task, damping=1.0, check=False).influence)
    # Random features have kinks (relu), which a difference may straddle: not equal to the last digit even in float64.
    np.testing.assert_allclose(scores[1], scores[0], atol=bound * np.linalg.norm(scores[0]))


def test_derivatives_at_padding_reach_no_score():
    """In float32, derivatives at padded positions overflow here: they must not turn into scores that are no numbers."""
    vector = torch.randn(Problem(molformer(), MOLECULES, PAD, 0).size, generator=torch.Generator().manual_seed(0))
    problem = Problem(molformer().float(), MOLECULES, PAD, seed=0, batch_size=24)
    exact_problem = Problem(molformer(), MOLECULES, PAD, seed=0, batch_size=1)  # no padding
    scores = problem.loss_change(vector, MOLECULES)
    expected = exact_problem.loss_change(vector.double(), MOLECULES)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_differences_that_do_not_agree_give_way_to_forward_mode(monkeypatch):
    problem = Problem(molformer(), MOLECULES, PAD, seed=0, batch_size=5)
    vector = torch.randn(problem.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("chemsieve.influence.problem.DIFFERENCE_ERROR", 0.0)
    np.testing.assert_array_equal(
        problem.loss_change_by_differences(vector, MOLECULES), problem.loss_change(vector, MOLECULES)
    )


LABELLED = Molecules(IDS, np.random.default_rng(1).normal(size=len(IDS)))
PARTS = [LABELLED.take(range(*limits)) for limits in ((0, 15), (15, 19), (19, len(IDS)))]


def dense_scores(problem, query, pool, damping):
    """Scores with the gradients of all training molecules at hand."""
    j = jacobian(problem, problem.train)
    vector = problem.gradient(query)
    values, vectors = torch.linalg.eigh(2 / len(problem.train) * j @ j.T)
    basis = j.T @ vectors[:, values > 1e-12] / (len(problem.train) / 2 * values[values > 1e-12]).sqrt()
    along = basis.T @ vector  # eigenvectors of the Gauss-Newton matrix; beside them there is damping alone
    x = basis @ (along / (values[values > 1e-12] + damping)) + (vector - basis @ along) / damping
    return -problem.loss_change(x, pool)


@pytest.mark.parametrize("largest", [11, 17])  # without room for the pool, and with room for it
def test_a_training_set_too_large_for_the_matrix_counts_in_full(largest):
    train, query, pool = PARTS
    pool = pool.take(range(4))
    problem = Problem(molformer(), train, PAD, seed=0, batch_size=5)
    options = {"largest": largest, "memory_mb": 50, "tolerance": 0.0, "rank": None, "basis": "principal"}
    kernel, labels, facts = gramfile.compute(problem, query, pool, options)
    assert (kernel.train, kernel.pool) == {11: (7, 0), 17: (9, 4)}[largest]
    assert len(labels) == kernel.train
    expected = dense_scores(problem, query, pool, 0.1)
    scores, diagnostics, _ = from_kernel(
        kernel, labels, facts, lambda: (problem, query, pool), "exact",
        {"damping": 0.1, "iterations": 40, "tolerance": 1e-9}, 0.01, 0,
    )  # fmt: skip
    np.testing.assert_allclose(scores, expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())
    assert diagnostics["curvature_molecules"] == len(train)
    assert diagnostics["solver"] == "preconditioned conjugate gradients"
    assert diagnostics["relative_residual"] < 1e-8
    # What the sample alone would have said is another answer: the test can tell them apart.
    sample = Problem(molformer(), problem.sample(kernel.train), PAD, seed=0, batch_size=5)
    alone = dense_scores(sample, query, pool, 0.1)
    assert np.linalg.norm(alone - expected) > 1e-3 * np.linalg.norm(expected)


def test_exact_scores_a_pool_that_has_no_room_for_shapley(caplog):
    train, query, pool = PARTS
    pool = pool.take(range(4))
    problem = Problem(molformer(), train, PAD, seed=0, batch_size=5)
    options = {"largest": 11, "memory_mb": 50, "tolerance": 0.0, "rank": None, "basis": "principal"}
    made = gramfile.compute(problem, query, pool, options)
    assert made[0].pool == 0

    def scored(estimator, **wanted):
        return from_kernel(*made, lambda: (problem, query, pool), estimator, wanted, 0.01, 0)

    scores, diagnostics, errors = scored("shapley", damping=0.1, permutations=8, query="validation")
    np.testing.assert_array_equal(scores, scored("exact", damping=0.1)[0])
    assert diagnostics["solver"] == "exact in place of shapley: preconditioned conjugate gradients"
    assert errors is None
    assert "shapley is scored by exact" in caplog.text


def test_landmarks_save_iterations():
    train, query, _ = PARTS
    problem = Problem(molformer(), train, PAD, seed=0, batch_size=5)
    vector = problem.gradient(query)
    landmarks = problem.sample(13)
    j = jacobian(problem, landmarks)
    matrix = (j @ j.T).numpy()
    solution, residual = solve_on_landmarks(problem, landmarks, matrix, vector, 1e-3, 50, 1e-6)
    plain = cg.solve(problem, vector, damping=1e-3, iterations=50, tolerance=1e-6)
    assert residual < 2e-6
    assert solution.iterations < plain.iterations
    # With all molecules as landmarks the preconditioner is the inverse.
    j = jacobian(problem, train)
    _, residual = solve_on_landmarks(problem, train, (j @ j.T).numpy(), vector, 1e-3, 1, 1e-12)
    assert residual < 1e-9


def test_a_pool_without_room_is_refused_before_training():
    influence = {"run": ["exact", "lissa", "shapley"], "gram": {"largest": 600}, "test_molecules": 0}
    config = {"influence": influence, "split": {"fractions": [0.8, 0.1, 0.1]}}
    capacity.check_pool(config, 800, 200)
    greedy = config | {"influence": influence | {"run": ["exact", "greedy"]}}
    with pytest.raises(ChemsieveError, match=r"greedy works on all 500 .* raise it to 1080"):
        capacity.check_pool(greedy, 800, 500)
    capacity.check_pool(config, 800, 500)  # exact stands in for shapley, and that is said
    (said,) = capacity.stand_ins(config, 800, 500)
    assert "shapley has no room for all 500 pool molecules" in said
    assert "exact scores each alone in its place; 1080 would do" in said
    assert capacity.stand_ins(config, 800, 200) == []
    capacity.check_pool(config | {"influence": influence | {"run": ["exact", "lissa"]}}, 800, 500)
    with pytest.raises(ChemsieveError, match=r"influence.test_molecules: .* all 500 .* raise it to 1012"):
        capacity.check_pool(config | {"influence": influence | {"run": ["exact"], "test_molecules": 12}}, 800, 500)
    for train, query, pool in itertools.product((10, 400, 5000), (5, 100), (1, 200, 300, 5000)):
        count, inside = capacity.covered(train, query, pool, 600)
        assert 0 < count <= train
        assert count + query + inside * pool <= 600
    with pytest.raises(ChemsieveError, match="no room"):
        capacity.covered(10, 599, 10, 600)
