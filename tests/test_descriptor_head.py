"""The head that sees descriptors: what it computes, what a checkpoint carries, and that nobody else must know of it."""

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import Descriptors
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from chemsieve import methods
from chemsieve.deployment import folder
from chemsieve.errors import CheckpointMismatch
from chemsieve.influence.problem import Molecules, Problem
from chemsieve.models import backbone, regressor, tokenization
from chemsieve.models.checkpoints import trained_state, write_tensors
from chemsieve.models.descriptor_head import CLIP, Featuriser, unpadded
from chemsieve.models.prediction import predict_smiles
from chemsieve.training.batches import pad
from helpers.models import CPU, HEAD, METHODS, exported, molecules, trained
from helpers.tiny import SMILES

TOKENIZER = tokenization.build()
PAD = tokenization.special_id(TOKENIZER, "pad")
IDS = tokenization.encode(TOKENIZER, SMILES)


def built(encoder_folder, **changes):
    torch.manual_seed(1)
    return regressor.build(encoder_folder, "molformer", {}, head=HEAD | changes).eval()


def outputs(model, ids):
    with torch.no_grad():
        return model(*pad(ids, PAD)).numpy()


def test_features_are_those_of_rdkit_in_whatever_order_the_smiles_is_written():
    featuriser = Featuriser(TOKENIZER, True, 64)
    generator = GetMorganGenerator(radius=2, fpSize=64)
    for smiles in SMILES:
        mol = Chem.MolFromSmiles(smiles)
        values = [function(mol) for name, function in Descriptors.descList]
        wanted = [
            np.log1p(v) if name == "Ipc" else v for (name, _), v in zip(Descriptors.descList, values, strict=True)
        ]
        wanted = [*wanted, *np.log1p(generator.GetCountFingerprintAsNumPy(mol))]
        others = Chem.MolToRandomSmilesVect(mol, 3, randomSeed=4)
        for row in featuriser(tokenization.encode(TOKENIZER, [smiles, *others])):
            np.testing.assert_allclose(row, np.array(wanted, dtype=np.float32), rtol=2e-5, atol=1e-5)


def test_it_is_two_layers_over_standardised_inputs(encoder_folder):
    model = built(encoder_folder)
    head, train = model.head_inputs, IDS[:15]
    head.standardise(train)
    raw = head.featuriser(IDS).astype(float)
    described = raw.shape[1] - HEAD["morgan"]
    mean, spread = raw[:15].mean(axis=0), raw[:15].std(axis=0)
    seen = np.where(spread > 1e-6, (raw - mean) / np.where(spread > 1e-6, spread, 1), 0.0)
    common = (raw[:15, described:] > 0).sum(axis=0) >= 2
    seen[:, described:] = np.where(common, raw[:, described:], 0.0)
    seen = np.clip(seen, -CLIP, CLIP)
    assert (np.abs(seen) == CLIP).any()
    with torch.no_grad():
        pooled = torch.randn(len(IDS), 16, generator=torch.Generator().manual_seed(0))
        hidden = head.first(torch.cat([pooled, torch.from_numpy(seen).float()], dim=1))
        hidden = torch.nn.functional.gelu(torch.nn.functional.layer_norm(hidden, (HEAD["hidden"],)))
        wanted = model.head(torch.nn.functional.gelu(head.second(hidden))).squeeze(-1)
        torch.testing.assert_close(model.readout(pooled, IDS), wanted, rtol=1e-4, atol=1e-4)


def test_a_descriptor_that_is_missing_counts_as_the_mean(encoder_folder):
    model = built(encoder_folder, morgan=0)
    head = model.head_inputs
    head.standardise(IDS)
    known = head.featuriser(IDS[:1])[0]
    pooled = torch.zeros(1, 16)
    wanted = known.copy()
    wanted[3] = head.centre[3]
    found = []
    for row in (wanted, np.where(np.arange(len(known)) == 3, np.nan, known)):
        head.featuriser = lambda ids, row=row: row[None].astype(np.float32)
        found.append(float(model.readout(pooled, IDS[:1]).detach()))
    assert np.isfinite(found[1])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_padding_is_taken_off():
    tokens, mask = pad([[5, 6, 7], [5], [6, 7]], PAD)
    assert unpadded(tokens, mask) == [[5, 6, 7], [5], [6, 7]]


def test_a_molecule_has_one_prediction_whatever_stands_beside_it(encoder_folder):
    model = built(encoder_folder)
    model.head_inputs.standardise(IDS)
    alone = np.concatenate([outputs(model, [row]) for row in IDS])
    np.testing.assert_allclose(outputs(model, IDS), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_run_predicts_as_before_and_fits_no_linear_head(encoder_folder, tmp_path, method):
    table = molecules(encoder_folder)
    model = trained(encoder_folder, "molformer", method, table, HEAD)
    tokenizer, path = backbone.load_tokenizer(encoder_folder), tmp_path / "model.safetensors"
    wanted = predict_smiles(model, tokenizer, SMILES, 1, 1, CPU)
    assert float(model.head_inputs.inverse.abs().max()) > 0
    write_tensors(trained_state(model), path)
    given = encoder_folder, "molformer", method, METHODS[method], path
    torch.manual_seed(9)
    np.testing.assert_array_equal(
        predict_smiles(regressor.restore(*given, head=HEAD), tokenizer, SMILES, 1, 1, CPU), wanted
    )
    with pytest.raises(CheckpointMismatch, match="head_inputs"):
        regressor.restore(*given)


@pytest.mark.parametrize(("policy", "number"), [("all", 8), ("bias", 1), ("none", 0)])
def test_methods_train_as_much_of_the_head_as_they_say(encoder_folder, policy, number):
    model = built(encoder_folder)
    methods.load("bitfit").apply(model, head=policy)
    assert sum(p.requires_grad for name, p in model.named_parameters() if name.startswith("head")) == number


def test_derivatives_in_forward_mode_are_those_of_differences(encoder_folder):
    model = built(encoder_folder, dropout=0.0).double()
    model.head_inputs.standardise(IDS)
    problem = Problem(model, Molecules(IDS[:6], np.zeros(6)), PAD, seed=0)
    vector = torch.randn(problem.size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    weights = torch.cat([p.reshape(-1) for p in problem.parameters.values()])
    step, molecule = 1e-6, pad(IDS[:6], PAD)
    sides = [problem._outputs(problem.unflatten(weights + s * step * vector), *molecule) for s in (1, -1)]
    wanted = (sides[0] - sides[1]).detach() / (2 * step)
    torch.testing.assert_close(problem.derivatives(vector, problem.train), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["full", "lora", "ia3_pooled"])
def test_a_model_folder_computes_them_of_a_users_molecules(encoder_folder, tmp_path, method):
    known = exported(tmp_path / "model", encoder_folder, method=method, head=HEAD)
    predictor = folder.load(tmp_path / "model")
    table = molecules(encoder_folder).set_index("molecule_id")
    smiles = list(table.loc[known["molecule_id"], "smiles"])
    found = predictor.predict([*smiles, Chem.MolToSmiles(Chem.MolFromSmiles(smiles[0]), doRandom=True)])
    np.testing.assert_allclose(found["exp"].to_numpy(float)[: len(smiles)], known["prediction"], rtol=1e-4, atol=1e-4)
    assert (found["exp_unc"] > 0).all()
