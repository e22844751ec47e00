"""Fine-tuning methods: what they train, what they start from, and that a saved run predicts as it did."""

import re

import numpy as np
import pytest
import torch

from chemsieve import registry
from chemsieve.errors import CheckpointMismatch, ChemsieveError
from chemsieve.methods import bitfit, full, ia3, ia3_pooled, lora
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import read_tensors, trained_state, write_tensors
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.modeling import MolformerModel
from chemsieve.models.prediction import predict
from chemsieve.models.regressor import Regressor
from chemsieve.training.loop import Conditions
from chemsieve.training.regression import Labelled, fine_tune
from helpers.models import LORA_ROLES, METHODS, ROBERTA
from helpers.settings import Settings
from helpers.tiny import SMILES

CPU = torch.device("cpu")
# Each parameter of a method's regressor that training may change, and no other, told by its name.
DECLARED = {
    "full": r"(?!.*(lora_|ia3_))",
    "bitfit": r"(encoder\..*bias|head\.(weight|bias))$",
    "lora": r"(.*\.lora_[AB]\.default\.weight|head\.(weight|bias))$",
    "ia3": r"(.*\.ia3_l\.default|head\.(weight|bias))$",
    "ia3_pooled": r"(pooled\.scale|head\.(weight|bias))$",
}


@pytest.fixture(scope="module")
def folders(encoder_folder, tmp_path_factory):
    """An encoder folder for each family."""
    folder = tmp_path_factory.mktemp("roberta")
    backbone.prepare(folder, {"family": "automodel", "architecture": ROBERTA, "seed": 0})
    return {"molformer": encoder_folder, "automodel": folder}


@pytest.fixture(scope="module")
def data(encoder_folder):
    tokenizer = backbone.load_tokenizer(encoder_folder)
    labels = np.random.default_rng(0).normal(size=len(SMILES))
    return tokenizer, tokenization.encode(tokenizer, SMILES), tokenization.special_id(tokenizer, "pad"), labels


def prepared(folder, family, method, **changes):
    """An untrained regressor under a method, always with the same head."""
    torch.manual_seed(1)
    model = regressor.build(folder, family, {})
    registry.load("methods", method).apply(model, **{**METHODS[method], **changes})
    return model


def predictions(model, data):
    _, ids, pad_id, _ = data
    return predict(model, ids, pad_id, CPU)


def trained(folder, family, method, data, **changes):
    """The same, after two epochs of six steps at a rate that moves every trained parameter."""
    model = prepared(folder, family, method, **changes)
    tokenizer, _, _, labels = data
    settings = Settings(epochs=2, batch_size=3, learning_rate=0.01)
    train, validation = Labelled(SMILES[:18], labels[:18]), Labelled(SMILES[18:], labels[18:])
    fine_tune(model, tokenizer, train, validation, settings, Conditions(0, CPU))
    return model


# -- published counts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "count"),
    [
        (full, {}, 44_375_809),
        (lora, {"rank": 16, "targets": LORA_ROLES, "head": "none"}, 1_474_560),
        (bitfit, {"head": "bias"}, 74_497),
        (bitfit, {"head": "all"}, 75_265),
        (ia3, {"head": "none"}, 27_648),
        (ia3_pooled, {"head": "none"}, 768),
        (ia3_pooled, {"head": "all"}, 768 + 769),
    ],
)
def test_trainable_parameters_of_the_full_size_model_are_the_published_ones(method, options, count):
    with torch.device("meta"):
        config = MolformerConfig()
        model = Regressor(MolformerModel(config), config.hidden_size, 0.0)
        method.apply(model, **options)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count


# -- start, training, saving -------------------------------------------------------------------------------------------

every = pytest.mark.parametrize("method", list(METHODS))
both = pytest.mark.parametrize("family", ["molformer", "automodel"])


@every
@both
def test_an_untrained_regressor_predicts_exactly_like_the_plain_one(folders, data, family, method):
    torch.manual_seed(1)
    plain = regressor.build(folders[family], family, {})
    wanted = predictions(plain, data)
    assert np.ptp(wanted) > 0
    np.testing.assert_array_equal(predictions(prepared(folders[family], family, method), data), wanted)


@pytest.fixture(scope="module")
def runs(folders, data):
    """A trained regressor for each family and method, made once."""
    made = {}

    def run(family, method):
        if (family, method) not in made:
            made[family, method] = trained(folders[family], family, method, data)
        return made[family, method]

    return run


@every
@both
def test_training_changes_the_declared_parameters_and_no_other(folders, runs, family, method):
    before = dict(prepared(folders[family], family, method).named_parameters())
    after = dict(runs(family, method).named_parameters())
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    declared = {name for name in before if re.match(DECLARED[method], name)}
    assert changed == declared
    assert 0 < len(declared) <= len(before)
    assert method == "full" or len(declared) < len(before)


