"""Molecules without labels that the model is for: read, refused, and what label-free strategies make of them."""

import copy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from chemsieve.data.acceptance import Reader
from chemsieve.data.molecules import prepare_unlabelled
from chemsieve.data.reading import read_unlabelled
from chemsieve.errors import ChemsieveError
from chemsieve.influence import gramfile
from chemsieve.influence.kernel import Kernel
from chemsieve.models.backbone import load_tokenizer
from chemsieve.selection import Context, select
from chemsieve.study import configuration
from chemsieve.study.plan import Plan
from chemsieve.tables import TABLES
from helpers.configurations import changed

LAYOUT = {"smiles": "smiles", "delimiter": ",", "format": "auto", "encoding": "utf-8"}


def test_rows_are_accepted_or_refused_with_a_reason(encoder_folder, tmp_path):
    path = tmp_path / "library.csv"
    path.write_text("smiles\nCCO\nnonsense\nOCC\nc1ccccc1\n*CC\n")
    frame = read_unlabelled(path, "target.unlabelled", LAYOUT)
    kept, refused = prepare_unlabelled(frame, Reader(load_tokenizer(encoder_folder), 100), stereo=False)
    assert list(kept.columns) == list(TABLES["unlabelled"])
    assert kept["molecule_id"].tolist() == ["unlabelled-0", "unlabelled-3"]
    assert refused[["source", "row", "reason"]].to_numpy().tolist() == [
        ["unlabelled", 1, "unparsable"],
        ["unlabelled", 2, "repeat"],
        ["unlabelled", 4, "dummy_atom"],
    ]


def test_the_file_is_read_by_what_needs_it_and_checked_before(tmp_path):
    path = tmp_path / "library.csv"
    path.write_text("smiles\nCCO\n")
    config = configuration.normalise(changed({"target.unlabelled": {"path": str(path)}}))
    configuration.validate(config)
    plan, before = Plan(config), Plan(changed({}))
    assert (before.unlabelled, before.unlabelled_spec, before.measure_inputs["unlabelled"]) == ([], {}, [])
    assert plan.unlabelled_file == [str(path)]
    at = SimpleNamespace(splitter="draws", split_seed=0, seed=0, strategy="v_optimal")
    assert plan.selection_unlabelled(at) == plan.unlabelled == plan.measure_inputs["unlabelled"]
    assert plan.selection_unlabelled(SimpleNamespace(**vars(at) | {"strategy": "influence"})) == []
    wrong = copy.deepcopy(config)
    wrong["target"]["unlabelled"]["smiles"] = "structure"
    with pytest.raises(ChemsieveError, match=r"target\.unlabelled.*'structure'"):
        configuration.validate(wrong)


@pytest.fixture
def matrices(tmp_path):
    """A Gram matrix of 10 training, 4 validation, 12 pool and 5 further molecules on disk, and the rows it is of."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(31, 6))
    residuals = np.concatenate([rng.normal(size=26), np.full(5, np.nan)])
    labels = np.concatenate([rng.normal(size=26), np.full(5, np.nan)])
    paths = tmp_path / "gram.safetensors", tmp_path / "gram.json"
    facts = {"train": 10, "query": 4, "unlabelled": 5}
    gramfile.write(Kernel(rows @ rows.T, residuals, 10, 4, labels), labels[:10], facts, *paths)
    return rows, residuals, paths


def test_nothing_else_sees_them(matrices):
    rows, residuals, paths = matrices
    kernel, labels, _ = gramfile.read(*paths)
    np.testing.assert_array_equal(kernel.matrix, (rows @ rows.T)[:26, :26])
    np.testing.assert_array_equal(kernel.residuals, residuals[:26])
    assert (kernel.train, kernel.query, kernel.pool, len(labels), len(kernel.labels)) == (10, 4, 12, 10, 26)
    assert np.isfinite(kernel.labels).all()


def test_a_design_makes_predictions_of_them_surer_too(matrices):
    """The first choice is that of trying every candidate, on the inverse of all weights' covariance."""
    rows, _, paths = matrices
    kernel, labels, _ = gramfile.read(*paths)
    pool = pd.DataFrame({"molecule_id": [f"pool-{i}" for i in range(12)]})
    training = pd.DataFrame({"label": np.arange(10.0)})
    given = {"kernels": lambda: [kernel], "gram_labels": lambda: labels, "training": training}
    damping = 0.4
    noise = 10 * damping / 2
    targets = np.concatenate([rows[:14], rows[26:]])

    def left(place, of):
        known = np.concatenate([rows[:10], rows[[14 + place]]])
        covariance = np.linalg.inv(known.T @ known / noise + np.eye(6))
        return np.trace(of @ covariance @ of.T)

    for more, of in (
        ({"design_kernel": lambda: gramfile.read_unlabelled(*paths)}, targets),
        ({}, rows[:14]),
    ):
        context = Context(**given, **more)
        table = select(pool, context, "v_optimal", "v_optimal", {"count": 3}, 0, {"damping": damping})
        best = min(range(12), key=lambda place: left(place, of))
        assert table["molecule_id"].iloc[0] == f"pool-{best}"
