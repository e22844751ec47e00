"""Derivatives through training: against finite differences of training, and training itself against fine-tuning."""

import copy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from chemsieve.errors import ChemsieveError, InfluenceDivergence
from chemsieve.influence import loading
from chemsieve.influence.continuation import Continuation
from chemsieve.influence.problem import Molecules
from chemsieve.influence.replay import Replay
from chemsieve.influence.scoring import from_training
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import trained_state, write_tensors
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.modeling import MolformerModel
from chemsieve.models.regressor import Regressor, disable_noise
from chemsieve.study.configuration import validate
from chemsieve.study.resources import Sizes, influence
from chemsieve.tables import write_table
from chemsieve.training.loop import Conditions
from chemsieve.training.order import CommonOrder
from chemsieve.training.regression import Labelled, fine_tune
from chemsieve.training.saves import Saves
from helpers.configurations import changed
from helpers.models import HEAD, ROBERTA
from helpers.settings import Settings
from helpers.tiny import SMILES, TINY

CPU = torch.device("cpu")
TRAIN, POOL = 8, 8
TRAINING = {"epochs": 3, "batch_size": 4, "learning_rate": 0.003, "weight_decay": 0.1, "warmup": 0.3}
LABELS = np.random.default_rng(1).normal(1.0, 2.0, len(SMILES))


def molformer(attention="kernel"):
    torch.manual_seed(0)
    config = TINY | {"attention": attention, "initializer_range": 0.3}
    config["vocab_size"] = tokenization.build().get_vocab_size()
    return Regressor(MolformerModel(MolformerConfig(**config)), TINY["hidden_size"], 0.2)


def replay(model, tokenizer=None, dtype=torch.float64, **changes):
    """A replay of the continuation of a regressor on some training and pool molecules."""
    tokenizer = tokenizer or tokenization.build()
    torch.nn.init.normal_(model.head.weight, std=0.3)
    model.to(dtype).set_label_scale(0.3, 1.7)
    molecules = Molecules(tokenization.encode(tokenizer, SMILES), LABELS)
    taken, query = molecules.take(range(TRAIN + POOL)), molecules.take(range(TRAIN + POOL, len(SMILES)))
    return Replay(model, taken, query, tokenization.special_id(tokenizer, "pad"), Settings(**TRAINING | changes))


def batches(names=SMILES[: TRAIN + POOL]):
    order = CommonOrder(names, TRAIN, TRAINING["batch_size"], seed=5)
    return [batch for epoch in range(TRAINING["epochs"]) for batch in order.batches(epoch)]


def weights(low=0.3, high=0.9):
    """Of one for training molecules, and between for those of the pool."""
    return np.r_[np.ones(TRAIN), np.random.default_rng(2).uniform(low, high, POOL)]


def check_derivative(made):
    """Central differences of the whole training, in every weight at once along some directions."""
    found = made.gradient(weights(), batches())
    draws = np.random.default_rng(3)
    for _ in range(3):
        direction, step = draws.normal(size=TRAIN + POOL), 1e-5
        sides = [made.loss(weights() + sign * step * direction, batches()) for sign in (1, -1)]
        assert found @ direction == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6)


CASES = {
    "never clipped": {"gradient_clip": 1e9},
    "always clipped": {"gradient_clip": 0.05},
    "rates by layer and averaged weights": {"layer_decay": 0.7, "average": 0.8, "schedule": "cosine"},
}


@pytest.mark.parametrize("case", CASES)
def test_the_derivative_is_that_of_training(case):
    """Through AdamW with its warm-up, schedule and decay, and the label's mean and deviation."""
    check_derivative(replay(molformer(), **CASES[case]))


def test_the_derivative_is_that_of_training_with_random_features():
    check_derivative(replay(molformer("random_features")))


def test_the_derivative_is_that_of_training_another_family(tmp_path):
    """With layers before the head that see descriptors, too."""
    backbone.prepare(tmp_path, {"family": "automodel", "architecture": ROBERTA, "seed": 0})
    torch.manual_seed(0)
    model = regressor.build(tmp_path, "automodel", {}, head=HEAD)
    tokenizer = backbone.load_tokenizer(tmp_path)
    model.head_inputs.standardise(tokenization.encode(tokenizer, SMILES))
    check_derivative(replay(model, tokenizer))


