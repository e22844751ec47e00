"""Properties of the data step on random tables: every format gives the same rows; none is lost or let in twice."""

import csv
import gzip
import io
import random

import pandas as pd
import pytest
from rdkit import Chem

from chemsieve.data.molecules import prepare
from chemsieve.data.reading import check_table, format_of, read_table
from chemsieve.errors import ChemsieveError
from helpers.inputs import READER, TABLE, partition, sdf_of
from helpers.tiny import SMILES
from helpers.workflow import overlay, snakemake

PLAIN = ["", "a", "x y", "=1+1", "@SUM(A1)", "<b>&amp;</b>", "$(id)", "`id`", "it's", 'say "so"', "a,b", "a;b", "a\tb"]
MANY_LINES = ["two\nlines", "two\r\nlines", "\n"]
ACCENTED = ["Säure", "naïve", "5 µmol"]
LABELS = ["1", "-0.5", "2.25e1", "+3", "", "nan", "inf", "high", " 7 ", "0.1", "1e-3"]
OTHERS = ["c1cc", "", "*CC", "CC O", "C" * 300, "C" * 6000, "[Na+].[Cl-]", "CC(=O)[O-].[Na+]", "C[C@H](N)C(=O)O"]
OTHERS += ["C[C@@H](N)C(=O)O", "OCC", "C(C)O", "[13CH4]", "CCO.CCN", "hello", "\u200bCC"]
REASONS = {"unparsable", "dummy_atom", "no_label", "too_long", "unknown_token", "repeat", "in_target"}


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_spreadsheet_writes_is_read_back(tmp_path, seed):
    draw = random.Random(seed)
    encoding = draw.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
    delimiter, decimal = draw.choice([(",", "."), (";", ","), (";", "."), ("\t", ","), ("|", ".")])
    columns = ["SMILES", "value", "fold", "note", *draw.sample(["a,b", "c;d", 'e"f', "g\nh", "<i>"], 2)]
    draw.shuffle(columns)
    rows = []
    for _ in range(draw.randint(1, 30)):
        row = {name: draw.choice(PLAIN + MANY_LINES + ACCENTED) for name in columns}
        row |= {"SMILES": draw.choice(SMILES), "value": draw.choice(LABELS)}
        rows.append(row | {"fold": draw.choice(["train", "valid", " test ", ""])})
    text = io.StringIO()
    end, quoting = draw.choice(["\n", "\r\n"]), draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(columns)
    for row in rows:
        value = row["value"].replace(".", decimal)
        writer.writerow([value if name == "value" else row[name] for name in columns])
    content = (text.getvalue() + end * draw.randrange(3)).encode(encoding)
    path = tmp_path / draw.choice(["a.csv", "a.txt", "a", "a.csv.gz"])
    path.write_bytes(gzip.compress(content) if draw.random() < 0.5 else content)
    keys = {"smiles": "SMILES", "label": "value", "fold": "fold", "delimiter": delimiter, "decimal": decimal}
    table = TABLE | keys | {"encoding": encoding.removesuffix("-sig")}
    check_table(path, "pool", table)
    frame = read_table(path, "pool", table)
    assert frame["row"].tolist() == list(range(len(rows)))
    assert frame["smiles"].tolist() == [row["SMILES"] for row in rows]
    assert frame["label_text"].tolist() == [row["value"] for row in rows]
    assert frame["given_fold"].tolist() == [row["fold"].strip() or None for row in rows]


