"""Malformed input, as tables: each is one sentence that names the file or the key, or a refused row, and none is lost.

``FILES`` are files that cannot be read as a whole; ``ROWS`` are rows that end in the table of refused rows, with their
neighbours accepted; ``STUDIES`` are files that are in order and of which no study can be made; ``ENCODERS`` are encoder
folders; ``KEYS`` are configurations (more of them are in tests/test_config.py).
"""

import errno
import gzip
import io
import os
import pickle
import re
import shutil
import time
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rdkit import Chem
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from chemsieve.data.molecules import check_pool, check_target
from chemsieve.data.reading import check_table, read_table
from chemsieve.errors import ChemsieveError
from chemsieve.models import backbone
from chemsieve.runtime import files
from chemsieve.splitting import divide
from chemsieve.study import configuration
from helpers.configurations import UNLABELLED, changed
from helpers.inputs import ALKANES, TABLE, Trap, nothing, partition, sdf_of
from helpers.workflow import snakemake


def refused(call, *arguments, error=ChemsieveError):
    """The one sentence with which a call ends."""
    with pytest.raises(error) as caught:
        call(*arguments)
    said = str(caught.value)
    assert "\n" not in said
    assert not re.search(r"[a-z)]\. [A-Z]|\.$", said), f"one sentence: {said}"
    return said


def parquet_of(**columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def doubled_parquet():
    buffer = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays([pa.array(["C"]), pa.array([1.0]), pa.array([2.0])], ["smiles", "y", "y"]), buffer
    )
    return buffer.getvalue()


WHOLE = parquet_of(smiles=["C"] * 100, y=np.arange(100.0))
UTF8 = "this is not UTF-8 text"
SAVE = "save it as UTF-8 CSV or set pool.encoding, for example to"

