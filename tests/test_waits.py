"""How often a GPU would be waited for: looks at numbers on the device, counted on the processor.

A look is what copies a number back or asks how many there are: ``item``, ``float``, ``bool``, ``tolist``, ``cpu``,
``numpy``, and operations whose output's size depends on values. Inner loops must not make more of them with more steps,
or with more layers.
"""

import functools
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from chemsieve.influence import gram as gram_module
from chemsieve.influence.estimators import lissa
from chemsieve.influence.gram import gram
from chemsieve.influence.problem import Molecules, Problem
from chemsieve.influence.replay import Replay
from chemsieve.models import tokenization
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.modeling import MolformerForMaskedLM, MolformerModel
from chemsieve.models.prediction import predict
from chemsieve.models.regressor import Regressor
from chemsieve.training import pretraining
from chemsieve.training.batches import MaskingCollator, RegressionCollator
from chemsieve.training.epochs import fit
from chemsieve.training.heads import Corpus, fits, last_outputs, linear, standardisation
from chemsieve.training.held_out import masked_figures
from chemsieve.training.loop import CHECK_EVERY, Conditions
from chemsieve.training.regression import squared_error
from helpers.settings import PretrainingSettings, Settings
from helpers.tiny import SMILES, TINY

CPU = torch.device("cpu")
TOKENIZER = tokenization.build()
PAD = tokenization.special_id(TOKENIZER, "pad")
IDS = tokenization.encode(TOKENIZER, SMILES)
METHODS = ("cpu", "numpy", "tolist")
OPERATIONS = ("_local_scalar_dense", "nonzero", "_unique", "masked_select")


