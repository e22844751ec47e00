"""Training: masking, what is never trained on, the best epoch, seeds, divergence, dropout passes."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from chemsieve.data.descriptors import descriptor_names, descriptors
from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import read_tensors, trained_state
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.modeling import MolformerModel
from chemsieve.models.prediction import predict, predict_passes
from chemsieve.models.regressor import Regressor
from chemsieve.runtime.devices import choose_device
from chemsieve.training import curriculum, epochs, heads, layers, loop, mlm, regression
from chemsieve.training.averaging import WeightAverage
from chemsieve.training.batches import MaskingCollator, RegressionCollator, by_length, pad
from chemsieve.training.epochs import fit
from chemsieve.training.loop import Conditions, low_precision
from chemsieve.training.mlm import Masking, Structures, adapt
from chemsieve.training.objectives import Objectives
from chemsieve.training.order import CommonOrder, Order, grouped_by_length
from chemsieve.training.regression import Labelled, fine_tune
from helpers.settings import Settings
from helpers.tiny import SMILES, TINY

CPU = torch.device("cpu")
PAD, MASK, SPECIAL, VOCABULARY = 2, 3, [0, 1, 2, 3, 19], 20


# -- batches -----------------------------------------------------------------------------------------------------------


def test_padding_is_on_the_right_and_as_long_as_the_longest():
    tokens, mask = pad([[5, 6, 7], [8], [9, 4]], PAD)
    assert tokens.tolist() == [[5, 6, 7], [8, 2, 2], [9, 4, 2]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    batch = RegressionCollator(PAD)([{"input_ids": [5], "label": 0.5}, {"input_ids": [6, 7], "label": -2.0}])
    assert batch["input_ids"].tolist() == [[5, 2], [6, 7]]
    assert batch["labels"].tolist() == [0.5, -2.0]


def test_batches_by_length_hold_each_position_once_shortest_first():
    rows = [[0] * length for length in (3, 1, 2, 1, 5)]
    assert [batch.tolist() for batch in by_length(rows, 2)] == [[1, 3], [2, 0], [4]]


@pytest.fixture(scope="module")
def masked():
    """60,000 ordinary tokens masked at 15 %: the batch and what it was made of."""
    collate = MaskingCollator(PAD, MASK, SPECIAL, VOCABULARY, 0.15)
    draw = np.random.default_rng(0)
    rows = [[0, *draw.integers(4, 19, size=length).tolist(), 1] for length in draw.integers(20, 40, size=2000)]
    batch = collate([{"input_ids": row} for row in rows], torch.Generator().manual_seed(0))
    return batch, pad(rows, PAD)


def within(count, trials, probability, deviations=5.0):
    return abs(count - trials * probability) < deviations * math.sqrt(trials * probability * (1 - probability))


def test_masking_chooses_at_its_rate_with_the_published_fates(masked):
    batch, (tokens, _) = masked
    chosen = batch["labels"] != -100
    ordinary = ~torch.isin(tokens, torch.tensor(SPECIAL))
    total, count = int(ordinary.sum()), int(chosen.sum())
    assert total > 50_000
    assert within(count, total, 0.15)
    replaced = batch["input_ids"][chosen]
    assert within(int((replaced == MASK).sum()), count, 0.8)
    kept = int((replaced == tokens[chosen]).sum())
    assert within(kept, count, 0.1 + 0.1 / 15), "10 % stay; a random token is the same one in fifteen"
    drawn = replaced[(replaced != MASK) & (replaced != tokens[chosen])]
    assert set(drawn.tolist()) == set(range(4, 19)), "random tokens are ordinary ones, and all of them"
    assert torch.equal(batch["labels"][chosen], tokens[chosen]), "the label is the token that stood there"
    assert torch.equal(batch["input_ids"][~chosen], tokens[~chosen]), "what is not chosen stays"


def test_special_tokens_are_never_masked(masked):
    batch, (tokens, mask) = masked
    special = torch.isin(tokens, torch.tensor(SPECIAL))
    assert int(special.sum()) > 4000
    assert (batch["labels"][special] == -100).all()
    assert torch.equal(batch["input_ids"][special], tokens[special])
    assert torch.equal(batch["attention_mask"], mask)


def test_every_batch_has_a_masked_token():
    collate = MaskingCollator(PAD, MASK, SPECIAL, VOCABULARY, 1e-9)
    for seed in range(20):
        batch = collate([{"input_ids": [0, 1]}, {"input_ids": [0, 7, 1]}], torch.Generator().manual_seed(seed))
        assert batch["labels"].tolist() == [[-100, -100, -100], [-100, 7, -100]]


def test_masks_follow_from_their_generator():
    collate = MaskingCollator(PAD, MASK, SPECIAL, VOCABULARY, 0.5)
    examples = [{"input_ids": [0, *range(4, 19), 1]}]
    first, again, other = (collate(examples, torch.Generator().manual_seed(s))["input_ids"] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# -- the loop, with validation losses written by hand ------------------------------------------------------------------

EXAMPLES = [{"input_ids": [i] * (1 + i % 7), "label": float(i % 3)} for i in range(40)]


class Line(torch.nn.Module):
    """One weight, which each step moves."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs):
        return self.weight * inputs["input_ids"].float().mean(1)


def run(losses, settings=None, **changes):
    """Train a line whose validation losses are given; the outcome, the model, its weight after each epoch."""
    model, seen, given = Line(), [], iter(losses)

    def validate():
        assert not model.training
        seen.append(model.weight.item())
        return {"validation_loss": next(given)}

    def loss(module, inputs):
        assert module.training
        return ((module(inputs) - inputs["labels"]) ** 2).mean()

    settings = settings or Settings(**{"epochs": len(losses), "batch_size": 8, "learning_rate": 0.01, **changes})
    outcome = fit(model, EXAMPLES, RegressionCollator(PAD), loss, validate, settings, Conditions(0, CPU))
    return outcome, model, seen


