"""One acceptance: training, pretraining and prediction take the same molecules and refuse the same, and read all."""

import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from chemsieve.audit import labelled
from chemsieve.audit.findings import NOTE, WARNING, findings
from chemsieve.audit.shift import compare_all
from chemsieve.data import chemistry, corpus
from chemsieve.data.acceptance import Reader, structure
from chemsieve.data.descriptors import descriptors
from chemsieve.data.molecules import EXTRA, prepare
from chemsieve.data.reading import read_table, stream
from chemsieve.deployment import folder
from chemsieve.deployment.stream import predict_file
from chemsieve.models import tokenization
from chemsieve.models.random_smiles import SmilesRandomiser
from chemsieve.models.unread import Unread
from chemsieve.splitting import divide
from chemsieve.tables import write_table
from helpers.inputs import ALKANES, EMPTY_SHIFT, TABLE, nothing, read, write
from helpers.models import exported
from helpers.tiny import SMILES

OWN = tokenization.build()
PUBLISHED = Path(__file__).parent.parent.parent / "shared" / "data" / "molformer" / "tokenizer.json"

# What a user may write: what the encoder reads of it, or the reason why it reads nothing.
ACCEPTED = {
    "CCOc1ccccc1": "CCOc1ccccc1",
    "[CH3:1][CH2:2][O:3][c:4]1[cH:5]cccc1": "CCOc1ccccc1",
    "[CH3:0]C": "CC",
    "[H:1][C:2]([H:3])([H:4])[CH3:5]": "CC",
    "[nH:12]1cccc1": "c1cc[nH]c1",
    "[CH3:1][C@H:2]([NH2:3])[C:4](=[O:5])[OH:6]": "CC(N)C(=O)O",
    "[Na+:1].[Cl-:2]": "[Cl-].[Na+]",
    "[CH2]C": "[CH2]C",  # a radical
    "[CH2:1][CH3:2]": "[CH2]C",
    "[2H]C": "[H]C",  # the encoder is given no isotopes
    "[13CH3:7]O": "CO",
    "C~C": "C~C",  # a bond of no order
    "[NH3]->[Cu+2]": "[NH3]->[Cu+2]",
    "C%(100)CCC%(100)": "C1CCC1",
}
REFUSED = {
    "*Cc1ccccc1": "dummy_atom",
    "[*:1]CC": "dummy_atom",
    "[1*]CC": "dummy_atom",
    "[#0]CC": "dummy_atom",
    "[R1]CC": "unparsable",
    "R#CC": "unparsable",
    "[#6]CC": "unparsable",
    "[#6:1]CC": "unparsable",
    "[13#6]C": "unparsable",
    "[C,N]CC": "unparsable",
    "[C;R]C": "unparsable",
    "C@C": "unparsable",
    "CC |^1:0|": "unparsable",
    "*CC |$R1;;$|": "unparsable",
    "[C:1:2]": "unparsable",
    "CC>>CO": "unparsable",
    "": "unparsable",
    "C" * 60: "too_long",
    "C" * 5001: "too_long",
    "[U+6]": "unknown_token",
    "C[Og]": "unknown_token",
    "[Cu]<-[NH3]": None,  # RDKit writes the arrow the other way round, so that it is read whole
    "[NH3]->[Pt](<-[NH3])([Cl])[Cl]": "unknown_token",
    "c1cc[n](->[Cu])cc1": "unknown_token",
}


def row_frame(smiles):
    labels = [str(number) for number in range(len(smiles))]
    columns = {"row": range(len(smiles)), "smiles": smiles, "label_text": labels}
    return pd.DataFrame(columns).assign(given_fold=None, problem=None)


def trained_on(smiles, tokenizer=OWN, unknown_tokens="refuse", stereo=False, pool=None):
    """The tables ``molecules`` and ``rejected`` of a study of these SMILES."""
    return prepare(row_frame(smiles), row_frame(pool or []), Reader(tokenizer, 50, unknown_tokens), stereo)


def pretrained_on(tmp_path, lines, unknown_tokens="refuse"):
    """The tables ``corpus`` and ``corpus_refused`` of these lines, below molecules that are of use."""
    path = tmp_path / "corpus.smi"
    path.write_text("\n".join([*SMILES, *lines]) + "\n", encoding="utf-8")
    return corpus.prepare(path, OWN, 50, 0.3, 1, unknown_tokens=unknown_tokens)


