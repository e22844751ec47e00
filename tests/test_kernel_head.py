"""The head that is a kernel regression: against scikit-learn, in a checkpoint, in training."""

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel

from chemsieve import methods
from chemsieve.deployment import folder
from chemsieve.errors import ChemsieveError
from chemsieve.influence.gram import gram
from chemsieve.influence.problem import Molecules, Problem
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import trained_state, write_tensors
from chemsieve.models.descriptor_head import CLIP
from chemsieve.models.prediction import predict_smiles
from chemsieve.training import kernel_fit
from chemsieve.training.batches import RegressionCollator, pad
from chemsieve.training.encoder_outputs import encoder_outputs
from chemsieve.training.kernel_fit import GAMMAS, RIDGES, KernelFit
from chemsieve.training.loop import Conditions
from chemsieve.training.regression import Labelled, fine_tune
from chemsieve.training.saves import Saves
from helpers.models import CPU, HEAD, LABELS, METHODS, exported, molecules, trained
from helpers.settings import Settings
from helpers.tiny import SMILES

KERNEL = HEAD | {"kernel": True}
TOKENIZER = tokenization.build()
PAD = tokenization.special_id(TOKENIZER, "pad")
IDS = tokenization.encode(TOKENIZER, SMILES)
TRAIN, OTHERS = IDS[:18], IDS[18:]
TARGETS = torch.tensor((LABELS - LABELS[:18].mean()) / LABELS[:18].std(), dtype=torch.float32)


def built(encoder_folder, method="full", dropout=0.0, **changes):
    torch.manual_seed(1)
    model = regressor.build(encoder_folder, "molformer", {"head": dropout}, head=KERNEL | changes)
    methods.load(method).apply(model, **METHODS[method])
    return model


def started(encoder_folder, seed=0, **choices):
    model = built(encoder_folder, **choices)
    fit = KernelFit(model, TRAIN, TARGETS[:18], PAD, seed)
    fit.start(OTHERS, TARGETS[18:])
    return model, fit


def compared(model, ids):
    """What the kernel compares, by numpy from the raw features."""
    head = model.head_inputs
    pooled = encoder_outputs(model, ids, PAD, CPU).double().numpy()
    reference = encoder_outputs(model, TRAIN, PAD, CPU).double().numpy()
    raw, known = head.featuriser(ids).astype(float), head.featuriser(TRAIN).astype(float)
    width = raw.shape[1] - head.featuriser.folded

    def standardised(values, of):
        spread = of.std(axis=0)
        varies = spread > 1e-6
        return np.where(varies, (values - of.mean(axis=0)) / np.where(varies, spread, 1), 0.0).clip(-CLIP, CLIP)

    def counts(values):
        return np.where((known[:, width:] > 0).sum(axis=0) >= 2, values[:, width:], 0.0).clip(-CLIP, CLIP)

    blocks = [
        (standardised(pooled, reference), standardised(reference, reference)),
        (standardised(raw[:, :width], known[:, :width]), standardised(known[:, :width], known[:, :width])),
        (counts(raw), counts(known)),
    ]
    return np.hstack([part / np.sqrt(of.var(axis=0).sum()) for part, of in blocks if part.shape[1]])


@pytest.mark.parametrize("changes", [{}, {"morgan": 0}, {"descriptors": False}, {"descriptors": False, "morgan": 0}])
def test_it_is_kernel_ridge_regression_with_the_options_that_validation_prefers(encoder_folder, changes):
    model, _ = started(encoder_folder, **changes)
    train, others = compared(model, TRAIN), compared(model, OTHERS)
    labels = TARGETS.double().numpy()
    errors = {}
    for gamma in GAMMAS:
        for ridge in RIDGES:
            fitted = KernelRidge(alpha=ridge, kernel="rbf", gamma=gamma).fit(train, labels[:18])
            errors[gamma, ridge] = (np.mean((fitted.predict(others) - labels[18:]) ** 2), fitted.predict(others))
    best = min(errors, key=lambda pair: errors[pair][0])
    assert (float(model.head_inputs.gamma), float(model.head_inputs.ridge)) == best
    with torch.no_grad():
        found = model.eval()(*pad(OTHERS, PAD)).numpy()
    np.testing.assert_allclose(found, errors[best][1], atol=5e-3)  # centres are kept in half precision