def test_the_epoch_with_the_lowest_validation_loss_is_restored():
    outcome, model, seen = run([3.0, 1.0, 2.0, 1.5])
    assert (outcome.best_epoch, outcome.best_loss) == (2, 1.0)
    assert len(set(seen)) == 4, "each epoch moved the weight"
    assert model.weight.item() == seen[1]
    assert [row["epoch"] for row in outcome.curve] == [1, 2, 3, 4]
    assert [row["validation_loss"] for row in outcome.curve] == [3.0, 1.0, 2.0, 1.5]
    assert not model.training


def test_the_earliest_of_equal_epochs_is_restored():
    outcome, model, seen = run([2.0, 1.0, 1.0])
    assert outcome.best_epoch == 2
    assert model.weight.item() == seen[1]


@pytest.mark.parametrize(
    ("losses", "changes", "stopped"),
    [
        ([3, 2, 2.5, 2.6, 1, 1], {"patience": None}, 6),
        ([3, 2, 2.5, 2.6, 1, 1], {"patience": 2}, 4),
        ([3, 2, 2.5, 1.9, 2, 2, 0], {"patience": 2}, 6),  # an improvement starts the count again
        ([3, 2, 2.5, 2.6, 1, 1], {"patience": 1}, 3),
        ([3, 2.9, 2.8, 2.7, 2.6], {"patience": 2, "minimum_delta": 0.5}, 3),  # falls, but by too little
        ([3, 2.9, 2.8, 2.4, 2.3], {"patience": 3, "minimum_delta": 0.5}, 5),  # a slow fall adds up
        ([1, 2, 3, 4, 5, 6], {"patience": 1, "checkpoints": (2, 4)}, 4),  # never before the last checkpoint
        ([1, 2, 3, 4, 5, 6], {"patience": 1, "checkpoints": (1,)}, 2),
        ([1, 2, 3, 4, 5, 6], {"patience": 1, "checkpoints": (6,)}, 6),
    ],
)
def test_training_stops_when_patience_is_spent(losses, changes, stopped):
    outcome, _, _ = run(losses, **changes)
    assert [row["epoch"] for row in outcome.curve] == list(range(1, stopped + 1))


def test_checkpoints_hold_the_weights_of_their_epochs():
    outcome, _, seen = run([1.0, 2.0, 3.0, 4.0], checkpoints=(2, 4), patience=1)
    assert sorted(outcome.kept) == [2, 4]
    assert [float(outcome.kept[epoch]["weight"]) for epoch in (2, 4)] == [seen[1], seen[3]]
    assert outcome.best_epoch == 1
    with pytest.raises(ChemsieveError, match="beyond the last epoch"):
        run([1.0, 2.0], checkpoints=(3,))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_loss_that_is_not_finite_ends_training(value):
    with pytest.raises(ChemsieveError, match="diverged in epoch 2"):
        run([1.0, value, 1.0])


def test_schedule_and_warmup_reach_the_optimiser():
    steps = 5 * 4  # five batches of eight, four epochs
    outcome, _, _ = run([4.0, 3.0, 2.0, 1.0], learning_rate=0.01, warmup=0.0, schedule="linear")
    rates = [row["learning_rate"] for row in outcome.curve]
    np.testing.assert_allclose(rates, [0.01 * (1 - done / steps) for done in (5, 10, 15, 20)], atol=1e-12)
    outcome, _, _ = run([4.0, 3.0, 2.0, 1.0], learning_rate=0.01, warmup=0.5, schedule="constant_with_warmup")
    np.testing.assert_allclose([row["learning_rate"] for row in outcome.curve], [0.005, 0.01, 0.01, 0.01], atol=1e-12)


def test_the_first_epoch_of_one_batch_is_the_closed_form():
    """One step of AdamW from zero moves the weight by the learning rate against the gradient's sign."""
    inputs = RegressionCollator(PAD)(EXAMPLES)
    mean = inputs["input_ids"].float().mean(1)
    outcome, model, _ = run([1.0], batch_size=40, learning_rate=0.125, warmup=0.0, schedule="constant")
    gradient = float((-2 * inputs["labels"] * mean).mean())
    assert gradient < 0
    assert model.weight.item() == pytest.approx(0.125, rel=1e-5)
    assert outcome.curve[0]["train_loss"] == pytest.approx(float(inputs["labels"].square().mean()), rel=1e-6)
    assert outcome.curve[0]["gradient_norm"] == pytest.approx(-gradient, rel=1e-6), "before clipping"


def test_group_by_length_pads_less_and_still_sees_every_molecule():
    examples = EXAMPLES * 10  # it groups within stretches of at most a quarter of the data
    padded, seen = {}, {}
    for group in (True, False):
        batches = []

        def collate(batch, batches=batches):
            batches.append([len(example["input_ids"]) for example in batch])
            return RegressionCollator(PAD)(batch)

        settings = Settings(epochs=1, batch_size=8, learning_rate=0.01, group_by_length=group)
        functions = (collate, lambda m, inputs: m(inputs).square().mean(), lambda: {"validation_loss": 1.0})
        fit(Line(), examples, *functions, settings, Conditions(0, CPU))
        padded[group] = sum(max(batch) * len(batch) for batch in batches)
        seen[group] = sorted(itertools.chain(*batches))
    assert seen[True] == seen[False] == sorted(len(example["input_ids"]) for example in examples)
    assert padded[True] < 0.8 * padded[False]


@pytest.mark.parametrize("admitted", [None, [np.arange(0, 60, 2), np.arange(60)]])
def test_batches_by_tokens_hold_no_more_and_every_molecule(admitted):
    lengths = np.random.default_rng(0).integers(5, 60, 60).tolist()
    order = Order(60, 4, 0, lengths, admitted, batch_tokens=100)
    seen = []
    for epoch in (0, 1, 1):
        batches = order.batches(epoch)
        assert len(batches) == order.steps(epoch)
        molecules = list(range(60)) if admitted is None else admitted[epoch].tolist()
        assert sorted(itertools.chain(*batches)) == molecules
        padded = [max(lengths[i] for i in batch) * len(batch) for batch in batches]
        assert max(padded) <= 100
        assert lengths[batches[0][0]] == max(lengths[i] for i in molecules), "memory runs out at once, or never"
        assert sum(padded) < 1.2 * sum(lengths[i] for i in molecules) + 100
        seen.append(batches)
    assert seen[1] != seen[2], "the order is drawn"
    assert Order(3, 4, 0, [150, 10, 90], batch_tokens=100).batches(0)[0] == [0], "one that is too long is alone"