@pytest.fixture(scope="module")
def model(encoder_folder, tmp_path_factory):
    """A model folder. Read it only."""
    target = tmp_path_factory.mktemp("model")
    exported(target, encoder_folder)
    return target


@pytest.fixture(scope="module")
def predictor(model):
    return folder.load(model)


# -- the three ways in -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ACCEPTED)
def test_what_is_accepted_is_read_alike_in_training_pretraining_and_prediction(tmp_path, predictor, text):
    wanted = ACCEPTED[text]
    others = [smiles for smiles in SMILES if Chem.CanonSmiles(smiles) != Chem.CanonSmiles(wanted)]
    molecules, rejected = trained_on([*others, text])
    assert rejected.empty
    last = molecules.iloc[-1]
    assert (last["encoder_smiles"], last["smiles"], last["unknown_tokens"]) == (wanted, text, 0)
    assert ":" not in last["canonical_smiles"] + last["scaffold"]
    assert last["mapped"] == (":" in text)
    ids = OWN.encode(wanted).ids
    assert "".join(OWN.id_to_token(index) for index in ids[1:-1]) == wanted
    assert last["tokens"] == len(ids)

    path = tmp_path / "corpus.smi"
    path.write_text("\n".join([*others, text]) + "\n", encoding="utf-8")
    table, refused = corpus.prepare(path, OWN, 50, 0.3, 1)
    assert refused.empty
    assert list(table["tokens"].iloc[-1]) == ids

    found = predictor.predict([text, Chem.MolToSmiles(Chem.MolFromSmiles(wanted))])
    assert list(found["reason"]) == ["", ""]
    assert list(found["unread"]) == ["", ""]
    if "2H" not in text:
        assert found["exp"].iloc[0] == pytest.approx(found["exp"].iloc[1], rel=1e-5)


@pytest.mark.parametrize("text", [text for text, reason in REFUSED.items() if reason])
def test_what_is_refused_is_refused_for_one_reason_in_training_pretraining_and_prediction(tmp_path, predictor, text):
    _, rejected = trained_on([*ALKANES, text])
    _, refused = pretrained_on(tmp_path, [text])
    found = predictor.predict([text])
    assert list(rejected["reason"]) == list(refused["reason"]) == list(found["reason"]) == [REFUSED[text]]
    assert list(rejected["detail"]) == list(refused["detail"])
    assert found["exp"].isna().all()
    if REFUSED[text] == "unknown_token":
        assert found["unread"].iloc[0] == rejected["detail"].iloc[0]
        assert all(piece in rejected["detail"].iloc[0] for piece in rejected["unread"].iloc[0].split())


def test_an_arrow_that_rdkit_turns_round_is_read_whole():
    reader = Reader(OWN, 50)
    for text, reason in REFUSED.items():
        if reason is None:
            written = chemistry.canonical_smiles(structure(text).molecule)
            assert (written, reader.read([written])[0].reason) == ("[NH3]->[Cu]", "")


@pytest.mark.parametrize(
    ("text", "mapped"),
    [("", False), ("C" * 5001, False), ("C(", False), ("*C", False), ("[CH3:1]C(", True), ("[CH3:1]*", True)],
)
def test_a_text_that_is_refused_is_mapped_where_it_has_maps(text, mapped):
    found = structure(text)
    assert found.molecule is None
    assert found.mapped is mapped


def test_the_longest_text_that_is_parsed_has_5000_characters():
    assert structure("C" * 5000).molecule.GetNumAtoms() == 5000
    assert structure("C" * 5001).reason == "too_long"


def test_an_extension_is_named_on_whatever_lines_it_stands():
    assert "CXSMILES" in structure("CC |$a;\nb$|").detail


def test_a_row_that_no_reader_could_read_is_not_mapped():
    frame = row_frame([*ALKANES, "[CH3:1]C"])
    frame.loc[len(ALKANES), "problem"] = "2 cells where the header has 3"
    _, rejected = prepare(frame, row_frame([]), Reader(OWN, 50), False)
    assert rejected[["reason", "detail"]].to_dict("list") == {
        "reason": ["unparsable"],
        "detail": ["2 cells where the header has 3"],
    }
    assert list(rejected["mapped"]) == [False]