# name of the file, its bytes, keys of the table, what is said after "pool file PATH: "
FILES = {
    "no file": ("a.csv", None, {}, "there is no such file"),
    "empty csv": ("a.csv", b"", {}, "the file is empty"),
    "empty smi": ("a.smi", b"", {}, "the file is empty"),
    "empty sdf": ("a.sdf", b"", {}, "there is no column 'y'; no record has a data item"),
    "empty parquet": ("a.parquet", b"", {}, "the file is empty"),
    "empty gzip": ("a.csv.gz", gzip.compress(b""), {}, "the file is empty"),
    "blank header": ("a.csv", b"\nC,1\n", {}, "the header line is blank"),
    "header alone": ("a.csv", b"smiles,y\n", {}, "there is a header and no row below it"),
    "header alone, parquet": ("a.pq", parquet_of(smiles=pa.array([], "string"), y=pa.array([], "float64")), {},
        "there is a header and no row below it"),
    "wrong delimiter": ("a.csv", b"smiles;y\nC;1\n", {},
        "there is no column 'smiles'; the whole header was read as one column 'smiles;y', so check the delimiter "
        "(pool.delimiter)"),
    "delimiter of another file": ("a.tsv", b"smiles\ty\nC\t1\n", {"delimiter": ";"},
        "there is no column 'smiles'; the whole header was read as one column 'smiles\\ty', so check the delimiter "
        "(pool.delimiter)"),
    "latin-1": ("a.csv", "smiles,y,Stoff\nC,1,S\xe4ure\n".encode("latin-1"), {}, f"{UTF8} (byte 0xe4); {SAVE} cp1252"),
    "latin-1 header": ("a.csv", "smiles,y,Wert \xb5\nC,1,2\n".encode("latin-1"), {},
        f"{UTF8} (byte 0xb5); {SAVE} cp1252"),
    "utf-16": ("a.csv", "smiles,y\nC,1\n".encode("utf-16"), {}, f"{UTF8} (byte 0xff); {SAVE} utf-16"),
    "utf-16 without a mark": ("a.csv", "smiles,y\nC,1\n".encode("utf-16-le"), {}, f"{UTF8} (byte 0x00); {SAVE} utf-16"),
    "utf-8 read as utf-16": ("a.csv", b"smiles,y\nC,1\nCC,2\n", {"encoding": "utf-16"},
        re.compile(r"this is not utf-16 text \(.*\); check pool\.encoding")),
    "half a surrogate": ("a.csv", b"smiles,y\nC+2AA-,1\n", {"encoding": "utf-7"},
        "row 0, column 'smiles' holds half a character; check the encoding"),
    "a workbook": ("a.xlsx", b"PK\x03\x04rest", {}, f"{UTF8} but a workbook or a zip archive; save it as UTF-8 CSV"),
    "parquet by another name": ("a.csv", WHOLE, {}, f"{UTF8} but Parquet; set pool.format to parquet"),
    "missing column": ("a.csv", b"Smiles,y\nC,1\n", {},
        "there is no column 'smiles' among 'Smiles', 'y'; did you mean 'Smiles'?"),
    "missing column, smi": ("a.smi", b"C 1\n", {},
        "there is no column 'smiles' among 'C', '1'; where line 1 is no header, columns have numbers "
        "(set pool.smiles to '1')"),
    "missing number, smi": ("a.smi", b"C 1\n", {"smiles": "1", "label": "3"}, "there is no column '3' among '1', '2'"),
    "missing item, sdf": ("a.sdf", sdf_of(("C", {"Y": 1})), {}, "there is no column 'y' among 'Y'; did you mean 'Y'?"),
    "missing column, parquet": ("a.parquet", WHOLE, {"label": "z"}, "there is no column 'z' among 'smiles', 'y'"),
    "doubled column": ("a.csv", b"smiles,y,y\nC,1,2\n", {}, "column 'y' occurs 2 times; keep one of them"),
    "doubled column, parquet": ("a.parquet", doubled_parquet(), {}, "column 'y' occurs 2 times; keep one of them"),
    "a column of lists": ("a.parquet", parquet_of(smiles=["C"], y=[[1.0]]), {},
        "column 'y' holds list<element: double>, and not text or numbers"),
    "a column of bytes": ("a.parquet", parquet_of(smiles=[b"C"], y=[1.0]), {},
        "column 'smiles' holds binary, and not text or numbers"),
    "a long row": ("a.csv", b"smiles,y\nC,1\nCC,2,5\n", {},
        "row 1 (line 3) has 3 fields and the header has 2; quote fields that contain ','"),
    "a decimal comma among commas": ("a.csv", b"smiles,y\nC,1,5\n", {},
        "row 0 (line 2) has 3 fields and the header has 2; quote fields that contain ','"),
    "a short row": ("a.csv", b"smiles,y\nC\n", {},
        "row 0 (line 2) has 1 field and the header has 2; quote fields that contain ','"),
    "a name of two words, smi": ("a.smi", b"smiles name y\nC methane 1\nCC hexa ne 2\n", {},
        "row 1 (line 3) has 4 words and line 1 has 3; names of several words need another format, for example CSV, or "
        "tabs between all columns"),
    "a name of two words before the label, smi": ("a.smi", b"CCO compound 17 1.5\nC methane 2\n",
        {"smiles": "1", "label": "3"},
        "row 1 (line 2) has 3 words and line 1 has 4; names of several words need another format, for example CSV, or "
        "tabs between all columns"),
    "a tab too many, smi": ("a.smi", b"CCO\t1\nCC\t2\t3\n", {"smiles": "1", "label": "2"},
        "row 1 (line 2) has 3 fields and line 1 has 2; names of several words need another format, for example CSV, or "
        "tabs between all columns"),
    "a comment between rows": ("a.csv", b"smiles,y\nCCO,1\n# second batch\nCC,2\n", {},
        "row 1 (line 3) has 1 field and the header has 2; quote fields that contain ','"),
    "a column that begins with a blank": ("a.csv", b"smiles, y\nCCO, 1\n", {},
        "there is no column 'y' among 'smiles', ' y'; did you mean ' y'?"),
    "a delimiter that is named, and no more": ("a.csv", b"sep=;\n", {}, "the file is empty"),
    "a blank line": ("a.csv", b"smiles,y\nC,1\n\nCC,2\n", {}, "line 3 is blank, before row 1; remove the line"),
    "a blank line, smi": ("a.smi", b"C 1\n\nCC 2\n", {"smiles": "1", "label": "2"},
        "line 2 is blank, before row 1; remove the line"),
    "a quote that never ends": ("a.csv", b'smiles,y\n"C,1\nCC,2\n', {},
        "line 3 is not valid delimited text (unexpected end of data)"),
    "a quote within a field": ("a.csv", b'smiles,y\n"C"C,1\n', {},
        """line 2 is not valid delimited text (',' expected after '"')"""),
    "truncated gzip": ("a.csv.gz", gzip.compress(b"smiles,y\n" + b"C,1\n" * 9999)[:50], {},
        "the file cannot be read (Compressed file ended before the end-of-stream marker was reached)"),
    "damaged gzip": ("a.csv.gz", gzip.compress(b"")[:10] + b"\x07" * 20, {},
        "the file cannot be read (Error -3 while decompressing data: invalid block type)"),
    "gzip of another check sum": ("a.csv.gz", gzip.compress(b"smiles,y\nC,1\n")[:-8] + bytes(8), {},
        re.compile(r"the file cannot be read \(CRC check failed .*\)")),
    "truncated parquet": ("a.parquet", WHOLE[:-40], {}, re.compile(r"this is not a readable Parquet file \(.*\)")),
    "parquet cut in the middle": ("a.parquet", WHOLE[: len(WHOLE) // 2], {},
        re.compile(r"this is not a readable Parquet file \(.*\)")),
    "csv by the name of parquet": ("a.parquet", b"smiles,y\nC,1\n", {},
        re.compile(r"this is not a readable Parquet file \(.*\)")),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_read_whole_is_one_sentence(tmp_path, case):
    name, content, keys, sentence = FILES[case]
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    table = TABLE | keys
    said = refused(lambda: (check_table(path, "pool", table), read_table(path, "pool", table)))
    rest = said.removeprefix(f"pool file {path}: ")
    assert rest != said
    assert sentence.fullmatch(rest) if isinstance(sentence, re.Pattern) else rest == sentence


@pytest.mark.parametrize("name", ["a.csv", "a.smi", "a.sdf", "a.parquet"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_pickle_by_another_name_is_never_opened(tmp_path, name, encoding):
    (tmp_path / name).write_bytes(pickle.dumps(Trap(tmp_path / "opened")))
    said = refused(read_table, tmp_path / name, "pool", TABLE | {"encoding": encoding})
    assert said.startswith(f"pool file {tmp_path / name}: ")
    assert not (tmp_path / "opened").exists()
    pickle.loads((tmp_path / name).read_bytes())
    assert (tmp_path / "opened").exists()  # it is a trap


def test_a_path_of_odd_characters_is_a_path(tmp_path):
    path = tmp_path / "my $(touch canary); <b>'pool' & co.csv"
    path.write_text("smiles,y\nC,1\n", encoding="utf-8")
    assert read_table(path, "pool", TABLE)["smiles"].tolist() == ["C"]


# -- rows --------------------------------------------------------------------------------------------------------------

UNREADABLE = ("unparsable", "RDKit cannot make a molecule of the SMILES")
DIVIDED = ("unparsable", "white space divides the SMILES")
DUMMY = ("dummy_atom", "an atom stands for another group (*), so that the molecule is unknown")


def no_number(text):
    return "no_label", f"the label {text!r} is no finite number"


# SMILES and label of a row below ten alkanes with labels 0 to 9; reason and detail, None where it is accepted.
ROWS = {
    "empty SMILES": ("", "1", ("unparsable", "the SMILES is empty")),
    "blank SMILES": ("  \t", "1", ("unparsable", "the SMILES is empty")),
    "no SMILES": ("ethanol", "1", UNREADABLE),
    "an open ring": ("c1ccccc", "1", UNREADABLE),
    "five bonds at carbon": ("C(C)(C)(C)(C)C", "1", UNREADABLE),
    "a missing value": ("NaN", "1", UNREADABLE),
    "a reaction": ("CC>>CO", "1", UNREADABLE),
    "an element that is none": ("[Xx]", "1", UNREADABLE),
    "two SMILES": ("CCO CCN", "1", DIVIDED),
    "a SMILES with a gap": ("CC (=O)O", "1", DIVIDED),
    "a SMILES with a newline": ("CC\nO", "1", DIVIDED),
    "a zero byte": ("C\0C", "1", ("unparsable", "the character U+0000 stands in no SMILES")),
    "letters of another script": ("\u0421\u0421\u041e", "1", ("unparsable",
        "the character U+0421 stands in no SMILES")),
    "an invisible mark": ("CCO\u200b", "1", ("unparsable", "the character U+200B stands in no SMILES")),
    "an invisible mark within": ("CC\u200bO", "1", ("unparsable", "the character U+200B stands in no SMILES")),
    "a million characters": ("C" * 1_000_000, "1", ("too_long", "1000000 characters; no SMILES above 5000 is parsed")),
    "a million brackets": ("C" + "(" * 999_999, "1", ("too_long",
        "1000000 characters; no SMILES above 5000 is parsed")),
    "more tokens than fit": ("C" * 300, "1", ("too_long", "302 tokens; the encoder takes 202")),
    "a dummy atom": ("*CCO", "1", DUMMY),
    "a numbered attachment": ("[*:1]CCO", "1", DUMMY),
    "element zero": ("[#0]CCO", "1", DUMMY),
    "no label": ("CCO", "", no_number("")),
    "a text": ("CCO", "high", no_number("high")),
    "a bound": ("CCO", ">5", ("censored", "the value lies above 5, and was not measured")),
    "a bound in thousands": ("CCO", ">10,000", ("no_label",
        "the label '>10,000' is a limit, and '10,000' no finite number")),
    "a bound of detection": ("CCO", "<LOD", ("no_label", "the label '<LOD' is a limit, and 'LOD' no finite number")),
    "a number with its unit": ("CCO", "0.5 nM", no_number("0.5 nM")),
    "a range": ("CCO", "5-10", no_number("5-10")),
    "a number in quotes": ("CCO", "'0.5'", None),
    "a typeset minus": ("CCO", "\u22120.5", None),
    "a bound of nothing": ("CCO", "<", no_number("<")),
    "a decimal comma": ("CCO", "1,5", no_number("1,5")),
    "an infinite label": ("CCO", "inf", no_number("inf")),
    "a label beyond all bounds": ("CCO", "1e999", no_number("1e999")),
    "not a number": ("CCO", "nan", no_number("nan")),
    "digits with a dash below": ("CCO", "1_0", no_number("1_0")),
    "hexadecimal": ("CCO", "0x10", no_number("0x10")),
    "a truth value": ("CCO", "TRUE", no_number("TRUE")),
    "a date": ("CCO", "2026-01-02", no_number("2026-01-02")),
    "a formula for a label": ("CCO", "=1+1", no_number("=1+1")),
    "a repeat": ("CC", "1", ("repeat", "same molecule as target-1, which is kept with label 1; the label here is 1")),
    "a repeat with another label": ("C-C", "7.25",
        ("repeat", "same molecule as target-1, which is kept with label 1; the label here is 7.25")),
    "HTML": ("<script>alert(1)</script>", "1", UNREADABLE),
    "HTML after a SMILES": ("CCO <img src=x onerror=alert(1)>", "1", DIVIDED),
    "a spreadsheet's formula": ("=HYPERLINK(\"http://example.org\")", "1", UNREADABLE),
    "a formula with a command": ("=cmd|' /C calc'!A0", "1", DIVIDED),
    "a shell's command": ("$(touch canary)", "1", DIVIDED),
    "another of a shell": ("`id`;CCO", "1", UNREADABLE),
    "a salt": ("CC(=O)[O-].[Na+]", "1", None),
    "a mixture": ("CCO.CCN.O", "1", None),
    "white space around": (" CCO\t", " 1.5 ", None),
    "a hydrate": ("NCC(=O)O.O", "1", None),
    "an isotope": ("[13CH3]O", "1", None),
    "a single atom": ("[Xe]", "1", None),
}  # fmt: skip


def written(path, rows, **keys):
    """A table of (SMILES, label) in the format of the path's name; how it is read."""
    frame = pd.DataFrame(rows, columns=["smiles", "y"])
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    return read_table(path, "target", TABLE | keys)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("case", ROWS)
def test_a_row_that_cannot_be_used_is_refused_with_its_reason(tmp_path, monkeypatch, case, ending):
    monkeypatch.chdir(tmp_path)
    smiles, label, expected = ROWS[case]
    rows = [*zip(ALKANES, map(str, range(10)), strict=True), (smiles, label), ("CCS", "0.5")]
    began = time.perf_counter()
    molecules, rejected = partition(written(tmp_path / f"a.{ending}", rows), nothing())
    assert time.perf_counter() - began < 60, "it hangs"
    assert 11 in set(molecules["row"])  # its neighbour
    if expected is None:
        assert rejected.empty
        assert molecules["smiles"].tolist()[10] == smiles
    else:
        (row,) = rejected.to_dict("records")
        assert (row["row"], row["reason"], row["detail"]) == (10, *expected)
    assert not (tmp_path / "canary").exists()


def test_a_quoted_newline_is_one_row(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'note,smiles,y\r\n"two\r\nlines, and ""quotes""",CCO,1\r\nplain,CCN,2\r\n')
    frame = read_table(tmp_path / "a.csv", "target", TABLE)
    assert frame[["row", "smiles", "label_text"]].to_numpy().tolist() == [[0, "CCO", "1"], [1, "CCN", "2"]]


UNREADABLE_BLOCK = "odd one\n\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n  garbage\nM  END\n"


def test_records_of_an_sd_file_that_cannot_be_used_are_refused_and_no_neighbour_moves(tmp_path):
    good = [(smiles, {"y": number}) for number, smiles in enumerate(ALKANES)]
    records = [
        *good,
        (UNREADABLE_BLOCK, {"y": 1}),
        ("CCO", {"other": 1}),
        ("\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n", {"y": 1}),
        ("*CO", {"y": 1}),
        ("just a line\n", {}),
        ("CCO", {"y": "1\n2"}),
        ("C[C@H](N)C(=O)O", {"y": 0.5}),
    ]
    (tmp_path / "a.sdf").write_bytes(sdf_of(*records))
    frame = read_table(tmp_path / "a.sdf", "target", TABLE)
    assert len(frame) == len(records)
    molecules, rejected = partition(frame, nothing())
    found = {row["row"]: (row["reason"], row["detail"]) for row in rejected.to_dict("records")}
    assert found == {
        10: ("unparsable", "RDKit cannot read the record 'odd one'"),
        11: no_number(""),
        12: ("unparsable", "the SMILES is empty"),
        13: DUMMY,
        14: ("unparsable", "RDKit cannot read the record 'just a line'"),
        15: no_number("1\n2"),
    }
    assert molecules["row"].tolist() == [*range(10), 16]
    assert molecules["smiles"].tolist()[-1] == "C[C@H](N)C(=O)O"


def test_data_items_of_an_sd_file_end_at_a_blank_line_and_are_not_taken_twice(tmp_path):
    block = Chem.MolToMolBlock(Chem.MolFromSmiles("CCO"))
    items = ["> 25 <y> (1)\n1.5\n\nstray\n", ">  <other>\n7\n\n> <y>\n2\n", "> <y>\n1\n\n> <y>\n2\n\n", "> <y>\n\n"]
    (tmp_path / "a.sdf").write_text("".join(f"{block}{text}$$$$\n" for text in items), encoding="utf-8")
    assert read_table(tmp_path / "a.sdf", "target", TABLE)["label_text"].tolist() == ["1.5", "2", "1\n2", ""]


def test_a_truncated_sd_file_keeps_its_whole_records(tmp_path):
    content = sdf_of(*((smiles, {"y": number}) for number, smiles in enumerate([*ALKANES, "CCCO"])))
    (tmp_path / "a.sdf").write_bytes(content[: content.rindex(b"M  END") - 60])
    _, rejected = partition(read_table(tmp_path / "a.sdf", "target", TABLE), nothing())
    (row,) = rejected.to_dict("records")
    assert (row["row"], row["reason"]) == (10, "unparsable")


# -- files that are in order, and no study -----------------------------------------------------------------------------


def numbered(smiles, labels=None):
    return list(zip(smiles, map(str, labels or range(len(smiles))), strict=True))


STUDIES = {
    "one molecule": (numbered(["CCO"]), numbered(["CCN"]),
        "target: 1 of 1 rows are usable and at least 10 are needed"),
    "one molecule many times": (numbered(["CCO"] * 30), numbered(["CCN"]),
        "target: 1 of 30 rows are usable and at least 10 are needed (refused: 29 repeat; row 1: same molecule as "
        "target-0, which is kept with label 0; the label here is 1)"),
    "labels of text": (numbered(ALKANES, ["low"] * 10), numbered(["CCN"]),
        "target: 0 of 10 rows are usable and at least 10 are needed (refused: 10 no_label; row 0: the label 'low' is "
        "no finite number)"),
    "the wrong column of SMILES": (numbered(["methane"] * 12), numbered(["CCN"]),
        "target: 0 of 12 rows are usable and at least 10 are needed (refused: 12 unparsable; row 0: RDKit cannot make "
        "a molecule of the SMILES)"),
    "constant labels": (numbered(ALKANES, [2.5] * 10), numbered(["CCN"]),
        "target: all 10 labels are 2.5, so there is nothing to learn"),
    "a pool equal to the target": (numbered(ALKANES), numbered(ALKANES),
        "pool: 0 of 10 rows are usable (refused: 10 in_target; row 0: same InChIKey first block as target-0)"),
    "a pool of the target's salts": (numbered([*ALKANES, "CC(=O)O"]), numbered(["CC(=O)[O-].[K+]"]),
        "pool: 0 of 1 rows are usable (refused: 1 in_target; row 0: same parent molecule as target-10)"),
    "a pool without a molecule": (numbered(ALKANES), numbered(["", "*"]),
        "pool: 0 of 2 rows are usable (refused: 1 unparsable, 1 dummy_atom; row 0: the SMILES is empty)"),
}  # fmt: skip


@pytest.mark.parametrize("case", STUDIES)
def test_molecules_of_which_no_study_can_be_made_are_one_sentence(tmp_path, case):
    target, pool, sentence = STUDIES[case]
    frames = written(tmp_path / "target.csv", target), written(tmp_path / "pool.csv", pool)
    tables = partition(*frames)
    assert refused(lambda: (check_target(*tables), check_pool(*tables))) == sentence


def test_a_pool_of_one_usable_row_is_a_pool(tmp_path):
    target, pool = numbered(ALKANES), numbered(["CCN", "*"])
    tables = partition(written(tmp_path / "target.csv", target), written(tmp_path / "pool.csv", pool))
    check_target(*tables)
    check_pool(*tables)


SPLITS = {
    "an empty fold by fractions": (("random", ALKANES, (0.99, 0.005, 0.005), 0),
        "splitter random: the validation fold"),
    "no training molecule": (("random", ALKANES, (0.0, 0.5, 0.5), 0),
        "splitter random: the train fold of 10 molecules"),
    "one scaffold": (("scaffold", ALKANES, (0.8, 0.1, 0.1), 0), "splitter scaffold: the train fold of 10 molecules is"),
    "fractions that sum to more": (("random", ALKANES, (0.8, 0.2, 0.2), 0), "splitter random: fractions must be three"),
    "a fraction that is no number": (("random", ALKANES, (float("nan"), 0.5, 0.5), 0),
        "splitter random: fractions must"),
}  # fmt: skip


@pytest.mark.parametrize("case", SPLITS)
def test_a_division_with_an_empty_fold_is_one_sentence(case):
    arguments, sentence = SPLITS[case]
    assert refused(divide, *arguments).startswith(sentence)


GIVEN = {
    "no test molecule": (["train"] * 9 + ["valid"], "splitter column: the test fold of 10 molecules is empty"),
    "an unknown fold": (["train"] * 8 + ["valid", "Tset"],
        "the split column must hold train, validation (valid, val) or test, but row 9 holds 'Tset'"),
    "a fold that is missing": (["train"] * 8 + ["test", None],
        "the split column must hold train, validation (valid, val) or test, but row 9 holds None"),
}  # fmt: skip


@pytest.mark.parametrize("case", GIVEN)
def test_a_given_division_that_is_none_is_one_sentence(case):
    given, sentence = GIVEN[case]
    assert refused(lambda: divide("column", ALKANES, (0.8, 0.1, 0.1), 0, given=given)) == sentence


# -- keys of the configuration -----------------------------------------------------------------------------------------

# Changed keys of the embedded study, and the sentence after "configuration: ". MINE is a file that is in order.
OWN = {"pool.source": "file", "pool.path": "MINE", "pool.smiles": "smiles", "pool.label": "y"}
KEYS = {
    "fractions above one": ({"split.fractions": [0.8, 0.2, 0.2]}, "split.fractions: they sum to 1.2, not to 1"),
    "two fractions": ({"split.fractions": [0.9, 0.1]}, "split.fractions: [0.9, 0.1] is too short"),
    "an unknown format": (OWN | {"pool.format": "xlsx"},
        "pool.format: unknown value 'xlsx'; choose from auto, csv, smi, sdf, parquet"),
    "a mistyped format": (OWN | {"pool.format": "parqet"},
        "pool.format: unknown value 'parqet'; did you mean 'parquet'?"),
    "an unknown encoding": (OWN | {"pool.encoding": "utf-99"},
        "pool.encoding: 'utf-99' is no text encoding of Python; known are utf-8, utf-16, latin-1, cp1252 and more"),
    "an encoding of no text": (OWN | {"pool.encoding": "hex"},
        "pool.encoding: 'hex' is no text encoding of Python; known are utf-8, utf-16, latin-1, cp1252 and more"),
    "a decimal mark that divides": (OWN | {"pool.decimal": ","},
        "pool.decimal: ',' is the delimiter too; set pool.delimiter, for example to ';'"),
    "an unknown decimal mark": (OWN | {"pool.decimal": "'"}, "pool.decimal: unknown value \"'\"; choose from ., ,"),
    "two delimiters": (OWN | {"pool.delimiter": ", "}, "pool.delimiter: ', ' is too long"),
    "a quote that divides": (OWN | {"pool.delimiter": '"'}, "pool.delimiter: '\"' cannot divide fields"),
    "a path with braces": (OWN | {"pool.path": "my{pool}.csv"},
        "pool.path: 'my{pool}.csv' has braces, which Snakemake reads as wildcards; rename the file"),
    "a label's number in place of its name": (OWN | {"pool.label": 2},
        "pool.label: this is read as 2, and a text is wanted; put it in quotes in the configuration's file"),
    "no SMILES column": (OWN | {"pool.smiles": None}, "pool.smiles: None is not of type 'string'"),
    "labels that are not there": (OWN | {"pool.label": None},
        "pool.label: name the column of the pool's labels, or set pool.labels to unlabelled"),
    "a mistyped key": (OWN | {"pool.encodng": "utf-8"}, "unknown key 'pool.encodng'; did you mean 'encoding'?"),
    "a study with a slash": ({"study": "../up"},
        "study: '../up' is no name for files; it may have letters, digits, _ and, but for the first, -"),
    "a study of HTML": ({"study": "<b>x</b>"},
        "study: '<b>x</b>' is no name for files; it may have letters, digits, _ and, but for the first, -"),
    "a study like an option": ({"study": "-x"},
        "study: '-x' is no name for files; it may have letters, digits, _ and, but for the first, -"),
    "a study without an end": ({"study": "x" * 260}, "study: a name of 260 characters; it may have 100 at most"),
    "a study that is a number": ({"study": 2024},
        "study: this is read as 2024, and a text is wanted; put it in quotes in the configuration's file; on the "
        "command line, take a name with a letter in it"),
    "a study that is a day": ({"study": date(2024, 1, 31)},
        "study: this is read as 2024-01-31, and a text is wanted; put it in quotes in the configuration's file; on the "
        "command line, take a name with a letter in it"),
}  # fmt: skip


@pytest.mark.parametrize("case", KEYS)
def test_a_key_that_cannot_be_is_one_sentence(tmp_path, case):
    changes, sentence = KEYS[case]
    (tmp_path / "mine.csv").write_text("smiles,y\nC,1\n", encoding="utf-8")
    own = {key: str(tmp_path / "mine.csv") if value == "MINE" else value for key, value in changes.items()}
    assert refused(configuration.validate, changed(own)) == f"configuration: {sentence}"


@pytest.mark.parametrize("ending", ["csv", "smi", "sdf", "parquet"])
def test_a_pool_without_labels_needs_no_column_of_them(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pd.DataFrame({"smiles": ["CCO"]}).to_parquet(path)
    else:
        path.write_bytes({"csv": b"smiles\nCCO\n", "smi": b"smiles\nCCO a name\n", "sdf": sdf_of(("CCO", {}))}[ending])
    given = changed(UNLABELLED | {"pool.source": "file", "pool.path": str(path)})
    configuration.validate(given)
    assert read_table(path, "pool", given["pool"])["smiles"].tolist() == ["CCO"]


# -- encoder folders ---------------------------------------------------------------------------------------------------


def cut(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def reshaped(folder):
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    save_file(tensors | {name: tensors[name][:-1].contiguous()}, folder / "model.safetensors")


def halved(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({n: t for n, t in tensors.items() if ".layer.1." not in n}, folder / "model.safetensors")


def renamed(folder):
    tensors = load_file(folder / "model.safetensors")
    save_file({f"module.{n}": t for n, t in tensors.items()}, folder / "model.safetensors")


def pickled(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap(folder / "opened")))


ENCODERS = {
    "truncated weights": (cut,
        r"model\.safetensors: not a readable safetensors file \(.*\); no other format is loaded$"),
    "a pickle in disguise": (pickled,
        r"model\.safetensors: not a readable safetensors file \(.*\); no other format is"),
    "no weights": (lambda folder: (folder / "model.safetensors").write_bytes(b""),
        r"model\.safetensors: not a readable"),
    "a tensor of another shape": (reshaped,
        r"does not fit the model: it has 1 \(first: .*\) of another shape: \[.*\] for \["),
    "half of the tensors": (halved, r"does not fit the model: it lacks \d+ \(first: .*layer\.1\..*\) of \d+ tensors"),
    "tensors of other names": (renamed,
        r"does not fit the model: it lacks \d+ .* tensors, and it holds \d+ \(first: module\."),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(),
        r"tokenizer\.json does not exist; an encoder needs"),
    "no configuration": (lambda folder: (folder / "config.json").write_text("{"),
        r"config\.json: not readable JSON \(.*\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", ENCODERS)
def test_an_encoder_that_cannot_be_loaded_is_one_sentence(tmp_path, encoder_folder, case):
    spoil, sentence = ENCODERS[case]
    source = shutil.copytree(encoder_folder, tmp_path / "source")
    backbone.prepare(tmp_path / "whole", {"family": "molformer", "path": str(source)})
    spoil(source)
    said = refused(backbone.prepare, tmp_path / "made", {"family": "molformer", "path": str(source)})
    assert re.search(sentence, said), said
    assert not (source / "opened").exists()


def test_a_hub_name_without_a_network_is_one_sentence(tmp_path):
    encoder = {"family": "molformer", "repository": "chemsieve/is-not-there", "revision": "0" * 40}
    assert refused(backbone.prepare, tmp_path / "made", encoder) == (
        "encoder.repository: chemsieve/is-not-there@000000000000 cannot be reached and is not in the cache; set "
        "encoder.path to a local folder, or run once with a network"
    )


# -- the disk ----------------------------------------------------------------------------------------------------------


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["os.replace", "tempfile.mkstemp", "pathlib.Path.write_text"])
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path, monkeypatch, where):
    path = tmp_path / "a.json"
    files.write_json(path, {"earlier": 1})
    monkeypatch.setattr(where, full)
    assert refused(files.write_json, path, {"later": 2}) == f"{path}: cannot be written (No space left on device)"
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.read_text(encoding="utf-8") == '{\n "earlier": 1\n}\n'


NO_SPACE = {
    "python": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "pyarrow": OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device"),
    "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    "tokenizers": Exception("No space left on device (os error 28)"),
}


@pytest.mark.parametrize("library", NO_SPACE)
def test_a_full_disk_is_one_sentence_whichever_library_writes(tmp_path, library):
    def write(temporary):
        temporary.write_bytes(b"a part")
        raise NO_SPACE[library]

    (tmp_path / "a").write_bytes(b"earlier")
    said = refused(files.write_atomically, tmp_path / "a", write)
    assert said == f"{tmp_path / 'a'}: cannot be written (No space left on device)"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"earlier"


def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path):
    with pytest.raises(ZeroDivisionError):
        files.write_atomically(tmp_path / "a", lambda _: 1 / 0)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "results").touch()
    path = tmp_path / "results" / "study" / "a.json"
    assert refused(files.write_json, path, {}) == f"{path}: cannot be written (Not a directory)"
    folder = tmp_path / "results" / "study"
    assert refused(files.check_folder, folder) == f"results folder {folder}: cannot be written to (Not a directory)"
    files.check_folder(tmp_path / "elsewhere")
    assert list((tmp_path / "elsewhere").iterdir()) == []


# -- the real workflow -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_results_folder_that_cannot_be_written_to_stops_the_workflow_with_one_sentence(fresh):
    (fresh / "results").touch()
    done = snakemake(fresh, "results/embedded/config.yaml")
    assert done.returncode != 0
    assert done.stdout.count("results folder results/embedded: cannot be written to (Not a directory)") == 1
    assert "Traceback" not in done.stdout
