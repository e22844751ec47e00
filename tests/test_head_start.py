"""The head's own epochs, before the whole: what they move, by how much, and what they leave alone."""

import numpy as np
import pytest
import torch

from chemsieve import methods
from chemsieve.errors import ChemsieveError
from chemsieve.models import regressor, tokenization
from chemsieve.models.checkpoints import trained_state
from chemsieve.training.batches import pad
from chemsieve.training.head_start import HeadStart, train_head
from chemsieve.training.loop import Conditions
from chemsieve.training.regression import Labelled, fine_tune
from helpers.models import CPU, HEAD, LABELS, METHODS
from helpers.settings import Settings
from helpers.tiny import SMILES

TOKENIZER = tokenization.build()
PAD = tokenization.special_id(TOKENIZER, "pad")
IDS = tokenization.encode(TOKENIZER, SMILES)
TARGETS = torch.tensor((LABELS - LABELS.mean()) / LABELS.std(), dtype=torch.float32)
ONE_STEP = HeadStart(
    epochs=1, batch_size=len(SMILES), learning_rate=0.01, weight_decay=0.0, warmup=0.0, gradient_clip=1e9
)


def built(encoder_folder, head=None, method="full"):
    torch.manual_seed(3)
    model = regressor.build(encoder_folder, "molformer", {}, head=head)
    if model.head_inputs is not None:
        model.head_inputs.standardise(IDS)
    methods.load(method).apply(model, **METHODS[method])
    return model


def state(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def moved(model, before):
    return {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}


def test_the_first_step_goes_by_the_gradient_of_the_mean_squared_error(encoder_folder):
    """AdamW's first step is the rate times the gradient's sign, and the gradient has a closed form."""
    model = built(encoder_folder)
    before = state(model)
    with torch.no_grad():
        outputs = model.eval().pooled_output(*pad(IDS, PAD)).double().numpy()
    weight, bias = (before[f"head.{name}"].double().numpy() for name in ("weight", "bias"))
    residual = outputs @ weight[0] + bias - TARGETS.double().numpy()
    gradient = 2 * np.concatenate([residual @ outputs, [residual.sum()]]) / len(IDS)
    train_head(model, IDS, TARGETS, ONE_STEP, PAD, 0)
    now = np.concatenate([model.head.weight.detach()[0], model.head.bias.detach()])
    step = now - np.concatenate([weight[0], bias])
    clear = np.abs(gradient) > 1e-4
    assert clear.sum() > 5
    np.testing.assert_allclose(step[clear], -0.01 * np.sign(gradient[clear]), rtol=1e-2)
    assert moved(model, before) == {"head.weight", "head.bias"}


@pytest.mark.parametrize("method", METHODS)
def test_it_trains_what_the_method_trains_of_the_head_and_nothing_else(encoder_folder, method):
    model = built(encoder_folder, HEAD, method)
    before = state(model)
    model.train()
    train_head(model, IDS, TARGETS, ONE_STEP, PAD, 0)
    assert model.training
    trained = {name for name, p in model.named_parameters() if p.requires_grad and name.startswith("head")}
    assert moved(model, before) == trained


@pytest.mark.parametrize("head", [None, HEAD])
def test_it_learns_and_follows_from_the_seed(encoder_folder, head):
    long = HeadStart(epochs=60, batch_size=8, learning_rate=0.02, weight_decay=0.01, warmup=0.1, gradient_clip=1.0)

    def after(seed):
        model = built(encoder_folder, head)
        torch.rand(seed)  # the global generator is anywhere
        train_head(model, IDS, TARGETS, long, PAD, seed)
        return model.eval()

    first, again, other = after(1), after(1), after(2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)
    with torch.no_grad():
        error = ((first(*pad(IDS, PAD)) - TARGETS) ** 2).mean()
    assert error < 0.9 * float((TARGETS**2).mean()), "better than the mean label"


def test_it_stops_where_it_diverges(encoder_folder):
    wild = HeadStart(epochs=3, batch_size=8, learning_rate=1e30, weight_decay=0.0, warmup=0.0, gradient_clip=1.0)
    with pytest.raises(ChemsieveError, match=r"training of the head diverged in epoch \d: .*head_learning_rate"):
        train_head(built(encoder_folder), IDS, TARGETS, wild, PAD, 0)


def test_fine_tuning_begins_with_it_unless_the_head_is_trained_already(encoder_folder):
    """With a rate of next to nothing afterwards, what moved is the head, by its own epochs."""

    def tuned(head_epochs, trained_head=False):
        model = built(encoder_folder)
        settings = Settings(
            epochs=1, batch_size=8, learning_rate=1e-12, head_epochs=head_epochs, head_learning_rate=0.01
        )
        folds = (Labelled(SMILES[part], LABELS[part]) for part in (slice(0, 20), slice(20, 24)))
        fine_tune(model, TOKENIZER, *folds, settings, Conditions(0, CPU), trained_head=trained_head)
        return trained_state(model)["head.weight"]

    start = tuned(0)
    assert (tuned(5) - start).abs().max() > 0.01
    assert torch.allclose(tuned(5, trained_head=True), tuned(0, trained_head=True))