def test_mapped_twins_are_repeats_and_never_cross_from_target_to_pool():
    mapped = ["[CH3:1][CH2:2][O:3][c:4]1ccccc1", "[CH3:9][CH2:8][O:7][c:6]1ccccc1"]
    molecules, rejected = trained_on([*ALKANES, "CCOc1ccccc1", *mapped], pool=[mapped[0], "[SH:1][CH3:2]"])
    assert list(rejected["reason"]) == ["repeat", "repeat", "in_target"]
    assert list(rejected["mapped"]) == [True] * 3
    assert list(molecules["smiles"].iloc[-2:]) == ["CCOc1ccccc1", "[SH:1][CH3:2]"]
    assert list(molecules["mapped"]) == [False] * 11 + [True]


def mapped(smiles):
    """Each atom numbered, as reaction tools write them."""
    molecule = Chem.MolFromSmiles(smiles)
    for atom in molecule.GetAtoms():
        atom.SetAtomMapNum(atom.GetIdx() + 1)
    return Chem.MolToSmiles(molecule)


def test_whatever_is_computed_of_mapped_molecules_is_that_of_the_molecules():
    rings = [f"{'C' * n}{ring}" for n in range(1, 6) for ring in ("c1ccccc1", "c1ccncc1", "C1CCCC1", "c1ccco1")]
    given = [mapped(text) for text in rings]
    for splitter in ("scaffold", "butina", "weight", "fingerprint", "maxmin"):
        folds = [list(divide(splitter, side, (0.5, 0.25, 0.25), 0)) for side in (rings, given)]
        assert folds[0] == folds[1], splitter
    plain, numbered = (trained_on(side, pool=["CCS", "CCCS"])[0] for side in (rings, given))
    for column in ("canonical_smiles", "encoder_smiles", "inchikey", "scaffold", "tokens"):
        assert list(plain[column]) == list(numbered[column]), column
    np.testing.assert_array_equal(*(descriptors(list(side["canonical_smiles"][:4])) for side in (plain, numbered)))
    shifts = [compare_all(side, lambda texts: np.arange(len(texts))[:, None], 50, 9) for side in (plain, numbered)]
    pd.testing.assert_frame_equal(*shifts)
    seen = [labelled.read(row_frame(side)) for side in (rings, given)]
    assert list(seen[0].inchikeys) == list(seen[1].inchikeys)


def test_the_audit_of_labels_sees_no_dummy_atoms():
    assert list(labelled.read(row_frame(["CCO", "*CC", "[#6]C", "[CH3:1]O"])).rows) == [0, 3]


# -- files -------------------------------------------------------------------------------------------------------------


def test_an_extension_belongs_to_its_smiles_in_smi_files(tmp_path, predictor):
    lines = ["SMILES name y", "CCO a 1", "CC |^1:0| b 2", "CCC |$;R 1;$| c 3", "[CH3:1]O d 4", "CCN |x e 5"]
    (tmp_path / "a.smi").write_text("\n".join(lines) + "\n", encoding="utf-8")
    given = ["CCO", "CC |^1:0|", "CCC |$;R 1;$|", "[CH3:1]O", "CCN |x"]
    frame = read_table(tmp_path / "a.smi", "pool", TABLE | {"smiles": "SMILES"})
    assert list(frame["smiles"]) == given
    assert list(frame["label_text"]) == list("12345")
    header, rows = stream(tmp_path / "a.smi", "predict", "SMILES")
    assert header == ["SMILES", "name", "y"]
    assert [row.cells for row in rows] == [[text, *rest] for text, *rest in zip(given, "abcde", "12345", strict=True)]
    predict_file(predictor, tmp_path / "a.smi", tmp_path / "out.csv", "SMILES")
    assert [row[-1] for row in read(tmp_path / "out.csv")[1:]] == ["", "unparsable", "unparsable", "", "unparsable"]
    _, rejected = prepare(row_frame(ALKANES), frame, Reader(OWN, 50), False)
    assert rejected["detail"].str.startswith("an extension of the SMILES").sum() == 3


