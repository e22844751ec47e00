"""Reading the user's files, and what becomes of each of their rows."""

import gzip
import subprocess
import sys

import pandas as pd
import pytest
from rdkit import Chem

from chemsieve.data import chemistry
from chemsieve.data.acceptance import Reader
from chemsieve.data.binarising import binarised
from chemsieve.data.molecules import EXTRA, check_target, prepare
from chemsieve.data.reading import check_header, read_labelled
from chemsieve.errors import ChemsieveError
from chemsieve.models import tokenization
from chemsieve.tables import read_table, write_table

TOKENIZER = tokenization.build()
# Ten molecules with an identity known from their names, so that small target sets pass the check of size.
ALKANES = ["C" * n for n in range(1, 11)]


def frame(smiles, labels=None, folds=None):
    labels = [str(n) for n in range(len(smiles))] if labels is None else labels
    return pd.DataFrame(
        {
            "row": range(len(smiles)),
            "smiles": smiles,
            "label_text": labels,
            "given_fold": [None] * len(smiles) if folds is None else folds,
            "problem": None,
        }
    )


def run(target, pool=None, max_tokens=202, stereo=False, unknown_tokens="refuse", tokenizer=TOKENIZER):
    reader = Reader(tokenizer, max_tokens, unknown_tokens)
    return prepare(target, frame([]) if pool is None else pool, reader, stereo)


def refusals(rejected, source):
    return rejected[rejected["source"] == source].set_index("row")["reason"].to_dict()


# Reading


def test_rows_come_as_given_and_in_order(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffname,smiles,y,set\r\n"a, b",CCO , 1.50,train\r\n,C/C=C\\C,NA,\r\n\r\n'.encode())
    table = read_labelled(path, "target", "smiles", "y", "set")
    assert table.to_dict("list") == {
        "row": [0, 1],
        "smiles": ["CCO ", "C/C=C\\C"],
        "label_text": [" 1.50", "NA"],
        "given_fold": ["train", None],
        "problem": [None, None],
        "identifier": [None, None],
    }
    assert read_labelled(path, "target", "smiles", "y")["given_fold"].tolist() == [None, None]


def test_byte_order_mark_before_the_wanted_column_gzip_and_tabs(tmp_path):
    path = tmp_path / "a.tsv.gz"
    path.write_bytes(gzip.compress("\ufeffsmiles\ty\nCCO\t1\n".encode()))
    assert read_labelled(path, "pool", "smiles", "y", delimiter="\t")["smiles"].tolist() == ["CCO"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["no such file"]),
        (b"", ["empty"]),
        (b"\n", ["header line is blank"]),
        (b"SMILES,exp\nC,1\n", ["no column 'smiles'", "'SMILES', 'exp'", "did you mean 'SMILES'?"]),
        (b"smiles,expt\nC,1\n", ["no column 'exp'", "did you mean 'expt'?"]),
        (b"smiles;exp\nC;1\n", ["'smiles;exp'", "check the delimiter"]),
        (b"smiles,exp,exp\nC,1,2\n", ["column 'exp' occurs 2 times"]),
        ("smiles,exp\n".encode("utf-16"), ["not UTF-8 text", "0xff"]),
        (b"smiles,\xb5\n", ["not UTF-8 text", "0xb5"]),
        (b"s\0m\0i\0l\0e\0s\0,\0e\0\n", ["not UTF-8 text"]),
        (b"\x1f\x8bnot gzip at all", ["cannot be read"]),
    ],
)
def test_unusable_header_is_one_sentence(tmp_path, content, words):
    path = tmp_path / "a.csv"
    if content is not None:
        path.write_bytes(content)
    for read in (
        lambda: check_header(path, "pool", ["smiles", "exp"], ","),
        lambda: read_labelled(path, "pool", "smiles", "exp"),
    ):
        with pytest.raises(ChemsieveError) as raised:
            read()
        message = str(raised.value)
        assert message.startswith(f"pool file {path}: ")
        assert "\n" not in message
        assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"smiles,exp\n", ["no row"]),
        (b"smiles,exp\nC,1\nCC,2,5\n", ["row 1 (line 3) has 3 fields and the header has 2"]),
        (b"smiles,exp\nC,1\nCC\n", ["row 1 (line 3) has 1 field"]),
        (b"smiles,exp\nC,1\n\nCC,2\n", ["line 3 is blank, before row 1"]),
        (b'smiles,exp\n"C,1\nCC,2\n', ["not valid delimited text"]),
        (b"smiles,exp\n" + b"C,1\n" * 100_000 + b"\xff,1\n", ["not UTF-8 text (byte 0xff)"]),
    ],
)
def test_unusable_rows_are_one_sentence(tmp_path, content, words):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    check_header(path, "target", ["smiles", "exp"])  # the header alone is in order
    with pytest.raises(ChemsieveError) as raised:
        read_labelled(path, "target", "smiles", "exp")
    assert all(word in str(raised.value) for word in words), str(raised.value)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ChemsieveError, match="cannot be read"):
        check_header(tmp_path, "target", ["smiles"])


