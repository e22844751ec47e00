"""Model folders: they predict as their run did, say what to trust, and take files of any length."""

import gzip
import json
import math
import os
import re
import statistics
import subprocess
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from chemsieve import predict as command
from chemsieve import registry
from chemsieve.deployment import conformal, folder, inference, neighbours
from chemsieve.deployment.card import card
from chemsieve.deployment.choice import choose
from chemsieve.deployment.predictor import Predictor
from chemsieve.deployment.stream import predict_file
from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone, regressor, tokenization
from helpers import processes
from helpers.inputs import read, write
from helpers.models import DROPOUT, LABELS, METHODS, ROBERTA, exported
from helpers.tiny import SMILES
from helpers.workflow import RESULTS, ROOT, edit, overlay, snakemake

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoders(encoder_folder, tmp_path_factory):
    """An encoder folder for each family."""
    roberta = tmp_path_factory.mktemp("roberta")
    backbone.prepare(roberta, {"family": "automodel", "architecture": ROBERTA, "seed": 0})
    return {"molformer": encoder_folder, "automodel": roberta}


@pytest.fixture(scope="module")
def made(encoders, tmp_path_factory):
    """A model folder of full fine-tuning. Read it only."""
    target = tmp_path_factory.mktemp("model")
    exported(target, encoders["molformer"])
    return target


@pytest.fixture
def copied(made, tmp_path):
    """A copy of it, to damage."""
    for path in made.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


# -- the folder --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("family", ["molformer", "automodel"])
def test_a_loaded_folder_predicts_as_its_run_did(encoders, tmp_path, family, method):
    known = exported(tmp_path, encoders[family], family, method)
    predictor = folder.load(tmp_path)
    given = SMILES[20:24]
    # Another writing of the same molecules, as a user may have it.
    for smiles in (given, [Chem.MolToSmiles(Chem.MolFromSmiles(s), canonical=False, rootedAtAtom=1) for s in given]):
        np.testing.assert_allclose(predictor.predict(smiles)["exp"].to_numpy(float), known["prediction"], rtol=1e-5)
    assert np.ptp(known["prediction"]) > 1e-3
    # What training left in adapters is in the weights: the encoder alone, with the same head, answers otherwise.
    if method in ("lora", "ia3"):
        plain = backbone.load_masked_lm(encoders[family], family)
        predictor.model.encoder = registry.load("models.encoders", family).backbone(plain)
        without = predictor.predict(given)["exp"].to_numpy(float)
        assert np.abs(without - known["prediction"].to_numpy()).max() > 3e-4


def test_draws_of_the_features_are_averaged_as_in_the_run(encoders, tmp_path):
    known = exported(tmp_path, encoders["molformer"], draws=3)
    found = folder.load(tmp_path).predict(SMILES[20:24])["exp"].to_numpy(float)
    np.testing.assert_allclose(found, known["prediction"], rtol=1e-5)


def test_random_smiles_are_averaged_whatever_the_order(encoders, tmp_path):
    exported(tmp_path, encoders["molformer"], writings=4)
    predictor = folder.load(tmp_path)
    found = predictor.predict(SMILES)["exp"].to_numpy(float)
    np.testing.assert_allclose(predictor.predict(SMILES[::-1])["exp"].to_numpy(float)[::-1], found, rtol=1e-5)
    predictor.facts["averaged"]["writings"] = 1
    assert np.abs(predictor.predict(SMILES)["exp"].to_numpy(float) - found).max() > 1e-4


@pytest.mark.parametrize("writings", [1, 3])
def test_a_folder_that_would_predict_otherwise_is_not_made(encoders, tmp_path, monkeypatch, writings):
    def spoiled(model):
        model.head.bias.data.add_(0.01)
        return model.eval()

    monkeypatch.setattr("chemsieve.deployment.export.merge", spoiled)
    with pytest.raises(ChemsieveError, match=r"^export: the model folder's predictions differ from the run's by up to"):
        exported(tmp_path, encoders["molformer"], writings=writings)
    with pytest.raises(ChemsieveError, match=r"chemsieve.json: there is no such file"):
        folder.load(tmp_path)


def test_a_folder_that_would_read_smiles_otherwise_is_not_made(encoders, tmp_path, monkeypatch):
    """The weights are the run's, what a user's SMILES become is not: averaging must not hide it."""
    real = Predictor.predict
    monkeypatch.setattr(Predictor, "predict", lambda self, smiles: real(self, ["CCO", *smiles[1:]]))
    with pytest.raises(ChemsieveError, match=r"^export: the model folder's predictions differ from the run's by up to"):
        exported(tmp_path, encoders["molformer"], writings=3)