@pytest.mark.parametrize("line", ["sep=;\r\n", '"sep=;"\n', "SEP=;\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_line_that_names_the_delimiter_is_honoured(tmp_path, line, encoding):
    (tmp_path / "a.csv").write_text(f'{line}smiles;y\nC;1,5\n"C;C";2\n', encoding=encoding, newline="")
    table = TABLE | {"delimiter": "\t", "decimal": ",", "encoding": encoding.removesuffix("-sig")}
    check_table(tmp_path / "a.csv", "pool", table)
    frame = read_table(tmp_path / "a.csv", "pool", table)
    assert frame["smiles"].tolist() == ["C", "C;C"]
    assert frame["label_text"].tolist() == ["1.5", "2"]
    (tmp_path / "a.csv").write_text(f"{line}smiles;y\nC;1\nC;1;2\n", encoding=encoding, newline="")
    with pytest.raises(ChemsieveError, match=r"row 1 \(line 4\) has 3 fields .* contain ';'"):
        read_table(tmp_path / "a.csv", "pool", table)
    (tmp_path / "a.csv").write_text(f"{line}smiles,y\nC,1\n", encoding=encoding, newline="")
    with pytest.raises(ChemsieveError, match=r"check the delimiter \(the file's first line names it\)"):
        check_table(tmp_path / "a.csv", "pool", table)


def test_a_point_is_no_decimal_mark_where_the_comma_is(tmp_path):
    (tmp_path / "a.csv").write_text("smiles;y\nC;1,5\nCC;1.500\nCCC;1.234,5\nCCCC;2\n", encoding="utf-8")
    frame = read_table(tmp_path / "a.csv", "pool", TABLE | {"delimiter": ";", "decimal": ","})
    assert frame["label_text"].tolist() == ["1.5", "1,500", "1,234.5", "2"]  # thousands are refused, not misread


def random_rows(draw, count):
    """(SMILES, label) rows, some of them of no use."""
    smiles = [draw.choice(SMILES if draw.random() < 0.7 else OTHERS) for _ in range(count)]
    return [(text, draw.choice(LABELS) if draw.random() < 0.3 else str(draw.randrange(100))) for text in smiles]


def frame_of(rows):
    smiles, labels = zip(*rows, strict=True)
    return pd.DataFrame({"row": range(len(rows)), "smiles": smiles, "label_text": labels, "given_fold": None})


@pytest.mark.parametrize("seed", range(10))
def test_the_same_molecules_are_accepted_from_every_format(tmp_path, seed):
    draw = random.Random(seed)
    rows = [(text, str(number / 8)) for number, text in enumerate(SMILES)]
    rows += [(Chem.MolToSmiles(Chem.MolFromSmiles(draw.choice(SMILES))), str(draw.random())) for _ in range(10)]
    rows += [("*CC", "1"), ("CCOCC", "high"), ("C" * 300, "2"), ("C[C@H](N)C(=O)O", "3"), ("C/C=C/Cl", "4")]
    draw.shuffle(rows)
    smiles, labels = zip(*rows, strict=True)
    pd.DataFrame({"smiles": smiles, "y": labels}).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame({"y": labels, "smiles": smiles}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "a.smi").write_text("".join(f"{s}\t{n} {y}\n" for n, (s, y) in enumerate(rows)), encoding="utf-8")
    (tmp_path / "a.sdf.gz").write_bytes(gzip.compress(sdf_of(*((s, {"n": 1, "y": y}) for s, y in rows))))
    found = []
    for path in sorted(tmp_path.iterdir()):
        table = TABLE | ({"smiles": "1", "label": "3"} if path.suffix == ".smi" else {})
        check_table(path, "target", table)
        molecules, rejected = partition(read_table(path, "target", table), frame_of([("CCS", "1")]))
        identity = ["row", "canonical_smiles", "encoder_smiles", "inchikey", "label", "scaffold"]
        reasons = rejected[["row", "reason", "detail"]].to_numpy().tolist()
        found.append((format_of(path), molecules[identity].to_numpy().tolist(), reasons))
    assert [name for name, *_ in found] == ["csv", "parquet", "sdf", "smi"]
    assert all(part[1:] == found[0][1:] for part in found), found
    assert {"repeat", "no_label", "too_long", "dummy_atom"} == {reason for _, reason, _ in found[0][2]}


@pytest.mark.parametrize("kind", ["int64", "int8", "float64", "float32", "decimal", "category", "large_string"])
def test_numbers_of_parquet_read_as_their_shortest_text(tmp_path, kind):
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = {"int64": [3, None], "int8": [-3, None], "float64": [0.1, None], "float32": [0.1, None]}
    texts = {"int64": ["3", ""], "int8": ["-3", ""], "decimal": ["1.50", ""]}
    arrays = {
        "decimal": lambda: pa.array(["1.50", None]).cast(pa.decimal128(5, 2)),
        "category": lambda: pa.array(["0.1", None]).dictionary_encode(),
        "large_string": lambda: pa.array(["0.1", None], pa.large_string()),
    }
    array = arrays[kind]() if kind in arrays else pa.array(values[kind], pa.type_for_alias(kind))
    pq.write_table(pa.table({"smiles": ["C", "CC"], "y": array}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", "pool", TABLE)["label_text"].tolist() == texts.get(kind, ["0.1", ""])


@pytest.mark.parametrize("seed", range(25))
def test_no_row_is_lost_and_no_molecule_let_in_twice(seed):
    draw = random.Random(seed)
    rows = [(text, str(number)) for number, text in enumerate(SMILES)] + random_rows(draw, 20)
    draw.shuffle(rows)
    target, pool = frame_of(rows), frame_of(random_rows(draw, 30))
    molecules, rejected = partition_of(target, pool)
    assert set(rejected["reason"]) <= REASONS
    assert rejected["detail"].str.len().min() > 0
    for _, part in molecules.groupby("source"):
        assert part["row"].is_monotonic_increasing
        assert not part["inchikey"].duplicated().any()
    block = molecules["inchikey"].str[:14]
    assert not set(block[molecules["source"] == "pool"]) & set(block[molecules["source"] == "target"])
    assert (molecules["tokens"] <= 202).all()

    # What was accepted is accepted again, as it is; what repeats all of it changes nothing.
    again = target[target["row"].isin(molecules.loc[molecules["source"] == "target", "row"])]
    once_more, refused = partition_of(again, frame_of([("CCS", "1")]))
    assert set(refused["source"]) <= {"pool"}
    assert once_more.loc[once_more["source"] == "target", "row"].tolist() == again["row"].tolist()
    doubled = pd.concat([target, target.assign(row=target["row"] + len(target))])
    doubled_molecules, doubled_refused = partition_of(doubled, pool)
    assert doubled_molecules["molecule_id"].tolist() == molecules["molecule_id"].tolist()
    assert len(doubled_refused) == len(rejected) + len(target)

    # The order of the rows decides which of equal molecules stays, and never which molecules there are.
    shuffled, _ = partition_of(target.sample(frac=1, random_state=seed), pool)
    assert set(shuffled["inchikey"]) == set(molecules["inchikey"])


def partition_of(target, pool):
    molecules, rejected = prepare(target, pool, READER, False)
    ended = sorted([*zip(molecules["source"], molecules["row"], strict=True),
                    *zip(rejected["source"], rejected["row"], strict=True)])  # fmt: skip
    given = [("target", row) for row in target["row"]] + [("pool", row) for row in pool["row"]]
    assert ended == sorted(given)
    return molecules, rejected


@pytest.mark.slow
def test_own_files_of_other_formats_reach_the_tables(fresh):
    """A spreadsheet's CSV as the target, a gzipped SD file as the pool: the data step and the audit's own reading."""
    target = [f"{text};{number / 8:.3f};S\xe4ure".replace(".", ",") for number, text in enumerate(SMILES)]
    (fresh / "mine.csv").write_bytes("\r\n".join(["Struktur;Löslichkeit;Name", *target, ""]).encode("cp1252"))
    records = [("CCS", {"y": 1}), ("CC(=O)[O-].[Na+]", {"y": 2}), ("CCCCl", {"y": 0.5}), ("broken\n", {"y": 1})]
    records += [("C" * n + "S", {"y": n}) for n in range(3, 15)]
    (fresh / "pool.sdf.gz").write_bytes(gzip.compress(sdf_of(*records)))
    change = {
        "target": {"source": "file", "path": "mine.csv", "smiles": "Struktur", "label": "Löslichkeit"}
        | {"delimiter": ";", "decimal": ",", "encoding": "cp1252"},
        "pool": {"source": "file", "path": "pool.sdf.gz", "label": "y"},
    }
    wanted = [f"results/small/tables/{name}.parquet" for name in ("molecules", "audit_labels")]
    done = snakemake(fresh, *wanted, *overlay(fresh, change))
    assert done.returncode == 0, done.stdout
    molecules, rejected = (
        pd.read_parquet(fresh / f"results/small/tables/{n}.parquet") for n in ("molecules", "rejected")
    )
    assert molecules.query("source == 'target'")["label"].tolist() == [number / 8 for number in range(len(SMILES))]
    assert molecules.query("source == 'pool'")["label"].tolist() == [1, 0.5, *range(3, 15)]
    assert dict(zip(rejected["row"], rejected["reason"], strict=True)) == {1: "in_target", 3: "unparsable"}