def test_the_loss_is_that_of_regressions_on_the_other_folds(encoder_folder):
    model, fit = started(encoder_folder, seed=3)
    matrix = rbf_kernel(compared(model, TRAIN), gamma=float(model.head_inputs.gamma))
    labels, folds = TARGETS[:18].double().numpy(), fit.folds.numpy()
    assert sorted(np.bincount(folds)) == [3, 3, 4, 4, 4]
    wanted = np.empty(18)
    for fold in range(5):
        kept = folds != fold
        ridge = KernelRidge(alpha=float(model.head_inputs.ridge), kernel="precomputed")
        wanted[~kept] = ridge.fit(matrix[kept][:, kept], labels[kept]).predict(matrix[~kept][:, kept])
    examples = [{"input_ids": row, "label": float(TARGETS[i]), "row": i} for i, row in enumerate(TRAIN)]
    batch = RegressionCollator(PAD)([examples[i] for i in (5, 0, 17, 9)])
    loss = fit.loss(model.eval(), batch)
    assert float(loss.detach()) == pytest.approx(np.mean((wanted - labels)[[5, 0, 17, 9]] ** 2), rel=5e-3)
    loss.backward()
    assert model.head.weight.grad is None
    assert sum(float(p.grad.abs().sum()) for p in model.encoder.parameters() if p.grad is not None) > 0


def test_low_precision_leaves_its_distances_alone(encoder_folder):
    model, _ = started(encoder_folder)
    pooled = encoder_outputs(model, TRAIN, PAD, CPU)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.head_inputs(pooled, TRAIN), model.head_inputs(pooled.clone(), TRAIN))
        assert model.head_inputs(pooled, TRAIN).dtype == torch.float32
    torch.testing.assert_close(torch.diagonal(model.head_inputs(pooled, TRAIN)), torch.ones(18), atol=1e-3, rtol=0)


def tuned(encoder_folder, saves=None, rate=0.003, epochs=3, base=None, **settings):
    torch.manual_seed(1)
    model = regressor.build(encoder_folder, "molformer", {}, base, KERNEL)
    settings = Settings(epochs=epochs, batch_size=5, learning_rate=rate, **settings)
    folds = (Labelled(SMILES[part], LABELS[part]) for part in (slice(0, 18), slice(18, 24)))
    trained_head = base is not None
    outcome = fine_tune(model, TOKENIZER, *folds, settings, Conditions(0, CPU, saves), trained_head=trained_head)
    return model, outcome


def test_training_moves_the_encoder_and_solves_the_head_anew(encoder_folder):
    model, outcome = tuned(encoder_folder, checkpoints=(2,))
    assert [row["epoch"] for row in outcome.curve] == [0, 1, 2, 3]
    assert outcome.curve[0]["train_loss"] is None
    losses = [row["validation_loss"] for row in outcome.curve]
    assert outcome.best_epoch == int(np.argmin(losses))
    first = built(encoder_folder).encoder.state_dict()
    if outcome.best_epoch:
        assert any(not torch.equal(value, first[name]) for name, value in model.encoder.state_dict().items())
    # Whatever the encoder has become, the head is the solution for it.
    weight = model.head.weight.detach().clone()
    again = KernelFit(model, TRAIN, TARGETS[:18], PAD, 0)
    again.refresh()
    torch.testing.assert_close(model.head.weight.detach(), weight, rtol=1e-3, atol=1e-3)
    assert outcome.kept[2]["head_inputs.centres"].shape[0] == 18


def test_what_is_worse_than_the_closed_form_is_not_kept(encoder_folder):
    model, outcome = tuned(encoder_folder, rate=0.3)
    assert outcome.best_epoch == 0
    plain = built(encoder_folder).encoder.state_dict()
    assert all(torch.equal(value, plain[name]) for name, value in model.encoder.state_dict().items())


def test_a_killed_run_ends_as_if_it_had_not_been(encoder_folder, tmp_path, monkeypatch):
    whole, wanted = tuned(encoder_folder)
    for killed_at in (3, 4, 6):  # within an epoch, at its end, and in the next
        saves = Saves(tmp_path / f"{killed_at}.safetensors", "a run", every=0)
        steps = 0
        plain = KernelFit.loss

        def loss(self, model, batch, plain=plain, killed_at=killed_at):
            nonlocal steps
            if (steps := steps + 1) > killed_at:
                raise KeyboardInterrupt
            return plain(self, model, batch)

        monkeypatch.setattr(KernelFit, "loss", loss)
        with pytest.raises(KeyboardInterrupt):
            tuned(encoder_folder, saves)
        monkeypatch.undo()
        found, outcome = tuned(encoder_folder, saves)
        assert [row["validation_loss"] for row in outcome.curve] == [row["validation_loss"] for row in wanted.curve]
        assert all(
            torch.equal(a, b) for a, b in zip(*(trained_state(model).values() for model in (found, whole)), strict=True)
        )