@pytest.mark.parametrize("average", [None, 0.8])
def test_weights_of_one_and_zero_are_fine_tuning_to_the_bit(average):
    """With noise disabled and the steps that all selections share; single precision, as in a study."""
    changes = {"gradient_clip": 0.5, "average": average}
    made = replay(molformer(), dtype=torch.float32, **changes)
    model = copy.deepcopy(made.model)
    added = [TRAIN + 1, TRAIN + 4, TRAIN + 5]
    taken = np.zeros(TRAIN + POOL)
    taken[[*range(TRAIN), *added]] = 1.0
    loss = made.loss(taken, batches())

    disable_noise(model)
    chosen = np.flatnonzero(taken)
    data = Labelled([SMILES[i] for i in chosen], LABELS[chosen])
    query = Labelled(SMILES[TRAIN + POOL :], LABELS[TRAIN + POOL :])
    settings = Settings(**TRAINING | changes, checkpoints=(TRAINING["epochs"],))
    tuned = fine_tune(
        model, tokenization.build(), data, query, settings, Conditions(5, CPU), trained_head=True, common=TRAIN
    )
    # Predictions of fine-tuning come in batches of other sizes, and so with other rounding; its weights are the same.
    assert loss == pytest.approx(tuned.curve[-1]["validation_loss"] * float(model.label_scale) ** 2 / 1.7**2, rel=1e-5)
    for name, tensor in tuned.kept[TRAINING["epochs"]].items():
        assert torch.equal(tensor, trained_state(made.model)[name]), name


def test_states_that_are_made_again_change_nothing():
    made = replay(molformer(), dtype=torch.float32)
    wanted = made.gradient(weights(), batches(), every=100)
    for every in (1, 4, None):
        calls = []
        np.testing.assert_array_equal(
            made.gradient(weights(), batches(), every, each=lambda calls=calls: calls.append(1)), wanted
        )
        assert len(calls) == made.passes(len(batches()), every)


def continuation(tmp_path, **changes):
    saves = Saves(tmp_path / "state", "this one", every=0)
    return Continuation(replay(molformer(), **changes), SMILES[: TRAIN + POOL], TRAIN, 5, saves)


@pytest.mark.parametrize("kind", ["selection", "validation"])
def test_a_killed_derivative_goes_on(kind, tmp_path):
    wanted, steps = continuation(tmp_path / "whole").gradients(kind, 0.5, 2, None)
    assert wanted.shape == (2, POOL)
    assert steps == 2 * TRAINING["epochs"] * (TRAIN if kind == "selection" else TRAIN + POOL / 2) / 4
    for kept in (3, len(batches()) + 2):  # of the first and of the second training
        killed = continuation(tmp_path / str(kept))
        write, written = killed.saves.write, []

        def writing(*state, write=write, written=written, kept=kept):
            write(*state)
            written.append(1)
            if len(written) == kept:
                raise KeyboardInterrupt

        killed.saves.write = writing
        with pytest.raises(KeyboardInterrupt):
            killed.gradients(kind, 0.5, 2, None)
        again = continuation(tmp_path / str(kept))
        rest = []
        again.saves.write = lambda *state, rest=rest: rest.append(1)
        np.testing.assert_array_equal(again.gradients(kind, 0.5, 2, None)[0], wanted)
        assert len(rest) == steps - kept


def test_scores_and_what_is_known_of_them(tmp_path):
    options = {"replay": "selection", "weight": 0.5, "points": 3, "every": None}
    scores, diagnostics, errors = from_training(continuation(tmp_path), "metagradient", options)
    each, steps = continuation(tmp_path / "other").gradients("selection", 0.5, 3, None)
    np.testing.assert_allclose(scores, each.mean(axis=0))
    np.testing.assert_allclose(errors, each.std(axis=0, ddof=1) / np.sqrt(3))
    assert diagnostics["iterations"] == steps
    assert -1 <= diagnostics["spearman_vs_half"] <= 1
    assert diagnostics["converged"]
    assert diagnostics["damping"] is None
    one, diagnostics, errors = from_training(continuation(tmp_path / "one"), "metagradient", options | {"points": 1})
    np.testing.assert_array_equal(one, each[0])
    assert errors is None
    assert diagnostics["spearman_vs_half"] is None


