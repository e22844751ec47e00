"""The users' own names of their molecules: found by the column's name, and kept with the accepted molecules."""

import pandas as pd
import pytest

from chemsieve.data.identifiers import find
from chemsieve.data.reading import check_table, identifier_column, read_table
from chemsieve.errors import ChemsieveError
from helpers.inputs import ALKANES, TABLE, nothing, partition, sdf_of

AUTO = TABLE | {"identifier": "auto"}


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (["smiles", "y", "Compound ID"], "Compound ID"),
        (["Name", "smiles", "ID", "y"], "ID"),  # a name of a molecule need not be unique
        (["Molecule ChEMBL ID", "Smiles", "y"], "Molecule ChEMBL ID"),
        (["CAS No.", "smiles", "y"], "CAS No."),
        (["id", "id", "name", "smiles", "y"], "name"),  # of two columns of one name neither can be meant
        (["smiles", "y", "identity", "valid"], None),
        (["smiles", "y"], None),
    ],
)
def test_a_column_is_found_by_its_name(header, found):
    assert find(header, ["smiles", "y"]) == found


def test_what_is_read_for_something_else_is_no_identifier():
    assert find(["id", "name"], ["id"]) == "name"


def names(path, table):
    return read_table(path, "pool", table)["identifier"].tolist()


def test_identifiers_are_read_from_every_format(tmp_path):
    frame = pd.DataFrame({"Compound ID": ["A-1", " B 2 ", ""], "smiles": ALKANES[:3], "y": ["1", "2", "3"]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    rows = frame.to_dict("records")
    (tmp_path / "a.sdf").write_bytes(sdf_of(*((row.pop("smiles"), row) for row in rows)))
    for path in sorted(tmp_path.iterdir()):
        assert identifier_column(path, "pool", AUTO) == "Compound ID"
        assert names(path, AUTO) == ["A-1", "B 2", None], path
        assert names(path, TABLE) == names(path, AUTO | {"identifier": None}) == [None] * 3


def test_titles_of_an_sd_file_are_identifiers_where_no_item_is(tmp_path):
    text = sdf_of(("CCO", {"y": 1}), ("CC", {"y": 2})).decode()
    (tmp_path / "a.sdf").write_text(text.replace("\n", "ethanol\n", 1), encoding="utf-8")
    assert names(tmp_path / "a.sdf", AUTO) == ["ethanol", None]


def test_a_smiles_file_may_have_names_of_several_words(tmp_path):
    (tmp_path / "a.smi").write_text("smiles name\nCCO grain alcohol\nCC\n", encoding="utf-8")
    assert names(tmp_path / "a.smi", AUTO | {"label": None}) == ["grain alcohol", None]
    (tmp_path / "b.smi").write_text("CCO grain alcohol\nCC\n", encoding="utf-8")
    assert names(tmp_path / "b.smi", AUTO | {"smiles": "1", "label": None}) == [None, None]


def test_a_column_that_is_named_must_be_there(tmp_path):
    (tmp_path / "a.csv").write_text("smiles,y,batch\nC,1,B7\n", encoding="utf-8")
    assert names(tmp_path / "a.csv", TABLE | {"identifier": "batch"}) == ["B7"]
    for look in (check_table, read_table):
        with pytest.raises(ChemsieveError, match=r"pool file .*: there is no column 'lot' among"):
            look(tmp_path / "a.csv", "pool", TABLE | {"identifier": "lot"})


def test_accepted_molecules_keep_their_identifiers():
    target = pd.DataFrame({"row": range(10), "smiles": ALKANES, "given_fold": None, "identifier": None})
    target["label_text"] = [str(n) for n in range(10)]
    pool = target.head(3).assign(smiles=["CCO", "c1cc", "CCCO"], identifier=["P-1", "P-2", None])
    molecules, _ = partition(target, pool)
    assert molecules.loc[molecules["source"] == "pool", "identifier"].fillna("").tolist() == ["P-1", ""]
    assert molecules.loc[molecules["source"] == "target", "identifier"].isna().all()


def test_refused_rows_keep_their_identifiers():
    frame = pd.DataFrame({"row": range(3), "smiles": ["CCO", "C1CC", "C"], "label_text": ["1", "2", "x"]})
    frame["identifier"] = ["A-1", "A-2", None]
    _, rejected = partition(frame, nothing())
    assert rejected["row"].tolist() == [1, 2]
    assert rejected["identifier"].iloc[0] == "A-2"
    assert rejected["identifier"].isna().tolist() == [False, True]
