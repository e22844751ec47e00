"""Tables and files: what is refused, what a table says of itself, and that a file is whole or absent."""

import json
import math
import os
import stat

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chemsieve.errors import ChemsieveError
from chemsieve.runtime import files
from chemsieve.tables import TABLES, Column, collect, read_table, write_table


@pytest.fixture
def curve():
    """Rows of a table with required and missing values of each type."""
    return pd.DataFrame(
        {
            "run_id": ["a", "b", "c"],
            "stage": ["mlm", "regression", "regression"],
            "epoch": [0, 1, 2],
            "train_loss": [None, 0.5, np.nan],
            "validation_loss": [1.5, 0.25, 2.0],
            "validation_rmse": [None, 0.5, 1.0],
            "learning_rate": [None, 1e-4, 0.0],
            "gradient_norm": None,
            "seconds": [None, 1.0, 2.0],
            "evaluation_seconds": [None, 0.25, 0.5],
            "masked_accuracy": [0.5, None, None],
            "masked_loss": [1.5, None, None],
            "descriptors_r2": [-0.5, None, None],
            "morgan_r2": None,
            "teacher_r2": None,
            "pool_molecules": [0, None, None],
        }
    )


def refused(frame, path, table="learning_curves", extra=None) -> str:
    with pytest.raises(ChemsieveError) as caught:
        write_table(frame, path, table, extra)
    assert list(path.parent.iterdir()) == [], "nothing is left behind"
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- what is written ---------------------------------------------------------------------------------------------------


def test_a_table_comes_back_with_its_declared_columns_types_and_order(curve, tmp_path):
    path = tmp_path / "curve.parquet"
    write_table(curve[curve.columns[::-1]], path, "learning_curves")
    found = pq.read_table(path)
    assert found.column_names == list(TABLES["learning_curves"])
    assert found.schema.types == [column.type for column in TABLES["learning_curves"].values()]
    assert found.column("train_loss").to_pylist() == [None, 0.5, None]
    assert found.column("gradient_norm").to_pylist() == [None] * 3
    assert found.column("epoch").to_pylist() == [0, 1, 2]
    assert found.column("validation_loss").to_pylist() == [1.5, 0.25, 2.0]
    assert list(read_table(path, ["epoch"])) == ["epoch"]


def test_each_column_says_what_it_is_and_its_unit(curve, tmp_path):
    path = tmp_path / "curve.parquet"
    write_table(curve, path, "learning_curves")
    schema = pq.read_schema(path)
    assert schema.metadata[b"table"] == b"learning_curves"
    for name, column in TABLES["learning_curves"].items():
        said = schema.field(name).metadata
        assert said[b"description"].decode() == column.description
        assert said[b"unit"].decode() == column.unit
    assert schema.field("seconds").metadata[b"unit"] == b"s"
    assert all(column.description for columns in TABLES.values() for column in columns.values())


def test_the_same_rows_give_the_same_bytes(curve, tmp_path):
    for name in ("a", "b"):
        write_table(curve.copy(), tmp_path / name, "learning_curves")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    # An index left by sorting or filtering is not part of a table.
    curve.index = [7, 3, 9]
    write_table(curve, tmp_path / "c", "learning_curves")
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes()


def test_an_empty_table_has_its_columns(tmp_path):
    empty = pd.DataFrame({name: [] for name in TABLES["selections"]})
    write_table(empty, tmp_path / "none.parquet", "selections")
    found = pq.read_table(tmp_path / "none.parquet")
    assert found.num_rows == 0
    assert found.schema.types == [column.type for column in TABLES["selections"].values()]


def test_missing_seeds_stay_whole_numbers(tmp_path):
    frame = pd.DataFrame(
        {"strategy": "x", "splitter": "scaffold", "split_seed": 0, "seed": [3, None], "molecule_id": ["a", "b"],
         "score": [1.0, None], "rank": [1, 2], "selected": [True, False],
         "set_aside": False}
    )  # fmt: skip
    write_table(frame, tmp_path / "s.parquet", "selections")
    found = pq.read_table(tmp_path / "s.parquet")
    assert found.column("seed").to_pylist() == [3, None]
    assert found.schema.field("seed").type == pa.int64()


