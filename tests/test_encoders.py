"""Encoder folders from every source, the tokenizers in them, and a peer family through the whole model."""

import json
import os
import pickle
import shutil
import socket
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing

from chemsieve import registry
from chemsieve.errors import CheckpointMismatch, ChemsieveError
from chemsieve.influence.problem import Molecules, Problem
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import trained_state, write_tensors
from chemsieve.models.prediction import predict
from chemsieve.runtime.files import sha256
from chemsieve.training.loop import Conditions
from chemsieve.training.mlm import Masking, Structures, adapt
from chemsieve.training.objectives import Objectives
from chemsieve.training.regression import Labelled, fine_tune
from helpers.settings import Settings
from helpers.tiny import SMILES, TINY

CPU = torch.device("cpu")
REFERENCE = Path(__file__).parent / "fixtures" / "molformer_reference"
PUBLISHED_TOKENIZER = Path(__file__).parent.parent.parent / "shared" / "data" / "molformer" / "tokenizer.json"
# What the published configuration holds besides the shape.
PUBLISHED_KEYS = {
    "_name_or_path": "ibm/MoLFormer-XL-both-10pct",
    "auto_map": {"AutoModel": "ibm/MoLFormer-XL-both-10pct--modeling_molformer.MolformerModel"},
    "deterministic_eval": False,
    "torch_dtype": "float32",
    "transformers_version": "4.48.3",
}


def published_tokenizer(path: Path, size: int = 40) -> None:
    """A tokenizer.json in the published form, which cuts and pads to 16 tokens."""
    own = tokenization.build()
    tokens = [own.id_to_token(i) for i in range(4)] + ["C", "c", "(", ")", "1", "O", "N", "=", "n", "[nH]", "Cl"]
    tokens += [f"[{i}H]" for i in range(size - 1 - len(tokens))] + ["<unk>"]
    content = json.loads(own.to_str())
    content["model"]["vocab"] = {token: i for i, token in enumerate(tokens)}
    for token in content["added_tokens"]:
        token["id"] = tokens.index(token["content"])
    content["truncation"] = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 2, "pad_type_id": 0, "pad_token": "<pad>",
    }  # fmt: skip
    path.write_text(json.dumps(content), encoding="utf-8")


