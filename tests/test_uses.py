"""How pool molecules enter training: each use on a tiny model, and what is left of it in the model."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from chemsieve import uses
from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import trained_state
from chemsieve.models.prediction import predict
from chemsieve.training.batches import RegressionCollator
from chemsieve.training.loop import Conditions
from chemsieve.training.mixing import POOL_HEAD, MarkingCollator, Sources, weighted_error
from chemsieve.training.regression import Labelled, fine_tune, squared_error
from chemsieve.uses import Given, Mixture
from chemsieve.uses._configured import NONE, configured
from helpers.settings import Settings
from helpers.tiny import SMILES
from test_resuming import Killed, Watched, same

CPU = torch.device("cpu")
LABELS = np.sin(np.arange(len(SMILES)))
TARGET, POOL, HELD = slice(0, 8), slice(8, 18), slice(18, 24)
OF_POOL = np.arange(18) >= 8
PLAIN = Settings(epochs=3, batch_size=4, learning_rate=5e-3, checkpoints=(2,))
GIVEN = Given(OF_POOL, 3, weight=lambda: 0.25, residuals=lambda: np.linspace(-3, 3, 10))
NAMED = ("mixed", "weighted", "own_head", "then_target", "robust")


def tuned(folder, mixture, labels=LABELS, saves=None, train=slice(0, 18), dropout=0.1, **changes):
    """Fine-tune; the outcome, the weights left, the model and its tokenizer."""
    torch.manual_seed(7)
    model = regressor.build(folder, "molformer", dict.fromkeys(("hidden", "embedding", "head"), dropout))
    tokenizer = backbone.load_tokenizer(folder)
    given = Labelled(SMILES[train], labels[train]), Labelled(SMILES[HELD], labels[HELD])
    conditions = Conditions(7, CPU, saves)
    outcome = fine_tune(model, tokenizer, *given, replace(PLAIN, **changes), conditions, mixture=mixture)
    return (outcome, trained_state(model)), model, tokenizer


def test_mixed_is_training_on_all_alike_to_the_bit(encoder_folder):
    expected = tuned(encoder_folder, None)[0]
    same(tuned(encoder_folder, uses.load("mixed").mixture(GIVEN))[0], expected)
    same(tuned(encoder_folder, uses.load("weighted").mixture(GIVEN, weight=1))[0], expected)
    same(tuned(encoder_folder, Mixture(np.zeros(18, dtype=bool), own_head=True))[0], expected)  # no pool molecule


def gradient(folder, mixture, rows):
    """Of the loss of all training molecules as one batch, without noise, by parameter."""
    torch.manual_seed(3)
    model = regressor.build(folder, "molformer", {})
    regressor.disable_noise(model)
    tokenizer = backbone.load_tokenizer(folder)
    sources = Sources(LABELS[rows], mixture)
    ids = tokenization.encode(tokenizer, SMILES[rows])
    examples = [{"input_ids": row, "label": float(y)} for row, y in zip(ids, sources.standardised, strict=True)]
    collate, loss = RegressionCollator(tokenization.special_id(tokenizer, "pad")), squared_error
    if not sources.alike:
        examples, collate, loss = sources.marked(examples), MarkingCollator(collate), weighted_error
    with sources.own_head(model):
        loss(model, collate(examples)).backward()
        found = {name: p.grad for name, p in model.named_parameters()}
    return found, sources


def test_without_weight_the_gradient_is_that_of_the_target_alone(encoder_folder):
    alone, of_target = gradient(encoder_folder, None, TARGET)
    both, sources = gradient(encoder_folder, uses.load("weighted").mixture(GIVEN, weight=0), slice(0, 18))
    assert (sources.mean, sources.scale) == pytest.approx((of_target.mean, of_target.scale))
    for name in alone:
        torch.testing.assert_close(both[name], alone[name], rtol=1e-3, atol=1e-6)


def test_a_weight_is_that_of_copies(encoder_folder):
    """A target molecule that weighs four times as much as one of the pool is as if it were there four times."""
    copies = np.concatenate([np.tile(np.arange(8), 4), np.arange(8, 18)])
    labels, smiles = LABELS[copies], [SMILES[i] for i in copies]
    assert len(smiles) == len(labels) == 42
    weighted = Sources(LABELS[:18], uses.load("weighted").mixture(GIVEN, weight="auto"))
    copied = Sources(labels, None)
    assert (weighted.mean, weighted.scale) == pytest.approx((copied.mean, copied.scale))
    errors = np.random.default_rng(0).normal(size=18) ** 2
    assert np.mean(weighted.weights * errors) == pytest.approx(np.mean(errors[copies]))


def test_heads_of_their_own_take_gradients_of_their_own_molecules(encoder_folder):
    mixture = uses.load("own_head").mixture(GIVEN, weight=1)
    both, _ = gradient(encoder_folder, mixture, slice(0, 18))
    alone, _ = gradient(encoder_folder, None, TARGET)
    # The mean over 18 molecules in place of 8.
    torch.testing.assert_close(both["head.weight"] * 18 / 8, alone["head.weight"], rtol=1e-3, atol=1e-6)
    changed = dict(vars(mixture), pool=np.arange(18) >= 8)
    assert Mixture(**changed).own_head
    assert float(both[f"{POOL_HEAD}.weight"].norm()) > 0


def test_each_source_is_standardised_by_its_own_labels_under_a_head_of_its_own():
    labels = np.where(OF_POOL, 100 + 30 * LABELS[:18], LABELS[:18])
    sources = Sources(labels, Mixture(OF_POOL, own_head=True))
    assert (sources.mean, sources.scale) == pytest.approx((LABELS[TARGET].mean(), LABELS[TARGET].std()))
    for part in (OF_POOL, ~OF_POOL):
        assert sources.standardised[part].mean() == pytest.approx(0, abs=1e-12)
        assert sources.standardised[part].std() == pytest.approx(1)
    one = Sources(labels, Mixture(np.arange(18) == 17, own_head=True))  # a pool of one molecule has no scale
    assert one.standardised[17] == 0


@pytest.mark.parametrize("name", NAMED)
def test_the_model_has_the_head_of_the_target_alone(encoder_folder, name):
    (outcome, left), model, _ = tuned(encoder_folder, uses.load(name).mixture(GIVEN))
    assert set(left) == set(tuned(encoder_folder, None, epochs=2)[0][1])
    assert not hasattr(model, POOL_HEAD)
    assert outcome.best_state.keys() == left.keys()
    assert all(kept.keys() == left.keys() for kept in outcome.kept.values())


def test_a_pool_that_is_shifted_by_a_constant_harms_as_equals_and_helps_with_a_head_of_its_own(encoder_folder):
    """The label is the number of carbons; the pool's labels are twelve higher."""
    carbons = np.array([text.upper().count("C") - text.upper().count("CL") for text in SMILES], dtype=float)
    labels = carbons + 12.0 * (np.arange(len(SMILES)) >= 8) * (np.arange(len(SMILES)) < 18)
    errors = {}
    for name in ("mixed", "own_head"):
        mixture = uses.load(name).mixture(GIVEN, **({"weight": 1} if name == "own_head" else {}))
        _, model, tokenizer = tuned(
            encoder_folder, mixture, labels, dropout=0.0, epochs=15, learning_rate=1e-2, checkpoints=()
        )
        ids = tokenization.encode(tokenizer, SMILES[HELD])
        found = predict(model, ids, tokenization.special_id(tokenizer, "pad"), CPU)
        errors[name] = float(np.sqrt(np.mean((found - carbons[HELD]) ** 2)))
    assert errors["own_head"] < 0.7 * errors["mixed"]


