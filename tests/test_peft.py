"""Tuners of peft by name: each that fits trains, is saved, restored and merged; what does not fit is refused."""

import dataclasses
import re
from pathlib import Path

import jsonschema
import numpy as np
import peft
import pytest
import torch
from peft.config import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from chemsieve.deployment import folder
from chemsieve.deployment.merging import is_merged, merge
from chemsieve.errors import ChemsieveError
from chemsieve.methods import _tuners
from chemsieve.methods import peft as method
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import read_tensors, trained_state, write_tensors
from chemsieve.models.prediction import predict
from chemsieve.study import configuration
from chemsieve.training.loop import Conditions
from chemsieve.training.regression import Labelled, fine_tune
from helpers.configurations import EMBEDDED, changed
from helpers.models import METHODS, ROBERTA, exported
from helpers.settings import Settings
from helpers.tiny import SMILES, TINY, rounding

ROOT = Path(__file__).parent.parent
CPU = torch.device("cpu")
FITTING = _tuners.fitting()
LABELS = np.sin(np.arange(len(SMILES)))
# What does not go with layers of 16 and 24 inputs, or must be said.
OPTIONS = {
    "adamss": {"r": 4, "num_subspaces": 2},
    "c3a": {"block_size": 8},
    "fourierft": {"n_frequency": 20},
    "oft": {"oft_block_size": 8},
    "road": {"group_size": 8},
    "trainable_tokens": {"token_indices": [5, 6, 7, 8]},
    "vblora": {"r": 4, "vector_length": 8, "num_vectors": 4},
    "waveft": {"n_frequency": 20},
}
# Tuners whose adapters depend on their input in more than a matrix product.
STAY = {"lily"}
# Variants of LoRA, some of which change the weights that stand beside it.
LORAS = [
    {"use_dora": True},
    {"use_rslora": True},
    {"bias": "all"},
    {"lora_bias": True},
    *({"init_lora_weights": name} for name in ("gaussian", "olora", "pissa", "orthogonal", "mica")),
]
CASES = [(name, {}) for name in FITTING] + [("lora", given) for given in LORAS]
every = pytest.mark.parametrize(("tuner", "given"), CASES, ids=str)


def options_of(tuner, given):
    own = OPTIONS.get(tuner, {"r": 4} if "r" in _tuners.options(tuner) else {})
    return {"tuner": tuner, "options": own | given}


def prepared(encoder, options, family="molformer", seed=1):
    """A regressor, always with the same head, adapted after torch has got a seed."""
    torch.manual_seed(1)
    model = regressor.build(encoder, family, {"hidden": 0.1, "embedding": 0.0, "head": 0.0})
    torch.manual_seed(seed)
    method.apply(model, **options)
    return model


def trained(encoder, options, saves=None, family="molformer", **settings):
    model = prepared(encoder, options, family)
    settings = Settings(**{"epochs": 2, "batch_size": 6, "learning_rate": 0.01} | settings)
    given = Labelled(SMILES[:18], LABELS[:18]), Labelled(SMILES[18:], LABELS[18:])
    outcome = fine_tune(model, backbone.load_tokenizer(encoder), *given, settings, Conditions(3, CPU, saves))
    return model, outcome


def predictions(model, encoder):
    tokenizer = backbone.load_tokenizer(encoder)
    ids = tokenization.encode(tokenizer, SMILES)
    return predict(model, ids, tokenization.special_id(tokenizer, "pad"), CPU)


# -- what fits ---------------------------------------------------------------------------------------------------------


def kept_and_merged(encoder, family, tuner, given, path):
    """Train a tuner; its run restored predicts the same to the bit, and merged the same but for rounding."""
    options = options_of(tuner, given)
    torch.manual_seed(1)
    plain = regressor.build(encoder, family, {})
    before = {name: parameter.detach().clone() for name, parameter in plain.named_parameters()}
    model, _ = trained(encoder, options, family=family)
    wanted = predictions(model, encoder)
    start = predictions(prepared(encoder, options, family), encoder)
    assert np.abs(wanted - start).max() > 1e-3, "training did something"

    # Nothing of the encoder has moved but what the method says.
    for name, parameter in model.named_parameters():
        own = re.sub(r"\.base_layer(?=\.)", "", name)
        if own in before and not own.startswith("head.") and not parameter.requires_grad:
            assert name in model.made or torch.equal(parameter, before[own]), name

    write_tensors(trained_state(model), path)
    saved = set(read_tensors(path))
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} <= saved
    torch.manual_seed(99)  # nothing of a restored model may come from here
    restored = regressor.restore(encoder, family, "peft", options, path)
    np.testing.assert_array_equal(predictions(restored, encoder), wanted)

    merged = merge(restored)
    assert is_merged(merged) == (tuner not in STAY)
    if is_merged(merged):
        assert merged.state_dict().keys() == plain.state_dict().keys()
    spread = float(model.label_scale)
    np.testing.assert_allclose(predictions(merged, encoder), wanted, atol=spread * rounding(TINY["hidden_size"], 100))