@pytest.mark.slow
def test_the_folder_loads_in_a_process_of_its_own(made, tmp_path):
    write(tmp_path / "in.csv", [["smiles"], ["CCO"], ["c1ccccc1C"]])
    kept = ("PATH", "LANG", "HOME", "LD_LIBRARY_PATH")
    environment = dict.fromkeys(set(os.environ) - set(kept))
    environment |= {"PYTHONPATH": ROOT / "workflow_scripts", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    arguments = ["-X", "importtime", "-m", "chemsieve.predict", made, "in.csv", "out.csv"]
    with processes.start(*arguments, cwd=tmp_path, environment=environment, stderr=subprocess.PIPE) as process:
        answer, said = process.communicate()
    assert process.returncode == 0, said
    assert answer == ""
    assert "2 rows: 2 predicted" in said
    assert "chemsieve.deployment.predictor" in said
    assert not re.search(r"chemsieve\.training\.(loop|epochs|regression)", said), "predicting needs no training"
    wanted = folder.load(made).predict(["CCO", "c1ccccc1C"])["exp"].to_numpy(float)
    np.testing.assert_allclose(pd.read_csv(tmp_path / "out.csv")["exp"], wanted, atol=rounding(made))


def test_files_of_a_folder_are_declared_and_no_pickle(made):
    assert sorted(path.name for path in made.iterdir()) == sorted(folder.FILES)
    for path in made.iterdir():
        assert path.read_bytes()[:2] not in (b"\x80\x02", b"\x80\x04", b"\x80\x05", b"PK"), path.name


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda made: cut(made / "model.safetensors"), r"model.safetensors: it is damaged or of another model"),
        (lambda made: cut(made / "training.parquet"), r"training.parquet: it is damaged or of another model"),
        (
            lambda made: (made / "tokenizer.json").unlink(),
            r"tokenizer.json: there is no such file; a model folder needs",
        ),
        (lambda made: (made / "chemsieve.json").unlink(), r"chemsieve.json: there is no such file, so that .* is no"),
        (lambda made: cut(made / "chemsieve.json"), r"chemsieve.json: not readable JSON"),
        (
            lambda made: (made / "chemsieve.json").write_text('{"format": 4}'),
            r"not of a format that this release reads",
        ),
        (lambda made: edit(made / "chemsieve.json", '"interval"', '"interwal"'), r"it says nothing of 'interval'"),
    ],
)
def test_damage_is_one_sentence(copied, damage, said):
    damage(copied)
    with pytest.raises(ChemsieveError, match=said) as caught:
        folder.load(copied)
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_refused_though_their_hash_is_right(copied):
    edit(copied / "config.json", '"intermediate_size": 24', '"intermediate_size": 20')
    facts = json.loads((copied / "chemsieve.json").read_text(encoding="utf-8"))
    facts["files"]["config.json"] = folder.sha256(copied / "config.json")
    (copied / "chemsieve.json").write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(ChemsieveError, match=r"does not fit the model: it has .* of another shape"):
        folder.load(copied)


def test_card_has_the_figures(made):
    card = (made / "README.md").read_text(encoding="utf-8")
    facts = json.loads((made / "chemsieve.json").read_text(encoding="utf-8"))
    found = folder.load(made).predict(SMILES[22:24])
    checking = ~conformal.calibrating(["target-22", "target-23"], 0.5)
    covered = sum(((found["exp_low"] <= LABELS[22:24]) & (LABELS[22:24] <= found["exp_high"]))[checking])
    for text in (
        "random/0/0/adapted/full/random",
        "| test | 1.250 | 0.500 |  | 0.250 |",
        "Trained on 21 molecules",
        "* target, `target.csv`: `0000",
        f"It holds {covered} of the 1 other test molecules",
        f"{facts['interval']['half_width']:.4g} log units",
        "interval of 50% from 1 test molecules",
        "which neither training, the epoch, a selection nor the choice of the model has looked at",
        "4 networks thinned by the dropout",
    ):
        assert text in card, text


# -- what a prediction comes with --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "coverage"), [(9, 0.9), (20, 0.8), (50, 0.77), (99, 0.07)])
def test_interval_covers_as_often_as_the_closed_form_says(count, coverage):
    # Exchangeable: errors of a skewed law, one more than calibrated on. Beta(k, n + 1 - k) has the mean k / (n + 1).
    draws = np.random.default_rng(1).gamma(0.7, size=(20_000, count + 1)) - 0.5
    covered = [abs(row[-1]) <= conformal.half_width(row[:-1], coverage) for row in draws]
    wanted = np.ceil(round((count + 1) * coverage, 6)) / (count + 1)
    assert abs(np.mean(covered) - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / len(draws))


def test_too_few_molecules_for_an_interval_is_one_sentence():
    with pytest.raises(
        ChemsieveError, match=r"^predict.coverage: 8 test molecules .* at most 0.888, not of 0.9; lower it$"
    ):
        conformal.half_width(np.arange(8.0), 0.9)
    assert conformal.half_width(np.arange(8.0), 0.888) == 7.0


def test_interval_is_that_of_the_errors_of_half_the_test_molecules(made):
    found = folder.load(made).predict(SMILES[22:24])
    own = conformal.calibrating(["target-22", "target-23"], 0.5)
    (error,) = np.abs(found["exp"].to_numpy(float) - LABELS[22:24])[own]
    np.testing.assert_allclose((found["exp_high"] - found["exp_low"]).to_numpy(float) / 2, error, rtol=1e-6)
    np.testing.assert_allclose(
        ((found["exp_high"] + found["exp_low"]) / 2).to_numpy(float), found["exp"].to_numpy(float)
    )


def test_half_of_the_test_molecules_calibrate_and_never_fewer_than_it_takes():
    names = [f"m{i}" for i in range(100)]
    own = conformal.calibrating([*names, *names], 0.9)
    assert own[:100].sum() == 50
    assert (own[:100] == own[100:]).all(), "a molecule with two rows is on one side"
    assert (conformal.calibrating(names[::-1], 0.9)[::-1] == own[:100]).all(), "whatever the order"
    assert conformal.calibrating(names[:12], 0.9).sum() == 9
    assert conformal.calibrating(names[:7], 0.9).sum() == 7


