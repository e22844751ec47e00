"""Staged unfreezing, freezing by name, linear probing and WiSE-FT: what is trained when, and what is left of it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from chemsieve import methods
from chemsieve.errors import ChemsieveError
from chemsieve.methods import by_name, linear_probe, wise_ft
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import read_tensors, trained_state, write_tensors
from chemsieve.models.prediction import predict
from chemsieve.study.plan import Plan
from chemsieve.study.runs import Identity, of_metrics, read_facts
from chemsieve.tables import read_table
from chemsieve.training.layers import depths
from chemsieve.training.loop import Conditions
from chemsieve.training.regression import Labelled, fine_tune
from chemsieve.training.run import Folds, Trained, train_and_write
from chemsieve.training.thawing import Thawing
from chemsieve.uses import Mixture
from helpers.configurations import changed
from helpers.models import HEAD
from helpers.settings import PLAIN, Settings
from helpers.tiny import SMILES
from test_resuming import Killed, Watched, same

CPU = torch.device("cpu")
LABELS = np.sin(np.arange(len(SMILES)))
DROPOUT = {"hidden": 0.1, "embedding": 0.1, "head": 0.1}
BASE = Settings(epochs=5, batch_size=6, learning_rate=5e-3)


def built(folder, method="full", inputs=None, **options):
    torch.manual_seed(7)
    model = regressor.build(folder, "molformer", DROPOUT, head=inputs)
    methods.load(method).apply(model, **options)
    return model


def tuned(folder, model, saves=None, mixture=None, **settings):
    given = Labelled(SMILES[:18], LABELS[:18]), Labelled(SMILES[18:], LABELS[18:])
    conditions = Conditions(7, CPU, saves)
    return fine_tune(
        model, backbone.load_tokenizer(folder), *given, replace(BASE, **settings), conditions, mixture=mixture
    )


# -- gradual unfreezing ------------------------------------------------------------------------------------------------


def stages(folder, every, method="full", **options):
    """Of each epoch the depths whose parameters it has moved, from the weights kept after each."""
    model = built(folder, method, **options)
    before, depth = {n: p.detach().clone() for n, p in model.named_parameters()}, depths(model)
    # At full epochs kept, the weights of an epoch are those the next begins with.
    outcome = tuned(folder, model, unfreeze=every, checkpoints=(1, 2, 3, 4, 5))
    found = []
    for epoch in sorted(outcome.kept):
        after = outcome.kept[epoch]
        found.append({depth[name] for name in depth if not torch.equal(before[name], after[name])})
        before = after
    return found


def test_layers_begin_to_be_trained_one_after_the_other_from_the_head_down(encoder_folder):
    """Two layers: what comes after them is 3, the embeddings 0."""
    assert stages(encoder_folder, 1) == [{3}, {3, 2}, {3, 2, 1}, {3, 2, 1, 0}, {3, 2, 1, 0}]
    assert stages(encoder_folder, 2) == [{3}, {3}, {3, 2}, {3, 2}, {3, 2, 1}]
    assert stages(encoder_folder, None) == [{3, 2, 1, 0}] * 5


def test_adapters_are_unfrozen_with_their_layers(encoder_folder):
    assert stages(encoder_folder, 1, "lora", rank=2)[:3] == [{3}, {3, 2}, {3, 2, 1}]


def test_without_a_trained_head_the_uppermost_adapter_is_the_first(encoder_folder):
    assert stages(encoder_folder, 1, "lora", rank=2, head="none")[:2] == [{2}, {2, 1}]


def test_layers_that_are_never_trained_are_said(encoder_folder, caplog):
    tuned(encoder_folder, built(encoder_folder), unfreeze=3)
    (said,) = [record.getMessage() for record in caplog.records if "gradual unfreezing" in record.getMessage()]
    # The lower layer and the embeddings begin after six and nine epochs of five.
    model = built(encoder_folder)
    lowest = sum(p.numel() for n, p in model.named_parameters() if "layer.0." in n or "embeddings" in n)
    assert said.startswith(f"gradual unfreezing: {lowest} parameters, of the lowest layers, are never trained")
    assert "first epoch with all is 10, and the last 5" in said


def test_patience_waits_until_all_layers_are_trained(encoder_folder):
    """No epoch is ever good enough: patience of one ends a plain training after the second, this one later."""
    spent = {"patience": 1, "minimum_delta": 10.0}
    assert len(tuned(encoder_folder, built(encoder_folder), **spent).curve) == 2
    assert len(tuned(encoder_folder, built(encoder_folder), unfreeze=1, **spent).curve) == 4


def test_what_rests_asks_for_no_gradient_and_all_is_as_before_afterwards(encoder_folder):
    model = built(encoder_folder)
    thawing = Thawing(model, 1, 5)
    ids = torch.randint(5, 20, (3, 8))
    with thawing.at(2):
        assert {n for n, p in model.named_parameters() if not p.requires_grad} == {
            name for name, depth in depths(built(encoder_folder)).items() if depth < 2
        }
        loss = model(ids, torch.ones_like(ids)).sum()
    assert all(p.requires_grad for p in model.parameters())
    loss.backward()
    assert {n for n, p in model.named_parameters() if p.grad is None} == {
        name for name, depth in depths(model).items() if depth < 2
    }
    with pytest.raises(RuntimeError, match="stop"), thawing.at(1):
        raise RuntimeError("stop")
    assert all(p.requires_grad for p in model.parameters())


def test_a_rate_by_layer_goes_with_it(encoder_folder):
    together = tuned(encoder_folder, built(encoder_folder), unfreeze=1, layer_decay=0.5)
    assert np.isfinite(together.best_loss)
    alone = tuned(encoder_folder, built(encoder_folder), unfreeze=1)
    assert together.curve[0]["validation_loss"] == alone.curve[0]["validation_loss"], "the head learns at the full rate"
    assert together.curve[1]["validation_loss"] != alone.curve[1]["validation_loss"]


# -- freezing by name --------------------------------------------------------------------------------------------------


def test_patterns_say_what_is_trained(encoder_folder):
    def trained(**options):
        model = built(encoder_folder, "by_name", **options)
        return {name for name, p in model.named_parameters() if p.requires_grad}

    everything = trained()
    assert everything == {name for name, _ in built(encoder_folder).named_parameters()}
    lower = ["encoder.embeddings.*", "encoder.encoder.layer.0.*"]
    assert trained(freeze=lower) == {name for name in everything if "embeddings" not in name and "layer.0." not in name}
    assert trained(train=["*.bias"], freeze=["*LayerNorm*"]) == {
        name for name in everything if name.endswith(".bias") and "LayerNorm" not in name
    }
    assert trained(train=["head.*"]) == {"head.weight", "head.bias"}


def test_a_pattern_that_matches_nothing_is_one_sentence(encoder_folder):
    near = r"by_name: freeze: 'encoder.embedding.word_embedding.weight' matches no parameter; one is named "
    with pytest.raises(ChemsieveError, match=f"^{near}'encoder.embeddings.word_embeddings.weight'$"):
        built(encoder_folder, "by_name", freeze=["encoder.embedding.word_embedding.weight"])
    with pytest.raises(ChemsieveError, match=r"^by_name: train: 'layer\.9\.\*' matches no parameter; one is named '"):
        built(encoder_folder, "by_name", train=["head.*", "layer.9.*"])
    with pytest.raises(ChemsieveError, match=r"^by_name: freeze, \*, leaves no parameter to train$"):
        built(encoder_folder, "by_name", freeze=["*"])


def test_a_probe_trains_the_head_and_all_of_it(encoder_folder):
    model = built(encoder_folder, "linear_probe")
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    model = built(encoder_folder, "linear_probe", inputs=HEAD)
    assert {n.split(".")[0] for n, p in model.named_parameters() if p.requires_grad} == {"head", "head_inputs"}
    before = {n: p.detach().clone() for n, p in model.encoder.named_parameters()}
    tuned(encoder_folder, model)
    assert all(torch.equal(p, before[n]) for n, p in model.encoder.named_parameters())
    assert linear_probe.OPTIONS == {}


# -- resumed and restored ----------------------------------------------------------------------------------------------

CASES = {
    "gradual": ("full", {}, {"unfreeze": 1, "layer_decay": 0.8}),
    "gradual and averaged": ("full", {}, {"unfreeze": 1, "average": 0.9, "randomise": True}),
    "by_name": ("by_name", {"freeze": ["encoder.embeddings.*"]}, {}),
    "linear_probe": ("linear_probe", {}, {}),
    "wise_ft": ("wise_ft", {"steps": 4}, {}),
    "hira": ("peft", {"tuner": "hira", "options": {"r": 4, "hira_dropout": 0.2}}, {}),
    "vera": ("peft", {"tuner": "vera", "options": {"r": 4, "vera_dropout": 0.2}}, {"unfreeze": 1}),
    "pissa": ("peft", {"tuner": "lora", "options": {"r": 4, "init_lora_weights": "pissa"}}, {"average": 0.9}),
    "osf": ("peft", {"tuner": "osf"}, {}),
    "oft": ("peft", {"tuner": "oft", "options": {"oft_block_size": 8, "module_dropout": 0.2}}, {}),
}


QUICK = ("gradual and averaged", "vera")


@pytest.mark.parametrize(
    "case", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_a_training_killed_within_an_epoch_ends_the_same(encoder_folder, tmp_path, case):
    method, options, settings = CASES[case]

    def run(saves=None):
        model = built(encoder_folder, method, **options)
        outcome = tuned(encoder_folder, model, saves, checkpoints=(2,), **settings)
        return outcome, trained_state(model)

    expected = run()
    same(run(), expected)  # the same seed, the same numbers
    for stop in (3, 10, 14):
        path = tmp_path / f"state-{stop}"
        with pytest.raises(Killed):
            run(Watched(path, stop=stop))
        assert path.exists()
        same(run(Watched(path)), expected)


@pytest.mark.parametrize("case", CASES)
def test_a_saved_run_predicts_as_before_it_was_saved(encoder_folder, tmp_path, case):
    method, options, settings = CASES[case]
    model = built(encoder_folder, method, **options)
    tuned(encoder_folder, model, **settings)
    tokenizer = backbone.load_tokenizer(encoder_folder)
    ids, pad = tokenization.encode(tokenizer, SMILES), tokenization.special_id(tokenizer, "pad")
    wanted = predict(model, ids, pad, CPU)
    write_tensors(trained_state(model), tmp_path / "model")
    torch.manual_seed(99)
    restored = regressor.restore(encoder_folder, "molformer", method, options, tmp_path / "model")
    np.testing.assert_array_equal(predict(restored, ids, pad, CPU), wanted)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("use", [{"weights": 0.3}, {"own_head": True}, {"with_pool": 2}], ids=str)
def test_every_way_of_using_pool_molecules_goes_with_it(encoder_folder, case, use):
    method, options, settings = CASES[case]
    pool = np.arange(18) >= 12
    given = use | ({"weights": np.where(pool, use["weights"], 1.0)} if "weights" in use else {})
    model = built(encoder_folder, method, **options)
    outcome = tuned(encoder_folder, model, mixture=Mixture(pool, **given), **settings)
    assert len(outcome.curve) == 5
    assert not any("pool_head" in name for name in trained_state(model))


# -- WiSE-FT -----------------------------------------------------------------------------------------------------------

TRAIN, VALIDATION, TEST = slice(0, 14), slice(14, 19), slice(19, 24)
SPEC = {"family": "molformer", "dropout": DROPOUT, "head": None, "compute": {"threads": 1}}
SPEC |= {"training": PLAIN | {"epochs": 2, "batch_size": 4, "learning_rate": 0.01}}
FILES = ("model", "curve", "predictions", "run")


def molecules(part, label=True):
    frame = pd.DataFrame({"molecule_id": [f"target-{i}" for i in range(24)[part]], "encoder_smiles": SMILES[part]})
    return frame.assign(label=LABELS[part]) if label else frame


def written(folder, encoder, method, trained=None, **options):
    """The files of a run."""
    folder.mkdir()
    output = SimpleNamespace(**{name: folder / name for name in FILES})
    folds = Folds(molecules(TRAIN), molecules(VALIDATION), molecules(TEST, label=False), molecules(slice(0, 0)))
    identity = Identity("random", 0, 3, "adapted", method, "none")
    train_and_write(
        identity, encoder, folds, SPEC | {"method": method, "options": options}, CPU, output, trained=trained
    )
    return output


@pytest.fixture(scope="module")
def mixed(encoder_folder, tmp_path_factory):
    """Files of a full fine-tuning, of WiSE-FT that trains, and of one that takes the trained model."""
    root = tmp_path_factory.mktemp("runs")
    full = written(root / "full", encoder_folder, "full")
    own = written(root / "own", encoder_folder, "wise_ft", steps=5)
    given = Trained(full.model, full.curve, full.run)
    return full, own, written(root / "taken", encoder_folder, "wise_ft", given, steps=5)


def test_what_is_kept_is_the_best_of_the_mixtures(encoder_folder, mixed):
    full, own, _ = mixed
    chosen = read_facts(own.run)["wise_ft"]
    assert [point["weight"] for point in chosen["curve"]] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    before = dict(built(encoder_folder).encoder.named_parameters())
    model = regressor.restore(encoder_folder, "molformer", "full", {}, full.model)
    after = {name: p.detach().clone() for name, p in model.encoder.named_parameters()}
    tokenizer = backbone.load_tokenizer(encoder_folder)
    ids, pad = tokenization.encode(tokenizer, SMILES[VALIDATION]), tokenization.special_id(tokenizer, "pad")
    for point in chosen["curve"]:
        w = point["weight"]
        with torch.no_grad():
            for name, parameter in model.encoder.named_parameters():
                parameter.copy_((1 - w) * before[name] + w * after[name])
        errors = predict(model, ids, pad, CPU) - LABELS[VALIDATION]
        assert point["validation_rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)), rel=1e-4)
    best = min(chosen["curve"], key=lambda point: point["validation_rmse"])
    assert chosen["weight"] == best["weight"]
    left, right = read_tensors(own.model), read_tensors(full.model)
    assert all(torch.equal(left[name], right[name]) for name in left if not name.startswith("encoder."))
    for name in before:
        if f"encoder.{name}" in left:
            wanted = torch.lerp(before[name].detach(), after[name], best["weight"])
            torch.testing.assert_close(left[f"encoder.{name}"], wanted)


def test_weight_one_is_the_fine_tuned_model_itself(encoder_folder, mixed):
    full, own, _ = mixed
    last = read_facts(own.run)["wise_ft"]["curve"][-1]
    table = read_table(full.predictions).query("fold == 'validation'")
    errors = table["prediction"].to_numpy() - LABELS[VALIDATION]
    assert last["validation_rmse"] == float(np.sqrt(np.mean(errors**2)))


def test_a_model_that_stands_is_taken_and_gives_the_same(mixed):
    full, own, taken = mixed
    left, right = read_tensors(own.model), read_tensors(taken.model)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert read_table(own.predictions).equals(read_table(taken.predictions))
    curves = [read_table(run.curve).drop(columns=["seconds", "evaluation_seconds"]) for run in (own, taken)]
    assert curves[0].equals(curves[1])
    facts = [read_facts(run.run) for run in (own, taken)]
    measured = {"train_seconds", "peak_memory_mb"}
    assert {k: v for k, v in facts[0].items() if k not in measured} == {
        k: v for k, v in facts[1].items() if k not in measured
    }
    assert facts[1]["train_seconds"] < facts[0]["train_seconds"]
    assert "wise_ft" not in of_metrics(facts[0])
    assert set(of_metrics(facts[0])) == set(json.loads(full.run.read_text()))


def test_of_equal_errors_the_largest_weight_is_taken(encoder_folder):
    model = built(encoder_folder, "wise_ft")
    start = {name: torch.zeros_like(p) for name, p in model.encoder.named_parameters()}
    trained = {name: p.detach().clone() for name, p in model.encoder.named_parameters()}
    found = wise_ft.finish(model, start, lambda: 1.0, steps=3)
    assert found["weight"] == 1.0
    assert all(torch.equal(p, trained[name]) for name, p in model.encoder.named_parameters())
    found = wise_ft.finish(model, start, iter([0.5, 0.5, 0.7, 0.6]).__next__, steps=3)
    assert found["weight"] == pytest.approx(1 / 3)


def test_a_kernel_regression_is_refused(encoder_folder):
    kernel = {"descriptors": False, "morgan": 0, "kernel": True, "hidden": 4, "dropout": 0.0}
    with pytest.raises(ChemsieveError, match=r"^wise_ft: .*set finetune\.head\.kernel to false"):
        built(encoder_folder, "wise_ft", inputs=kernel)


# -- the plan ----------------------------------------------------------------------------------------------------------

AT = {"splitter": "draws", "split_seed": 0, "seed": 0}


@pytest.mark.parametrize(
    ("changes", "method", "strategy", "run"),
    [
        ({}, "wise_ft", "none", "finetune/adapted"),
        ({}, "wise_ft", "random", None),  # its full fine-tuning continues a regressor
        ({"selection.start": "encoder"}, "wise_ft", "random", "selected/full/random"),
        ({"grid.start": "regressor"}, "wise_ft", "none", None),
        ({"grid.methods.wise_ft.training": {"epochs": 9}}, "wise_ft", "none", None),
        ({"selection.start": "encoder"}, "gradual", "random", None),
        ({}, "lora", "none", None),
        ({}, "full", "random", None),
    ],
)
def test_a_cell_takes_a_full_fine_tuning_where_it_is_its_own(changes, method, strategy, run):
    plan = Plan(changed({"grid.run": ["lora", "wise_ft", "gradual"]} | changes))
    found = plan.cell_trained(SimpleNamespace(**AT, method=method, strategy=strategy))
    below = "results/embedded/runs/draws/0/0"
    files = ("model.safetensors", "curve.parquet", "run.json")
    assert found == ([f"{below}/{run}/{name}" for name in files] if run else [])
    assert by_name.OPTIONS.keys() == {"train", "freeze"}