@every
def test_a_tuner_is_trained_saved_restored_and_merged(encoder_folder, tmp_path, tuner, given):
    kept_and_merged(encoder_folder, "molformer", tuner, given, tmp_path / "model.safetensors")


@pytest.mark.slow
@every
def test_it_is_on_an_encoder_of_another_family_too(tmp_path, tuner, given):
    backbone.prepare(tmp_path / "roberta", {"family": "automodel", "architecture": ROBERTA, "seed": 0})
    kept_and_merged(tmp_path / "roberta", "automodel", tuner, given, tmp_path / "model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("tuner", FITTING)
def test_a_tuner_trains_in_low_precision(encoder_folder, tuner):
    _, outcome = trained(encoder_folder, options_of(tuner, {}), epochs=1, precision="bfloat16")
    assert np.isfinite(outcome.best_loss)


@pytest.mark.parametrize(("policy", "free"), [("all", {"weight", "bias"}), ("bias", {"bias"}), ("none", set())])
def test_the_heads_policy(encoder_folder, policy, free):
    model = prepared(encoder_folder, options_of("hira", {}) | {"head": policy})
    assert {name for name, p in model.head.named_parameters() if p.requires_grad} == free


def test_lora_by_its_name_in_peft_is_the_method_lora(encoder_folder):
    """The same factors from the same seed, so the same training."""
    targets = ["query", "output"]
    model = prepared(encoder_folder, {"tuner": "lora", "options": {"r": 2, "lora_alpha": 4}, "targets": targets})
    from chemsieve.methods import lora

    torch.manual_seed(1)
    other = regressor.build(encoder_folder, "molformer", {})
    torch.manual_seed(1)
    lora.apply(other, rank=2, alpha=4, targets=targets)
    found, wanted = trained_state(model), trained_state(other)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_what_layers_share_is_saved_once(encoder_folder):
    """VeRA's two random matrices serve all eight layers."""
    model = prepared(encoder_folder, options_of("vera", {}))
    shared = [name for name in trained_state(model) if re.search(r"vera_[AB]\.", name)]
    assert len(shared) == 2
    assert sum(name.endswith(".vera_A.default") for name in model.state_dict()) == 8


def card_of(place):
    return " ".join((place / "README.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize("tuner", sorted(STAY))
def test_a_model_folder_holds_what_cannot_be_merged(encoder_folder, tmp_path, monkeypatch, tuner):
    monkeypatch.setitem(METHODS, "peft", options_of(tuner, {}))
    known = exported(tmp_path, encoder_folder, method="peft")
    assert not folder.read_facts(tmp_path)["merged"]
    assert f"the method peft, {tuner}, whose adapters stand beside" in " ".join(
        (tmp_path / "README.md").read_text().split()
    )
    torch.manual_seed(5)
    found = folder.load(tmp_path).predict(SMILES[20:24])["exp"].to_numpy(float)
    np.testing.assert_allclose(found, known["prediction"], rtol=1e-5)


@pytest.mark.parametrize("tuner", ["hira", "vera"])
def test_a_model_folder_holds_weights_alone_where_they_can_be_merged(encoder_folder, tmp_path, monkeypatch, tuner):
    monkeypatch.setitem(METHODS, "peft", options_of(tuner, {}))
    known = exported(tmp_path, encoder_folder, method="peft")
    assert folder.read_facts(tmp_path)["merged"]
    assert f"the method peft, {tuner}, merged into the weights" in " ".join(
        (tmp_path / "README.md").read_text().split()
    )
    assert not any(tuner in name for name in read_tensors(tmp_path / "model.safetensors"))
    found = folder.load(tmp_path).predict(SMILES[20:24])["exp"].to_numpy(float)
    np.testing.assert_allclose(found, known["prediction"], rtol=1e-5)


def test_a_folder_cannot_ask_for_what_no_configuration_may(encoder_folder, tmp_path, monkeypatch):
    """Options of a stranger's folder are those of a configuration: none that reads a file, or wraps the head."""
    for options in ({"modules_to_save": ["embeddings"]}, {"corda_config": {"cache_file": "x.pt"}}):
        with pytest.raises(ChemsieveError, match=rf"lora has no option '{next(iter(options))}'"):
            prepared(encoder_folder, {"tuner": "lora", "options": options})
    with pytest.raises(ChemsieveError, match="there is no tuner 'xlora' here that fits"):
        prepared(encoder_folder, {"tuner": "xlora"})


def test_an_option_that_does_not_go_with_the_encoder_is_one_sentence(encoder_folder):
    with pytest.raises(
        ChemsieveError, match=r"^peft: the tuner c3a cannot be put into this encoder: .*block"
    ) as caught:
        prepared(encoder_folder, {"tuner": "c3a", "options": {"block_size": 7}})
    assert "\n" not in str(caught.value)


# -- what is known of peft without importing it ------------------------------------------------------------------------


def test_the_tuners_are_those_of_the_installed_peft():
    assert set(_tuners.known()) == {kind.value.lower() for kind in PEFT_TYPE_TO_CONFIG_MAPPING}
    assert set(_tuners.REFUSED) <= set(_tuners.known())


@pytest.mark.parametrize("tuner", FITTING)
def test_the_options_are_the_fields_of_the_configuration_class(tuner):
    of = PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(tuner.upper())]
    common = {field.name for field in dataclasses.fields(PeftConfig)}
    fields = {field.name: field for field in dataclasses.fields(of) if field.name not in common}
    rules = _tuners.options(tuner)
    assert set(rules) <= set(fields)
    for name, field in fields.items():
        default = field.default_factory() if field.default is dataclasses.MISSING else field.default
        if name in rules:
            jsonschema.validate(default, rules[name])
        # What is left out is left out by name, or no configuration file could give it.
        if name not in rules and name not in _tuners._LEFT_OUT:
            assert "Config" in str(field.type), name


def test_every_refused_tuner_is_on_the_page_with_its_reason():
    page = " ".join((ROOT / "docs" / "methods.md").read_text(encoding="utf-8").split())
    for name, reason in _tuners.REFUSED.items():
        assert f"`{name}`" in page, name
        assert reason in page, name
    for name in FITTING:
        assert f"`{name}`" in page, name


# -- configurations ----------------------------------------------------------------------------------------------------

MISTAKES = [
    ({"options": {"rr": 3}}, "unknown key 'grid.methods.mine.options.rr'; did you mean 'r'?"),
    ({"options": {"r": "three"}}, "grid.methods.mine.options.r: 'three' is not of type 'integer'"),
    ({"options": {"init_weights": "gausian"}},
     "grid.methods.mine.options.init_weights: unknown value 'gausian'; did you mean 'gaussian'?"),
    ({"options": {"modules_to_save": ["head"]}}, "unknown key 'grid.methods.mine.options.modules_to_save'; known "),
    ({"option": {"r": 3}}, "unknown key 'grid.methods.mine.option'; did you mean 'options'?"),
    ({"tuner": "hirra"}, "grid.methods.mine.tuner: unknown value 'hirra'; did you mean 'hira'?"),
    ({"tuner": 3}, "grid.methods.mine.tuner: "),
    ({"tuner": "prompt_tuning"}, "grid.methods.mine.tuner: prompt_tuning does not fit: it puts virtual tokens "),
    ({"tuner": "ln_tuning", "options": {}, "targets": ["key"]}, "unknown key 'grid.methods.mine.targets'; known "),
    ({"targets": ["kye"]}, "grid.methods.mine.targets.0: unknown value 'kye'; did you mean 'key'?"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), MISTAKES, ids=lambda value: str(value)[:60])
def test_a_mistake_is_one_sentence_with_the_keys_path(change, said):
    entry = {"method": "peft", "tuner": "hira", "options": {"r": 8}} | change
    with pytest.raises(ChemsieveError) as caught:
        configuration.validate(changed({"grid.methods.mine": entry}))
    assert str(caught.value).startswith(f"configuration: {said}")
    assert "\n" not in str(caught.value)


def test_texts_from_the_command_line_become_what_the_tuner_wants():
    entry = {"method": "peft", "tuner": "lora", "options": {"r": "4", "use_dora": "true", "lora_dropout": "1e-1"}}
    config = configuration.normalise(changed({"grid.methods.mine": entry}))
    assert config["grid"]["methods"]["mine"]["options"] == {"r": 4, "use_dora": True, "lora_dropout": 0.1}


def test_the_names_of_the_embedded_study_work_at_once():
    names = list(EMBEDDED["grid"]["methods"])
    configuration.validate(changed({"grid.run": names}))
    assert {"lora", "hira", "gradual", "wise_ft", "dora", "vera", "oft"} <= set(names)
    assert set(EMBEDDED["grid"]["run"]) <= set(names)


@pytest.mark.parametrize("name", [n for n, e in EMBEDDED["grid"]["methods"].items() if e.get("method") == "peft"])
def test_the_configured_tuners_go_with_the_bundled_encoder_and_that_of_the_tiny_study(tmp_path, name):
    entry = configuration.options_of(EMBEDDED["grid"]["methods"][name], configuration.METHOD_KEYS)
    sizes = [{"hidden_size": 32, "intermediate_size": 32}, {"hidden_size": 384, "intermediate_size": 384}]
    for number, size in enumerate(sizes):
        backbone.prepare(tmp_path / str(number), {"family": "molformer", "architecture": TINY | size, "seed": 0})
        model = prepared(tmp_path / str(number), entry)
        assert sum(p.numel() for p in model.encoder.parameters() if p.requires_grad) > 0