@pytest.mark.parametrize("grows", [False, True])
def test_intervals_cover_fresh_molecules_though_the_model_was_chosen_by_its_validation_errors(grows):
    """The best of forty models by forty validation molecules: its validation errors are too small, by chance alone."""
    rng, covered, naive, widths = np.random.default_rng(3), [], [], []
    for _ in range(150):
        similarity = rng.uniform(0.2, 1, size=(40, 1100))
        errors = rng.normal(size=(40, 1100)) * (1.7 - 1.5 * similarity if grows else 1)
        best = np.argmin((errors[:, :40] ** 2).mean(axis=1))
        near, abs_errors = similarity[best], np.abs(errors[best])
        trend = conformal.Trend.of(abs_errors[:40], near[:40])
        names = [str(i) for i in range(100)]
        found = conformal.calibrated(abs_errors[40:140], names, 0.9, near[40:140], trend)
        covered.append((abs_errors[140:] <= found.half_width * found.trend.widths(near[140:])).mean())
        naive.append((abs_errors[140:] <= conformal.half_width(abs_errors[:40], 0.9)).mean())
        widths.append(found.trend.slope)
    # Half of a hundred calibrate: 46 of 51 in the mean.
    assert np.mean(covered) == pytest.approx(46 / 51, abs=0.012)
    assert np.mean(naive) < 0.87
    # A trend that is not there is seen in a twentieth of the draws.
    assert np.mean(np.array(widths) > 0) > 0.5 if grows else np.mean(np.array(widths) > 0) < 0.12


def test_a_check_counts_the_molecules_that_did_not_calibrate():
    errors, names = np.arange(40.0), [f"m{i}" for i in range(40)]
    found = conformal.calibrated(errors, names, 0.8, None, conformal.Trend())
    own = conformal.calibrating(names, 0.8)
    assert (found.molecules, found.checked) == (20, 20)
    assert found.half_width == sorted(errors[own])[16]  # ceil(21 x 0.8) is 17
    assert found.covered == (errors[~own] <= found.half_width).sum()
    low, high = found.facts()["test_share"]
    assert 0 < low < found.covered / 20 < high < 1


def test_nearest_training_molecule_is_that_of_rdkit(made):
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    prints = lambda smiles: [generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in smiles]  # noqa: E731
    training = [*SMILES[:20], "CCSCC"]
    ids = [*(f"target-{row}" for row in range(20)), "pool-0"]
    asked = [*SMILES[20:], "CCSCCC", "c1ccccc1CCN", "[Na+].[Cl-]"]
    found = folder.load(made).predict(asked)
    bound = json.loads((made / "chemsieve.json").read_text(encoding="utf-8"))["domain"]["similarity"]
    both = [DataStructs.BulkTanimotoSimilarity(one, prints(training)) for one in prints(asked)]
    assert list(found["nearest_training"]) == [ids[int(np.argmax(row))] for row in both]
    assert list(found["nearest_training_smiles"]) == [training[int(np.argmax(row))] for row in both]
    assert set(found["nearest_training_identifier"]) == {""}
    np.testing.assert_allclose(found["similarity"].to_numpy(float), [max(row) for row in both], rtol=1e-12)
    assert bound == pytest.approx(np.percentile([max(row) for row in both[:2]], 5))
    assert list(found["in_domain"]) == [bool(max(row) >= bound) for row in both]
    assert {True, False} == set(found["in_domain"])


def test_new_molecules_are_standardised_as_the_models_own_were(made):
    predictor = folder.load(made)
    plain = predictor.predict(["CC(=O)[O-].[Na+]", "CC(=O)O"])["exp"].to_numpy(float)
    predictor.facts["input"]["standardise"] = "parent"
    found = predictor.predict(["CC(=O)[O-].[Na+]", "CC(=O)O"])["exp"].to_numpy(float)
    assert plain[0] != plain[1] == found[0] == found[1]


def test_same_molecule_is_seen_whatever_its_stereo_isotopes_and_writing(made):
    asked = ["OCC", "[13CH3]CO", "CCSCC", "CCOCC", "[2H]C(C)(C)C", SMILES[21]]
    found = folder.load(made).predict(asked)
    assert list(found["same_molecule"]) == ["target-0", "target-0", "pool-0", "", "target-5", ""]


@pytest.mark.parametrize("kind", ["dropout", "features"])
def test_spread_of_a_molecule_is_its_own(encoders, tmp_path, kind):
    exported(tmp_path, encoders["molformer"], uncertainty=kind)
    predictor = folder.load(tmp_path)
    found = predictor.predict(SMILES)["exp_unc"].to_numpy(float)
    assert (found > 0).all()
    assert len(set(found)) == len(SMILES)
    np.testing.assert_allclose(
        predictor.predict(SMILES[::-1])["exp_unc"].to_numpy(float)[::-1], found, rtol=1e-4, atol=1e-6
    )
    alone = [predictor.predict([text])["exp_unc"].iloc[0] for text in SMILES]
    np.testing.assert_allclose(np.array(alone, float), found, rtol=1e-4, atol=1e-6)


def test_spread_of_dropout_in_the_head_has_the_closed_form_of_a_weighted_sum(encoders):
    torch.manual_seed(0)
    model = regressor.build(encoders["molformer"], "molformer", {"hidden": 0.0, "embedding": 0.0, "head": 0.2}).eval()
    model.set_label_scale(5.0, 3.0)
    tokenizer = backbone.load_tokenizer(encoders["molformer"])
    ids = tokenization.encode(tokenizer, SMILES[:6])
    pad_id = tokenization.special_id(tokenizer, "pad")
    _, found = inference.predict(model, [ids], 1, "dropout", 4000, 0, pad_id, CPU)
    with torch.no_grad():
        pooled = inference._pooled(model, ids, pad_id, CPU)
        variance = (model.head.weight**2 * pooled**2).sum(dim=1) * 0.2 / 0.8
    np.testing.assert_allclose(found, 3.0 * variance.sqrt().numpy(), rtol=0.05)


