"""The embedded data set: what it promises, checked on the molecules and labels themselves."""

import hashlib
import itertools
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
import rdkit
from rdkit import Chem
from rdkit.Chem import AllChem, Descriptors, rdFingerprintGenerator, rdMolDescriptors
from rdkit.Chem.Scaffolds import MurckoScaffold

from chemsieve.data import embedded
from chemsieve.data.acceptance import Reader
from chemsieve.data.molecules import prepare
from chemsieve.data.reading import read_labelled
from chemsieve.errors import ChemsieveError
from chemsieve.models import tokenization
from chemsieve.splitting import divide
from chemsieve.tables import read_table
from helpers.configurations import EMBEDDED

NOISE = 0.3
SIZES = {"target_count": 1000, "pool_count": 300, "noise": NOISE, "seed": 0}
make = partial(embedded.make, **SIZES)

# The tokens of SMILES that MoLFormer reads (Schwaller et al., ACS Cent. Sci. 5 (2019) 1572).
TOKEN = re.compile(r"\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>|\*|\$|%[0-9]{2}|[0-9]")


@pytest.fixture(scope="module")
def made():
    return make()


def mols(smiles):
    parsed = [Chem.MolFromSmiles(text) for text in smiles]
    assert None not in parsed
    return parsed


def blocks(smiles):
    return [Chem.MolToInchiKey(mol)[:14] for mol in mols(smiles)]


def crippen(smiles):
    return np.array([rdMolDescriptors.CalcCrippenDescriptors(mol)[0] for mol in mols(smiles)])


def test_counts_and_columns(made):
    target, pool, control = made
    assert (len(target), len(pool), len(control)) == (1000, 300, 300)
    assert list(target) == list(pool) == ["smiles", "crippen_logp_with_noise"]
    assert control["molecule_id"].tolist() == [f"pool-{row}" for row in range(300)]
    assert control["group"].value_counts().to_dict() == {
        "like_target": 100,
        "other_chemistry": 100,
        "corrupted_label": 100,
    }


def test_equal_arguments_give_equal_tables_and_another_seed_others(made):
    for first, second in zip(made, make(), strict=True):
        assert first.equals(second)
    one, two = (make(target_count=50, pool_count=30, seed=seed) for seed in (1, 2))
    assert len(set(one[0]["smiles"]) & set(two[0]["smiles"])) < 25
    assert one[2]["group"].tolist() != two[2]["group"].tolist()


@pytest.mark.skipif(rdkit.__version__ != "2026.09.1", reason="canonical SMILES change between RDKit versions")
@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((1000, 300, 0), "6e94d7230ca2db31514834f79fc7a652858c046c4709d203bd6851f9405632a6"),
        ((50, 30, 1), "7b4840d9e88ca4bf2a4b214f0ec11f17b935222abf66c11fe3bad989ef1387fb"),
        ((200, 61, 7), "eec6bf9283b140031619c8e5fda555ba76dc6caa7d95b7e1a63c24cd4bfcec2c"),
    ],
)
def test_molecules_are_those_of_the_documented_results(sizes, expected):
    target_count, pool_count, seed = sizes
    target, pool, _ = embedded.make(target_count, pool_count, 0.3, seed)
    text = "\n".join([*target["smiles"], *pool["smiles"]])
    assert hashlib.sha256(text.encode()).hexdigest() == expected


def test_molecules_are_distinct_and_none_is_in_target_and_pool(made):
    keys = blocks([*made[0]["smiles"], *made[1]["smiles"]])
    assert "" not in keys
    assert len(set(keys)) == 1300


def test_smiles_are_canonical_neutral_and_without_stereo(made):
    for smiles in [*made[0]["smiles"], *made[1]["smiles"]]:
        mol = Chem.MolFromSmiles(smiles)
        assert Chem.MolToSmiles(mol) == smiles
        assert Chem.GetFormalCharge(mol) == 0
        assert not set(smiles) & set("@/\\.")


def test_molecules_are_small_varied_and_drug_like(made):
    target, pool, _ = made
    for smiles in (target["smiles"], pool["smiles"]):
        heavy = [mol.GetNumHeavyAtoms() for mol in mols(smiles)]
        weight = [Descriptors.MolWt(mol) for mol in mols(smiles)]
        assert min(heavy) >= 16
        assert max(heavy) <= 28
        assert min(weight) >= 220
        assert max(weight) <= 400
    assert 30 <= np.mean([len(TOKEN.findall(smiles)) for smiles in target["smiles"]]) <= 34
    assert all("".join(TOKEN.findall(smiles)) == smiles for smiles in [*target["smiles"], *pool["smiles"]])
    assert len({MurckoScaffold.MurckoScaffoldSmiles(smiles) for smiles in target["smiles"]}) > 400
    logp = crippen(target["smiles"])
    assert logp.std() >= 1.1
    assert -1.5 < logp.min() < 0.0
    assert 5.0 < logp.max() < 6.5


def test_target_labels_are_logp_with_the_stated_noise(made):
    target = made[0]
    residual = target["crippen_logp_with_noise"] - crippen(target["smiles"])
    assert abs(residual.mean()) < 4 * NOISE / np.sqrt(1000)
    assert residual.std() == pytest.approx(NOISE, rel=0.1)
    exact = make(target_count=50, pool_count=9, noise=0.0)[0]
    assert np.abs(exact["crippen_logp_with_noise"] - crippen(exact["smiles"])).max() <= 0.005 + 1e-9