def test_checking_a_header_imports_nothing_heavy(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("smiles,exp\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from chemsieve.data.reading import check_header; "
        "check_header(sys.argv[2], 'target', ['smiles', 'exp'], ','); "
        "sys.exit(','.join({'pandas', 'numpy', 'pyarrow', 'rdkit', 'torch'} & set(sys.modules)) or 0)"
    )
    package = chemistry.__file__.split("/chemsieve/")[0]
    done = subprocess.run([sys.executable, "-c", code, package, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Identity


def test_identifiers_against_published_ones():
    aspirin = chemistry.parse("OC(=O)c1ccccc1OC(C)=O")
    assert chemistry.inchikey(aspirin) == "BSYNRYMUTXBXSQ-UHFFFAOYSA-N"
    assert chemistry.first_block(aspirin) == "BSYNRYMUTXBXSQ"
    assert chemistry.scaffold(aspirin) == "c1ccccc1"
    assert chemistry.scaffold(chemistry.parse("CCCCO")) == ""
    assert chemistry.scaffold(chemistry.parse("C[C@H]1CC[C@@H](c2ccccc2)O1")) == "c1ccc(C2CCCO2)cc1"


def test_what_is_no_molecule(capfd):
    assert [chemistry.parse(text) for text in ("", "c1cc", "C(C)(C)(C)(C)C", "hello")] == [None] * 4
    assert capfd.readouterr().err == ""


def test_stereoisomers_are_one_molecule_without_stereo():
    alanine = [chemistry.parse(smiles) for smiles in ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O")]
    assert len({chemistry.canonical_smiles(mol) for mol in alanine}) == 2
    assert {chemistry.canonical_smiles(mol, stereo=False) for mol in alanine} == {"CC(N)C(=O)O"}


@pytest.mark.parametrize(
    "relative",
    [
        "CC(=O)Oc1ccccc1C(=O)[O-].[Na+]",
        "CC(=O)Oc1ccccc1C(=O)O[Na]",
        "CC(=O)Oc1ccccc1C(=O)O.NCCO",
        "CC(=O)Oc1ccccc1C(=O)[O-]",
        "[13CH3]C(=O)Oc1ccccc1C(=O)O",
    ],
)
def test_salts_and_charge_states_have_the_parent(relative):
    assert chemistry.parent_block(chemistry.parse(relative)) == "BSYNRYMUTXBXSQ"


def test_relatives_have_another_parent():
    assert chemistry.parent_block(chemistry.parse("COC(=O)c1ccccc1OC(C)=O")) != "BSYNRYMUTXBXSQ"
    assert chemistry.parent_block(chemistry.parse("[O-][N+](=O)c1ccccc1")) == "LQNUZADURLCDLV"  # nitrobenzene


# Accepted and refused


def test_every_row_ends_in_one_table_with_its_reason():
    target = frame(
        [*ALKANES, "c1cc", "", "CCCl", "OCC", "CCO", "C" * 300, "OC(C)C"],
        [*map(str, range(10)), "1", "1", "", "2.5", "3.5", "1", "inf"],
    )
    pool = frame(
        ["OCC", "CCS", "SCC", "*bad*", "CC[O-].[Na+]", "CCN", "CCI"], ["1", "2", "3", "1", "1", "1_0", "-1e-1"]
    )
    molecules, rejected = run(target, pool)
    assert refusals(rejected, "target") == {
        10: "unparsable",
        11: "unparsable",
        12: "no_label",
        14: "repeat",
        15: "too_long",
        16: "no_label",
    }
    assert refusals(rejected, "pool") == {
        0: "in_target",
        2: "repeat",
        3: "unparsable",
        4: "in_target",
        5: "no_label",
    }
    assert molecules["molecule_id"].tolist() == [
        *(f"target-{n}" for n in range(10)),
        "target-13",
        "pool-1",
        "pool-6",
    ]
    assert molecules["label"].tolist()[-3:] == [2.5, 2.0, -0.1]
    given = [("target", row) for row in target["row"]] + [("pool", row) for row in pool["row"]]
    ended = [
        *molecules[["source", "row"]].itertuples(index=False),
        *rejected[["source", "row"]].itertuples(index=False),
    ]
    assert sorted(map(tuple, ended)) == sorted(given)


def test_details_name_the_row_and_the_labels():
    _, rejected = run(frame([*ALKANES, "CC"], [*map(str, range(10)), "7.25"]), frame(["CCC"]))
    details = dict(zip(rejected["source"], rejected["detail"], strict=True))
    assert "target-1," in details["target"]
    assert "label 1;" in details["target"]
    assert "7.25" in details["target"]
    assert "target-2" in details["pool"]


def test_stereoisomers_stay_in_a_file_and_never_cross_from_target_to_pool():
    pair = ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"]
    molecules, rejected = run(frame([*ALKANES, *pair]), frame(["CC([NH3+])C(=O)[O-]", "C[C@H](F)Cl", "C[C@@H](F)Cl"]))
    assert molecules["encoder_smiles"].tolist()[10:12] == ["CC(N)C(=O)O"] * 2
    assert refusals(rejected, "target") == {}
    assert refusals(rejected, "pool") == {0: "in_target"}
    with_stereo, _ = run(frame([*ALKANES, *pair]), stereo=True)
    assert with_stereo["encoder_smiles"].tolist() == with_stereo["canonical_smiles"].tolist()
    assert with_stereo["encoder_smiles"].nunique() == 12


def test_pool_row_that_repeats_a_refused_one_is_refused_for_the_same_reason():
    _, rejected = run(frame(ALKANES), frame(["CC", "CC"]))
    assert refusals(rejected, "pool") == {0: "in_target", 1: "in_target"}


def test_length_is_judged_with_special_tokens_and_nothing_is_cut():
    molecules, rejected = run(frame([*ALKANES, "C" * 18, "C" * 19]), max_tokens=20)
    assert molecules["tokens"].tolist()[-1] == 20
    assert rejected["detail"].tolist() == ["21 tokens; the encoder takes 20"]
    assert rejected["smiles"].tolist() == ["C" * 19]


def test_molecules_that_inchi_cannot_express_are_told_apart_by_their_smiles():
    odd = ["C~CC", "CC~CC", "C$C"]
    assert {chemistry.inchikey(Chem.MolFromSmiles(smiles)) for smiles in odd} == {""}
    molecules, rejected = run(frame([*ALKANES, *odd, "CC~C"]), frame(["C~CCCC"]))
    assert refusals(rejected, "target") == {13: "repeat"}
    assert molecules["source"].tolist() == ["target"] * 13 + ["pool"]


def test_tables_are_as_declared(tmp_path):
    for pool in (frame([]), frame(["CCO"], folds=["train"])):
        molecules, rejected = run(frame(ALKANES), pool)
        write_table(molecules, tmp_path / "m.parquet", "molecules", EXTRA)
        write_table(rejected, tmp_path / "r.parquet", "rejected")
        assert len(read_table(tmp_path / "m.parquet")) == 10 + len(pool)
        assert read_table(tmp_path / "m.parquet")["given_fold"].isna().sum() == 10
        assert len(read_table(tmp_path / "r.parquet")) == 0


def test_target_that_cannot_be_learned_from():
    with pytest.raises(ChemsieveError, match=r"9 of 10 rows .* \(refused: 1 no_label; row 0: the label '3,1'"):
        check_target(*run(frame(ALKANES, ["3,1", *map(str, range(9))])))
    with pytest.raises(ChemsieveError, match=r"all 10 labels are 2\.5"):
        check_target(*run(frame(ALKANES, ["2.5"] * 10)))


def test_labels_are_cut_at_the_mean_of_the_training_labels_alone():
    molecules = pd.DataFrame({"molecule_id": list("abcde"), "label": [1.0, 2.0, 9.0, 4.0, 1000.0]})
    cut = binarised(molecules, [True, False, True, True, False])  # 14 / 3 is their mean
    assert cut["label"].tolist() == [0.0, 0.0, 1.0, 0.0, 1.0]
    assert molecules["label"].tolist() == [1.0, 2.0, 9.0, 4.0, 1000.0]
    assert binarised(molecules, [True, False, False, False, False])["label"].tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]
    with pytest.raises(ChemsieveError, match="no training molecule"):
        binarised(molecules, [False] * 5)