@pytest.mark.parametrize("passes", [2, 5])
def test_spread_of_features_is_that_of_a_sample_of_draws(encoders, passes):
    """Over so few draws the divisor shows: of two it is their difference over the root of two."""
    torch.manual_seed(0)
    model = regressor.build(encoders["molformer"], "molformer", {"hidden": 0.0, "embedding": 0.0, "head": 0.0}).eval()
    model.set_label_scale(5.0, 3.0)
    tokenizer = backbone.load_tokenizer(encoders["molformer"])
    ids = tokenization.encode(tokenizer, SMILES[:6])
    pad_id = tokenization.special_id(tokenizer, "pad")
    _, found = inference.predict(model, [ids], 1, "features", passes, 0, pad_id, CPU)
    sums = [inference.predict(model, [ids], n, "none", 0, 0, pad_id, CPU)[0] * n for n in range(1, passes + 1)]
    each = np.diff(sums, axis=0, prepend=0)
    assert found == pytest.approx([statistics.stdev(values) for values in each.T], rel=1e-3)


def test_dropout_leaves_the_model_as_it_was(made):
    predictor = folder.load(made)
    first = predictor.predict(SMILES)
    pd.testing.assert_frame_equal(predictor.predict(SMILES), first)
    assert all("forward" not in vars(module) for module in predictor.model.modules())


def test_spread_comes_from_what_the_model_has(encoders):
    plain = regressor.build(encoders["automodel"], "automodel", {"hidden": 0.0, "embedding": 0.0, "head": 0.0})
    assert [inference.spread_kind(plain, kind) for kind in ("auto", "features", "dropout")] == ["none"] * 3
    without = regressor.build(encoders["molformer"], "molformer", {"hidden": 0.0, "embedding": 0.0, "head": 0.0})
    assert inference.spread_kind(without, "auto") == "features"
    assert inference.spread_kind(regressor.build(encoders["molformer"], "molformer", DROPOUT), "auto") == "dropout"


def test_an_answer_that_is_no_number_has_a_reason(made, monkeypatch):
    answer = inference.predict
    monkeypatch.setattr(inference, "predict", lambda *given: [part / [1, 0, 1] for part in answer(*given)])
    with np.errstate(divide="ignore"):
        found = folder.load(made).predict(["CCO", "?", "CCN", "CCC"])
    assert list(found["reason"]) == ["", "unparsable", "not_finite", ""]
    assert found.iloc[[1, 2], :-1].isna().all(axis=None)
    assert found.iloc[[0, 3]].notna().all(axis=None)


# -- files -------------------------------------------------------------------------------------------------------------


def rounding(made):
    """The largest error of a prediction that is written with three digits of the interval's half-width."""
    half_width = json.loads((made / "chemsieve.json").read_text(encoding="utf-8"))["interval"]["half_width"]
    return 0.51 * 10.0 ** -max(0, 2 - math.floor(math.log10(half_width)))


ROWS = [
    ["id", "structure", "exp", "note"],
    ["1", "CCO", "0.5", "=1+1"],
    ["2", "no molecule", "", 'a "quoted", cell'],
    ["3", "", "x\ry", "two\nlines"],
    ["4", "C" * 60, "", ""],
    ["5", " c1ccccc1C ", "é", "007"],
]


def test_rows_and_cells_are_kept_in_order_with_their_reasons(made, tmp_path):
    predict_file(folder.load(made), write(tmp_path / "in.csv", ROWS), tmp_path / "out.csv", "structure", chunk=2)
    header, *rows = read(tmp_path / "out.csv")
    assert [row[:4] for row in [header, *rows]] == ROWS
    own = ["exp_predicted", "exp_unc", "exp_low", "exp_high", "nearest_training", "nearest_training_identifier"]
    own += ["nearest_training_smiles", "similarity", "in_domain"]
    assert header[4:] == [*own, "same_molecule", "unread", "reason"]
    assert [row[-1] for row in rows] == ["", "unparsable", "unparsable", "too_long", ""]
    assert [row[4:-1] for row in rows[1:4]] == [[""] * 11] * 3
    assert [row[-3:-1] for row in (rows[0], rows[4])] == [["target-0", ""], ["", ""]]
    assert rows[0][12] == "true"
    wanted = folder.load(made).predict(["CCO", "Cc1ccccc1"])["exp"].to_numpy(float)
    np.testing.assert_allclose([float(rows[0][4]), float(rows[4][4])], wanted, atol=rounding(made))


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_change_nothing(made, tmp_path, chunk):
    source = write(tmp_path / "in.csv", [["smiles"], *([text] for text in [*SMILES, "?", *SMILES])])
    counts = predict_file(folder.load(made), source, tmp_path / "out.csv", chunk=chunk)
    assert counts == {"": 2 * len(SMILES), "unparsable": 1}
    found = pd.read_csv(tmp_path / "out.csv")
    wanted = folder.load(made).predict(SMILES)
    for name in ("exp", "exp_unc", "exp_low", "similarity"):
        both = np.concatenate([wanted[name].to_numpy(float), [np.nan], wanted[name].to_numpy(float)])
        np.testing.assert_allclose(found[name], both, atol=max(rounding(made), 5.1e-4 * (name == "similarity")))


