"""The encoder that comes with the project: it is small, loads strictly and offline, and knows more than a bigram."""

import json
import re
import socket

import numpy as np
import pytest
import torch
from safetensors import safe_open

from chemsieve import registry
from chemsieve.data import chemistry, embedded
from chemsieve.models import backbone, tokenization
from chemsieve.models.bundled import BUNDLED, local_folder
from chemsieve.training import heads, pretraining
from chemsieve.training.batches import MaskingCollator
from chemsieve.training.loop import Conditions

FOLDER = local_folder(BUNDLED)


@pytest.fixture(scope="module")
def model():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", None)  # no network, whatever a library has in mind
        return backbone.load_masked_lm(FOLDER, "molformer")


@pytest.fixture(scope="module")
def molecules():
    """Token ids of the project's own molecules, as the encoder reads them."""
    smiles = embedded.make(400, 30, 0.3, 1)[0]["smiles"]
    texts = sorted({chemistry.canonical_smiles(chemistry.parse(s), stereo=False) for s in smiles})
    return tokenization.encode(backbone.load_tokenizer(FOLDER), texts)


def test_it_is_small_and_says_what_it_is(model):
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 12 * 2**20
    card = (FOLDER / "README.md").read_text()
    size = sum(p.numel() for p in model.parameters())
    assert f"{size:,} parameters" in card
    for word in ("Data", "held out", "bigram", "minutes", "Licence", "must not be used"):
        assert word in card
    config = json.loads((FOLDER / "config.json").read_text())
    assert f"{config['num_hidden_layers']} layers, {config['hidden_size']} wide" in card


def test_half_precision_is_loaded_as_float32(model):
    with safe_open(FOLDER / "model.safetensors", "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    assert {t.dtype for t in stored.values()} == {torch.float16}
    loaded = model.state_dict()
    assert stored.keys() == loaded.keys()
    for name, tensor in stored.items():
        assert loaded[name].dtype == torch.float32
        assert torch.isfinite(tensor).all()
        assert torch.equal(loaded[name], tensor.float())


def test_it_is_what_the_default_configuration_makes(tmp_path):
    spec = {"family": "molformer", "path": BUNDLED, "repository": None, "tokenizer": None}
    assert backbone.prepare(tmp_path, spec) == "encoder from this project"
    for name in backbone.FILES:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_it_finds_masked_tokens_of_other_molecules(model, molecules):
    """Against a bigram that was counted on these very molecules, and against what the card says of others."""
    tokenizer = backbone.load_tokenizer(FOLDER)
    collate = MaskingCollator.of(tokenizer, 0.15)
    none = np.zeros((len(molecules), 0), np.float32)
    corpus = heads.Corpus(molecules, none)
    bigram = pretraining.bigram_baseline(corpus, corpus, collate, seed=0)
    encoder = registry.load("models.encoders", "molformer").backbone(model)
    both = torch.nn.ModuleDict({"model": model, "heads": torch.nn.ModuleDict()})
    found = pretraining._evaluate(both, encoder, corpus, collate, {}, Conditions(0, torch.device("cpu")))
    assert found["validation_loss"] < 0.5 * bigram["loss"]
    assert found["masked_accuracy"] > bigram["accuracy"] + 0.2
    said = float(re.search(r"this encoder \| ([0-9.]+)", (FOLDER / "README.md").read_text())[1])
    assert found["validation_loss"] < 3 * said
