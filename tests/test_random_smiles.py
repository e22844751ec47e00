"""Several SMILES of a molecule: the same molecule each time, drawn with a seed, within what the encoder reads."""

import numpy as np
import pytest
import torch
from rdkit import Chem

from chemsieve.models import tokenization
from chemsieve.models.molformer.configuration import MolformerConfig
from chemsieve.models.molformer.modeling import MolformerModel
from chemsieve.models.prediction import predict, predict_smiles
from chemsieve.models.random_smiles import SmilesRandomiser
from chemsieve.models.regressor import Regressor
from chemsieve.models.uncertainty import feature_draws
from chemsieve.training.loop import Conditions
from chemsieve.training.regression import Labelled, RandomisingCollator, fine_tune
from helpers.settings import Settings
from helpers.tiny import SMILES, TINY

TOKENIZER = tokenization.build()
PAD = tokenization.special_id(TOKENIZER, "pad")


def text(ids):
    return TOKENIZER.decode(list(ids)).replace(" ", "")


def canonical(smiles):
    return Chem.CanonSmiles(smiles)


def test_each_randomised_smiles_is_the_same_molecule():
    several = SmilesRandomiser(TOKENIZER, 202).several(SMILES, 4)
    assert len(several) == 4
    assert several[0] == tokenization.encode(TOKENIZER, SMILES)
    different = 0
    for rows in several:
        assert [canonical(text(ids)) for ids in rows] == [canonical(s) for s in SMILES]
        different += sum(text(ids) != s for ids, s in zip(rows, SMILES, strict=True))
    assert different > len(SMILES)
    assert SmilesRandomiser(TOKENIZER, 202).several(SMILES, 4) == several
    assert SmilesRandomiser(TOKENIZER, 202).several(SMILES, 4, seed=1) != several


def test_a_randomised_smiles_that_the_encoder_cannot_read_gives_way():
    long = "CC(C)(C)c1ccc(cc1)C(=O)N2CCN(CC2)c3ccccc3"
    own = tokenization.encode(TOKENIZER, [long])[0]
    for ids in SmilesRandomiser(TOKENIZER, len(own)).several([long], 30)[1:]:
        assert len(ids[0]) <= len(own)
    assert SmilesRandomiser(TOKENIZER, 3).several([long], 2)[1] == [own]


def test_a_collator_randomises_afresh_and_follows_the_seed():
    collate = RandomisingCollator(SmilesRandomiser(TOKENIZER, 202), PAD)
    examples = [{"smiles": smiles, "label": float(i)} for i, smiles in enumerate(SMILES[:6])]
    torch.manual_seed(0)
    first, second = collate(examples), collate(examples)
    torch.manual_seed(0)
    assert torch.equal(collate(examples)["input_ids"], first["input_ids"])
    assert first["input_ids"].shape != second["input_ids"].shape or not torch.equal(
        first["input_ids"], second["input_ids"]
    )
    assert first["labels"].tolist() == [0, 1, 2, 3, 4, 5]
    for row, mask, smiles in zip(first["input_ids"], first["attention_mask"], SMILES, strict=False):
        assert canonical(text(row[mask.bool()])) == canonical(smiles)


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = Regressor(MolformerModel(MolformerConfig(**TINY)), TINY["hidden_size"], 0.0).eval()
    torch.nn.init.normal_(made.head.weight)
    return made


def test_predictions_are_the_mean_over_the_randomised_smiles(model):
    cpu = torch.device("cpu")
    rows = SmilesRandomiser(TOKENIZER, model.encoder.config.max_position_embeddings - PAD - 1).several(SMILES, 3)
    each = [predict(model, ids, PAD, cpu) for ids in rows]
    np.testing.assert_allclose(predict_smiles(model, TOKENIZER, SMILES, 3, 1, cpu), np.mean(each, axis=0), rtol=1e-6)
    assert np.ptp(each, axis=0).max() > 1e-6
    np.testing.assert_array_equal(predict_smiles(model, TOKENIZER, SMILES, 1, 1, cpu), each[0])


def test_training_sees_randomised_smiles_and_validation_averages(model, monkeypatch):
    seen = set()
    real = SmilesRandomiser.randomise

    def watched(self, smiles, seeds):
        rows = real(self, smiles, seeds)
        seen.update(text(ids) for ids in rows)
        return rows

    monkeypatch.setattr(SmilesRandomiser, "randomise", watched)
    labels = np.arange(len(SMILES), dtype=float)
    settings = Settings(epochs=4, batch_size=8, learning_rate=1e-3, randomise=True, writings=2)
    data = Labelled(SMILES, labels), Labelled(SMILES[:5], labels[:5])
    outcome = fine_tune(model, TOKENIZER, *data, settings, Conditions(0, torch.device("cpu")))
    assert len(seen) > 2 * len(SMILES)
    best = predict_smiles(model, TOKENIZER, SMILES[:5], 2, 1, torch.device("cpu"))
    expected = np.sqrt(np.mean((best - labels[:5]) ** 2))
    assert min(row["validation_rmse"] for row in outcome.curve) == pytest.approx(expected, rel=1e-5)


# -- draws of the random features --------------------------------------------------------------------------------------


def test_predictions_are_the_mean_over_draws_and_the_model_keeps_its_own_features(model):
    cpu, ids = torch.device("cpu"), tokenization.encode(TOKENIZER, SMILES)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    found = predict_smiles(model, TOKENIZER, SMILES, 1, 4, cpu)
    assert torch.equal(torch.get_rng_state(), state), "training goes on with the draws that it would have made"
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    each = [predict(model, ids, PAD, cpu)]
    for number in (1, 2, 3):
        torch.manual_seed(number)
        model.encoder.redraw_features()
        each.append(predict(model, ids, PAD, cpu))
    assert np.ptp(each, axis=0).max() > 1e-6, "draws differ"
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-6)


def test_draws_bring_a_prediction_nearer_to_what_many_draws_say(model):
    cpu = torch.device("cpu")
    truth, one, eight = (predict_smiles(model, TOKENIZER, SMILES, 1, count, cpu) for count in (300, 1, 8))
    assert np.abs(eight - truth).mean() < 0.7 * np.abs(one - truth).mean()


def test_an_encoder_without_random_features_is_asked_once():
    assert list(feature_draws(torch.nn.Linear(2, 2), 5)) == [0]