def test_only_the_corrupted_labels_are_wrong(made):
    _, pool, control = made
    truth = crippen(pool["smiles"])
    np.testing.assert_allclose(control["true_label"], truth, atol=1e-9)
    error = np.abs(pool["crippen_logp_with_noise"] - truth)
    corrupted = control["group"] == "corrupted_label"
    assert error[corrupted].min() >= 1.5
    assert error[~corrupted].max() <= 5 * NOISE
    for group in ("like_target", "other_chemistry"):
        assert np.sqrt((error[control["group"] == group] ** 2).mean()) == pytest.approx(NOISE, rel=0.3)


def fingerprints(smiles):
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    return np.array([generator.GetCountFingerprintAsNumPy(mol) for mol in mols(smiles)], dtype=float)


def test_like_target_resembles_the_target_and_other_chemistry_does_not(made):
    target, pool, control = made
    bits = fingerprints(target["smiles"]) > 0
    pool_bits = fingerprints(pool["smiles"]) > 0
    common = pool_bits.astype(float) @ bits.T.astype(float)
    nearest = (common / (pool_bits.sum(1)[:, None] + bits.sum(1)[None, :] - common)).max(axis=1)
    similarity = {group: np.median(nearest[control["group"] == group]) for group in embedded.GROUPS}
    assert similarity["other_chemistry"] < 0.3
    assert similarity["like_target"] > 0.5
    assert similarity["corrupted_label"] > 0.5


def test_the_label_can_be_learned_from_structure(made):
    target = made[0]
    features, label = fingerprints(target["smiles"]), target["crippen_logp_with_noise"].to_numpy()
    train, held_out = slice(0, 800), slice(900, 1000)
    centre = label[train].mean()
    kernel = features[train] @ features[train].T
    weights = np.linalg.solve(kernel + 10.0 * np.eye(800), label[train] - centre)
    prediction = features[held_out] @ features[train].T @ weights + centre
    r2 = 1 - ((prediction - label[held_out]) ** 2).mean() / label[held_out].var()
    assert r2 > 0.6


def test_groups_are_not_told_by_order_or_range(made):
    _, pool, control = made
    for group in embedded.GROUPS:
        rows = np.flatnonzero(control["group"] == group)
        # Mean rank of 100 of 300 rows drawn at random: 149.5 with standard deviation 7.1.
        assert abs(rows.mean() - 149.5) < 4 * 7.1
    labels = pool["crippen_logp_with_noise"]
    corrupted = control["group"] == "corrupted_label"
    assert labels[corrupted].min() > labels[~corrupted].min()
    assert labels[corrupted].max() < labels[~corrupted].max()


def test_written_files_are_read_back_whole_and_all_accepted(made, tmp_path):
    embedded.write(tmp_path / "a", **SIZES)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["control.parquet", "pool.csv", "target.csv"]
    for line in (tmp_path / "a/pool.csv").read_text().splitlines()[1:]:
        assert re.fullmatch(r"[^,\"]+,-?\d+\.\d\d", line)

    files = [
        read_labelled(tmp_path / f"a/{source}.csv", source, "smiles", "crippen_logp_with_noise")
        for source in ("target", "pool")
    ]
    molecules, rejected = prepare(*files, Reader(tokenization.build(), 202), stereo=False)
    assert len(rejected) == 0
    assert molecules["encoder_smiles"].tolist() == molecules["smiles"].tolist()
    assert molecules["label"].tolist() == [*made[0].iloc[:, 1], *made[1].iloc[:, 1]]

    control = read_table(tmp_path / "a/control.parquet")
    assert control.to_dict("list") == made[2].to_dict("list")
    assert control["molecule_id"].tolist() == molecules["molecule_id"].tolist()[1000:]


def test_other_sizes(made):
    target, pool, control = make(target_count=40, pool_count=20)
    assert (len(target), len(pool)) == (40, 20)
    assert sorted(control["group"].value_counts()) == [6, 7, 7]
    with pytest.raises(ChemsieveError, match="are asked for"):
        make(target_count=40, pool_count=1200)


@pytest.mark.parametrize("name", ["target", "other"])
def test_every_block_is_used_written_once_and_reacts_with_each_partner(name):
    library = embedded.library(name)
    reactions = library.reactions.values()
    assert len(reactions) > 6
    used = {part for reaction in reactions for part in (reaction.first, reaction.second)}
    assert used == set(library.blocks)
    for smiles in library.blocks.values():
        assert len(set(blocks(smiles))) == len(smiles)
    for first, second, smarts in reactions:
        reaction = AllChem.ReactionFromSmarts(smarts)
        for pair in itertools.product(mols(library.blocks[first]), mols(library.blocks[second])):
            products = reaction.RunReactants(pair)
            assert products, [Chem.MolToSmiles(mol) for mol in pair]
            for (product,) in products:
                Chem.SanitizeMol(product)  # raises where a valence is wrong


def test_the_embedded_study_has_few_labelled_molecules_and_many_candidates():
    """As config.yaml asks for them: eight draws of 150 molecules to train on, 1,050 to test on, a pool of 360."""
    sizes, division = EMBEDDED["embedded"], EMBEDDED["split"]
    target, pool, control = embedded.make(sizes["targets"], sizes["pool"], sizes["noise"], sizes["seed"])
    assert control["group"].value_counts().to_dict() == dict.fromkeys(embedded.GROUPS, 120)
    assert len(pool) == 360
    for seed in division["seeds"]:
        folds = divide("draws", list(target["smiles"]), tuple(division["fractions"]), seed)
        counts = pd.Series(folds).value_counts()
        assert counts[["train", "validation", "test"]].tolist() == [150, 50, 1050]