class Looks(TorchDispatchMode):
    """Counts looks at numbers within the block, but for what :meth:`unseen` wraps."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.names: list[str] = []
        self.paused = 0
        for name in METHODS:
            monkeypatch.setattr(Tensor, name, self._counted(name, getattr(Tensor, name)))
        # Batches are made on the processor, whatever the device.
        for collator in (MaskingCollator, RegressionCollator):
            monkeypatch.setattr(collator, "__call__", self.unseen(collator.__call__))

    def _counted(self, name, method):
        def counted(tensor, *given, **named):
            self._saw(name)
            return method(tensor, *given, **named)

        return counted

    def unseen(self, function):
        @functools.wraps(function)
        def called(*given, **named):
            self.paused += 1
            try:
                return function(*given, **named)
            finally:
                self.paused -= 1

        return called

    def _saw(self, name):
        if not self.paused:
            self.names.append(name)

    def __torch_dispatch__(self, operation, types, given=(), named=None):
        name = operation.overloadpacket.__name__
        indices = given[1] if name in ("index", "index_put", "index_put_") else ()
        if name.startswith(OPERATIONS) or any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices):
            self._saw(name)
        return operation(*given, **(named or {}))

    @contextmanager
    def counted(self):
        """The names of the looks within the block, in a list."""
        self.names = found = []
        with self:
            yield found


@pytest.fixture
def looks(monkeypatch):
    found = Looks(monkeypatch)
    monkeypatch.setattr("chemsieve.training.heads.masked_places", found.unseen(masked_places_of("heads")))
    monkeypatch.setattr("chemsieve.training.held_out.masked_places", found.unseen(masked_places_of("held_out")))
    return found


def masked_places_of(module):
    from importlib import import_module

    return import_module(f"chemsieve.training.{module}").masked_places


def config(layers=2):
    torch.manual_seed(0)
    return MolformerConfig(**TINY | {"num_hidden_layers": layers, "vocab_size": TOKENIZER.get_vocab_size()})


def regressor(layers=2):
    return Regressor(MolformerModel(config(layers)), TINY["hidden_size"], 0.1)


def many(count):
    return [IDS[i % len(IDS)] for i in range(count)]


def problem(molecules, layers=2):
    model = regressor(layers)
    torch.nn.init.normal_(model.head.weight, std=0.3)
    labels = np.random.default_rng(0).normal(size=molecules)
    return Problem(model, Molecules(many(molecules), labels), PAD, 0, 4)


def of_training(looks, steps, layers=2):
    examples = [{"input_ids": row, "label": 0.5} for row in many(4 * steps)]
    settings = Settings(epochs=1, batch_size=4, learning_rate=0.001, average=0.9)
    collate, given = RegressionCollator(PAD), (settings, Conditions(0, CPU))
    with looks.counted() as found:
        fit(regressor(layers), examples, collate, squared_error, lambda: {"validation_loss": 1.0}, *given)
    return found


def of_pretraining(looks, steps, folder, layers=2):
    given = {"properties": np.ones((40, 2), np.float32) * np.arange(40)[:, None]}
    corpus = Corpus(many(40), **given)
    settings = PretrainingSettings(steps=steps, batch_size=4, learning_rate=0.001, evaluate_every=10**6,
                                   save_every=10**6, unmasked=0.25)  # fmt: skip
    model = MolformerForMaskedLM(config(layers))
    collate = MaskingCollator.of(TOKENIZER, 0.15)
    with looks.counted() as found:
        pretraining.run(
            model, model.molformer, corpus, corpus, collate, settings, Conditions(0, CPU), folder / f"{steps}{layers}"
        )
    return found


def test_a_look_is_counted(looks):
    with looks.counted() as found:
        x = torch.arange(3.0)
        x[x > 1].sum().item()
        (x.tolist(), bool(x[0] == 0), x.cpu().numpy())
    assert {"index", "_local_scalar_dense", "tolist", "cpu", "numpy"} <= set(found)


def test_training_looks_at_nothing_between_checks(looks):
    few, more, deep = of_training(looks, 3), of_training(looks, 12), of_training(looks, 3, layers=4)
    assert len(more) == len(few)
    assert [name for name in deep if name == "_local_scalar_dense"] == [n for n in few if n == "_local_scalar_dense"]
    assert CHECK_EVERY >= 12  # a loss that is not finite is noticed within so many steps


def test_pretraining_looks_at_nothing_between_checks(looks, tmp_path):
    assert len(of_pretraining(looks, 3, tmp_path)) == len(of_pretraining(looks, 12, tmp_path))


def test_held_out_figures_are_read_once(looks):
    model = MolformerForMaskedLM(config()).eval()
    collate = MaskingCollator.of(TOKENIZER, 0.3)

    def count(molecules):
        batches = [collate([{"input_ids": row}] * 2) for row in many(molecules)]
        with looks.counted() as found:
            masked_figures(model, batches, CPU)
        return len(found)

    assert count(3) == count(12) == 2


def test_fits_of_heads_are_read_once(looks):
    def count(molecules):
        values = np.random.default_rng(0).normal(size=(molecules, 3)).astype(np.float32)
        corpus, model = Corpus(many(molecules), values), MolformerModel(config()).eval()
        heads = linear(TINY["hidden_size"], corpus)
        with last_outputs(model), looks.counted() as found:
            fits(heads, model, corpus, PAD, standardisation(corpus), CPU)
        return len(found)

    assert count(64) == count(200)


def test_predictions_are_read_once(looks):
    def count(molecules):
        with looks.counted() as found:
            predict(regressor(), many(molecules), PAD, CPU, batch_size=4)
        return len(found)

    assert count(8) == count(40) == 2


@pytest.mark.parametrize("name", ["loss_change", "derivatives", "loss_change_by_differences", "gradient"])
def test_influence_along_a_vector_is_read_once(looks, name):
    def count(molecules):
        made = problem(molecules)
        vector = torch.randn(made.size)
        with looks.counted() as found:
            getattr(made, name)(*([] if name == "gradient" else [vector]), made.train)
        return len(found)

    assert count(64) == count(96)


@pytest.mark.parametrize("tolerance", [0.0, 0.01])
def test_the_gram_matrix_looks_once_for_each_batch_of_its_embedding_alone(looks, monkeypatch, tolerance):
    monkeypatch.setattr("chemsieve.influence.basis.PILOT", 8)

    def count(molecules, **options):
        made = problem(molecules)
        with looks.counted() as found:
            gram(made, made.train, tolerance=tolerance, **options)
        return found

    few, more = count(24), count(96)
    # 24 molecules are 6 batches, 96 are 24; the error of what a tolerance leaves out is that of 24 and of 48 of them.
    batches = (24 - 6) + (12 - 6 if tolerance else 0)
    assert len([name for name in more if "unique" in name]) == len([n for n in few if "unique" in n]) + batches
    assert len(more) - len(few) <= batches + 4
    assert gram_module.BLOCK >= 96


def test_each_step_of_a_replay_looks_a_few_times_whatever_the_layers(looks):
    def count(layers, steps):
        model = regressor(layers)
        model.set_label_scale(0.3, 1.7)
        labels = np.random.default_rng(0).normal(size=len(IDS))
        molecules = Molecules(IDS, labels)
        settings = Settings(epochs=1, batch_size=4, learning_rate=0.001, gradient_clip=1e-3)
        made = Replay(model, molecules.take(range(16)), molecules.take(range(16, 24)), PAD, settings)
        batches = [list(range(4 * (k % 4), 4 * (k % 4) + 4)) for k in range(steps)]
        with looks.counted() as found:
            made.gradient(np.full(16, 0.5), batches, every=steps)
        return len(found)

    assert count(1, 4) == count(3, 4)
    assert count(1, 8) - count(1, 4) <= 4 * 7


def test_lissa_looks_at_its_iterate_now_and_then(looks):
    def count(depth):
        made = problem(12)
        vector = torch.randn(made.size) * 1e-3
        with looks.counted() as found:
            lissa._recursion(made, vector, depth, 1, 0.01, 1e9, 4)
        return len(found)

    assert count(2 * lissa.LOOK_EVERY) - count(lissa.LOOK_EVERY) == 1
