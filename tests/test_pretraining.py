"""Pretraining: who is held out, what is learned, what a kill costs, and what the shipped folder holds."""

import gzip
import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import Descriptors
from safetensors import safe_open
from torch.optim.lr_scheduler import LambdaLR

from chemsieve.data.corpus import prepare
from chemsieve.data.vectors import write_aligned
from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone, tokenization
from chemsieve.training import heads, pretraining
from chemsieve.training.batches import MaskingCollator, pad
from chemsieve.training.optimisers import optimiser
from chemsieve.training.pretrained import pretrain
from helpers.pretraining import COLLATE, CPU, TOKENIZER, trained, written
from helpers.settings import PRETRAINING
from helpers.tiny import SMILES, TINY


def test_each_line_is_used_or_refused_with_a_reason(tmp_path):
    lines = ["CCO", "OCC name", "", "no_molecule", "C[C@H](N)O", "C[C@@H](N)O", "C" * 60, "[Og]C", "c1ccccc1", "CCN"]
    table, refused = prepare(written(tmp_path, lines), TOKENIZER, 50, 0.3, 1, ["MolWt"])
    assert len(table) + len(refused) == len(lines)
    assert dict(zip(refused["line"], zip(refused["reason"], refused["detail"], strict=True), strict=True)) == {
        2: ("repeat", "same molecule as line 1, stereo aside"),
        3: ("unparsable", "the SMILES is empty"),
        4: ("unparsable", "RDKit cannot make a molecule of the SMILES"),
        6: ("repeat", "same molecule as line 5, stereo aside"),
        7: ("too_long", "62 tokens; the encoder takes 50"),
        8: ("unknown_token", "the encoder does not know [Og]"),
    }
    assert TOKENIZER.decode(list(table["tokens"][1])).replace(" ", "") == "CC(N)O"
    assert table["properties"][0][0] == pytest.approx(Descriptors.MolWt(Chem.MolFromSmiles("CCO")))


def test_molecules_of_other_files_are_left_out_with_their_salts(tmp_path):
    lines = [
        "CC(=O)[O-].[Na+]",
        "CCO",
        "C[C@H](N)C(=O)O",
        "C[C@@H](N)C(=O)O",
        "CCCCN",
        "CCCC[NH3+].[Cl-]",
        "CCCCC",
        "C",
    ]
    (tmp_path / "a.csv").write_text("x;SMILES\n1;CC(=O)O\n2;no_molecule\n3;CCCCN\n")
    with gzip.open(tmp_path / "b.smi.gz", "wt") as file:
        file.write("CC(N)C(O)=O alanine\nCCCCN\n")
    files = [
        {"path": str(tmp_path / "a.csv"), "smiles": "SMILES", "delimiter": ";"},
        {"path": str(tmp_path / "b.smi.gz"), "smiles": "1"},
    ]
    corpus = written(tmp_path, [*lines, *("C" * n for n in range(6, 30))])
    table, refused = prepare(corpus, TOKENIZER, 202, 0.3, 1, exclude=files)
    reasons = refused.set_index("line")
    for line, name in ((1, "a.csv"), (3, "b.smi.gz"), (4, "b.smi.gz"), (5, "a.csv"), (6, "a.csv")):
        assert reasons.at[line, "reason"] == "excluded"
        assert reasons.at[line, "detail"] == f"of the same parent as a molecule of {name}"
    assert len(reasons) == 5
    assert list(table["smiles"][:3]) == ["CCO", "CCCCC", "C"]
    files[0]["smiles"] = "molecule"
    with pytest.raises(ChemsieveError, match=r"pretrain\.exclude\[0\].*a\.csv.*molecule"):
        prepare(corpus, TOKENIZER, 202, 0.3, 1, exclude=files)


# -- vectors of the user's tables --------------------------------------------------------------------------------------


def shard(path, smiles, values, kind=None):
    path.parent.mkdir(exist_ok=True)
    kind = kind or pa.list_(pa.float16(), len(values[0]))
    pq.write_table(pa.table({"smiles": smiles, "vector": pa.array(list(values), kind)}), path)


def test_vectors_come_into_the_order_of_the_corpus(tmp_path):
    values = np.arange(24, dtype=np.float16).reshape(6, 4)
    shard(tmp_path / "shards" / "part-0.parquet", ["CCO", None, "c1ccccc1"], [values[0], values[1], values[2]])
    shard(tmp_path / "shards" / "part-1.parquet", ["C(C)N", "OCC", "CCC", "nonsense"], [*values[3:5], None, values[5]])
    corpus = ["CCN", "CCC", "CCO", "CCCC", "c1ccccc1"]
    write_aligned("teacher", {"path": tmp_path / "shards"}, corpus, tmp_path / "out.npy")
    found = np.load(tmp_path / "out.npy", mmap_mode="r")
    missing = np.full(4, np.nan)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, [values[3], missing, values[0], missing, values[2]])