def test_an_extension_is_seen_without_a_header_and_in_any_column(tmp_path):
    (tmp_path / "a.smi").write_text("CC |^1:0| b 2\nCCO a 1\n", encoding="utf-8")
    frame = read_table(tmp_path / "a.smi", "pool", TABLE | {"smiles": "1", "label": "3"})
    assert list(zip(frame["smiles"], frame["label_text"], strict=True)) == [("CC |^1:0|", "2"), ("CCO", "1")]
    (tmp_path / "b.smi").write_text("b CC |^1:0|\na CCO\n", encoding="utf-8")
    assert [row.smiles for row in stream(tmp_path / "b.smi", "predict", "2")[1]] == ["CC |^1:0|", "CCO"]
    frame = read_table(tmp_path / "b.smi", "pool", TABLE | {"smiles": "2", "label": "1"})
    assert list(zip(frame["smiles"], frame["label_text"], strict=True)) == [("CC |^1:0|", "b"), ("CCO", "a")]


def block(atoms, bonds, *properties, numbers=()):
    """A V2000 connection table; ``numbers`` are atom maps."""
    maps = [*numbers, *[0] * (len(atoms) - len(numbers))]
    lines = ["name", "  test", "", f"{len(atoms):3}{len(bonds):3}  0  0  0  0  0  0  0  0999 V2000"]
    lines += [
        f"{i:10.4f}    0.0000    0.0000 {atom:<3} 0  0  0  0  0  0  0  0  0{number:3}  0  0"
        for i, (atom, number) in enumerate(zip(atoms, maps, strict=True))
    ]
    return "\n".join(
        [*lines, *(f"{first:3}{second:3}{order:3}  0" for first, second, order in bonds), *properties, "M  END", ""]
    )