def test_a_trained_one_goes_on_with_its_own_scales_and_another_number_of_molecules(encoder_folder, tmp_path):
    base, _ = tuned(encoder_folder)
    write_tensors(trained_state(base), tmp_path / "base.safetensors")
    torch.manual_seed(1)
    model = regressor.build(encoder_folder, "molformer", {}, tmp_path / "base.safetensors", KERNEL)
    folds = (Labelled(SMILES[part], LABELS[part]) for part in (slice(0, 20), slice(20, 24)))
    settings = Settings(epochs=1, batch_size=5, learning_rate=1e-9)
    fine_tune(model, TOKENIZER, *folds, settings, Conditions(0, CPU), trained_head=True)
    assert len(model.head_inputs.centres) == 20 == model.head.in_features
    for name in ("gamma", "ridge", "centre", "blocks"):
        assert torch.equal(getattr(model.head_inputs, name), getattr(base.head_inputs, name))
    torch.testing.assert_close(model.head_inputs.centres[:18], base.head_inputs.centres, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_run_predicts_as_before(encoder_folder, tmp_path, method):
    model = trained(encoder_folder, "molformer", method, molecules(encoder_folder), KERNEL)
    tokenizer, path = backbone.load_tokenizer(encoder_folder), tmp_path / "model.safetensors"
    wanted = predict_smiles(model, tokenizer, SMILES, 1, 1, CPU)
    write_tensors(trained_state(model), path)
    again = regressor.restore(encoder_folder, "molformer", method, METHODS[method], path, head=KERNEL)
    np.testing.assert_array_equal(predict_smiles(again, tokenizer, SMILES, 1, 1, CPU), wanted)


@pytest.mark.parametrize("method", ["full", "lora", "ia3_pooled"])
def test_a_model_folder_predicts_as_the_run(encoder_folder, tmp_path, method):
    known = exported(tmp_path / "model", encoder_folder, method=method, head=KERNEL)
    table = molecules(encoder_folder).set_index("molecule_id")
    found = folder.load(tmp_path / "model").predict(list(table.loc[known["molecule_id"], "smiles"]))
    np.testing.assert_allclose(found["exp"].to_numpy(float), known["prediction"], rtol=1e-4, atol=2e-3)
    assert (found["exp_unc"] > 0).all()


def test_influence_sees_it_as_it_is(encoder_folder):
    """The Gram matrix against explicit gradients in double precision, the head's coefficients among the parameters."""
    model, _ = started(encoder_folder)
    asked = Molecules(IDS[10:], np.zeros(len(IDS) - 10))
    problem = Problem(model.double(), asked, PAD, seed=0, batch_size=5)
    rows = []
    for ids in asked.ids:
        leaves, tokens = problem._leaves(), torch.tensor([ids])
        output = problem._outputs(leaves, tokens, torch.ones_like(tokens))[0]
        parts = torch.autograd.grad(output, list(leaves.values()), allow_unused=True)
        filled = [torch.zeros_like(p) if g is None else g for g, p in zip(parts, leaves.values(), strict=True)]
        rows.append(torch.cat([part.reshape(-1) for part in filled]))
    rows = torch.stack(rows)
    torch.testing.assert_close(gram(problem, asked).matrix, rows @ rows.T, rtol=1e-8, atol=1e-8)
    vector = torch.randn(problem.size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(problem.derivatives(vector, asked), rows @ vector, rtol=1e-8, atol=1e-8)


def test_what_it_cannot_do_is_one_sentence(encoder_folder, monkeypatch):
    frozen = built(encoder_folder)
    methods.load("bitfit").apply(frozen, head="none")
    with pytest.raises(ChemsieveError, match=r"finetune\.head\.kernel: the method must train the head"):
        KernelFit(frozen, TRAIN, TARGETS[:18], PAD, 0)
    monkeypatch.setattr(kernel_fit, "MOST", 17)
    with pytest.raises(ChemsieveError, match=r"finetune\.head\.kernel: 18 training molecules are more than its 17"):
        KernelFit(built(encoder_folder), TRAIN, TARGETS[:18], PAD, 0)