def test_a_bad_table_of_vectors_is_one_sentence(tmp_path):
    ones = np.ones((1, 3), np.float16)

    def refused(said, smiles=("CCO",), table=None, **other):
        with pytest.raises(ChemsieveError, match=rf"^pretrain\.targets\.teacher: .*{said}"):
            write_aligned("teacher", {"path": tmp_path / "shards", **(table or {})}, list(smiles), tmp_path / "out.npy")

    (tmp_path / "shards").mkdir()
    refused("no Parquet file")
    shard(tmp_path / "shards" / "a.parquet", ["CCO"], ones)
    refused("none of its rows", smiles=["CCN"])
    refused("no column 'molecule'; it has smiles, vector", table={"smiles": "molecule"})
    refused("fixed size", table={"vector": "smiles"})
    shard(tmp_path / "shards" / "b.parquet", ["CCO"], np.ones((1, 4), np.float16))
    refused("different kinds")
    (tmp_path / "shards" / "b.parquet").write_bytes(b"PAR1")
    refused(r"b\.parquet: not a readable Parquet file")


def test_no_held_out_skeleton_is_trained_on(tmp_path):
    tautomers = ["Oc1ccccn1", "O=c1cccc[nH]1"]  # one InChIKey first block, two canonical SMILES
    chains = ["C" * i + "O" for i in range(1, 60)]
    for seed in range(12):
        table, _ = prepare(written(tmp_path, [*tautomers, *chains]), TOKENIZER, 202, 0.3, seed)
        assert table["held_out"][0] == table["held_out"][1]
        assert 5 < table["held_out"].sum() < 35
    again, _ = prepare(written(tmp_path, [*tautomers, *chains], "plain.smi"), TOKENIZER, 202, 0.3, 11, processes=2)
    pd.testing.assert_frame_equal(table, again)


def test_a_bad_corpus_is_one_sentence(tmp_path):
    with pytest.raises(ChemsieveError, match="NoSuchThing"):
        prepare(written(tmp_path, SMILES), TOKENIZER, 202, 0.3, 0, ["NoSuchThing"])
    with pytest.raises(ChemsieveError, match="held out"):
        prepare(written(tmp_path, ["CCO"]), TOKENIZER, 202, 0.3, 0)
    broken = tmp_path / "broken.gz"
    broken.write_bytes(b"CCO")
    with pytest.raises(ChemsieveError, match=r"broken\.gz"):
        prepare(broken, TOKENIZER, 202, 0.3, 0)


@pytest.mark.parametrize("rate", [None, 0.02])
@pytest.mark.parametrize("stop", [1, 3, 7, 11])
def test_a_killed_run_resumes_to_the_same_weights_and_curve(corpora, tmp_path, stop, rate):
    whole, curve = trained(corpora, tmp_path / "whole", matrix_learning_rate=rate)
    trained(corpora, tmp_path / "state", stop=stop, matrix_learning_rate=rate)
    assert (tmp_path / "state").exists() == (stop >= 3)
    resumed, again = trained(corpora, tmp_path / "state", matrix_learning_rate=rate)
    assert curve == again
    assert [row["step"] for row in curve] == [0, 5, 10, 12]
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("ratio", [None, 10.0])
def test_matrices_are_stepped_by_muon_and_the_rest_by_adamw(ratio):
    torch.manual_seed(0)
    shapes = [(4, 3), (3, 4)], [(5, 3), (4,)]
    ours, theirs = ([[torch.nn.Parameter(torch.ones(s)) for s in part] for part in shapes] for _ in range(2))
    together = optimiser(*ours, weight_decay=0.1, ratio=ratio)
    schedule = LambdaLR(together, lambda step: 0.01 / (step + 1))
    (first, second), (table, bias) = theirs
    apart = [torch.optim.AdamW([bias], weight_decay=0.0)]
    if ratio is None:
        apart += [torch.optim.AdamW([first, second, table], weight_decay=0.1)]
    else:
        apart += [torch.optim.AdamW([table], weight_decay=0.1), torch.optim.Muon([first, second], weight_decay=0.1)]
    for step in range(4):
        for mine, other in zip(itertools.chain(*ours), itertools.chain(*theirs), strict=True):
            mine.grad = torch.randn(mine.shape)
            other.grad = mine.grad.clone()
        for part in apart:
            for group in part.param_groups:
                group["lr"] = 0.01 / (step + 1) * (ratio if isinstance(part, torch.optim.Muon) else 1)
            part.step()
        together.step()
        schedule.step()
    torch.testing.assert_close(list(itertools.chain(*ours)), list(itertools.chain(*theirs)))