def epochs_seen(mixture, epochs):
    return [set(members.tolist()) for members in Sources(LABELS[:18], mixture).members(epochs)]


def test_the_target_comes_alone_after_its_share_of_the_epochs():
    both, target = set(range(18)), set(range(8))
    then = uses.load("then_target")
    for epochs, share, with_pool in ((4, 0.5, 2), (2, 0.01, 1), (2, 0.99, 1), (5, 0.7, 4)):
        mixture = then.mixture(Given(OF_POOL, epochs), share=share)
        assert mixture.with_pool == with_pool
        assert epochs_seen(mixture, epochs) == [both] * with_pool + [target] * (epochs - with_pool)
    with pytest.raises(ChemsieveError, match="two epochs"):
        then.mixture(Given(OF_POOL, 1))


def test_patience_waits_for_the_epochs_of_the_target_alone(encoder_folder):
    mixture = Mixture(OF_POOL, with_pool=3)
    changes = {"epochs": 6, "patience": 1, "minimum_delta": 10.0, "checkpoints": ()}
    (outcome, _), *_ = tuned(encoder_folder, mixture, **changes)
    assert len(outcome.curve) == 4
    (outcome, _), *_ = tuned(encoder_folder, None, **changes)
    assert len(outcome.curve) == 2


def test_a_curriculum_goes_on_within_the_epochs_of_a_use(encoder_folder):
    (outcome, _), *_ = tuned(encoder_folder, Mixture(OF_POOL, with_pool=1), curriculum="length")
    assert len(outcome.curve) == 3