def test_a_spreadsheets_line_with_the_delimiter_is_honoured_and_no_row(made, tmp_path):
    text = 'sep=;\r\nsmiles;comma;note\r\nCCO;1,5;"a;b"\r\nCCO;2\r\n'
    (tmp_path / "in.csv").write_text(text, encoding="utf-8-sig", newline="")
    assert command.main([str(made), str(tmp_path / "in.csv"), str(tmp_path / "out.csv")]) == 0
    _hint, header, *rows = read(tmp_path / "out.csv", ";")  # dressed as the file was
    assert (tmp_path / "out.csv").read_bytes().startswith(b"\xef\xbb\xbfsep=;\n")
    assert header[:4] == ["smiles", "comma", "note", "exp"]
    assert [row[:3] for row in rows] == [["CCO", "1,5", "a;b"], ["CCO", "2", ""]]
    assert [row[-1] for row in rows] == ["", "field_count"]


def test_delimiter_gzip_and_byte_order_mark(made, tmp_path):
    text = "\ufeffsmiles;comma\nCCO;1,5\n"
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(text.encode()))
    arguments = [str(made), str(tmp_path / "in.csv.gz"), str(tmp_path / "out.csv.gz"), "--delimiter", ";"]
    assert command.main(arguments) == 0
    header, row = gzip.decompress((tmp_path / "out.csv.gz").read_bytes()).decode().splitlines()
    assert header.startswith("\ufeffsmiles;comma;exp;exp_unc;"), "with its byte-order mark, as the file has one"
    assert row.startswith("CCO;1,5;")


def test_predictions_have_the_decimal_mark_and_the_encoding_of_the_user_and_no_more_digits_than_say_something(
    made, tmp_path
):
    (tmp_path / "in.csv").write_bytes("Größe;smiles\nä;CCO\n".encode("cp1252"))
    arguments = [str(made), str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), "--delimiter", ";", "--decimal", ","]
    assert command.main([*arguments, "--encoding", "cp1252"]) == 0
    header, row = (tmp_path / "out.csv").read_text(encoding="cp1252").splitlines()
    assert header.startswith("Größe;smiles;exp;")
    cells = dict(zip(header.split(";"), row.split(";"), strict=True))
    half_width = json.loads((made / "chemsieve.json").read_text(encoding="utf-8"))["interval"]["half_width"]
    decimals = len(cells["exp"].partition(",")[2])
    assert 100 <= half_width * 10**decimals < 1000, "three digits of the interval's width"
    assert "." not in cells["exp"] + cells["exp_low"] + cells["similarity"]
    assert (cells["nearest_training"], cells["nearest_training_smiles"]) == ("target-0", "CCO")