def test_muon_steps_the_matrices_of_the_layers_alone(corpora, tmp_path, monkeypatch):
    chosen = []
    monkeypatch.setattr(pretraining, "optimiser", lambda *given: chosen.extend(given[:2]) or optimiser(*given))
    model, _ = trained(corpora, tmp_path / "state", steps=1, matrix_learning_rate=0.02)
    names = {parameter: name for name, parameter in model.named_parameters()}
    matrices = {names[parameter] for parameter in chosen[0]}
    layers = {name for name in names.values() if "encoder.layer" in name and name.endswith("weight")}
    assert matrices == {name for name in layers if "LayerNorm" not in name}
    heads = [parameter for parameter in chosen[1] if parameter not in names]
    assert len(matrices) + len(chosen[1]) == len(names) + len(heads)
    assert len(heads) == 4  # weights and biases of two heads


def test_a_run_killed_in_its_last_measurement_repeats_no_step(corpora, tmp_path, monkeypatch):
    whole, curve = trained(corpora, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        real, calls = pretraining.masked_figures, iter(range(3))

        def killed(*given):
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return real(*given)

        patch.setattr(pretraining, "masked_figures", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(corpora, tmp_path / "state")
    monkeypatch.setattr(pretraining, "losses", None)  # nothing is trained any more
    resumed, again = trained(corpora, tmp_path / "state")
    assert curve == again
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


def test_the_state_of_another_run_is_not_resumed(corpora, tmp_path):
    trained(corpora, tmp_path / "state", stop=7)
    other, curve = trained(corpora, tmp_path / "state", learning_rate=1e-3)
    fresh, expected = trained(corpora, tmp_path / "fresh", learning_rate=1e-3)
    assert curve == expected
    torch.testing.assert_close(other.state_dict(), fresh.state_dict(), rtol=0, atol=0)


def test_a_run_goes_on_when_its_table_of_vectors_has_grown(corpora, tmp_path):
    """By the moments that it began with; the moments of the run alone would differ."""
    trained(corpora, tmp_path / "state", stop=7)
    table = corpora[0].vectors["teacher"]
    table[[1, 5]] = [300.0, 1.0, 7.0]
    _, curve = trained(corpora, tmp_path / "state")
    _, expected = trained(corpora, tmp_path / "fresh")
    assert [row["step"] for row in curve] == [0, 5, 10, 12]
    assert curve[1]["train_loss"] != expected[1]["train_loss"], "the first steps are those of before"
    with safe_open(tmp_path / "state", "pt") as old, safe_open(tmp_path / "fresh", "pt") as new:
        mean = old.get_tensor("target_mean.targets_teacher")
        assert mean[0] == pytest.approx(
            np.nanmean([s.count("c") for i, s in enumerate(SMILES[:18]) if i not in (1, 5)])
        )
        assert new.get_tensor("target_mean.targets_teacher")[0] > mean[0] + 10
    trained(corpora, tmp_path / "other", stop=7)
    _, curve = trained(corpora, tmp_path / "other", weights={"teacher": 1.0})
    assert curve[1] != expected[1], "another weight is another run"


def test_molecules_that_stay_whole_are_drawn_afresh():
    rows = tokenization.encode(TOKENIZER, SMILES[:8])
    whole, _ = pad(rows, COLLATE.pad_id)
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        batch = heads.masked(rows, MaskingCollator.of(TOKENIZER, 0.9), 0.5)
        unlabelled = (batch["labels"] == -100).all(dim=1)
        assert unlabelled.sum() >= 4
        assert torch.equal(batch["input_ids"][unlabelled], whole[unlabelled])
        seen.add(tuple(unlabelled.tolist()))
    assert len(seen) > 10


def test_without_a_mask_only_the_heads_learn(corpora, tmp_path):
    model, curve = trained(corpora, tmp_path / "state", unmasked=1.0)
    assert curve[-1]["train_loss"] == 0
    fresh, _ = trained(corpora, tmp_path / "fresh", steps=1, learning_rate=1e-30, unmasked=1.0, weight_decay=0.0)
    assert torch.equal(model.lm_head.decoder.weight, fresh.lm_head.decoder.weight)
    changed = model.molformer.embeddings.word_embeddings.weight != fresh.molformer.embeddings.word_embeddings.weight
    assert changed.any()


def test_it_learns_tokens_properties_and_vectors(corpora, tmp_path):
    same = (corpora[0], corpora[0])  # on what it trains on: that it can fit is the question here
    _, curve = trained(same, tmp_path / "state", steps=150, precision="float32", evaluate_every=150)
    assert curve[-1]["validation_loss"] < 0.6 * curve[0]["validation_loss"]
    assert curve[-1]["properties_r2"] > 0.3 > curve[0]["properties_r2"]
    assert curve[-1]["targets_r2"] == curve[-1]["targets_r2_teacher"] > 0.3 > curve[0]["targets_r2"]


def test_every_molecule_is_seen_about_once_an_epoch(corpora):
    ids = [[0] * (3 + i % 40) for i in range(1003)]
    batches = pretraining._Batches(ids, 10, seed=0)
    for epoch in (0, 1):
        rows = [batches.at(epoch * 100 + step) for step in range(100)]
        seen = np.concatenate(rows)
        assert len(seen) == len(set(seen)) == 1000
        padded = sum(max(len(ids[i]) for i in row) * 10 for row in rows)
        assert padded < 1.2 * sum(len(ids[i]) for i in seen)


def test_the_bigram_baseline_equals_counting_by_hand():
    a, b, c = (TOKENIZER.token_to_id(t) for t in "CNO")
    train = heads.Corpus([[a, b, a, b, a, c]], np.zeros((1, 0)))
    held = heads.Corpus([[a, b]], np.zeros((1, 0)))
    for seed in range(40):
        found = pretraining.bigram_baseline(train, held, MaskingCollator.of(TOKENIZER, 0.5), seed)
        if found["loss"] == pytest.approx(
            -np.log(3 / (3 + COLLATE.vocabulary))
        ):  # b after a: 2 of 3, and one added to each
            assert found["accuracy"] == 1
            return
    raise AssertionError("the second token was never masked alone")


def test_the_folder_loads_strictly_and_half_precision_agrees(tmp_path):
    table, refused = prepare(written(tmp_path, SMILES), TOKENIZER, 202, 0.2, 1)
    training = PRETRAINING | {
        "seed": 0, "half": True, "data": "two dozen molecules", "licence": "MIT", "properties": [],
        "masking": 0.15, "steps": 3, "batch_size": 4, "learning_rate": 1e-3, "evaluate_every": 3,
        "evaluated": 4, "save_every": 3,
    }  # fmt: skip
    training["targets"] = {"teacher": {"weight": 0.5, "credit": "made by hand"}}
    vectors = np.random.default_rng(0).normal(size=(len(table), 5)).astype(np.float16)
    vectors[3:7] = np.nan
    np.save(tmp_path / "teacher.npy", vectors)
    tables = {"teacher": tmp_path / "teacher.npy"}
    spec = {"pretrain": training, "architecture": {**TINY, "attention": "kernel"}, "family": "molformer"}
    spec["architecture"].pop("vocab_size", None)
    spec["architecture"].pop("pad_token_id", None)
    folders = {}
    for half in (True, False):
        folders[half] = tmp_path / f"encoder-{half}"
        training["half"] = half
        given = table, refused["reason"], None, spec, CPU, tmp_path / f"state-{half}", folders[half]
        curve, card = pretrain(*given, tables=tables)
    assert f"{curve[-1]['validation_loss']:.4f}" in card
    assert "two dozen molecules" in card
    assert "vectors teacher, 5 numbers" in card
    assert "weight 0.5 (made by hand)" in card
    assert f"R2 of the vectors teacher, standardised, all together: {curve[-1]['targets_r2']:.3f}" in card
    assert "arc-cosine kernel" in card
    assert f"{(~table['held_out']).sum():,} molecules trained on" in card
    assert "without a vector" not in card
    training["targets"]["teacher"]["required"] = True
    given = table, refused["reason"], None, spec, CPU, tmp_path / "state-known", tmp_path / "encoder-known"
    _, card = pretrain(*given, tables=tables)
    assert f"{(~table['held_out'].to_numpy() & np.isfinite(vectors[:, 0])).sum():,} molecules trained on" in card
    assert "4 without a vector" in card
    tokens = torch.tensor([tokenization.encode(TOKENIZER, ["CCOC(=O)c1ccccc1"])[0]])
    loaded = {half: backbone.load_masked_lm(folder, "molformer") for half, folder in folders.items()}
    assert {p.dtype for p in loaded[True].parameters()} == {torch.float32}
    a, b = (model(tokens).logits.detach() for model in loaded.values())
    assert float((a - b).norm() / b.norm()) < 2e-3
    sizes = [(folder / "model.safetensors").stat().st_size for folder in folders.values()]
    assert sizes[0] < 0.55 * sizes[1]