def published_folder(folder: Path, file: str = "masked_lm.safetensors", **changes) -> Path:
    """The reference checkpoint as an encoder folder in the published layout."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(REFERENCE / file, folder / "model.safetensors")
    config = json.loads((REFERENCE / "config.json").read_text(encoding="utf-8")) | PUBLISHED_KEYS | changes
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    published_tokenizer(folder / "tokenizer.json")
    return folder


def from_path(folder, source, **more):
    return backbone.prepare(folder, {"family": "molformer", "path": str(source), **more})


def refusal(folder, encoder, kind=ChemsieveError) -> str:
    """The one sentence with which an encoder is refused."""
    with pytest.raises(kind) as caught:
        backbone.prepare(folder, {"family": "molformer", **encoder})
    assert isinstance(caught.value, ChemsieveError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- sources -----------------------------------------------------------------------------------------------------------


def test_random_weights_follow_from_their_seed(tmp_path):
    encoder = {"family": "molformer", "architecture": TINY, "seed": 3}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(int.from_bytes(name.encode()))
        said = backbone.prepare(tmp_path / name, encoder | {"seed": seed})
        assert said == f"encoder from random weights, seed {seed}, own tokenizer"
    a, b, c = (sha256(tmp_path / name / "model.safetensors") for name in "abc")
    assert a == b != c
    config = backbone.read_config(tmp_path / "a")
    assert config["hidden_size"] == TINY["hidden_size"]
    assert config["vocab_size"] == len(tokenization.vocabulary())
    assert config["pad_token_id"] == tokenization.vocabulary().index("<pad>")


def test_a_published_folder_loads_with_its_own_outputs_and_without_cutting(tmp_path):
    source = published_folder(tmp_path / "source")
    assert from_path(tmp_path / "encoder", source) == f"encoder from local folder {source}"
    assert {file.name for file in (tmp_path / "encoder").iterdir()} == set(backbone.FILES)
    expected = load_file(REFERENCE / "expected.safetensors")
    model = backbone.load_masked_lm(tmp_path / "encoder", "molformer")
    assert not model.training
    with torch.no_grad():
        logits = model(expected["input_ids"], expected["attention_mask"]).logits.double()
    tokens = expected["attention_mask"].bool()
    torch.testing.assert_close(logits[tokens], expected["expected.mlm_logits"][tokens], rtol=0, atol=1e-5)
    baked_in = Tokenizer.from_file(str(source / "tokenizer.json"))
    assert [len(e.ids) for e in baked_in.encode_batch(["CO", "C" * 30])] == [16, 16], "the file cuts and pads"
    tokenizer = backbone.load_tokenizer(tmp_path / "encoder")
    assert tokenization.encode(tokenizer, ["CO", "C" * 30]) == [[0, 4, 9, 1], [0, *[4] * 30, 1]]


def test_a_checkpoint_with_the_published_regression_head_gives_its_encoder(tmp_path):
    source = published_folder(tmp_path / "source", "sequence_classification.safetensors")
    from_path(tmp_path / "encoder", source)
    torch.manual_seed(0)
    model = backbone.load_masked_lm(tmp_path / "encoder", "molformer")
    stored = load_file(REFERENCE / "sequence_classification.safetensors")
    own = {f"molformer.{name}": tensor for name, tensor in model.molformer.state_dict().items()}
    assert own.keys() == {name for name in stored if not name.startswith("classifier.")}
    assert all(torch.equal(tensor, stored[name]) for name, tensor in own.items())


def test_preparing_again_and_changing_the_copy_leave_the_source_alone(tmp_path):
    source = published_folder(tmp_path / "source")
    before = {name: sha256(source / name) for name in backbone.FILES}
    from_path(tmp_path / "encoder", source)
    from_path(tmp_path / "encoder", source)
    tokenizer = backbone.load_tokenizer(tmp_path / "encoder")
    model = backbone.load_masked_lm(tmp_path / "encoder", "molformer")
    torch.nn.init.zeros_(model.lm_head.decoder.weight)
    backbone.save_masked_lm(model, tokenizer, tmp_path / "encoder")
    assert {name: sha256(source / name) for name in backbone.FILES} == before
    again = backbone.load_masked_lm(tmp_path / "encoder", "molformer")
    assert not again.lm_head.decoder.weight.any()


def test_no_file_of_the_encoder_is_its_source(tmp_path, monkeypatch):
    """Snakemake sets the times of outputs one by one; were they inputs too, one input would be newer than an output."""
    kept = published_folder(tmp_path / "kept")
    source = tmp_path / "source"  # as the hub's cache has them: names that lead to other files
    source.mkdir()
    for name in backbone.FILES:
        (kept / name).chmod(0o640)
        (source / name).symlink_to(kept / name)
    before = {name: (kept / name).stat() for name in backbone.FILES}
    from_path(tmp_path / "path", source)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repository, name, revision: str(source / name))
    backbone.prepare(tmp_path / "hub", {"family": "molformer", **HUB})
    made = [tmp_path / way / name for way in ("path", "hub") for name in backbone.FILES]
    assert not any(path.is_symlink() for path in made)
    assert len({path.stat().st_ino for path in [*made, *kept.iterdir()]}) == 9
    for path in made:
        os.utime(path, (1, 1))
    for name, stat in before.items():
        now = (kept / name).stat()
        assert (now.st_mtime_ns, now.st_mode, now.st_nlink) == (stat.st_mtime_ns, stat.st_mode, 1)


def test_a_path_wins_over_a_repository(tmp_path, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("nothing may be fetched")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", never)
    source = published_folder(tmp_path / "source")
    said = from_path(tmp_path / "encoder", source, repository="someone/something", revision="0" * 40)
    assert said == f"encoder from local folder {source}"


def test_a_given_tokenizer_replaces_the_encoders_own(tmp_path):
    source = published_folder(tmp_path / "source")
    (source / "tokenizer.json").unlink()
    published_tokenizer(tmp_path / "other.json", size=30)
    from_path(tmp_path / "encoder", source, tokenizer=str(tmp_path / "other.json"))
    assert backbone.load_tokenizer(tmp_path / "encoder").get_vocab_size() == 30
    encoder = {"family": "molformer", "architecture": TINY, "seed": 0, "tokenizer": str(tmp_path / "other.json")}
    assert backbone.prepare(tmp_path / "random", encoder).endswith("given tokenizer")
    assert backbone.read_config(tmp_path / "random")["vocab_size"] == 30


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", backbone.FILES)
def test_a_missing_file_is_named(tmp_path, name):
    source = published_folder(tmp_path / "source")
    (source / name).unlink()
    said = refusal(tmp_path / "encoder", {"path": str(source)})
    assert str(source / name) in said


def test_a_path_that_is_no_folder_is_named(tmp_path):
    said = refusal(tmp_path / "encoder", {"path": str(tmp_path / "nothing")})
    assert said == f"encoder.path: {tmp_path / 'nothing'} is not a folder"


def test_a_tokenizer_with_more_tokens_than_the_encoder_is_refused(tmp_path):
    source = published_folder(tmp_path / "source")
    published_tokenizer(source / "tokenizer.json", size=41)
    said = refusal(tmp_path / "encoder", {"path": str(source)})
    assert "41 tokens" in said
    assert "vocabulary 40" in said


def test_a_vocabulary_size_that_the_weights_contradict_is_a_mismatch(tmp_path):
    source = published_folder(tmp_path / "source", vocab_size=50)
    said = refusal(tmp_path / "encoder", {"path": str(source)}, CheckpointMismatch)
    assert "[40, 64] for [50, 64]" in said


def test_a_truncated_checkpoint_is_refused(tmp_path):
    source = published_folder(tmp_path / "source")
    content = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert "not a readable safetensors file" in refusal(tmp_path / "encoder", {"path": str(source)})


@pytest.mark.parametrize("family", ["molformer", "automodel"])
def test_a_checkpoint_that_fits_in_half_is_a_mismatch(tmp_path, family):
    source = published_folder(tmp_path / "source") if family == "molformer" else roberta_folder(tmp_path / "source")
    tensors = load_file(source / "model.safetensors")
    left = {name: tensor for name, tensor in tensors.items() if ".layer.1." not in name}
    assert 0 < len(left) < len(tensors)
    save_file(left, source / "model.safetensors", metadata={"format": "pt"})
    said = refusal(tmp_path / "encoder", {"family": family, "path": str(source)}, CheckpointMismatch)
    assert ".layer.1." in said


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "\xff"], ids=["empty", "unfinished", "no object", "other encoding"]
)
def test_a_configuration_that_is_not_json_is_refused(tmp_path, content):
    source = published_folder(tmp_path / "source")
    (source / "config.json").write_bytes(content.encode("latin-1"))
    assert "config.json" in refusal(tmp_path / "encoder", {"path": str(source)})


def test_a_tokenizer_that_is_not_one_is_refused(tmp_path):
    source = published_folder(tmp_path / "source")
    (source / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert "not a readable tokenizer.json" in refusal(tmp_path / "encoder", {"path": str(source)})


def test_a_tokenizer_without_a_mask_token_is_refused(tmp_path):
    source = published_folder(tmp_path / "source")
    text = (source / "tokenizer.json").read_text(encoding="utf-8")
    (source / "tokenizer.json").write_text(text.replace("<mask>", "<other>"), encoding="utf-8")
    assert "no mask token" in refusal(tmp_path / "encoder", {"path": str(source)})


def test_an_impossible_architecture_is_refused(tmp_path):
    said = refusal(tmp_path / "encoder", {"architecture": TINY | {"num_attention_heads": 3}, "seed": 0})
    assert "encoder.architecture" in said
    assert "num_attention_heads" in said


# -- hub ---------------------------------------------------------------------------------------------------------------

HUB = {"repository": "chemsieve/is-not-there", "revision": "0123456789abcdef" * 2 + "01234567"}


def test_a_hub_name_without_a_network_is_refused_at_once(tmp_path, monkeypatch):
    assert huggingface_hub.constants.HF_HUB_OFFLINE, "tests/conftest.py forbids the network"
    tried = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked, **named: tried.append(asked))
    said = refusal(tmp_path / "encoder", HUB)
    assert not tried, "it does not wait for a network that it was told is not there"
    assert said.startswith("encoder.repository: chemsieve/is-not-there@0123456789ab cannot be reached")
    assert "encoder.path" in said, "it says what to do"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for the hub that serves a local folder at the pinned revision."""
    source = published_folder(tmp_path / "hub")
    asked = []

    def download(repository, name, revision):
        assert (repository, revision) == (HUB["repository"], HUB["revision"])
        asked.append(name)
        return str(source / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return source, asked


def test_a_hub_encoder_is_fetched_at_its_revision_and_its_hashes_are_checked(tmp_path, hub):
    source, asked = hub
    hashes = {name: sha256(source / name) for name in backbone.FILES}
    encoder = {"family": "molformer", **HUB, "sha256": hashes}
    said = backbone.prepare(tmp_path / "encoder", encoder)
    assert said == f"encoder from {HUB['repository']} at revision {HUB['revision']}"
    assert sorted(asked) == sorted(backbone.FILES)
    assert {name: sha256(tmp_path / "encoder" / name) for name in backbone.FILES} == hashes
    wrong = hashes | {"model.safetensors": "0" * 64}
    said = refusal(tmp_path / "other", encoder | {"sha256": wrong})
    assert said.startswith("encoder.sha256: ")
    assert hashes["model.safetensors"] in said
    assert not (tmp_path / "other" / "model.safetensors").exists()


def test_a_hub_encoder_with_a_given_tokenizer_asks_for_no_tokenizer(tmp_path, hub):
    source, asked = hub
    published_tokenizer(tmp_path / "own.json", size=30)
    (source / "tokenizer.json").unlink()
    backbone.prepare(tmp_path / "encoder", {"family": "molformer", **HUB, "tokenizer": str(tmp_path / "own.json")})
    assert sorted(asked) == ["config.json", "model.safetensors"]


# -- a peer family -----------------------------------------------------------------------------------------------------


def roberta_folder(folder: Path, **changes) -> Path:
    """A random RoBERTa as transformers itself saves it, with a character tokenizer of its own."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(set("".join(SMILES)))]
    tokenizer = Tokenizer(WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split("", behavior="isolated")
    tokenizer.add_special_tokens(tokens[:5])
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(tokens), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=40, type_vocab_size=1, pad_token_id=1, **changes,
    )  # fmt: skip
    RobertaForMaskedLM(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def roberta(tmp_path_factory):
    """The encoder folder of that RoBERTa."""
    folder = tmp_path_factory.mktemp("roberta")
    source = roberta_folder(folder / "source")
    backbone.prepare(folder / "encoder", {"family": "automodel", "path": str(source)})
    return folder


def test_the_peer_loads_as_transformers_loads_it(roberta):
    from transformers import RobertaForMaskedLM

    peer = RobertaForMaskedLM.from_pretrained(roberta / "source").eval()
    own = backbone.load_masked_lm(roberta / "encoder", "automodel")
    tokens = torch.tensor(tokenization.encode(backbone.load_tokenizer(roberta / "encoder"), ["CCO"]))
    assert tokens.shape == (1, 5)
    with torch.no_grad():
        torch.testing.assert_close(own(tokens).logits, peer(tokens).logits, rtol=0, atol=1e-6)
    assert backbone.token_limit(roberta / "encoder", "automodel", None) == 38  # positions start after pad_token_id 1
    longest = torch.full((1, 38), 6)
    own(longest)
    with pytest.raises((IndexError, RuntimeError)):
        own(torch.full((1, 39), 6))


def test_the_peer_is_adapted_fine_tuned_and_restored(roberta, tmp_path):
    settings = Settings(epochs=1, batch_size=4, learning_rate=0.01)
    objectives = Objectives({"mlm": 1.0, "descriptors": 1.0})
    outcome = adapt(
        roberta / "encoder", "automodel", Structures(SMILES), tmp_path, settings, Masking(0.15, 0.2, 0.5), objectives,
        Conditions(0, CPU),
    )  # fmt: skip
    assert [row["epoch"] for row in outcome.curve] == [0, 1]
    before = load_file(roberta / "encoder" / "model.safetensors")
    after = load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys(), "the tied decoder is stored once, before and after"
    assert not torch.equal(before["roberta.embeddings.word_embeddings.weight"],
                           after["roberta.embeddings.word_embeddings.weight"])  # fmt: skip
    model = regressor.build(tmp_path, "automodel", {})
    tokenizer = backbone.load_tokenizer(tmp_path)
    labels = np.random.default_rng(0).normal(size=len(SMILES))
    train, validation = Labelled(SMILES[:16], labels[:16]), Labelled(SMILES[16:], labels[16:])
    fine_tune(model, tokenizer, train, validation, settings, Conditions(0, CPU))
    ids = tokenization.encode(tokenizer, SMILES)
    wanted = predict(model, ids, 1, CPU)
    write_tensors(trained_state(model), tmp_path / "run.safetensors")
    restored = regressor.restore(tmp_path, "automodel", "full", {}, tmp_path / "run.safetensors")
    np.testing.assert_array_equal(predict(restored, ids, 1, CPU), wanted)


def test_influence_products_on_the_peer_equal_plain_differentiation(roberta):
    torch.manual_seed(0)
    model = regressor.build(roberta / "encoder", "automodel", {}).double().eval()
    torch.nn.init.normal_(model.head.weight, std=0.5)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("layer.1" in name or name.startswith("head"))
    ids = tokenization.encode(backbone.load_tokenizer(roberta / "encoder"), SMILES[:6])
    molecules = Molecules(ids, np.random.default_rng(0).normal(size=6))
    problem = Problem(model, molecules, 1, seed=0, batch_size=4)
    trained = [p for p in model.parameters() if p.requires_grad]
    vector = torch.randn(problem.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def derivatives(row):
        tokens = torch.tensor([row])
        output = model(tokens, torch.ones_like(tokens))[0]
        return output.item(), torch.cat([g.reshape(-1) for g in torch.autograd.grad(output, trained)])

    values, rows = zip(*(derivatives(row) for row in ids), strict=True)
    jacobian, error = torch.stack(rows), torch.tensor(values, dtype=torch.float64) - torch.tensor(molecules.labels)
    gradients = 2 * error[:, None] * jacobian
    torch.testing.assert_close(problem.gradient(molecules), gradients.mean(0), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(
        problem.loss_change(vector, molecules), (gradients @ vector).numpy(), rtol=1e-8, atol=1e-10
    )
    torch.testing.assert_close(
        problem.gauss_newton_product(vector), 2 / 6 * jacobian.T @ (jacobian @ vector), rtol=1e-8, atol=1e-10
    )
    step = 1e-5 * vector / vector.norm()

    def gradient_at(shift):
        moved = Problem(model, molecules, 1, seed=0)
        moved.parameters = {n: p + s for (n, p), s in zip(moved.parameters.items(), problem.unflatten(shift).values(),
                                                         strict=True)}  # fmt: skip
        return moved.gradient(molecules)

    slope = (gradient_at(step) - gradient_at(-step)) / (2 * step.norm())
    product = problem.hessian_product(vector / vector.norm(), molecules)
    torch.testing.assert_close(product, slope, rtol=1e-4, atol=1e-6 * float(slope.abs().max()))


def test_random_weights_of_a_peer_family(tmp_path):
    architecture = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                    "intermediate_size": 16, "max_position_embeddings": 32}  # fmt: skip
    backbone.prepare(tmp_path, {"family": "automodel", "architecture": architecture, "seed": 0})
    assert backbone.token_limit(tmp_path, "automodel", None) == 32
    family = registry.load("models.encoders", "automodel")
    assert family.backbone(backbone.load_masked_lm(tmp_path, "automodel")) is not None
    said = refusal(tmp_path / "x", {"family": "automodel", "architecture": {"model_type": "none such"}, "seed": 0})
    assert said.startswith("encoder.architecture: ")


# -- tokenizers --------------------------------------------------------------------------------------------------------

BRACKETED = [
    "C[C@H](N)C(=O)[O-]",
    "c1cc[nH]c1",
    "C[N+](C)(C)C",
    "F/C=C\\F",
    "C1CC%10CC%10C1",
    "[Na+].[Cl-]",
    "Clc1ccc(Br)cc1",
]


def test_own_vocabulary_has_no_duplicates_and_numbers_its_tokens_in_order():
    tokens = tokenization.vocabulary()
    assert len(set(tokens)) == len(tokens)
    tokenizer = tokenization.build()
    assert tokenizer.get_vocab_size() == len(tokens)
    assert [tokenizer.id_to_token(i) for i in range(len(tokens))] == tokens


def test_smiles_come_back_from_their_tokens():
    tokenizer = tokenization.build()
    for smiles, ids in zip(SMILES + BRACKETED, tokenization.encode(tokenizer, SMILES + BRACKETED), strict=True):
        assert ids[0] == tokenizer.token_to_id("<bos>")
        assert ids[-1] == tokenizer.token_to_id("<eos>")
        assert "".join(tokenizer.id_to_token(i) for i in ids[1:-1]) == smiles


def test_tokens_are_those_of_the_published_pattern():
    tokenizer = tokenization.build()
    ids = tokenization.encode(tokenizer, ["BrC[C@@H]1Cl%12"])[0]
    assert [tokenizer.id_to_token(i) for i in ids] == ["<bos>", "Br", "C", "[C@@H]", "1", "Cl", "%12", "<eos>"]


def test_special_ids():
    tokenizer = tokenization.build()
    # As the published tokenizer has them; the unknown token is last.
    roles = [tokenization.special_id(tokenizer, role) for role in ("pad", "mask", "unknown")]
    assert roles == [2, 3, tokenizer.get_vocab_size() - 1]
    assert tokenization.special_ids(tokenizer) == [0, 1, 2, 3, tokenizer.get_vocab_size() - 1]


def test_what_the_vocabulary_lacks_is_the_unknown_token():
    tokenizer = tokenization.build()
    unknown = tokenization.special_id(tokenizer, "unknown")
    carbon = tokenizer.token_to_id("C")
    assert tokenization.encode(tokenizer, ["C[Uuo]C"]) == [[0, carbon, unknown, carbon, 1]]
    assert tokenization.encode(tokenizer, [""]) == [[0, 1]]


@pytest.mark.skipif(not PUBLISHED_TOKENIZER.is_file(), reason="the published tokenizer.json is not here")
def test_the_published_tokenizer_gives_the_published_ids():
    tokenizer = tokenization.load(PUBLISHED_TOKENIZER)
    assert tokenizer.get_vocab_size() == 2362
    found = tokenization.encode(tokenizer, ["CC(=O)Oc1ccccc1C(=O)O", "C[C@H](Cl)c1c[nH]cn1", "C" * 200, "[Uuo]"])
    assert found[0] == [0, 4, 4, 6, 12, 9, 7, 9, 5, 8, 5, 5, 5, 5, 5, 8, 4, 6, 12, 9, 7, 9, 1]
    assert found[1] == [0, 4, 15, 6, 20, 7, 5, 8, 5, 24, 5, 13, 8, 1]
    assert found[2] == [0, *[4] * 200, 1]
    assert found[3] == [0, 2361, 1]
    assert tokenization.special_ids(tokenizer) == [0, 1, 2, 3, 2361]


@pytest.mark.parametrize("family", ["molformer", "automodel"])
def test_a_pickle_in_disguise_is_refused_and_not_opened(tmp_path, family):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "opened",))

    source = published_folder(tmp_path / "source") if family == "molformer" else roberta_folder(tmp_path / "source")
    (source / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    said = refusal(tmp_path / "encoder", {"family": family, "path": str(source)})
    assert "encoder" in said
    assert not (tmp_path / "opened").exists()


def test_the_peer_may_have_an_untied_decoder(tmp_path):
    source = roberta_folder(tmp_path / "source", tie_word_embeddings=False)
    backbone.prepare(tmp_path / "encoder", {"family": "automodel", "path": str(source)})
    model = backbone.load_masked_lm(tmp_path / "encoder", "automodel")
    backbone.save_masked_lm(model, backbone.load_tokenizer(tmp_path / "encoder"), tmp_path / "again")
    again = backbone.load_masked_lm(tmp_path / "again", "automodel")
    before, after = model.state_dict(), again.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_an_encoder_folder_does_not_say_where_it_was_made(roberta, tmp_path):
    for name in ("a", "b"):
        model = backbone.load_masked_lm(roberta / "encoder", "automodel")
        backbone.save_masked_lm(model, backbone.load_tokenizer(roberta / "encoder"), tmp_path / name)
        shutil.copytree(tmp_path / name, tmp_path / name / "copy")
    moved = backbone.load_masked_lm(tmp_path / "b" / "copy", "automodel")
    backbone.save_masked_lm(moved, backbone.load_tokenizer(tmp_path / "b"), tmp_path / "c")
    for name in backbone.FILES:
        assert sha256(tmp_path / "c" / name) == sha256(tmp_path / "a" / name)