def test_the_users_own_names_of_training_molecules_come_back(made, tmp_path):
    table = pd.read_parquet(made / "training.parquet")
    table["identifier"] = [f"ACME-{row}" if row else None for row in range(len(table))]
    neighbours.write(table, tmp_path / "training.parquet")
    predictor = folder.load(made)
    predictor.neighbours = neighbours.read(tmp_path / "training.parquet")
    found = predictor.predict([SMILES[1], SMILES[0]])
    assert list(found["nearest_training_identifier"]) == ["ACME-1", ""]
    table.drop(columns="identifier").to_parquet(tmp_path / "training.parquet")  # as in a folder of an earlier release
    assert set(neighbours.read(tmp_path / "training.parquet").names) == {""}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "predict file .*in.csv: the file is empty"),
        ("smiles\n", "predict file .*in.csv: there is a header and no row below it"),
        ("SMILES\nCCO\n", "there is no column 'smiles' among 'SMILES'; did you mean 'SMILES'"),
        ('smiles,b\nCCO,1\nCCO,"2\n', r"line 3 is not valid delimited text"),
        ("smiles,b\nCCO,\udcff\n", r"this is not UTF-8 text \(byte 0xff\)"),
        ("smiles;b\nCCO;1\n", "so check the delimiter"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(made, tmp_path, capsys, text, said):
    (tmp_path / "in.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert command.main([str(made), str(tmp_path / "in.csv"), str(tmp_path / "out.csv")]) == 1
    printed = capsys.readouterr().err
    assert re.search(said, printed)
    assert printed.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_row_of_wrong_fields_is_kept_with_its_reason(made, tmp_path):
    text = "id,smiles,note\n1,CCO,a\n2,CCO\n3,CCO,b,c,d\n\n4,c1ccccc1C,e\n\n\n"
    (tmp_path / "in.csv").write_text(text, encoding="utf-8")
    counts = predict_file(folder.load(made), tmp_path / "in.csv", tmp_path / "out.csv", chunk=2)
    assert counts == {"": 2, "field_count": 3}
    _, *rows = read(tmp_path / "out.csv")
    # Nothing is lost: what is too much stands in the last cell. A blank line between rows is one too, at the end none.
    kept = [["1", "CCO", "a"], ["2", "CCO", ""], ["3", "CCO", "b,c,d"], ["", "", ""], ["4", "c1ccccc1C", "e"]]
    assert [row[:3] for row in rows] == kept
    assert [row[-1] for row in rows] == ["", "field_count", "field_count", "field_count", ""]
    assert all(cell == "" for row in rows[1:4] for cell in row[3:-1])
    wanted = folder.load(made).predict(["CCO", "Cc1ccccc1"])["exp"].to_numpy(float)
    np.testing.assert_allclose([float(rows[i][3]) for i in (0, 4)], wanted, atol=rounding(made))


def sdf_text():
    """Two molecules with data items of their own, and a record that is none."""
    blocks = [Chem.MolToMolBlock(Chem.MolFromSmiles(text)) for text in ("CCO", "Cc1ccccc1")]
    named = [f"ethanol{blocks[0]}", f"toluene{blocks[1]}"]
    return (
        f"{named[0]}> <id>\n1\n\n> <note>\ntwo\nlines\n\n$$$$\n"
        "broken\n\n\n  9  9  0\nM  END\n> <id>\n2\n\n$$$$\n"
        f"{named[1]}> <id>\n3\n\n$$$$\n"
    )


def parquet_file(path):
    table = {
        "id": pa.array([1, 2, 3]),
        "smiles": ["CCO", None, "Cc1ccccc1"],
        "when": pa.array([0, None, 86_400_000], pa.timestamp("ms")),
        "list": pa.array([[1, 2], None, []], pa.list_(pa.int64())),
    }
    pq.write_table(pa.table(table), path, row_group_size=2)


FORMATS = {
    "a.smi": (
        lambda path: path.write_text("CCO ethanol\n\nCc1ccccc1 a, b c\n\n", encoding="utf-8"),
        {"smiles": "1"},
        ["1", "2"],
        [["CCO", "ethanol"], ["", ""], ["Cc1ccccc1", "a, b c"]],
        "field_count",
    ),
    "b.smi.gz": (
        lambda path: path.write_bytes(gzip.compress(b"name SMILES\na CCO\nb CCO c\nd Cc1ccccc1\n")),
        {"smiles": "SMILES"},
        ["name", "SMILES"],
        [["a", "CCO"], ["b", "CCO c"], ["d", "Cc1ccccc1"]],
        "field_count",
    ),
    "c.sdf": (
        lambda path: path.write_text(sdf_text(), encoding="utf-8"),
        {},
        ["title", "smiles", "id", "note"],
        [["ethanol", "CCO", "1", "two\nlines"], ["broken", "", "2", ""], ["toluene", "Cc1ccccc1", "3", ""]],
        "unparsable",
    ),
    "d.parquet": (
        parquet_file,
        {},
        ["id", "smiles", "when", "list"],
        [
            ["1", "CCO", "1970-01-01 00:00:00.000", "[1, 2]"],
            ["2", "", "", ""],
            ["3", "Cc1ccccc1", "1970-01-02 00:00:00.000", "[]"],
        ],
        "unparsable",
    ),
    "e.csv": (
        lambda path: path.write_bytes("smiles;Größe\nCCO;ä\n;ß\nCc1ccccc1;\n".encode("utf-16")),
        {"encoding": "utf-16", "delimiter": ";"},
        ["smiles", "Größe"],
        [["CCO", "ä"], ["", "ß"], ["Cc1ccccc1", ""]],
        "unparsable",
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_row_by_row_with_all_its_columns(made, tmp_path, capsys, name):
    make, options, header, cells, reason = FORMATS[name]
    make(tmp_path / name)
    arguments = [text for key, value in options.items() for text in (f"--{key}", value)]
    assert command.main([str(made), str(tmp_path / name), str(tmp_path / "out.csv"), "--chunk", "2", *arguments]) == 0
    given = options.get("delimiter", ","), options.get("encoding", "utf-8-sig")
    found, *rows = read(tmp_path / "out.csv", *given)
    assert found[: len(header)] == header
    assert [row[: len(header)] for row in rows] == cells
    assert [row[-1] for row in rows] == ["", reason, ""]
    wanted = folder.load(made).predict(["CCO", "Cc1ccccc1"])["exp"].to_numpy(float)
    np.testing.assert_allclose([float(rows[i][found.index("exp")]) for i in (0, 2)], wanted, atol=rounding(made))


def test_an_encoding_that_is_none_is_one_sentence(made, tmp_path, capsys):
    source = write(tmp_path / "in.csv", [["smiles"], ["CCO"]])
    assert command.main([str(made), str(source), str(tmp_path / "out.csv"), "--encoding", "klingon"]) == 1
    assert "predict.encoding: 'klingon' is no text encoding" in capsys.readouterr().err


def test_the_input_is_not_overwritten(made, tmp_path):
    source = write(tmp_path / "in.csv", [["smiles"], ["CCO"]])
    with pytest.raises(ChemsieveError, match="would replace the file"):
        predict_file(folder.load(made), source, source)
    assert read(source) == [["smiles"], ["CCO"]]


class Stub:
    """A predictor that computes nothing, and counts the rows that it is handed at once."""

    columns = ("exp", "reason")

    def __init__(self, fail_at=None):
        self.most, self.calls, self.fail_at = 0, 0, fail_at

    def predict(self, smiles):
        self.calls += 1
        if self.calls == self.fail_at:
            raise OSError("no space")
        self.most = max(self.most, len(smiles))
        return pd.DataFrame({"exp": [1.5] * len(smiles), "reason": [""] * len(smiles)})


def rows_of(path, count):
    """A file of so many molecules, each of its own, in the format of its name."""
    smiles = [f"C{number}" for number in range(count)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"smiles": smiles}), path, data_page_size=4096)  # a page is what is read at once
    elif path.suffix == ".sdf":
        block = "\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n" + "    0.0       0.0       0.0 C   0  0\nM  END\n"
        path.write_text("".join(f"{text}{block}> <smiles>\n{text}\n\n$$$$\n" for text in smiles), encoding="utf-8")
    else:
        write(path, [["smiles"], *([text] for text in smiles)])
    return path


@pytest.mark.parametrize(
    "ending", [pytest.param(ending, marks=pytest.mark.slow) for ending in ("csv", "smi", "sdf")] + ["parquet"]
)
def test_memory_does_not_grow_with_the_file(tmp_path, ending):
    peaks = []
    for count in (1_000, 4_000) if ending == "sdf" else (8_000, 32_000):
        source = rows_of(tmp_path / f"{count}.{ending}", count)
        stub = Stub()
        tracemalloc.start()
        predict_file(stub, source, tmp_path / "out.csv", chunk=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (stub.most, stub.calls) == (500, count // 500)
        assert len(read(tmp_path / "out.csv")) == count + 1
    assert peaks[1] < 1.2 * peaks[0]


def test_a_failure_leaves_no_output_and_is_not_blamed_on_the_input(tmp_path):
    source = write(tmp_path / "in.csv", [["smiles"], *([str(number)] for number in range(10))])
    with pytest.raises(ChemsieveError, match=r"out\.csv: cannot be written \(no space\)"):
        predict_file(Stub(fail_at=3), source, tmp_path / "out.csv", chunk=2)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


# -- which run ---------------------------------------------------------------------------------------------------------


def metrics():
    """Three runs: one best on validation, one best on test, and a descriptor model better than both."""
    runs = [("adapted", "full", 1.0, 2.0), ("adapted", "lora", 0.9, 3.0), ("descriptors", "svr", 0.1, 0.1)]
    return pd.DataFrame(
        {
            "run_id": f"random/0/0/{origin}/{method}/none",
            "origin": origin,
            "method": method,
            "fold": fold,
            "rmse": value,
        }
        for origin, method, *values in runs
        for fold, value in zip(("validation", "test"), values, strict=True)
    )


def test_a_better_descriptor_model_is_named_in_the_card(made):
    facts = json.loads((made / "chemsieve.json").read_text(encoding="utf-8"))
    assert "descriptor" not in card(facts)
    facts |= {"surpassed": choose(metrics(), "best_language_model")["surpassed"]}
    assert (
        "**A descriptor model is better**: in the mean of the splits `descriptors/svr/none` has a validation RMSE of "
        "0.100, and this model's configuration 0.900. `predict.model: best` takes the configuration with the lowest."
    ) in card(facts)
    table = metrics()
    assert choose(table[table["origin"] != "descriptors"], "best_language_model")["surpassed"] is None


def test_the_best_is_that_of_validation():
    chosen = choose(metrics(), "best_language_model")
    assert (chosen["run_id"], chosen["rmse"], chosen["test"]["rmse"]) == ("random/0/0/adapted/lora/none", 0.9, 3.0)
    assert choose(metrics(), "random/0/0/adapted/full/none")["rmse"] == 1.0


def of_runs(**errors):
    """A table of metrics: validation errors by configuration, one for each split, or of each a list over seeds."""
    return pd.DataFrame(
        {
            "run_id": f"draws/{split}/{seed}/{configuration}",
            "origin": configuration.split("/")[0],
            "fold": fold,
            "rmse": rmse if fold == "validation" else 9.0 - rmse,
        }
        for configuration, by_split in errors.items()
        for split, seeds in enumerate(by_split)
        for seed, rmse in enumerate(np.atleast_1d(seeds))
        for fold in ("validation", "test")
        if not np.isnan(rmse)
    )


LUCKY = {
    "adapted/full/none": [[0.5, 0.4], [0.6, 0.5]],
    "adapted/lora/none": [[0.7, 0.7], [0.1, 0.7]],
    "adapted/full/influence": [[0.45, 0.45], [0.45, 0.45]],
    "descriptors/svr/none": [[0.6], [0.45]],
    "descriptors/svr/influence": [[0.4, 0.4], [0.4, 0.4]],
}
AIMED = ["adapted/full/influence", "descriptors/svr/influence"]


def test_one_lucky_fold_does_not_choose():
    """The lowest error of a run is another's; of the best configuration the first split's better seed is taken."""
    chosen = choose(of_runs(**LUCKY), "best", AIMED)
    assert (chosen["run_id"], chosen["aimed"]) == ("draws/0/1/adapted/full/none", False)
    assert chosen["choice"] == {
        "configuration": "adapted/full/none",
        "rmse": pytest.approx(0.5),
        "splits": 2,
        "configurations": 5,
        "passed_over": {"configuration": "descriptors/svr/influence", "rmse": pytest.approx(0.4)},
    }
    assert chosen["surpassed"] is None
    far = LUCKY | {"adapted/full/influence": [[0.3], [0.3]]}  # better by more than such errors flatter
    chosen = choose(of_runs(**far), "best", AIMED)
    assert (chosen["choice"]["configuration"], chosen["aimed"]) == ("adapted/full/influence", True)
    assert choose(of_runs(**far), "best")["choice"]["configuration"] == "adapted/full/influence"


def test_seeds_of_a_split_count_as_one_and_a_configuration_without_a_split_is_not_compared():
    errors = {"adapted/full/none": [[0.5], [0.5]], "adapted/lora/none": [[0.3, 0.3, 0.3], [0.9]]}
    chosen = choose(of_runs(**errors), "best")
    assert chosen["choice"]["configuration"] == "adapted/full/none"
    missing = errors | {"adapted/ia3/none": [[0.1], [np.nan]]}
    assert choose(of_runs(**missing), "best")["choice"]["configurations"] == 2


def test_a_configuration_can_be_named_though_its_molecules_were_selected_by_the_fold(made):
    chosen = choose(of_runs(**LUCKY), "adapted/full/influence", AIMED)
    assert (chosen["run_id"], chosen["aimed"]) == ("draws/0/0/adapted/full/influence", True)
    facts = json.loads((made / "chemsieve.json").read_text(encoding="utf-8"))
    said = card(facts | {key: chosen[key] for key in ("choice", "aimed", "surpassed")} | {"chosen": AIMED[0]})
    assert (
        "Its configuration was named by the user: `adapted/full/influence` has this validation RMSE in the mean of 2 "
        "splits (0.450)."
    ) in said
    assert "the molecules of the pool, which were selected to lower its error, so that its errors flatter" in said


def test_the_card_says_how_it_was_chosen_and_what_was_passed_over(made):
    facts = json.loads((made / "chemsieve.json").read_text(encoding="utf-8"))
    chosen = choose(of_runs(**LUCKY), "best_language_model", AIMED)
    said = card(facts | {key: chosen[key] for key in ("choice", "aimed", "surpassed")} | {"chosen": "best"})
    assert (
        "It was chosen by validation: of 3 configurations `adapted/full/none` is the best by its validation RMSE in "
        "the mean of 2 splits (0.500). Errors on different splits are of different molecules and do not compare, so "
        "the run is that of the first split, and of several seeds there the one with the lowest validation RMSE. "
        "`adapted/full/influence` has 0.450, but its pool molecules were selected to lower that very error"
    ) in said
    assert "chose the epoch that was kept and this configuration among others, so that its errors flatter" in said


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("random/0/0/descriptors/svm/none", "no run '.*svm/none'; did you mean '.*/descriptors/svr/none'"),
        ("random/0/0/adapted/lora/nine", "no run 'random/0/0/adapted/lora/nine'; did you mean '.*lora/none'"),
    ],
)
def test_a_run_that_cannot_be_exported_is_one_sentence(wanted, said):
    with pytest.raises(ChemsieveError, match=said):
        choose(metrics(), wanted)


# -- the workflow ------------------------------------------------------------------------------------------------------

# The finished study with one cell of its grid trained anew: an adapter on a fine-tuned regressor, and on a selection.
CHANGE = {"grid": {"run": ["lora"], "selections": ["influence"], "start": "regressor"}}
LORA = "scaffold/0/0/adapted/lora/influence"


@pytest.mark.slow
def test_workflow_exports_the_best_or_a_named_run_and_predicts(workspace):
    results = workspace / RESULTS
    settings = overlay(workspace, CHANGE)

    def run(*arguments, **given):
        values = ", ".join(f"{key}: {value}" for key, value in given.items())
        return snakemake(workspace, *arguments, *settings, "--config", f"predict={{{values}}}")

    def compared(run_id):
        """Hold the predictions of the target's file against the run's own, from the tables."""
        known = pd.read_parquet(results / "tables" / "predictions.parquet").query("run_id == @run_id")
        found = pd.read_csv(results / "predictions.csv", keep_default_na=False).iloc[:-1]
        rows = known["molecule_id"].str.removeprefix("target-").astype(int)
        label = "crippen_logp_with_noise"
        ours = found[f"{label}_predicted"].astype(float)
        np.testing.assert_allclose(ours.iloc[rows], known["prediction"], atol=rounding(results / "model"), rtol=0)
        facts = json.loads((results / "model" / "chemsieve.json").read_text(encoding="utf-8"))
        assert facts["run_id"] == run_id
        test = known[known["fold"] == "test"]
        errors = sorted(abs(test["label"] - test["prediction"])[conformal.calibrating(list(test["molecule_id"]), 0.8)])
        rank = math.ceil((len(errors) + 1) * 0.8)
        assert facts["interval"]["half_width"] == pytest.approx(errors[rank - 1], abs=1e-5)
        splits = pd.read_parquet(results / "tables" / "splits.parquet").set_index("molecule_id")["fold"]
        folds = splits.reindex([f"target-{row}" for row in range(len(found))])
        assert ((found["same_molecule"] != "") == (folds == "train").to_numpy()).all()
        return facts

    wanted = str(RESULTS / "predictions.csv")
    text = (results / "embedded" / "target.csv").read_text(encoding="utf-8")
    width = text.splitlines()[0].count(",")
    (workspace / "new.csv").write_text(text + "c1ccc" + "," * width + "\n", encoding="utf-8")

    done = run(wanted, input="new.csv")
    assert done.returncode == 0, done.stdout
    assert "81 rows: 80 predicted, 1 unparsable" in done.stdout
    metrics_table = pd.read_parquet(results / "tables" / "metrics.parquet")
    errors = metrics_table.query("fold == 'validation'").set_index("run_id")["rmse"]
    errors = errors.where(~errors.index.str.contains("/influence"), errors * 1.5)
    compared(errors.idxmin())
    models = errors[~errors.index.str.contains("/descriptors/")]
    done = run(wanted, input="new.csv", model="best_language_model")
    assert done.returncode == 0, done.stdout
    compared(models.idxmin())
    for name in ("svr_frozen", "gradient_boosting"):
        done = run(wanted, input="new.csv", model=f"scaffold/0/0/descriptors/{name}/none")
        assert done.returncode == 0, done.stdout
        compared(f"scaffold/0/0/descriptors/{name}/none")

    other = next(name for name in (LORA, "scaffold/0/0/adapted/full/influence") if name != models.idxmin())
    done = run(wanted, input="new.csv", model=other)
    assert done.returncode == 0, done.stdout
    # No training: only the model folder and what is read from it.
    assert "2 of 2 steps (100%) done" in done.stdout
    assert compared(other)["training"]["of_the_pool"] == 10

    for given, said in (
        ({}, "configuration: predict.input: give your file"),
        ({"input": "new.csv", "model": "scaffold/0/0/adapted/lora/influenc"}, f"did you mean '{LORA}'"),
        ({"input": "new.csv", "smiles": "structure"}, "predict file new.csv: there is no column 'structure'"),
    ):
        done = run("-n", "predict", **({"chunk": 10} | given))
        assert done.returncode != 0
        assert said in done.stdout