def test_the_derivative_predicts_small_changes_of_the_pool():
    """Positive raises the query loss: the molecule with the highest score, weighing less, makes it fall."""
    made = replay(molformer())
    found = made.gradient(weights(), batches())[TRAIN:]
    worst = TRAIN + int(found.argmax())
    less = weights()
    less[worst] -= 0.05
    assert found.max() > 0
    assert made.loss(less, batches()) < made.loss(weights(), batches())


def test_numbers_that_are_not_finite_are_an_error():
    made = replay(molformer())
    made.query.labels[0] = float("nan")
    with pytest.raises(InfluenceDivergence, match="not finite"):
        made.gradient(weights(), batches())
    made = replay(molformer(), dtype=torch.float32, learning_rate=1e12, warmup=0.0)
    with pytest.raises(InfluenceDivergence, match="not finite"):
        made.gradient(weights(), batches())


class Files(SimpleNamespace):
    def get(self, name, default=None):
        return getattr(self, name, default)


def test_a_continuation_is_of_a_study_s_files(encoder_folder, tmp_path):
    """Of the checkpoint's regressor, in its own label units, in the order that selections share."""
    torch.manual_seed(0)
    model = regressor.build(encoder_folder, "molformer", {})
    model.set_label_scale(50.0, 20.0)
    write_tensors(trained_state(model), tmp_path / "checkpoint")
    for name, (first, last) in {"train": (0, TRAIN), "pool": (TRAIN, TRAIN + POOL), "validation": (16, 24)}.items():
        frame = pd.DataFrame({"encoder_smiles": SMILES[first:last], "label": np.arange(first, last) * 10.0})
        frame["molecule_id"] = [f"{name}-{i}" for i in range(last - first)]
        write_table(frame, tmp_path / name, "labelled")
    paths = {name: tmp_path / name for name in ("checkpoint", "train", "validation", "pool")}
    files = Files(encoder=[str(encoder_folder / "config.json")], **paths)
    training = vars(Settings(**TRAINING))
    spec = {"family": "molformer", "head": None, "dropout": {"head": 0.2}, "training": training}
    made = loading.continuation(files, spec, 5, CPU, Saves(tmp_path / "state", "", None))
    np.testing.assert_array_equal(made.replay.molecules.labels, np.arange(TRAIN + POOL) * 10.0)
    assert (made.replay.mean, made.replay.scale) == (50.0, 20.0)
    assert made.batches("selection", 0, 0.5) == batches()
    assert made.batches("selection", 1, 0.5) != batches()
    scores, _, _ = from_training(made, "metagradient", {"replay": "selection", "weight": 0.5, "points": 1})
    assert np.isfinite(scores).all()
    assert np.ptp(scores) > 0


def test_a_head_that_is_solved_for_is_refused(encoder_folder):
    head = {"descriptors": False, "morgan": 0, "kernel": True, "hidden": 8, "dropout": 0.0}
    with pytest.raises(ChemsieveError, match="kernel regression"):
        replay(regressor.build(encoder_folder, "molformer", {}, head=head))
    with pytest.raises(ChemsieveError, match="'metagradient' differentiates the training of the head"):
        validate(changed({"influence.run": ["shapley", "metagradient"], "finetune.head.kernel": True}))
    with pytest.raises(ChemsieveError, match=r"the training of selection\.training.* set unfreeze to null there"):
        validate(changed({"influence.run": ["shapley", "metagradient"], "finetune.unfreeze": 1}))
    own = {"influence.run": ["shapley", "metagradient"], "finetune.unfreeze": 1, "selection.training.unfreeze": None}
    validate(changed(own))


def test_a_job_asks_for_what_the_states_take():
    """More for more kept states and for more trainings."""
    sizes = Sizes(train=8000, query=1000, pool=2000, hidden=768, layers=12, parameters=44_000_000)

    def asked(**options):
        return influence(
            sizes, changed({"influence.run": ["metagradient"], "influence.estimators.metagradient": options})
        )

    memory, seconds = asked()
    assert asked(every=1)[0] > 10 * memory
    assert asked(points=4)[1] > 3 * seconds