@every
@both
def test_a_saved_run_predicts_as_before_it_was_saved(folders, runs, data, tmp_path, family, method):
    model = runs(family, method)
    wanted = predictions(model, data)
    write_tensors(trained_state(model), tmp_path / "model.safetensors")
    torch.manual_seed(99)  # nothing of a restored model may come from here
    restored = regressor.restore(folders[family], family, method, METHODS[method], tmp_path / "model.safetensors")
    np.testing.assert_array_equal(predictions(restored, data), wanted)
    untrained = predictions(prepared(folders[family], family, method), data)
    assert np.abs(wanted - untrained).max() > 1e-3, "training did something"


@every
def test_the_random_features_drawn_last_are_part_of_a_saved_run(folders, runs, data, tmp_path, method):
    model = runs("molformer", method)
    state = trained_state(model)
    features = {name for name in state if name.endswith("feature_map.weight")}
    assert len(features) == 2
    original = prepared(folders["molformer"], "molformer", method).state_dict()
    assert not any(torch.equal(state[name], original[name]) for name in features), "training has redrawn them"
    # Left out, or left as the encoder had them, the run would predict something else.
    path = tmp_path / "model.safetensors"
    write_tensors({name: tensor for name, tensor in state.items() if name not in features}, path)
    with pytest.raises(CheckpointMismatch, match=r"lacks 2 .*feature_map\.weight"):
        regressor.restore(folders["molformer"], "molformer", method, METHODS[method], path)
    write_tensors(state | {name: original[name] for name in features}, path)
    other = regressor.restore(folders["molformer"], "molformer", method, METHODS[method], path)
    assert np.abs(predictions(other, data) - predictions(model, data)).max() > 1e-4


@every
def test_the_label_scale_is_part_of_a_saved_run(runs, data, tmp_path, folders, method):
    model = runs("molformer", method)
    labels = data[3][:18]
    state = trained_state(model)
    assert float(state["label_mean"]) == pytest.approx(labels.mean(), abs=1e-12)
    assert float(state["label_scale"]) == pytest.approx(labels.std(), abs=1e-12)
    del state["label_scale"]
    write_tensors(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointMismatch, match=r"lacks 1 .*label_scale"):
        regressor.restore(folders["molformer"], "molformer", method, METHODS[method], tmp_path / "model.safetensors")


def test_an_adapter_checkpoint_holds_the_adapter_and_not_the_encoder(runs, tmp_path):
    write_tensors(trained_state(runs("molformer", "lora")), tmp_path / "model.safetensors")
    names = set(read_tensors(tmp_path / "model.safetensors"))
    rest = {name for name in names if ".lora_" not in name}
    buffers = {f"encoder.encoder.layer.{i}.attention.self.feature_map.weight" for i in (0, 1)}
    assert rest == buffers | {"head.weight", "head.bias", "label_mean", "label_scale"}
    assert len(names - rest) == 2 * 2 * len(LORA_ROLES)  # two factors, two layers


@pytest.mark.parametrize(("policy", "free"), [("all", {"weight", "bias"}), ("bias", {"bias"}), ("none", set())])
@pytest.mark.parametrize("method", ["bitfit", "lora", "ia3", "ia3_pooled"])
def test_the_heads_policy(folders, method, policy, free):
    model = prepared(folders["molformer"], "molformer", method, head=policy)
    assert {name for name, p in model.head.named_parameters() if p.requires_grad} == free


def test_scaling_the_pooled_output_is_scaling_the_weights_of_the_head(folders, data):
    torch.manual_seed(1)
    plain = regressor.build(folders["molformer"], "molformer", {})
    model = prepared(folders["molformer"], "molformer", "ia3_pooled")
    factors = torch.linspace(-2.0, 3.0, model.head.in_features)
    with torch.no_grad():
        model.pooled.scale.copy_(factors)
        plain.head.weight.mul_(factors)
    np.testing.assert_allclose(predictions(model, data), predictions(plain, data), atol=1e-6)


# -- targets -----------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("role", "layers"),
    [
        ("query", ["attention.self.query"]),
        ("key", ["attention.self.key"]),
        ("value", ["attention.self.value"]),
        ("attention_output", ["attention.output.dense"]),
        ("intermediate", ["intermediate.dense"]),
        ("output", ["output.dense"]),
    ],
)
def test_each_target_is_one_dense_layer_of_each_block(folders, family, role, layers):
    model = prepared(folders[family], family, "lora", targets=[role])
    adapted = {name.split(".lora_A")[0] for name, _ in model.named_parameters() if ".lora_A" in name}
    assert adapted == {f"encoder.encoder.layer.{i}.{layer}" for i in range(2) for layer in layers}


def test_a_target_that_the_encoder_does_not_have_is_named(folders):
    albert = {"model_type": "albert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 24, "embedding_size": 8, "vocab_size": 30}  # fmt: skip
    encoder = registry.load("models.encoders", "automodel").initialise(albert).base_model
    with pytest.raises(ChemsieveError, match="no layer for the target 'intermediate'"):
        lora.apply(Regressor(encoder, 16, 0.0), targets=["intermediate"])


def test_a_feedforward_target_that_is_not_a_target_is_refused(folders):
    with pytest.raises(ChemsieveError, match="output"):
        prepared(folders["molformer"], "molformer", "ia3", targets=["key"], feedforward=["output"])