@pytest.mark.parametrize("name", ["then_target", "own_head"])
def test_a_use_killed_anywhere_ends_the_same(encoder_folder, tmp_path, name):
    mixture = uses.load(name).mixture(GIVEN)
    expected = tuned(encoder_folder, mixture)[0]
    for stop in (2, 6, 8):
        path = tmp_path / f"state-{stop}"
        with pytest.raises(Killed):
            tuned(encoder_folder, mixture, saves=Watched(path, stop=stop))
        same(tuned(encoder_folder, mixture, saves=Watched(path))[0], expected)


@pytest.mark.parametrize("name", ["weighted", "own_head", "then_target"])
def test_the_head_alone_comes_first_in_every_use(encoder_folder, name):
    mixture = uses.load(name).mixture(GIVEN)
    (outcome, _), *_ = tuned(encoder_folder, mixture, head_epochs=2)
    (other, _), *_ = tuned(encoder_folder, mixture)
    assert outcome.curve[0]["train_loss"] != other.curve[0]["train_loss"]


# -- what the closed form chose ----------------------------------------------------------------------------------------

CANDIDATES = {
    "weighted": {"module": "weighted", "options": {}},
    "own": {"module": "own_head", "options": {"weight": 2}},
}


def chosen(name):
    rows = [(NONE, None), ("weighted", 0.1), ("own", 2.0)]
    return pd.DataFrame(rows, columns=["use", "weight"]).assign(chosen=lambda table: table["use"] == name)


def test_what_the_closed_form_chose_is_trained():
    use = {"name": "weighted", "module": "weighted", "options": {}}
    mixture = configured(use, OF_POOL, 3, CANDIDATES, chosen("own"))
    assert mixture.weights.tolist() == [1.0] * 8 + [0.1] * 10
    preferred = {"name": "auto", "module": "auto", "options": {}}
    own = configured(preferred, OF_POOL, 3, CANDIDATES, chosen("own"))
    assert own.own_head
    assert own.weights.tolist() == [1.0] * 8 + [2.0] * 10
    assert (
        configured(preferred, OF_POOL, 3, CANDIDATES, chosen("weighted")).weights.tolist() == mixture.weights.tolist()
    )
    assert epochs_seen(configured(preferred, OF_POOL, 3, CANDIDATES, chosen(NONE)), 2) == [set(range(8))] * 2
    with pytest.raises(LookupError, match="closed form"):
        configured(use, OF_POOL, 3, CANDIDATES, None)


def test_a_label_that_does_not_fit_weighs_little():
    added = pd.DataFrame({"molecule_id": ["pool-3", "pool-1"]})
    residuals = pd.DataFrame({"molecule_id": ["pool-1", "pool-3"], "residual": [-4.0, 0.0]})
    use = {"name": "robust", "module": "robust", "options": {"freedom": 2.0}}
    mixture = configured(use, np.array([False, True, True]), 3, {}, None, residuals, added)
    assert mixture.weights.tolist() == pytest.approx([1.0, 1.0, 1 / 9])


@pytest.mark.parametrize(
    ("name", "options", "asks"),
    [
        *[("mixed", {}, False), ("then_target", {}, False), ("auto", {}, True)],
        *[("weighted", {}, True), ("weighted", {"weight": "auto"}, True), ("weighted", {"weight": 0.3}, False)],
    ],
)
def test_what_asks_for_a_choice_of_the_closed_form_says_so(name, options, asks):
    assert uses.asks(name, options) == asks


@pytest.mark.parametrize("name", NAMED)
def test_defaults_of_options_are_those_of_the_functions(name):
    module = uses.load(name)
    given = {option: rules["default"] for option, rules in module.OPTIONS.items()}
    assert module.form(**given) == module.form()
    one, other = module.mixture(GIVEN, **given), module.mixture(GIVEN)
    assert repr(one) == repr(other)
