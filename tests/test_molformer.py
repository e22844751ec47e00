"""MoLFormer against the published numerics, an explicit quadratic attention, and what its random features must do."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.func import functional_call

from chemsieve.errors import CheckpointMismatch
from chemsieve.models import backbone
from chemsieve.models.checkpoints import load_strictly
from chemsieve.models.encoders import molformer
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.modeling import (
    MolformerForMaskedLM,
    MolformerForSequenceClassification,
    MolformerModel,
    SelfAttention,
    _direction,
    arc_cosine,
    orthogonal_features,
    rotary_tables,
)
from chemsieve.models.uncertainty import feature_draws
from chemsieve.training.batches import pad
from helpers.tiny import TINY

REFERENCE = Path(__file__).parent / "fixtures" / "molformer_reference"
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-6}
VOCABULARY = 40


def reference_config(**changes) -> MolformerConfig:
    keys = json.loads((REFERENCE / "config.json").read_text(encoding="utf-8")) | changes
    return MolformerConfig(**{name: value for name, value in keys.items() if name != "model_type"})


def reference_model(kind, file: str, dtype: torch.dtype, **changes):
    model = kind(reference_config(**changes))
    load_strictly(model, load_file(REFERENCE / file))
    return model.to(dtype).eval()


@pytest.fixture(scope="module")
def expected():
    return load_file(REFERENCE / "expected.safetensors")


def close(found, wanted, dtype):
    torch.testing.assert_close(found.double(), wanted.double(), rtol=0, atol=TOLERANCE[dtype])


# -- published numerics ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_masked_language_model_gives_the_published_outputs(expected, dtype):
    model = reference_model(MolformerForMaskedLM, "masked_lm.safetensors", dtype)
    ids, mask = expected["input_ids"], expected["attention_mask"]
    tokens = mask.bool()
    assert len(set(mask.sum(1).tolist())) == 6, "the fixture pads"
    with torch.no_grad():
        encoded = model.molformer(ids, mask)
        logits = model(ids, mask).logits
        loss = model(ids, mask, expected["mlm_labels"])
    close(encoded.last_hidden_state[tokens], expected["expected.last_hidden_state"][tokens], dtype)
    close(encoded.pooler_output, expected["expected.pooler_output"], dtype)
    close(logits[tokens], expected["expected.mlm_logits"][tokens], dtype)
    close(loss.loss, expected["expected.mlm_loss"].reshape(()), dtype)
    close(loss.logits, expected["expected.mlm_logits"][expected["mlm_labels"] != -100], dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_classifier_gives_the_published_outputs(expected, dtype):
    model = reference_model(MolformerForSequenceClassification, "sequence_classification.safetensors", dtype)
    with torch.no_grad():
        found = model(expected["input_ids"], expected["attention_mask"], expected["regression_labels"])
    close(found.logits, expected["expected.classifier_logits"], dtype)
    close(found.loss, expected["expected.regression_loss"].reshape(()), dtype)


def test_full_size_model_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = MolformerModel(MolformerConfig())
    assert sum(parameter.numel() for parameter in model.parameters()) == 44_375_040


# -- strict loading ----------------------------------------------------------------------------------------------------


def _without(tensors):
    del tensors["molformer.encoder.layer.1.attention.self.value.bias"]


def _with_one_more(tensors):
    tensors["molformer.encoder.layer.3.output.dense.bias"] = torch.zeros(64)


def _of_another_shape(tensors):
    tensors["lm_head.decoder.weight"] = torch.zeros(VOCABULARY, 32)


def _without_its_features(tensors):
    del tensors["molformer.encoder.layer.0.attention.self.feature_map.weight"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_without, "lacks 1 .*layer.1.attention.self.value.bias"),
        (_with_one_more, "holds 1 .*layer.3.output.dense.bias"),
        (_of_another_shape, r"has 1 .*lm_head.decoder.weight.*\[40, 32\] for \[40, 64\]"),
        (_without_its_features, "lacks 1 .*layer.0.attention.self.feature_map.weight"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_checkpoint_that_does_not_fit_exactly_is_refused_by_name(tmp_path, spoil, said):
    tensors = load_file(REFERENCE / "masked_lm.safetensors")
    spoil(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    config = json.loads((REFERENCE / "config.json").read_text(encoding="utf-8"))
    with pytest.raises(CheckpointMismatch, match=said):
        molformer.load(tmp_path, config)


def test_a_refused_checkpoint_leaves_the_model_as_it_was():
    model = MolformerForMaskedLM(reference_config())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tensors = load_file(REFERENCE / "masked_lm.safetensors")
    _without(tensors)
    with pytest.raises(CheckpointMismatch):
        load_strictly(model, tensors)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


# -- attention ---------------------------------------------------------------------------------------------------------


def test_linear_attention_equals_a_quadratic_sum_over_pairs():
    """sum_j phi(q_i).phi(k_j) v_j / sum_j phi(q_i).phi(k_j), the rotary embedding as a complex rotation."""
    torch.manual_seed(0)
    heads, size, length, real = 3, 4, 7, 5
    config = MolformerConfig(hidden_size=heads * size, num_attention_heads=heads, num_random_features=6, vocab_size=9)
    layer = SelfAttention(config).double()
    layer.feature_map.weight = torch.randn(size, 6, dtype=torch.float64)
    hidden = torch.randn(1, length, heads * size, dtype=torch.float64)
    mask = torch.ones(1, length, 1, dtype=torch.bool)
    mask[:, real:] = False
    with torch.no_grad():
        found = layer(hidden, mask, *rotary_tables(length, size, like=hidden))[0]

    def projected(dense, i, head):
        return (dense.weight @ hidden[0, i] + dense.bias)[head * size : (head + 1) * size].detach()

    def features(dense, i, head):
        x = projected(dense, i, head)
        angle = i * 10000.0 ** (-torch.arange(size // 2, dtype=torch.float64) * 2 / size)
        turned = torch.complex(x[: size // 2], x[size // 2 :]) * torch.polar(torch.ones_like(angle), angle)
        return torch.cat((turned.real, turned.imag)).matmul(layer.feature_map.weight).clamp(min=0)

    for i in range(real):
        for head in range(heads):
            weights = [features(layer.query, i, head) @ features(layer.key, j, head) for j in range(real)]
            total = max(sum(weights), torch.tensor(1e-6, dtype=torch.float64))
            wanted = sum(w * projected(layer.value, j, head) for j, w in enumerate(weights)) / total
            torch.testing.assert_close(found[i, head * size : (head + 1) * size], wanted, rtol=1e-10, atol=1e-12)


def test_a_molecule_alone_is_encoded_as_in_a_padded_batch(expected):
    model = reference_model(MolformerForMaskedLM, "masked_lm.safetensors", torch.float64).molformer
    inputs = (expected["input_ids"], expected["attention_mask"])
    rows = [row[mask.bool()].tolist() for row, mask in zip(*inputs, strict=True)]
    tokens, mask = pad(rows, 2)
    with torch.no_grad():
        together = model(tokens, mask)
        for i, row in enumerate(rows):
            alone = model(torch.tensor([row]))
            torch.testing.assert_close(
                together.last_hidden_state[i, : len(row)], alone.last_hidden_state[0], rtol=0, atol=1e-12
            )
            torch.testing.assert_close(together.pooler_output[i], alone.pooler_output[0], rtol=0, atol=1e-12)


def test_attention_sums_do_not_overflow_half_precision():
    torch.manual_seed(0)
    config = MolformerConfig(hidden_size=16, num_attention_heads=2, num_random_features=8, vocab_size=9)
    layer = SelfAttention(config)
    layer.feature_map.weight = torch.rand(8, 8)
    hidden = 40 * torch.randn(1, 200, 16)
    mask = torch.ones(1, 200, 1, dtype=torch.bool)
    tables = rotary_tables(200, 8, like=hidden)
    with torch.no_grad():
        exact = layer(hidden, mask, *tables)
        rotated = layer.feature_map.rotated(*tables)
        key = layer.feature_map(layer.key(hidden)[0].view(200, 2, 8), rotated)
        query = layer.feature_map(layer.query(hidden)[0].view(200, 2, 8), rotated)
        assert (query * key.sum(0)).sum(-1).max() > torch.finfo(torch.float16).max, "half would overflow"
        with torch.autocast("cpu", dtype=torch.float16):
            half = layer(hidden, mask, *tables)
    torch.testing.assert_close(half.float(), exact, rtol=0, atol=0.02 * exact.abs().max().item())


# -- random features ---------------------------------------------------------------------------------------------------


def features_of(model) -> list[torch.Tensor]:
    return [layer.attention.self.feature_map.weight.clone() for layer in model.encoder.layer]


def tiny(**changes) -> MolformerModel:
    torch.manual_seed(0)
    return MolformerModel(MolformerConfig(**{**TINY, "vocab_size": VOCABULARY, **changes}))


IDS = torch.tensor([[0, 4, 5, 6, 1], [0, 7, 8, 1, 2]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])


def test_features_are_redrawn_at_each_training_pass_and_stay_as_drawn_last():
    model = tiny().train()
    seen = [features_of(model)]
    for _ in range(2):
        model(IDS, MASK)
        seen.append(features_of(model))
    for earlier, later in pairwise(seen):
        assert all(not torch.equal(a, b) for a, b in zip(earlier, later, strict=True))
    assert not torch.equal(*seen[-1]), "each layer has its own"
    model.eval()
    with torch.no_grad():
        model(IDS, MASK)
    assert all(torch.equal(a, b) for a, b in zip(seen[-1], features_of(model), strict=True))
    stored = model.state_dict()
    assert torch.equal(stored["encoder.layer.1.attention.self.feature_map.weight"], seen[-1][1]), "they are state"


@pytest.mark.parametrize("published", [False, True])
def test_evaluation_is_deterministic_whatever_the_configuration_says(published):
    model = tiny(deterministic_eval=published).eval()
    before = features_of(model)
    with torch.no_grad():
        first, second = (model(IDS, MASK).last_hidden_state for _ in range(2))
    assert torch.equal(first, second)
    assert all(torch.equal(a, b) for a, b in zip(before, features_of(model), strict=True))


def test_the_backward_pass_of_one_draw_survives_the_next():
    """Two forward passes before one backward pass, as gradient accumulation or a second loss would have it."""
    model = tiny(hidden_dropout_prob=0.0, embedding_dropout_prob=0.0).train()
    torch.manual_seed(1)
    loss = model(IDS, MASK).pooler_output.pow(2).sum()
    alone = torch.autograd.grad(loss, model.encoder.layer[0].attention.self.key.weight)[0]
    torch.manual_seed(1)
    loss = model(IDS, MASK).pooler_output.pow(2).sum()
    model(IDS, MASK)
    after = torch.autograd.grad(loss, model.encoder.layer[0].attention.self.key.weight)[0]
    torch.testing.assert_close(after, alone, rtol=0, atol=0)
    assert alone.abs().max() > 0


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (4, 10), (8, 3), (64, 32)])
def test_features_are_orthogonal_blocks_with_the_norms_of_the_rows_drawn(rows, columns):
    blocks = -(-columns // rows)
    like = torch.zeros((), dtype=torch.float64)
    torch.manual_seed(3)
    drawn = torch.randn(2, blocks, rows, rows, dtype=torch.float64)
    torch.manual_seed(3)
    found = orthogonal_features(2, rows, columns, like)
    assert found.shape == (2, rows, columns)
    for model in range(2):
        for block in range(blocks):
            part = found[model, :, block * rows : (block + 1) * rows]
            norms = drawn[model, block].square().sum(1)[: part.shape[1]]
            torch.testing.assert_close(part.T @ part, torch.diag(norms), rtol=0, atol=1e-12)


# -- kernel attention --------------------------------------------------------------------------------------------------


def attention_layer(heads=2, size=4, features=6, **changes) -> SelfAttention:
    torch.manual_seed(0)
    config = {"num_attention_heads": heads, "num_random_features": features, "vocab_size": 9, **changes}
    return SelfAttention(MolformerConfig(hidden_size=heads * size, **config)).double().eval()


def kernel_by_hand(query, key):
    """E[relu(w q) relu(w k)] of standard normal w (Cho and Saul 2009), the angle between the vectors by atan2."""
    lengths = float(query.norm() * key.norm())
    angle = 2 * torch.atan2(
        (query / query.norm() - key / key.norm()).norm(), (query / query.norm() + key / key.norm()).norm()
    )
    return lengths * (angle.sin() + (torch.pi - angle) * angle.cos()) / (2 * torch.pi)


def test_kernel_attention_equals_the_arc_cosine_kernel_of_the_rotated_vectors():
    heads, size, length, real = 2, 4, 7, 5
    layer = attention_layer(heads, size, attention="kernel")
    hidden = torch.randn(1, length, heads * size, dtype=torch.float64)
    mask = torch.ones(1, length, 1, dtype=torch.bool)
    mask[:, real:] = False
    with torch.no_grad():
        found = layer(hidden, mask, *rotary_tables(length, size, like=hidden))[0]
        query, key, value = (
            dense(hidden)[0].view(length, heads, size) for dense in (layer.query, layer.key, layer.value)
        )

    def turned(x, i):
        angle = i * 10000.0 ** (-torch.arange(size // 2, dtype=torch.float64) * 2 / size)
        z = torch.complex(x[: size // 2], x[size // 2 :]) * torch.polar(torch.ones_like(angle), angle)
        return torch.cat((z.real, z.imag))

    for i in range(real):
        for h in range(heads):
            weights = [kernel_by_hand(turned(query[i, h], i), turned(key[j, h], j)) for j in range(real)]
            wanted = sum(w * value[j, h] for j, w in enumerate(weights)) / sum(weights)
            torch.testing.assert_close(found[i, h * size : (h + 1) * size], wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("size", "drawn"), [(4, "normal"), (32, "as published")])
def test_random_features_converge_to_the_kernel(size, drawn):
    """Of normal draws the mean is the kernel; of the orthogonal ones, whose signs QR fixes, nearly, in wide heads."""
    layers = [attention_layer(size=size, attention=kind) for kind in ("random_features", "kernel")]
    load_strictly(layers[1], layers[0].state_dict())  # the features are state in both
    hidden = torch.randn(2, 6, 2 * size, dtype=torch.float64)
    mask = torch.ones(2, 6, 1, dtype=torch.bool)
    mask[1, 4:] = False
    errors = []
    with torch.no_grad():
        wanted = layers[1](hidden, mask, *rotary_tables(6, size, like=hidden))
        for count in (64, 12_800):
            normal = torch.randn(size, count, dtype=torch.float64)
            features = normal if drawn == "normal" else orthogonal_features(1, size, count, hidden)[0]
            layers[0].feature_map.weight = features
            estimated = layers[0](hidden, mask, *rotary_tables(6, size, like=hidden))
            errors.append(float((estimated - wanted)[mask.expand_as(wanted)].std() / wanted.std()))
    assert errors[1] < 0.2 * errors[0]
    assert errors[1] < 0.03


DIRECTIONS = {
    "random": torch.tensor([[1.0, 0.2, -0.3, 0.5], [0.3, -1.0, 0.4, 0.8]]),
    "equal": torch.tensor([[1.0, 0.2, -0.3, 0.5], [2.0, 0.4, -0.6, 1.0]]),
    "opposite": torch.tensor([[1.0, 0.2, -0.3, 0.5], [-2.0, -0.4, 0.6, -1.0]]),
    "nearly equal": torch.tensor([[1.0, 0.2, -0.3, 0.5], [1.0, 0.2001, -0.3, 0.5]]),
}


@pytest.mark.parametrize("pair", DIRECTIONS)
def test_the_kernels_derivatives_are_those_of_finite_differences(pair):
    """Of |q| |k| arc_cosine(cos), which is twice differentiable at equal and at opposite vectors too."""
    given = DIRECTIONS[pair].double()

    def value(both):
        (query, key), norms = _direction(both)
        return norms.prod() * arc_cosine(query @ key)

    def slope(both):
        return torch.func.grad(value)(both)

    assert float(value(given)) == pytest.approx(float(2 * torch.pi * kernel_by_hand(*given)), rel=1e-7, abs=1e-12)
    torch.manual_seed(2)
    # The second derivative goes on evenly, but has a kink where the vectors meet: small steps, by its root's law.
    for direction in torch.randn(3, 2, 4, dtype=torch.float64):
        step = 1e-5
        numeric = (value(given + step * direction) - value(given - step * direction)) / (2 * step)
        torch.testing.assert_close(torch.func.jvp(value, (given,), (direction,))[1], numeric, rtol=1e-7, atol=1e-7)
        torch.testing.assert_close((slope(given) * direction).sum(), numeric, rtol=1e-7, atol=1e-7)
        numeric = (slope(given + step * direction) - slope(given - step * direction)) / (2 * step)
        leaf = given.clone().requires_grad_()
        (first,) = torch.autograd.grad(value(leaf), leaf, create_graph=True)
        (reverse,) = torch.autograd.grad((first * direction).sum(), leaf)
        forward = torch.func.jvp(slope, (given,), (direction,))[1]
        torch.testing.assert_close(reverse, numeric, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(forward, reverse, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_kernels_derivatives_are_finite_at_zero_vectors_and_padding(dtype):
    layer = attention_layer(attention="kernel").to(dtype)
    hidden = torch.randn(2, 5, 8, dtype=dtype)
    hidden[0, 2] = hidden[0, 1]
    with torch.no_grad():
        layer.query.bias.zero_()
        layer.key.weight.copy_(layer.query.weight)  # position by position, query and key are the same vector
        layer.key.bias.zero_()
        hidden[0, 3] = 0.0  # query and key of no direction
    mask = torch.ones(2, 5, 1, dtype=torch.bool)
    mask[1, 3:] = False
    tables = rotary_tables(5, 4, like=hidden)

    def total(x):
        return torch.where(mask, layer(x, mask, *tables), 0.0).square().sum()

    leaf = hidden.clone().requires_grad_()
    (first,) = torch.autograd.grad(total(leaf), leaf, create_graph=True)
    direction = torch.randn_like(hidden)
    (second,) = torch.autograd.grad((first * direction).sum(), leaf)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()
    # What is beside the molecule changes nothing, even where its own derivative overflows.
    direction[1, 3:] = torch.inf
    assert torch.isfinite(torch.func.jvp(total, (hidden,), (direction,))[1])


def test_the_model_with_kernel_attention_has_the_derivatives_that_influence_needs():
    """Hessian-vector products both ways, and gradients of single molecules, against finite differences and a loop."""
    model = tiny(attention="kernel", initializer_range=0.3).double().eval()
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    tangents = {name: torch.randn_like(p) for name, p in parameters.items()}

    def loss(parameters, ids, mask):
        return functional_call(model, parameters, (ids[None], mask[None])).pooler_output.square().sum()

    def total(parameters):
        return functional_call(model, parameters, (IDS, MASK)).pooler_output.square().sum()

    def moved(step):
        return {name: p + step * tangents[name] for name, p in parameters.items()}

    _, forward = torch.func.jvp(torch.func.grad(total), (parameters,), (tangents,))
    leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
    first = torch.autograd.grad(total(leaves), list(leaves.values()), create_graph=True)
    product = sum((g * t).sum() for g, t in zip(first, tangents.values(), strict=True))
    reverse = dict(zip(leaves, torch.autograd.grad(product, list(leaves.values())), strict=True))
    ahead, behind = (torch.func.grad(total)(moved(step)) for step in (1e-6, -1e-6))
    for name in parameters:
        numeric = (ahead[name] - behind[name]) / 2e-6
        torch.testing.assert_close(forward[name], reverse[name], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(forward[name], numeric, rtol=1e-4, atol=1e-4 * float(numeric.abs().max()) + 1e-8)
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(parameters, IDS, MASK)
    alone = torch.func.grad(loss)(parameters, IDS[1][:4], MASK[1][:4])
    for name, gradient in alone.items():
        torch.testing.assert_close(each[name][1], gradient, rtol=1e-9, atol=1e-12)


def test_kernel_attention_is_deterministic_and_trains_to_the_same_outputs():
    model = tiny(attention="kernel", hidden_dropout_prob=0.0, embedding_dropout_prob=0.0)
    before = features_of(model)
    state = torch.get_rng_state()
    trained = model.train()(IDS, MASK).pooler_output
    assert torch.equal(torch.get_rng_state(), state), "nothing is drawn"
    assert all(torch.equal(a, b) for a, b in zip(before, features_of(model), strict=True))
    gradients = torch.autograd.grad(trained.square().sum(), list(model.parameters()))
    evaluated = model.eval()(IDS, MASK).pooler_output
    torch.testing.assert_close(trained, evaluated)
    again = torch.autograd.grad(evaluated.square().sum(), list(model.parameters()))
    torch.testing.assert_close(gradients, again, rtol=1e-4, atol=1e-6)
    assert list(feature_draws(model, 4)) == [0], "draws would be the same again and again"


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_molecule_above_the_token_limit_is_refused_and_not_cut():
    model = tiny(max_position_embeddings=6).eval()
    model(torch.full((1, 6), 4))
    with pytest.raises(ValueError, match="7 tokens; the encoder takes 6"):
        model(torch.full((1, 7), 4))


def test_token_limit_is_the_smaller_of_the_encoders_and_the_configured(encoder_folder):
    assert backbone.token_limit(encoder_folder, "molformer", None) == 202
    assert backbone.token_limit(encoder_folder, "molformer", 100) == 100
    assert backbone.token_limit(encoder_folder, "molformer", 500) == 202


@pytest.mark.parametrize(
    "wrong",
    [{"hidden_size": 18, "num_attention_heads": 4}, {"hidden_size": 6, "num_attention_heads": 2},
     {"feature_map_kernel": "exp"}, {"attention": "softmax"}, {"hidden_act": "relu"}, {"tie_word_embeddings": True}],
    ids=str,
)  # fmt: skip
def test_configurations_that_are_not_implemented_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MolformerConfig(**wrong)