CHAIN = [(1, 2, 1), (2, 3, 1)]
SGROUP = ["M  SAL   1  1   2", "M  SBL   1  2   1   2", "M  SMT   1 n"]
# Records: the SMILES that is read, or what the detail says.
RECORDS = {
    "plain": (block("CCO", CHAIN), "CCO"),
    "maps": (block("CCO", CHAIN, numbers=(1, 2, 3)), "CCO"),
    "deuterium": (block("DCO", CHAIN), "[2H]CO"),
    "radical": (block("CCO", CHAIN, "M  RAD  1   1   2"), "[CH2]CO"),
    "isotope": (block("CCO", CHAIN, "M  ISO  1   1  13"), "[13CH3]CO"),
    "zero-order bond": (block("NB", [(1, 2, 1)], "M  ZBO  1   1   0"), "B~N"),
    "dative bond": (block(["N", "Cu"], [(1, 2, 9)]), "[NH3]->[Cu]"),
    "own label": (block("CCO", CHAIN, "A    1", "C1'"), "CCO"),
    "abbreviation, drawn open": (block("CCO", CHAIN, "M  STY  1   1 SUP", *SGROUP), "CCO"),
    "multiple group, drawn open": (block("CCO", CHAIN, "M  STY  1   1 MUL", *SGROUP), "CCO"),
    "R group": (block(["R#", "C", "C"], CHAIN, "M  RGP  1   1   1"), "an atom stands for another group"),
    "R group with a name": (block(["R#", "C", "C"], CHAIN, "A    1", "R1"), "an atom stands for another group"),
    "star": (block("*CC", CHAIN), "an atom stands for another group"),
    "any atom": (block("ACC", CHAIN), "an atom stands for another group"),
    "any heteroatom": (block("QCC", CHAIN), "an atom stands for another group"),
    "atom list": (block("LCC", CHAIN, "M  ALS   1  2 F N   O   "), "an atom stands for another group"),
    "atom list of old files": (block("LCC", CHAIN, "  1 F    2   7   8"), "atom 1 is a query"),
    "substitution count": (block("CC", [(1, 2, 1)], "M  SUB  1   1   2"), "atom 1 is a query"),
    "ring bond count": (block("CC", [(1, 2, 1)], "M  RBC  1   1   2"), "atom 1 is a query"),
    "unsaturated": (block("CC", [(1, 2, 1)], "M  UNS  1   1   1"), "atom 1 is a query"),
    "single or double": (block("CCC", [(1, 2, 5), (2, 3, 1)]), "bond 1 is a query"),
    "single or aromatic": (block("CCC", [(1, 2, 6), (2, 3, 1)]), "bond 1 is a query"),
    "attachment point": (block("CC", [(1, 2, 1)], "M  APO  1   1   1"), "atom 1 is an attachment point"),
    "link node": (block("CCC", CHAIN, "M  LIN  1   2   4   1   3"), "a chain of any length"),
    "repeating unit": (block("CCO", CHAIN, "M  STY  1   1 SRU", *SGROUP), "a unit is repeated"),
    "alias": (block("CCO", CHAIN, "A    1", "Ph"), "atom 1 has an alias"),
    "alias that begins alike": (block("CCO", CHAIN, "A    1", "CF3"), "atom 1 has an alias"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_record_is_the_molecule_that_it_says_or_refused(tmp_path, predictor, case):
    record, expected = RECORDS[case]
    path = tmp_path / "a.sdf"
    alkanes = [Chem.MolToMolBlock(Chem.MolFromSmiles("C" * n)) for n in range(1, 11)]
    path.write_text("".join(f"{b}> <y>\n{n}\n\n$$$$\n" for n, b in enumerate([*alkanes, record])), encoding="utf-8")
    molecules, rejected = prepare(read_table(path, "target", TABLE), nothing(), Reader(OWN, 50), True)
    predict_file(predictor, path, tmp_path / "out.csv")
    reason = read(tmp_path / "out.csv")[-1][-1]
    if len(molecules) == 11:
        assert molecules["canonical_smiles"].iloc[-1] == Chem.CanonSmiles(expected)
        assert reason == ""
        assert molecules["mapped"].iloc[-1] == (case == "maps")
    else:
        assert expected in rejected["detail"].iloc[0]
        assert reason == rejected["reason"].iloc[0]
        assert (reason == "dummy_atom") == ("another group" in expected)


# -- tokenizers --------------------------------------------------------------------------------------------------------

TRICKY = [*SMILES, "C[C@H](N)C(=O)O", "[Na+].[Cl-]", "[2H]C", "C~C", "Clc1ccc(Br)cc1", "[NH3]->[Cu+2]"]
LETTERS = sorted({letter for text in TRICKY for letter in text} | set("<LR"))


def bytes_tokenizer(add_prefix_space=False):
    """As RoBERTa has it: no unknown token is ever needed."""
    alphabet = {letter: index + 3 for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE({"<pad>": 0, "<mask>": 1, "<unk>": 2, **alphabet, "CC": 300}, [("C", "C")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    made.add_special_tokens(["<pad>", "<mask>", "<unk>"])
    return made


def subwords(missing="", **options):
    """As BERT has it: words from their beginning, pieces with marks."""
    kept = [letter for letter in LETTERS if letter not in missing]
    tokens = ["[PAD]", "[MASK]", "[UNK]", *kept, *(f"##{letter}" for letter in kept), "##CC", "Cl"]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", **options))
    made.add_special_tokens(["[PAD]", "[MASK]", "[UNK]"])
    return made


def characters(missing="", unknown="<unk>", normalizer=None, **options):
    kept = ["<pad>", "<mask>", "<unk>", *(letter for letter in LETTERS if letter not in missing)]
    made = Tokenizer(models.BPE({token: i for i, token in enumerate(kept)}, [], unk_token=unknown, **options))
    made.add_special_tokens(["<pad>", "<mask>", "<unk>"])
    if normalizer is not None:
        made.normalizer = normalizer
    return made


def sentence_pieces():
    """As T5 has it: a mark in place of a blank, and before the text."""
    scores = [("<unk>", 0.0), ("\u2581", -2.0), *((letter, -3.0) for letter in LETTERS), ("CC", -1.0)]
    made = Tokenizer(models.Unigram(scores, unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens(["<pad>", "<mask>"])
    return made


WHOLE = {
    "own": lambda: OWN,
    "bytes": bytes_tokenizer,
    "bytes after a blank": lambda: bytes_tokenizer(add_prefix_space=True),
    "subwords": subwords,
    "characters": characters,
    "sentence pieces": sentence_pieces,
    "unicode normalised": lambda: characters(normalizer=normalizers.NFKC()),
    "elements by one letter": lambda: characters(
        normalizer=normalizers.Sequence([normalizers.Replace("Cl", "L"), normalizers.Replace("Br", "R")])
    ),
    "a mark before": lambda: characters(normalizer=normalizers.Prepend("C")),
}


def parts(tokenizer, smiles):
    return [reading.unread for reading in Reader(tokenizer, 500).read(smiles)]


@pytest.mark.parametrize("name", WHOLE)
def test_no_tokenizer_that_reads_all_gives_a_false_alarm(name):
    tokenizer = WHOLE[name]()
    assert {found.pieces for found in parts(tokenizer, TRICKY)} == {()}


@pytest.mark.parametrize(
    ("tokenizer", "text", "unknown", "dropped", "altered"),
    [
        (OWN, "CC[Og]C[U+6]", ("[Og]", "[U+6]"), (), ()),
        (OWN, "[Cu]<-[n]1ccccc1", (), ("<",), ()),
        (OWN, "[Og]<-[NH3]", ("[Og]",), ("<",), ()),
        (OWN, "[CH3:1]C", ("[CH3:1]",), (), ()),
        (subwords("~"), "C~C", ("C~C",), (), ()),  # a word with one unknown piece is unknown as a whole
        (subwords(max_input_chars_per_word=5), "CCCCCC", ("CCCCCC",), (), ()),
        (characters("~"), "C~CC~C", ("~", "~"), (), ()),
        (characters("<-", fuse_unk=True), "C<-C", ("<-",), (), ()),
        (characters("<-", unknown=None), "C<-CC", (), ("<-",), ()),  # without an unknown token nothing is left of them
        (characters(normalizer=normalizers.Lowercase()), "CCn", (), (), ("C", "C")),
        (characters(normalizer=normalizers.Replace("-", "")), "C-C", (), ("-",), ()),
    ],
)
def test_what_a_tokenizer_does_not_read_is_named(tokenizer, text, unknown, dropped, altered):
    assert parts(tokenizer, ["n", text, "c"]) == [
        Unread(),
        Unread(unknown, dropped, altered),
        Unread(),
    ]


def test_a_blank_that_a_pattern_removes_is_named():
    tokenizer = characters()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[0-9]"), behavior="removed")
    assert parts(tokenizer, ["c1ccccc1"])[0].dropped == ("1", "1")


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="the published tokenizer.json is not here")
def test_the_published_tokenizer_reads_molecules_whole_and_no_ammine():
    tokenizer = tokenization.load(PUBLISHED)
    assert {found.pieces for found in parts(tokenizer, SMILES)} == {()}
    found = parts(tokenizer, ["[NH3]->[Pt](<-[NH3])([Cl])[Cl]", "C~C"])
    assert found[0] == Unread(("[NH3]", ">", "[NH3]"), ("<",))
    assert found[1] == Unread(("~",))
    assert found[0].words == "the encoder does not know [NH3], >, and its tokenizer passes over <"


def test_a_random_writing_that_is_not_read_whole_gives_way():
    amine = "[NH3]->[Cu+2]"  # some SMILES begin with the metal and need the other arrow
    several = SmilesRandomiser(OWN, 50).several([amine], 20)
    assert {tuple(rows[0]) for rows in several} == {tuple(OWN.encode(amine).ids)}
    several = SmilesRandomiser(OWN, 50).several(
        [COMPLEX], 5
    )  # flagged: no SMILES of it is read whole, so that it stays
    assert {tuple(rows[0]) for rows in several} == {tuple(OWN.encode(COMPLEX).ids)}


# -- flagged -----------------------------------------------------------------------------------------------------------

COMPLEX = "[NH3]->[Pt](<-[NH3])([Cl])[Cl]"


def test_flagged_molecules_are_accepted_and_counted(tmp_path):
    molecules, rejected = trained_on([*ALKANES, COMPLEX, "C[Og]"], unknown_tokens="flag")
    assert rejected.empty
    assert list(molecules["unknown_tokens"]) == [0] * 10 + [1, 1]
    assert list(molecules["unread"])[-2:] == ["<", "[Og]"]
    write_table(molecules, tmp_path / "m.parquet", "molecules", EXTRA)
    write_table(rejected, tmp_path / "r.parquet", "rejected")
    _, rejected = trained_on([*ALKANES, COMPLEX, "C[Og]"])
    assert list(rejected["unread"]) == ["<", "[Og]"]
    write_table(rejected, tmp_path / "r.parquet", "rejected")


def test_a_corpus_is_refused_or_flagged_and_maps_are_counted(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    table, refused = pretrained_on(tmp_path, ["C[Og]", "[CH3:1][SH:2]", "[CH3:1][CH2:2][OH:3]"], unknown_tokens="flag")
    assert list(table["unknown_tokens"]) == [0] * len(SMILES) + [1, 0]
    assert list(refused["reason"]) == ["repeat"]
    assert "atom maps of 2 lines were left out" in caplog.text
    assert f"1 of {len(SMILES) + 2} molecules have parts that the tokenizer does not know" in caplog.text
    write_table(table, tmp_path / "c.parquet", "corpus")
    write_table(refused, tmp_path / "r.parquet", "corpus_refused")


def test_a_flagged_prediction_says_what_was_not_read(encoder_folder, tmp_path):
    exported(tmp_path / "model", encoder_folder, unknown="flag")
    write(tmp_path / "in.csv", [["smiles"], ["CCO"], ["CCO[Og]"], ["[CH3:1][CH2:2][OH:3]"]])
    counts = predict_file(folder.load(tmp_path / "model"), tmp_path / "in.csv", tmp_path / "out.csv")
    assert counts == {"": 3}
    header, *rows = (dict(enumerate(row)) for row in read(tmp_path / "out.csv"))
    place = {name: number for number, name in header.items()}
    assert [row[place["unread"]] for row in rows] == ["", "the encoder does not know [Og]", ""]
    assert [row[place["in_domain"]] for row in rows][1] == "false"
    assert rows[0] == {**rows[2], 0: "CCO"}
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "a molecule with such is predicted as something else" in card


def test_a_model_folder_of_an_earlier_release_loads_and_refuses(model, tmp_path):
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    facts = json.loads((tmp_path / folder.FACTS).read_text(encoding="utf-8"))
    del facts["input"]["unknown_tokens"]
    (tmp_path / folder.FACTS).write_text(json.dumps(facts), encoding="utf-8")
    found = folder.load(tmp_path).predict(["CCO", "C[Og]", "*C", "[CH3:1][CH2:2][OH:3]"])
    assert list(found["reason"]) == ["", "unknown_token", "dummy_atom", ""]
    assert found["exp"].iloc[3] == found["exp"].iloc[0]


# -- the audit ---------------------------------------------------------------------------------------------------------


def said(molecules, rejected):
    """What the audit says of reading."""
    none = pd.DataFrame()
    identity = pd.DataFrame(columns=["molecules", "level", "splitter", "split_seed", "place", "other", "of"])
    nearest = pd.DataFrame(columns=["fold", "splitter", "similarity"])
    found = findings(None, None, None, none, identity, nearest, EMPTY_SHIFT, molecules, rejected)
    return found[found["topic"] == "reading"]


def test_the_audit_counts_what_is_not_read_and_names_the_most_frequent():
    odd = ["C[Og]", "CC[Og]", "CCC[Og]", COMPLEX]
    texts = [*ALKANES, "[CH3:1]O", *odd]
    flagged = said(*trained_on(texts, unknown_tokens="flag", pool=["[SH:1]C", "[Og]CO"]))
    assert list(flagged["severity"]) == [WARNING, NOTE]
    warning, note = flagged["finding"]
    assert warning.startswith("5 of 17 accepted molecules (29.41%; 4 of the target, 1 of the pool) have parts")
    assert "[Og] in 4, < in 1." in warning
    assert note.startswith("The SMILES of 2 of 17 rows (1 of the target, 1 of the pool) have atom maps")
    refused = said(*trained_on(texts, pool=["[SH:1]C", "[Og]CO"]))
    assert list(refused["severity"]) == [NOTE, NOTE]
    assert refused["finding"].iloc[0].startswith("5 of 17 rows (29.41%; 4 of the target, 1 of the pool) were refused")
    assert list(refused["count"]) == [5, 2]
    assert said(*trained_on(ALKANES)).empty