def test_a_training_takes_as_many_steps_as_its_tokens_make():
    settings = Settings(epochs=2, batch_size=40, learning_rate=0.01, batch_tokens=30)
    batches = []

    def collate(examples):
        batches.append(RegressionCollator(PAD)(examples))
        return batches[-1]

    functions = (collate, lambda m, inputs: m(inputs).square().mean(), lambda: {"validation_loss": 1.0})
    outcome = fit(Line(), EXAMPLES, *functions, settings, Conditions(0, CPU))
    lengths = [len(example["input_ids"]) for example in EXAMPLES]
    assert len(batches) == 2 * Order(40, 40, 0, lengths, batch_tokens=30).steps(0) > 4
    assert all(batch["input_ids"].numel() <= 30 for batch in batches)
    assert outcome.curve[-1]["learning_rate"] == 0.0, "the schedule ends with the last step"


def test_the_order_of_the_molecules_follows_from_the_seed():
    orders = []
    for seed in (0, 0, 1):
        order = []

        def collate(batch, order=order):
            order.extend(example["input_ids"][0] for example in batch)
            return RegressionCollator(PAD)(batch)

        torch.manual_seed(len(orders))
        settings = Settings(epochs=2, batch_size=8, learning_rate=0.01, group_by_length=False)
        functions = (collate, lambda m, inputs: m(inputs).square().mean(), lambda: {"validation_loss": 1.0})
        fit(Line(), EXAMPLES, *functions, settings, Conditions(seed, CPU))
        orders.append(order)
    assert orders[0] == orders[1] != orders[2]
    first, second = orders[0][:40], orders[0][40:]
    assert first != second, "each epoch has its own"
    assert sorted(first) == sorted(second) == list(range(40))


def test_nothing_to_train_on_is_refused():
    with pytest.raises(ChemsieveError, match="no molecule"):
        fit(Line(), [], RegressionCollator(PAD), None, None, Settings(1, 1, 0.1), Conditions(0, CPU))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    assert choose_device("auto") == CPU
    with pytest.raises(ChemsieveError, match="no GPU"):
        choose_device("cuda")


def test_validation_is_timed_apart_from_the_epoch_that_it_ends(monkeypatch):
    now = 0.0
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now)

    def lasting(seconds, given):
        nonlocal now
        now += seconds
        return given

    settings = Settings(2, 8, 0.01)
    outcome = fit(
        Line(), EXAMPLES, RegressionCollator(PAD), lambda m, inputs: lasting(3.0, m(inputs).square().mean()),
        lambda: lasting(2.0, {"validation_loss": 1.0}), settings, Conditions(0, CPU),
    )  # fmt: skip
    assert [row["seconds"] for row in outcome.curve] == [17.0, 17.0]  # five steps and a validation
    assert [row["evaluation_seconds"] for row in outcome.curve] == [2.0, 2.0]
    assert outcome.seconds == 34.0


def test_a_loss_that_is_not_finite_is_seen_before_a_long_epoch_ends():
    made = []

    def loss(module, inputs):
        made.append(1)
        return module(inputs).mean() * math.nan

    settings = Settings(epochs=1, batch_size=1, learning_rate=0.01)
    functions = (RegressionCollator(PAD), loss, lambda: {"validation_loss": 1.0})
    with pytest.raises(
        ChemsieveError, match=r"diverged in epoch 1: the loss is nan; lower the learning rate \(now 0.01"
    ):
        fit(Line(), EXAMPLES * 3, *functions, settings, Conditions(0, CPU))
    assert len(made) == loop.CHECK_EVERY


# -- against the loop of transformers, which the project had before ----------------------------------------------------