def test_extra_columns_are_written_where_they_are_declared(curve, tmp_path):
    extra = {"note": Column(pa.string(), "a remark")}
    write_table(curve.assign(note="x"), tmp_path / "t", "learning_curves", extra)
    assert pq.read_schema(tmp_path / "t").field("note").metadata[b"description"] == b"a remark"
    assert "note" not in TABLES["learning_curves"]


def test_collect_joins_files_in_the_order_given(curve, tmp_path):
    for name, rows in (("a", curve[:1]), ("b", curve[1:])):
        write_table(rows, tmp_path / name, "learning_curves")
    collect([str(tmp_path / "b"), str(tmp_path / "a")], tmp_path / "all", "learning_curves")
    assert list(read_table(tmp_path / "all")["run_id"]) == ["b", "c", "a"]
    collect([], tmp_path / "none", "learning_curves")
    assert len(read_table(tmp_path / "none")) == 0


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["validation_loss", "train_loss"])
@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_number_is_refused_whether_or_not_it_may_be_missing(curve, tmp_path, column, value):
    curve.loc[2, column] = value
    assert refused(curve, tmp_path / "t") == f"table learning_curves: column {column}, row 2 is infinite"


@pytest.mark.parametrize(("column", "value"), [("validation_loss", math.nan), ("run_id", None), ("stage", math.nan)])
def test_a_required_value_that_is_missing_is_refused(curve, tmp_path, column, value):
    curve.loc[1, column] = value
    assert refused(curve, tmp_path / "t") == f"table learning_curves: column {column}, row 1 has no value"


def test_columns_that_are_missing_or_undeclared_are_refused(curve, tmp_path):
    wrong = curve.rename(columns={"validation_loss": "loss"})
    said = refused(wrong, tmp_path / "t")
    assert said == "table learning_curves: missing columns ['validation_loss'], undeclared columns ['loss']"
    assert "['note']" in refused(curve.assign(note="x"), tmp_path / "t")
    extra = {"note": Column(pa.string(), "a remark")}
    assert "missing columns ['note']" in refused(curve, tmp_path / "t", extra=extra)


def test_a_table_that_is_not_declared_cannot_be_written(curve, tmp_path):
    with pytest.raises(KeyError):
        write_table(curve, tmp_path / "t", "surprises")


def test_a_fraction_is_not_cut_to_a_whole_number(curve, tmp_path):
    curve["epoch"] = [0.0, 1.5, 2.0]
    with pytest.raises((ChemsieveError, pa.ArrowInvalid)):
        write_table(curve, tmp_path / "t", "learning_curves")
    assert list(tmp_path.iterdir()) == []


# -- whole or absent ---------------------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """What is raised in the middle of a write."""


def half(path):
    path.write_text("half", encoding="utf-8")
    raise Interrupted


def test_a_write_that_fails_leaves_no_file_and_no_temporary_one(tmp_path):
    with pytest.raises(Interrupted):
        files.write_atomically(tmp_path / "new" / "file", half)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_write_that_fails_leaves_the_file_that_was_there(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "whole")
    with pytest.raises(Interrupted):
        files.write_atomically(path, half)
    assert path.read_text(encoding="utf-8") == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_nobody_sees_a_file_before_it_is_whole(tmp_path):
    path = tmp_path / "file"
    seen = []

    def write(temporary):
        temporary.write_text("wh", encoding="utf-8")
        seen.append(path.exists())
        assert temporary.parent == path.parent, "a rename within one file system"
        temporary.write_text("whole", encoding="utf-8")

    files.write_atomically(path, write)
    assert seen == [False]
    assert path.read_text(encoding="utf-8") == "whole"


def test_a_written_file_has_the_permissions_of_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_json_is_sorted_and_holds_no_infinity(tmp_path):
    files.write_json(tmp_path / "a", {"b": 1, "a": [None, 1.5]})
    text = (tmp_path / "a").read_text(encoding="utf-8")
    assert json.loads(text) == {"a": [None, 1.5], "b": 1}
    assert text.index('"a"') < text.index('"b"')
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="not JSON compliant"):
            files.write_json(tmp_path / "b", {"x": value})
    assert not (tmp_path / "b").exists()


def test_sha256_is_the_published_one(tmp_path):
    """FIPS 180-2, appendix B.1."""
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