class Returning(torch.nn.Module):
    """A line that gives its loss as the models of transformers do."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.zeros(())), torch.nn.Parameter(torch.zeros(()))

    def forward(self, input_ids, attention_mask, labels):
        means = (input_ids.float() * attention_mask).mean(1)
        kept = torch.rand(len(means)) < 0.7  # as dropout draws
        return {"loss": ((self.weight * means * kept + self.bias - labels) ** 2).mean()}


@pytest.mark.parametrize("group", [True, False])
def test_the_steps_are_those_of_transformers_trainer(tmp_path, group):
    """The same molecules in the same order, the same draws, clipping and rates: the same weights, to the bit."""
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    plain = RegressionCollator(PAD)

    def collate(examples):  # as masks are drawn
        return plain([{**example, "label": example["label"] + torch.rand(()).item()} for example in examples])

    ours, theirs = Returning(), Returning()
    settings = Settings(epochs=3, batch_size=6, learning_rate=0.1, weight_decay=0.3, group_by_length=group)
    losses = itertools.count(5, -1)
    functions = (collate, lambda m, batch: m(**batch)["loss"], lambda: {"validation_loss": next(losses)})
    fit(ours, EXAMPLES, *functions, settings, Conditions(3, CPU))
    drawn = torch.rand(()).item()
    arguments = TrainingArguments(
        output_dir=str(tmp_path), num_train_epochs=3, per_device_train_batch_size=6, learning_rate=0.1,
        weight_decay=0.3, warmup_steps=2, max_grad_norm=1.0, optim="adamw_torch_fused", seed=3, use_cpu=True,
        train_sampling_strategy="group_by_length" if group else "random", remove_unused_columns=False,
        save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    Trainer(model=theirs, args=arguments, train_dataset=EXAMPLES, data_collator=collate).train()
    assert torch.rand(()).item() == drawn, "as many numbers were drawn"
    assert (ours.weight.item(), ours.bias.item()) == (theirs.weight.item(), theirs.bias.item())
    assert ours.weight.item() != 0


@pytest.mark.parametrize(("count", "batch_size"), [(40, 8), (400, 8), (3, 8), (1000, 4), (97, 16)])
def test_lengths_are_grouped_as_transformers_groups_them(count, batch_size):
    trainer_pt_utils = pytest.importorskip("transformers.trainer_pt_utils")
    lengths = np.random.default_rng(count).integers(3, 30, size=count).tolist()
    torch.manual_seed(1)
    expected = trainer_pt_utils.get_length_grouped_indices(lengths, batch_size)
    torch.manual_seed(1)
    assert grouped_by_length(lengths, batch_size) == expected


def test_weight_decay_spares_what_transformers_spares(encoder_folder):
    trainer_pt_utils = pytest.importorskip("transformers.trainer_pt_utils")
    spared = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
    model = regressor.build(encoder_folder, "molformer", {})
    model.final_norm = torch.nn.Linear(2, 2)
    model.unnamed = torch.nn.Sequential(torch.nn.LayerNorm(3), torch.nn.Linear(3, 3))
    decayed = layers.decayed_names(model)
    assert decayed == set(trainer_pt_utils.get_parameter_names(model, [torch.nn.LayerNorm], spared))
    assert "head.weight" in decayed
    assert not decayed & {"head.bias", "unnamed.0.weight", "final_norm.weight"}


# -- curriculum --------------------------------------------------------------------------------------------------------


def test_a_curriculum_admits_the_molecules_below_its_published_threshold():
    # 11 + 256 e / 5: the thresholds are 62.2, 113.4, 164.6, 215.8 and 267.
    admitted = curriculum.admitted([267, 11, 62, 63, 113, 114, 165, 215, 216], 5)
    assert [positions.tolist() for positions in admitted] == [
        [1, 2],
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5],
        [1, 2, 3, 4, 5, 6, 7],
        [0, 1, 2, 3, 4, 5, 6, 7, 8],
    ]
    assert [len(positions) for positions in curriculum.admitted([7, 7, 7], 3)] == [3, 3, 3]
    # 0.1 + (0.7 - 0.1) * 3 / 3 is below 0.7 in floating point; the hardest is in the last epoch all the same.
    assert curriculum.admitted([0.1, 0.7], 3)[-1].tolist() == [0, 1]


def by_curriculum(seed=0, group=True, epochs=4, schedule="linear"):
    """Train on EXAMPLES, of difficulty equal to their number; the molecules of each epoch, the outcome."""
    seen = [[]]

    def collate(batch):
        seen[-1] += [example["input_ids"][0] for example in batch]
        return RegressionCollator(PAD)(batch)

    def validate():
        seen.append([])
        return {"validation_loss": 1.0}

    settings = Settings(epochs, 8, 0.01, warmup=0.0, schedule=schedule, group_by_length=group)
    functions = (collate, lambda m, inputs: m(inputs).square().mean(), validate)
    outcome = fit(Line(), EXAMPLES, *functions, settings, Conditions(seed, CPU), difficulty=range(40))
    return seen[:-1], outcome


@pytest.mark.parametrize("group", [True, False])
def test_each_epoch_of_a_curriculum_has_what_is_easy_enough_in_an_order_of_the_seed(group):
    seen, outcome = by_curriculum(group=group)
    assert [sorted(molecules) for molecules in seen] == [list(range(count)) for count in (10, 20, 30, 40)]
    assert [row["epoch"] for row in outcome.curve] == [1, 2, 3, 4]
    assert seen[3] != list(range(40)), "in random order"
    torch.manual_seed(99)
    assert by_curriculum(group=group)[0] == seen
    assert by_curriculum(group=group, seed=1)[0] != seen


def test_the_schedule_is_over_the_steps_that_a_curriculum_has():
    # Batches of eight of 10, 20, 30 and 40 molecules are 2 + 3 + 4 + 5 = 14 steps, where whole epochs have 20.
    _, outcome = by_curriculum()
    rates = [row["learning_rate"] for row in outcome.curve]
    np.testing.assert_allclose(rates, [0.01 * (1 - done / 14) for done in (2, 5, 9, 14)], atol=1e-12)


def test_a_curriculum_groups_molecules_of_similar_length():
    torch.manual_seed(0)
    lengths = [1 + i % 7 for i in range(400)]
    order = Order(400, 8, 0, lengths, [np.arange(0, 400, 2), np.arange(400)]).of(0)
    assert sorted(order) == list(range(0, 400, 2))
    spread = [np.ptp([lengths[i] for i in order[start : start + 8]]) for start in range(0, 200, 8)]
    assert np.mean(spread) < 2, "in random batches it is about five"


# -- adaptation --------------------------------------------------------------------------------------------------------

ADAPT = Settings(epochs=2, batch_size=4, learning_rate=0.003)


def adapted(
    encoder_folder, output, smiles=SMILES, seed=0, settings=ADAPT, held_out=0.25, pool=(), unmasked=0.0, **objectives
):
    """Of ``objectives`` the weights are those of masked tokens alone where none are given."""
    learned = Objectives(**{"weights": {"mlm": 1.0}} | objectives)
    masking, molecules = Masking(0.15, held_out, unmasked), Structures(smiles, pool)
    return adapt(encoder_folder, "molformer", molecules, output, settings, masking, learned, Conditions(seed, CPU))


@pytest.fixture
def spy(monkeypatch):
    """The molecules (as token ids) that reach training batches and held-out batches."""
    seen = {"train": [], "held": []}

    class Spy(MaskingCollator):
        def __call__(self, examples, generator=None):
            seen["train" if generator is None else "held"] += [tuple(e["input_ids"]) for e in examples]
            return super().__call__(examples, generator)

    monkeypatch.setattr(mlm, "MaskingCollator", Spy)
    return seen


def test_held_out_molecules_are_never_trained_on(encoder_folder, tmp_path, spy):
    repeated = SMILES + SMILES[::2]  # molecules that read the same must not stand on both sides
    outcome = adapted(encoder_folder, tmp_path, repeated)
    tokenizer = backbone.load_tokenizer(encoder_folder)
    everything = {tuple(ids) for ids in tokenization.encode(tokenizer, SMILES)}
    train, held = set(spy["train"]), set(spy["held"])
    assert len(spy["held"]) == len(held) == 6  # a quarter of 24 distinct molecules
    assert train | held == everything
    assert not train & held
    assert len(spy["train"]) == len(outcome.curve[1:]) * 18
    first = spy["held"].copy()
    spy["held"].clear()
    adapted(encoder_folder, tmp_path, repeated, seed=1)
    assert set(spy["held"]) != set(first), "another seed holds out others"


def test_adaptation_writes_its_best_epoch_and_learns(encoder_folder, tmp_path):
    settings = Settings(epochs=4, batch_size=4, learning_rate=0.003)
    outcome = adapted(encoder_folder, tmp_path, settings=settings)
    losses = [row["validation_loss"] for row in outcome.curve]
    assert [row["epoch"] for row in outcome.curve] == [0, 1, 2, 3, 4]
    vocabulary = backbone.load_tokenizer(encoder_folder).get_vocab_size()
    assert losses[0] == pytest.approx(math.log(vocabulary), abs=0.3), "untrained, it knows nothing"
    assert min(losses[1:]) < losses[0] - 0.5
    assert outcome.best_epoch == 1 + int(np.argmin(losses[1:]))
    stored = backbone.load_masked_lm(tmp_path, "molformer").state_dict()
    assert stored.keys() == outcome.best_state.keys()
    assert all(torch.equal(stored[name], tensor) for name, tensor in outcome.best_state.items())
    assert (tmp_path / "tokenizer.json").read_bytes() == (encoder_folder / "tokenizer.json").read_bytes()
    before, after = backbone.read_config(encoder_folder), backbone.read_config(tmp_path)
    assert {name: after[name] for name in before} == before


def test_adaptation_follows_from_its_seed(encoder_folder, tmp_path):
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(files))
        adapted(encoder_folder, tmp_path / name, seed=seed)
        files.append((tmp_path / name / "model.safetensors").read_bytes())
    assert files[0] == files[1]
    assert files[0] != files[2]


CHAINS = [f"{'C' * length}{end}" for length in range(1, 16) for end in ("O", "N", "Cl", "c1ccccc1")]


def test_descriptors_are_learned_beside_masked_tokens_and_without_them(encoder_folder, tmp_path):
    settings = Settings(epochs=6, batch_size=4, learning_rate=0.003)
    learned = {"descriptors": ["MolWt", "HeavyAtomCount"]}
    before = read_tensors(encoder_folder / "model.safetensors")
    for name, weights, unmasked in (
        ("both", {"mlm": 1.0, "descriptors": 1.0}, 0.5),
        ("alone", {"descriptors": 1.0}, 0.0),
    ):
        given = {"weights": weights, "unmasked": unmasked, **learned}
        curve = adapted(encoder_folder, tmp_path / name, CHAINS, settings=settings, **given).curve
        assert curve[-1]["train_loss"] < 0.9 * curve[1]["train_loss"]
        assert all(0.3 < row["descriptors_r2"] < 1 for row in curve)
        after = read_tensors(tmp_path / name / "model.safetensors")
        assert after.keys() == before.keys(), "heads are left behind"
        changed = {key for key in after if not torch.equal(after[key], before[key])}
        assert "molformer.embeddings.word_embeddings.weight" in changed
        learns_tokens = curve[-1]["masked_loss"] < curve[0]["masked_loss"] - 0.5
        assert learns_tokens == any("lm_head" in key for key in changed) == (name == "both")


def test_heads_begin_as_the_ridge_of_the_encoder_as_it_is(encoder_folder, tmp_path):
    """Against scikit-learn, whose leave-one-out ridge chooses the penalty, on one column that ridge must find alone."""
    model = backbone.load_masked_lm(encoder_folder, "molformer")
    tokenizer = backbone.load_tokenizer(encoder_folder)
    ids = tokenization.encode(tokenizer, CHAINS)
    wanted = np.array([[len(s), np.nan if i == 3 else s.count("C")] for i, s in enumerate(CHAINS)], np.float32)
    corpus = heads.Corpus(ids, np.zeros((len(ids), 0), np.float32), {"a": wanted}, np.arange(len(ids)))
    standard, linear = heads.standardisation(corpus), heads.linear(model.config.hidden_size, corpus)
    pad_id = tokenization.special_id(tokenizer, "pad")
    heads.fit_linearly(linear, model.molformer, corpus, pad_id, standard, CPU)
    ((name, head),) = linear.items()
    (fit,) = heads.fits(linear, model.molformer, corpus, pad_id, standard, CPU).values()
    with torch.no_grad():
        means = [model.molformer(torch.tensor([row])).last_hidden_state[0].mean(0) for row in ids]
        predicted = head(torch.stack(means)).numpy()
    truth = (wanted - standard[name][0]) / standard[name][1]
    assert fit.error == pytest.approx(np.nanmean((predicted - truth) ** 2), rel=1e-4)
    assert fit.error < 0.5, "one is what predicting the means costs"
    residual = np.nan_to_num(truth) - predicted
    np.testing.assert_allclose(residual.mean(axis=0), 0, atol=1e-3)  # so it is with an unpenalised intercept


def test_the_held_out_loss_is_the_weighted_sum_of_the_objectives(encoder_folder, tmp_path):
    once = replace(ADAPT, epochs=1)

    def before(**weights):
        curve = adapted(encoder_folder, tmp_path, settings=once, weights=weights).curve
        return curve[0]

    tokens, counts, both = before(mlm=1.0), before(morgan=1.0), before(mlm=2.0, morgan=3.0)
    assert tokens["validation_loss"] == tokens["masked_loss"] == counts["masked_loss"]
    assert "morgan_r2" not in tokens
    assert both["validation_loss"] == pytest.approx(2 * tokens["validation_loss"] + 3 * counts["validation_loss"])
    assert both["morgan_r2"] == counts["morgan_r2"]


def test_objectives_without_weight_change_nothing(encoder_folder, tmp_path):
    adapted(encoder_folder, tmp_path / "a")
    weights = {"mlm": 1.0, "descriptors": 0.0, "teacher": 0.0}
    adapted(encoder_folder, tmp_path / "b", weights=weights, descriptors=["nonsense"])
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_the_pool_is_trained_on_and_never_held_out(encoder_folder, tmp_path, spy):
    adapted(encoder_folder, tmp_path)
    held = spy["held"].copy()
    spy["held"].clear()
    spy["train"].clear()
    pool = [*CHAINS[4:9], SMILES[0], SMILES[1], SMILES[2]]
    adapted(encoder_folder, tmp_path, settings=replace(ADAPT, epochs=1), pool=pool)
    assert spy["held"] == held, "held out are the same training molecules with a pool and without"
    tokenizer = backbone.load_tokenizer(encoder_folder)
    read = {tuple(ids) for ids in tokenization.encode(tokenizer, SMILES + CHAINS[4:9])}
    assert set(spy["train"]) == read - set(held)
    assert len(spy["train"]) == len(set(spy["train"])), "a pool molecule that is a training molecule counts once"


def test_what_is_learned_beside_tokens_is_what_was_chosen():
    smiles = ["CCO", "c1ccccc1O", "CC(=O)Nc1ccccc1"]
    table = descriptors(smiles)
    names = descriptor_names()
    learned = Objectives({"descriptors": 1.0, "morgan": 1.0}, ["Mol*", "TPSA", "fr_azide"], ["MolLog*"]).targets(smiles)
    wanted = [names.index(name) for name in names if name in ("MolWt", "MolMR", "TPSA")]
    np.testing.assert_array_equal(learned["descriptors"], table[:, wanted])  # none of the three is an azide
    # Phenol has five aromatic CH: one fragment of radius 0, five times.
    assert np.log1p(5) in learned["morgan"][1]
    with pytest.raises(ChemsieveError, match="RDKit has no descriptor 'TPSAA'; did you mean 'TPSA'"):
        Objectives({"descriptors": 1.0}, ["TPSAA"]).targets(smiles)
    with pytest.raises(ChemsieveError, match="no descriptor is left"):
        Objectives({"descriptors": 1.0}, ["TPSA"], ["*"]).targets(smiles)
    with pytest.raises(ChemsieveError, match="the same for all 2 molecules"):
        Objectives({"descriptors": 1.0}, ["TPSA"]).targets(["CC", "CCC"])


def test_a_teachers_vectors_are_found_by_molecule(tmp_path):
    values = pa.array([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]], pa.list_(pa.float16(), 2))
    pq.write_table(pa.table({"smiles": ["OC(F)Cl", "CCO", "CCCC"], "v": values}), tmp_path / "teacher.parquet")
    table = {"path": str(tmp_path / "teacher.parquet"), "vector": "v"}
    # Two stereoisomers, which the table does not tell apart, and one molecule that it has not.
    smiles = ["O[C@H](F)Cl", "CCN", "OCC", "O[C@@H](F)Cl"]
    found = Objectives({"teacher": 1.0}, teacher=table).targets(smiles)["teacher"]
    np.testing.assert_array_equal(found, [[1, 2], [np.nan, np.nan], [3, 4], [1, 2]])
    with pytest.raises(ChemsieveError, match=r"^mlm\.teacher: .* none of its rows is a molecule to adapt on"):
        Objectives({"teacher": 1.0}, teacher=table).targets(["CCN"])


def test_too_few_molecules_to_hold_any_out_are_refused(encoder_folder, tmp_path):
    with pytest.raises(ChemsieveError, match="held_out"):
        adapted(encoder_folder, tmp_path, ["CCO", "CCO"])


# -- fine-tuning -------------------------------------------------------------------------------------------------------

FIT = Settings(epochs=3, batch_size=4, learning_rate=0.003)
LABELS = np.random.default_rng(0).normal(2.0, 3.0, size=len(SMILES))


def built(encoder_folder, seed=0):
    torch.manual_seed(seed)
    return regressor.build(encoder_folder, "molformer", {}), backbone.load_tokenizer(encoder_folder)


def tuned(encoder_folder, settings=FIT, seed=0, **changes):
    model, tokenizer = built(encoder_folder, seed)
    data = {"train": (SMILES[:16], LABELS[:16]), "validation": (SMILES[16:], LABELS[16:])} | changes
    train, validation = (Labelled(*data[fold]) for fold in ("train", "validation"))
    outcome = fine_tune(model, tokenizer, train, validation, settings, Conditions(seed, CPU))
    return outcome, model, tokenizer


def predicted(model, tokenizer, smiles=SMILES):
    return predict(model, tokenization.encode(tokenizer, smiles), PAD, CPU)


def rmse(found, labels):
    return math.sqrt(np.mean((found - labels) ** 2))


def test_low_precision_is_of_training_products_alone(encoder_folder):
    fine = replace(FIT, precision="float32")
    exact, model, tokenizer = tuned(encoder_folder, fine)
    rough, low, _ = tuned(encoder_folder, replace(fine, precision="bfloat16"))
    assert {p.dtype for p in low.parameters()} == {torch.float32}
    difference = np.abs(predicted(low, tokenizer) - predicted(model, tokenizer))
    assert 0 < difference.max() < 0.1 * LABELS.std()  # bfloat16 has 8 bits: it shows, and changes little
    assert rough.best_loss == pytest.approx(exact.best_loss, rel=0.05)
    chosen = tuned(encoder_folder, replace(fine, precision="auto"))[0].best_loss
    assert chosen == (rough if low_precision("auto", CPU) else exact).best_loss


def test_fine_tuning_leaves_the_best_epoch(encoder_folder):
    # The validation molecules are training molecules with the opposite label: the better the fit, the worse.
    opposite = 2 * LABELS[:16].mean() - LABELS[:16]
    settings = Settings(epochs=6, batch_size=4, learning_rate=0.003)
    outcome, model, tokenizer = tuned(encoder_folder, settings, validation=(SMILES[:16], opposite))
    curve = [row["validation_rmse"] for row in outcome.curve]
    assert outcome.best_epoch == 1 + int(np.argmin(curve)) < 6
    assert outcome.curve[-1]["train_loss"] < outcome.curve[0]["train_loss"]
    assert rmse(predicted(model, tokenizer, SMILES[:16]), opposite) == pytest.approx(min(curve), rel=1e-12)


def test_validation_loss_is_the_mean_square_in_units_of_the_training_labels(encoder_folder):
    outcome, model, tokenizer = tuned(encoder_folder)
    for row in outcome.curve:
        assert row["validation_loss"] == pytest.approx(row["validation_rmse"] ** 2 / LABELS[:16].var(), rel=1e-12)
    found = rmse(predicted(model, tokenizer)[16:], LABELS[16:])
    assert found == pytest.approx(min(row["validation_rmse"] for row in outcome.curve), rel=1e-12)


def test_the_label_scale_comes_from_the_training_labels_alone(encoder_folder):
    _, model, _ = tuned(encoder_folder, validation=(SMILES[16:], 1e6 + 1e3 * LABELS[16:]))
    assert float(model.label_mean) == pytest.approx(LABELS[:16].mean(), abs=1e-12)
    assert float(model.label_scale) == pytest.approx(LABELS[:16].std(), abs=1e-12)


def test_predictions_follow_the_unit_of_the_labels(encoder_folder):
    """Training on 10 y - 7 gives 10 f - 7: standardisation makes the training itself the same."""
    _, model, tokenizer = tuned(encoder_folder)
    labels = 10 * LABELS - 7
    _, scaled, _ = tuned(encoder_folder, train=(SMILES[:16], labels[:16]), validation=(SMILES[16:], labels[16:]))
    np.testing.assert_allclose(predicted(scaled, tokenizer), 10 * predicted(model, tokenizer) - 7, rtol=0, atol=1e-2)


def test_predictions_keep_the_order_given_and_do_not_depend_on_the_batch(encoder_folder):
    model, tokenizer = built(encoder_folder)
    together = predicted(model, tokenizer)
    alone = [predicted(model, tokenizer, [smiles])[0] for smiles in SMILES]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)
    assert np.ptp(together) > 1e-4


def test_another_label_scale_leaves_predictions_as_they_are(encoder_folder):
    model, tokenizer = built(encoder_folder)
    torch.nn.init.normal_(model.head.weight)
    torch.nn.init.ones_(model.head.bias)
    model.set_label_scale(5.0, 0.5)
    before = predicted(model, tokenizer)
    model.change_label_scale(-3.0, 4.0)
    assert (float(model.label_mean), float(model.label_scale)) == (-3.0, 4.0)
    np.testing.assert_allclose(predicted(model, tokenizer), before, rtol=0, atol=1e-5)
    model.set_label_scale(0.0, 1.0)
    assert np.abs(predicted(model, tokenizer) - before).max() > 1, "set_label_scale is the one that changes them"


def test_a_trained_head_starts_from_its_own_predictions(encoder_folder):
    model, tokenizer = built(encoder_folder)
    torch.nn.init.normal_(model.head.weight)
    model.set_label_scale(5.0, 0.5)
    before = rmse(predicted(model, tokenizer, SMILES[16:]), LABELS[16:])
    still = Settings(epochs=1, batch_size=16, learning_rate=1e-12)
    model.encoder.redraw_features = lambda: None  # training would draw other features
    data = Labelled(SMILES[:16], LABELS[:16]), Labelled(SMILES[16:], LABELS[16:])
    outcome = fine_tune(model, tokenizer, *data, still, Conditions(0, CPU), trained_head=True)
    assert outcome.curve[0]["validation_rmse"] == pytest.approx(before, abs=1e-4)
    assert float(model.label_scale) == pytest.approx(LABELS[:16].std(), abs=1e-12)


def test_fine_tuning_follows_from_its_seed(encoder_folder):
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(10 + len(states))
        states.append(trained_state(tuned(encoder_folder, seed=seed)[1]))
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    weights = [name for name in states[0] if name.endswith("dense.weight")]
    assert not any(torch.equal(states[0][name], states[2][name]) for name in weights)


@pytest.mark.parametrize("rate", [1e6, 1e20])
def test_an_absurd_learning_rate_is_an_error_and_no_model(encoder_folder, rate):
    absurd = Settings(epochs=3, batch_size=4, learning_rate=rate, warmup=0.0)
    with pytest.raises(ChemsieveError, match=r"diverged|not finite"):
        tuned(encoder_folder, absurd)


def test_a_curriculum_by_length_counts_the_characters_of_the_smiles(encoder_folder, monkeypatch):
    """ClCCl has as many characters as CCCCC, and fewer tokens."""
    seen = []

    class Spy(RegressionCollator):
        def __call__(self, examples):
            seen.extend(example["smiles"] for example in examples)
            return super().__call__(examples)

    monkeypatch.setattr(regression, "RegressionCollator", Spy)
    smiles = ["CCCCC", "ClCCl", "BrCCBr", "CCCCCCCCC", "C" * 13]  # 5, 5, 6, 9 and 13 characters
    changes = {"train": (smiles, LABELS[:5])}
    settings = replace(FIT, epochs=2, batch_size=2, curriculum="length")
    tuned(encoder_folder, settings, **changes)
    assert sorted(seen) == sorted([*smiles[:4], *smiles]), "at most 5 + 8 / 2 characters, then all"
    seen.clear()
    tuned(encoder_folder, replace(settings, curriculum=None), **changes)
    assert sorted(seen) == sorted(2 * smiles)


def test_equal_labels_are_refused(encoder_folder):
    with pytest.raises(ChemsieveError, match="nothing to learn"):
        tuned(encoder_folder, train=(SMILES[:16], np.ones(16)))


# -- dropout passes ----------------------------------------------------------------------------------------------------


def test_dropout_passes_differ_follow_their_seed_and_leave_the_model_alone(encoder_folder):
    model, tokenizer = built(encoder_folder)
    torch.nn.init.normal_(model.head.weight)
    model.set_label_scale(3.0, 2.0)
    ids = tokenization.encode(tokenizer, SMILES)
    plain = predicted(model, tokenizer)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = predict_passes(model, ids, PAD, 30, 0, CPU)
    assert first.shape == (30, len(SMILES))
    assert (first.std(axis=0) > 0).all()
    after = model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), "features too"
    assert not any(module.training for module in model.modules())
    np.testing.assert_array_equal(predicted(model, tokenizer), plain)
    np.testing.assert_array_equal(predict_passes(model, ids, PAD, 30, 0, CPU), first)
    assert (predict_passes(model, ids, PAD, 30, 1, CPU) != first).any()
    error = first.std(axis=0) / math.sqrt(30)
    near = np.abs(first.mean(axis=0) - plain) < 4 * error
    assert near.mean() > 0.7, "they scatter about the prediction, in its unit"


def test_spread_of_head_dropout_is_the_closed_form(encoder_folder):
    """Dropout p before a linear head has variance p / (1 - p) sum w^2 h^2."""
    torch.manual_seed(0)
    model = regressor.build(encoder_folder, "molformer", {"hidden": 0.0, "embedding": 0.0, "head": 0.3})
    torch.nn.init.normal_(model.head.weight)
    model.set_label_scale(0.0, 2.0)
    ids = tokenization.encode(backbone.load_tokenizer(encoder_folder), SMILES[:4])
    tokens, mask = pad(ids, PAD)
    with torch.no_grad():
        pooled = model.eval().encoder(tokens, mask).pooler_output
        wanted = 2.0 * ((model.head.weight * pooled) ** 2).sum(1).mul(0.3 / 0.7).sqrt().numpy()
    np.testing.assert_allclose(predict_passes(model, ids, PAD, 800, 0, CPU).std(axis=0), wanted, rtol=0.1)


def test_a_model_without_dropout_has_no_spread_to_give(encoder_folder):
    model = regressor.build(encoder_folder, "molformer", {"hidden": 0.0, "embedding": 0.0, "head": 0.0})
    with pytest.raises(ChemsieveError, match="no dropout"):
        predict_passes(model, [[0, 5, 1]], PAD, 5, 0, CPU)


def test_a_regressor_without_noise_trains_with_what_it_is_evaluated_with(encoder_folder):
    torch.manual_seed(0)
    model = regressor.build(encoder_folder, "molformer", {"hidden": 0.5, "embedding": 0.5, "head": 0.5})
    tokens, mask = pad([[0, 5, 6, 7, 1], [0, 8, 1]], 2)
    model.train()
    assert not torch.equal(model(tokens, mask), model(tokens, mask))
    regressor.disable_noise(model)
    expected = model.eval()(tokens, mask)
    torch.testing.assert_close(model.train()(tokens, mask), expected)


# -- averaged weights, and learning rates by layer ---------------------------------------------------------------------


def test_averaged_weights_are_those_of_the_recursion():
    _, _, plain = run([1.0, 2.0, 3.0])
    trail = []

    class Watched(WeightAverage):
        def update(self):
            trail.append(self.parameters[0].item())
            super().update()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epochs, "WeightAverage", Watched)
        outcome, model, averaged = run([1.0, 2.0, 3.0], average=0.8)
    expected, seen = 0.0, []
    for step, weight in enumerate(trail, start=1):
        decay = min(0.8, step / (step + 9))
        expected = decay * expected + (1 - decay) * weight
        if step % 5 == 0:
            seen.append(expected)
    assert trail[4::5] == pytest.approx(plain)  # training itself is as without
    assert averaged == pytest.approx(seen, rel=1e-5)
    assert model.weight.item() == averaged[0] == outcome.best_state["weight"].item()


def test_learning_rates_fall_with_depth():
    torch.manual_seed(0)
    model = Regressor(MolformerModel(MolformerConfig(**TINY)), TINY["hidden_size"], 0.0)
    depth = layers.depths(model)
    assert {d for n, d in depth.items() if "word_embeddings" in n} == {0}
    assert {d for n, d in depth.items() if ".layer.0." in n} == {1}
    last = max(depth.values())
    assert {d for n, d in depth.items() if n.startswith("head")} == {last} == {TINY["num_hidden_layers"] + 1}
    found = layers.groups(model, {"head.weight"}, 0.1, 0.01, 0.5)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in found for p in group["params"]}
    assert len(rates) == len(depth)
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == (0.1 * 0.5 ** (last - depth[name]), 0.01 * (name == "head.weight"))


def test_a_decay_of_nothing_leaves_the_embeddings_alone():
    """With a decay near zero only the head moves."""
    ids = tokenization.encode(tokenization.build(), SMILES)
    torch.manual_seed(0)
    model = Regressor(MolformerModel(MolformerConfig(**TINY)), TINY["hidden_size"], 0.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    examples = [{"input_ids": row, "label": float(i % 3)} for i, row in enumerate(ids)]

    def loss(module, inputs):
        return ((module(inputs["input_ids"], inputs["attention_mask"]) - inputs["labels"]) ** 2).mean()

    settings = Settings(epochs=1, batch_size=8, learning_rate=0.01, weight_decay=0.0, layer_decay=1e-9)
    fit(model, examples, RegressionCollator(PAD), loss, lambda: {"validation_loss": 1.0}, settings, Conditions(0, CPU))
    moved = {name: float((p.detach() - before[name]).abs().max()) for name, p in model.named_parameters()}
    assert moved["head.weight"] > 1e-3
    assert all(change < 1e-7 for name, change in moved.items() if ".layer." in name or "embedding" in name)


def test_what_is_added_leaves_the_steps_of_all_others_alone():
    common, added = [f"C{n}" for n in range(21)], [f"N{n}" for n in range(40)]

    def steps(names):
        order = CommonOrder([*common, *names], len(common), 8, seed=3)
        assert order.steps(1) == 3
        named = [[(common + names)[i] for i in batch] for batch in order.batches(1)]
        assert sorted(name for batch in named for name in batch) == sorted(common + names)
        return named

    alone, few, many = steps([]), steps(added[5:15]), steps(added[::-1])
    for batch, with_few, with_many in zip(alone, few, many, strict=True):
        assert [name for name in with_few if name in common] == batch
        assert [name for name in with_many if name in common] == batch
        # Those that both add are in the same step, in the same order.
        assert [name for name in with_many if name in added[5:15]] == with_few[len(batch) :]


def test_each_epoch_has_an_order_of_its_own():
    order = CommonOrder([f"C{n}" for n in range(30)], 30, 8, seed=0)
    assert order.batches(0) != order.batches(1)
    assert order.batches(0) == order.batches(0)
    assert [len(batch) for batch in order.batches(0)] == [8, 8, 8, 6]
