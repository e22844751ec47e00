"""Measured data as they come: repeats, limits, units, conditions, pools on another scale, molecules of one parent."""

import copy
import math
import statistics

import numpy as np
import pandas as pd
import pytest

from chemsieve.audit import labelled
from chemsieve.audit.findings import WARNING, findings, scale_sentences
from chemsieve.audit.label_facts import agreement, facts
from chemsieve.audit.label_source import search
from chemsieve.audit.survey import survey
from chemsieve.audit.treatment import counted
from chemsieve.data import measured, quality
from chemsieve.data.enough import check, counts
from chemsieve.data.measured import Repeats, Scale
from chemsieve.data.molecules import EXTRA, Rules
from chemsieve.data.reading import check_table, columns_of, read_table
from chemsieve.errors import ChemsieveError
from chemsieve.splitting import divide
from chemsieve.study import configuration
from chemsieve.tables import write_table
from helpers.configurations import EMBEDDED, changed
from helpers.inputs import ALKANES, EMPTY_SHIFT, TABLE, nothing, partition, sdf_of, write

BASE = [(smiles, number) for number, smiles in enumerate(ALKANES)]


def weightless():
    raise AssertionError("the molecular weight is no part of this label")


def tables(tmp_path, rows, keys, header=("smiles", "y"), pool=()):
    """``molecules`` and ``rejected`` of a target file (and a pool's, read likewise) with these keys."""
    section = TABLE | keys
    files = []
    for name, content in (("target", rows), ("pool", pool)):
        path = write(tmp_path / f"{name}.csv", [header, *content])
        files.append(read_table(path, name, section) if content else nothing())
    rules = dict.fromkeys(("target", "pool"), Rules.of(section))
    molecules, rejected = partition(*files, rules=rules)
    write_table(molecules, tmp_path / "molecules.parquet", "molecules", EXTRA)
    write_table(rejected, tmp_path / "rejected.parquet", "rejected")
    return molecules, rejected


def said(molecules, rejected, **keys):
    rules = {"target": Repeats.of(keys), "pool": Repeats()}
    return [words for _, (_, words, *_) in quality.sentences(molecules, rejected, rules)]


# -- repeats -----------------------------------------------------------------------------------------------------------

TWICE = [*BASE, ("CCCCCCO", "1.0"), ("OCCCCCC", "5.0"), ("C(O)CCCCC", "9.0"), ("CCS", "2"), ("SCC", "2")]


@pytest.mark.parametrize(
    ("policy", "label", "rows"), [("first", 1, [10]), ("mean", 5, [10, 11, 12]), ("median", 5, [10, 11, 12])]
)
def test_the_label_of_several_rows_is_as_configured(tmp_path, policy, label, rows):
    molecules, rejected = tables(tmp_path, TWICE, {"repeats": policy})
    found = molecules.set_index("molecule_id").loc["target-10"]
    assert (found["label"], found["repeats"], found["spread"], list(found["label_rows"])) == (label, 3, 8, rows)
    assert found["repeats_sd"] == statistics.stdev([1, 5, 9])
    assert rejected[["row", "reason"]].to_numpy().tolist() == [[11, "repeat"], [12, "repeat"], [14, "repeat"]]
    assert "the label here is 5" in rejected["detail"].iloc[0]
    alone = molecules.set_index("molecule_id").loc["target-0"]
    assert (alone["repeats"], alone["spread"], list(alone["label_rows"])) == (1, 0, [0])
    assert math.isnan(alone["repeats_sd"])


@pytest.mark.parametrize(("policy", "forwards", "backwards"), [("first", 1, 5), ("mean", 3, 3), ("median", 3, 3)])
def test_the_order_of_two_rows_decides_only_where_the_first_is_asked_for(tmp_path, policy, forwards, backwards):
    for order, label in ((1, forwards), (-1, backwards)):
        rows = [("CCCCCCO", "1.0"), ("OCCCCCC", "5.0")][::order]
        molecules, rejected = tables(tmp_path, [*BASE, *rows], {"repeats": policy})
        found = molecules.set_index("molecule_id").loc["target-10"]
        assert (found["label"], found["spread"], found["repeats_sd"]) == (label, 4, statistics.stdev([1, 5]))
        words = said(molecules, rejected, repeats=policy)
        assert any("1 molecule stands in several rows whose labels differ, by up to 4" in text for text in words)
        assert any("the rows of 1 molecule contradict each other" in text for text in words)
        _, rejected = tables(tmp_path, [*BASE, *rows], {"repeats": policy, "drop_if_apart": 3.9})
        assert rejected["reason"].tolist() == ["contradiction"] * 2


def test_rows_that_lie_too_far_apart_are_all_left_out(tmp_path):
    molecules, rejected = tables(tmp_path, TWICE, {"repeats": "mean", "drop_if_apart": 7.5})
    assert rejected.set_index("row")["reason"].to_dict() == {
        **dict.fromkeys((10, 11, 12), "contradiction"),
        14: "repeat",
    }
    assert rejected["detail"].iloc[0] == ("labels of one molecule lie 8 apart (1 in row 10, 5 in row 11, 9 in row 12)")
    assert "target-10" not in set(molecules["molecule_id"])
    kept, _ = tables(tmp_path, TWICE, {"drop_if_apart": 8})
    assert "target-10" in set(kept["molecule_id"])
    assert any(
        "3 rows were left out" in words and "7.5" in words for words in said(molecules, rejected, drop_if_apart=7.5)
    )


def test_no_mean_is_taken_over_rows_of_two_folds(tmp_path):
    rows = [(*row, "train") for row in BASE] + [("CCO", 1, "train"), ("OCC", 9, "test"), ("C(O)C", 3, "train")]
    molecules, _ = tables(tmp_path, rows, {"repeats": "mean", "fold": "set"}, ("smiles", "y", "set"))
    found = molecules.set_index("molecule_id").loc["target-10"]
    assert (found["label"], list(found["label_rows"]), found["spread"]) == (2, [10, 12], 8)


def test_rows_that_disagree_are_said_and_their_noise_is_estimated(tmp_path):
    rows = [*BASE, ("CCO", 1.0), ("OCC", 1.5), ("CCN", 2.0), ("NCC", 2.5), ("C(N)C", 3.0), ("CCS", 4), ("SCC", 4)]
    molecules, rejected = tables(tmp_path, rows, {})
    found = quality.noise(molecules)
    # Squared deviations from the means 1.25, 2.5 and 4, over 7 labels less 3 molecules.
    squares = 2 * 0.25**2 + 2 * 0.5**2
    assert found.deviation == pytest.approx(math.sqrt(squares / 4))
    assert (found.molecules, found.repeats, found.identical) == (3, 7, 1)
    words = said(molecules, rejected)
    assert any("2 molecules stand in several rows whose labels differ, by up to 1 and 0.75" in text for text in words)
    assert any("the label of the first row is used" in text for text in words)
    assert any("7 measurements of 3 molecules" in text and "1 of them has equal labels" in text for text in words)
    assert quality.noise(tables(tmp_path, BASE, {})[0]) is None


def test_rows_that_contradict_each_other_are_listed(tmp_path):
    molecules, rejected = tables(tmp_path, [*BASE, ("CCO", 0), ("OCC", 9), ("CCN", 1), ("NCC", 1.5)], {})
    (words,) = [text for text in said(molecules, rejected) if "contradict" in text]
    assert "the rows of 1 molecule contradict" in words
    assert "target-10 by 9" in words
    assert f"{molecules['label'].std():.3g}" in words


# -- limits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "relation", "found"),
    [
        ("1.5", "", (1.5, "=")),
        ("1.5", "'='", (1.5, "=")),
        ("~1.5", "", (1.5, "=")),
        ("1.5", "~", (1.5, "=")),
        ("<0.1", "", (0.1, "<")),
        ("< 0.1", "'<'", (0.1, "<")),
        ("<=0.1", "<", (0.1, "<")),
        ("≤0.1", "", (0.1, "<")),
        ("0.1", "'<='", (0.1, "<")),
        ("10000", "\"'>'\"", (1e4, ">")),
        ("'>'10000", "", (1e4, ">")),
        ("'5.0'", "", (5, "=")),
        ("\uff1e 10", "", (10, ">")),
        ("5", "=<", (5, "<")),
        ("\u22121.5", "", (-1.5, "=")),  # a typeset minus
        ("<\u22121.5", "'='", (-1.5, "<")),
        (">>10", "=", (10, ">")),
        ("-1e-3", "", (-0.001, "=")),
    ],
)
def test_a_label_has_a_relation_before_it_or_beside_it(text, relation, found):
    label = Scale(censored="at_limit").read(text, relation, "", weightless)
    assert (label.value, label.relation) == found
    by_default = Scale().read(text, relation, "", weightless)
    assert by_default.reason == ("" if found[1] == "=" else "censored")


@pytest.mark.parametrize(
    ("text", "relation", "words"),
    [
        ("<", "", "the label '<' is no finite number"),
        ("1 < 2", "", "no finite number"),
        ("> 10,000", "", "the label '> 10,000' is a limit, and '10,000' no finite number"),
        ("<LOD", "", "the label '<LOD' is a limit, and 'LOD' no finite number"),
        (">10 uM", "", "'10 uM' no finite number"),
        ("5-10", "", "the label '5-10' is no finite number"),
        ("10 ± 2", "", "the label '10 ± 2' is no finite number"),
        ("<>1", "", "no finite number"),
        ("1", "about", "the relation 'about' of the label '1' is none of <, >, =, ~"),
        ("<1", ">", "the label '<1' and its relation '>' contradict each other"),
    ],
)
def test_a_relation_that_says_nothing_is_refused_in_words(text, relation, words):
    label = Scale(censored="at_limit").read(text, relation, "", weightless)
    assert label.reason == "no_label"
    assert words in label.detail
    assert math.isnan(label.value)


CHEMBL = [
    *((*row, "'='") for row in BASE),
    ("CCO", 5, "'>'"),
    ("OCC", 3, "'='"),
    ("C(O)C", 4, "'='"),
    ("CCS", 6, "'>'"),
]


def test_limits_are_left_out_with_their_own_reason_or_taken_as_measured(tmp_path):
    header = ("smiles", "y", "Standard Relation")
    molecules, rejected = tables(tmp_path, CHEMBL, {"relation": "Standard Relation"}, header)
    assert rejected.set_index("row")["reason"].to_dict() == {10: "censored", 12: "repeat", 13: "censored"}
    assert rejected["detail"].iloc[0] == "the value lies above 5, and was not measured"
    assert molecules.set_index("molecule_id").loc["target-11", "label"] == 3
    assert any("2 rows were left out" in words for words in said(molecules, rejected))

    keys = {"relation": "Standard Relation", "censored": "at_limit", "repeats": "mean"}
    molecules, rejected = tables(tmp_path, CHEMBL, keys, header)
    found = molecules.set_index("molecule_id")
    # What was measured counts before a limit of the same molecule, and its label is of measured rows alone.
    assert (found.loc["target-11", "label"], found.loc["target-11", "relation"]) == (3.5, "=")
    assert (found.loc["target-13", "label"], found.loc["target-13", "relation"]) == (6, ">")
    assert "a limit (>)" in rejected.set_index("row").loc[10, "detail"]
    assert any("1 of 12 labels are limits" in words for words in said(molecules, rejected))


def test_floors_and_ceilings_are_said(tmp_path):
    chains = [("C" * n + "O", -1.0 if n < 4 else n) for n in range(1, 20)]
    molecules, rejected = tables(tmp_path, chains, {})
    assert list(quality.extremes(molecules["label"])) == [("floor", -1.0, 3)]
    (words,) = said(molecules, rejected)
    assert "3 of 19 labels (16%) are -1, the lowest of all" in words
    many = pd.Series([0.0] * 3 + list(range(1, 100)))  # 3 %
    assert list(quality.extremes(many)) == []
    assert list(quality.extremes(pd.Series([1.0, 1, 1, 2, 2]))) == [("floor", 1, 3)]
    assert list(quality.extremes(pd.Series([2.0] * 9))) == []


# -- units -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "transform", "text", "value"),
    [
        ("nM", "minus_log10", "1000", 6.0),
        ("µM", "minus_log10", "1", 6.0),
        ("mol/l", "minus_log10", "1e-6", 6.0),
        ("nM", "log10", "10", -8.0),
        ("nM", "none", "1000", 1e-6),
        (None, "log10", "100", 2.0),
        ("mg/L", "minus_log10", "46.069", 3.0),  # ethanol
        ("ug/mL", "none", "46.069", 1e-3),
        ("'nM'", "minus_log10", "1000", 6.0),
    ],
)
def test_units_become_moles_and_logarithms(unit, transform, text, value):
    scale = Scale.of({"measured_in": unit, "transform": transform})
    assert scale.read(text, "", "", lambda: 46.069).value == pytest.approx(value, rel=1e-12)


def test_powers_of_ten_are_exact():
    scale = Scale(measured_in="nM", transform="minus_log10")
    assert [scale.read(str(10**n), "", "", weightless).value for n in range(7)] == [9, 8, 7, 6, 5, 4, 3]


def test_a_logarithm_turned_round_turns_the_relation():
    scale = Scale(censored="at_limit", measured_in="nM", transform="minus_log10")
    label = scale.read(">10000", "", "", weightless)
    assert (label.value, label.relation) == (5, "<")


def test_the_unit_may_stand_in_a_column_and_what_has_none_is_refused(tmp_path):
    rows = [(smiles, 10.0**number, "nM") for smiles, number in BASE]
    rows += [("CCO", "1", "mM"), ("CCN", "45.085", "mg/L"), ("CCS", "5", "%"), ("CCF", "0", "nM"), ("CCI", "-1", "nM")]
    keys = {"measured_in": "Units", "transform": "minus_log10"}
    molecules, rejected = tables(tmp_path, rows, keys, ("smiles", "y", "Units"))
    assert rejected["reason"].tolist() == ["unit", "not_positive", "not_positive"]
    assert rejected["detail"].iloc[0].startswith("the unit '%' is none of mol/L, M, mM")
    assert rejected["detail"].iloc[1] == "0 has no logarithm"
    labels = molecules.set_index("molecule_id")["label"]
    assert labels["target-10"] == 3
    assert labels["target-11"] == pytest.approx(3, abs=1e-4)  # ethylamine
    assert labels["target-3"] == 6
    # The audit reads the labels that the study reads.
    files = labelled.read(read_table(tmp_path / "target.csv", "target", TABLE | keys), Scale.of(keys))
    assert files.values.tolist() == labels.tolist()


# -- conditions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "cells"),
    [
        ([7.2, 7.6], {"7.2", "7.40", " 7.6 "}),
        (["7.2", "7.6"], {"7.2", "7.40", " 7.6 "}),  # as the command line hands it over
        ([None, 7.2], {"7", "7.2"}),
        ([7.5, "null"], {"7.6 ", " 7.6 ", "9"} - {"7.6 "}),
        (7.4, {"7.40"}),
        ("7.4", {"7.40"}),
        ("shake flask", {"shake flask"}),
        (["shake flask", "hplc"], {"shake flask", "hplc"}),
        ([7, 9, 11], {"7", "9"}),
        (True, {"TRUE"}),
        (["a"], set()),
    ],
)
def test_a_condition_is_a_range_a_value_or_a_list(wanted, cells):
    given = ["7", "7.2", "7.40", " 7.6 ", "9", "shake flask", "hplc", "", "TRUE", "inf"]
    assert {cell for cell in given if not measured.refusal(cell, "pH", wanted)} == cells


def test_rows_that_do_not_meet_a_condition_are_listed_and_read_no_further(tmp_path):
    rows = [(*row, "7,4", "a") for row in BASE] + [
        ("CCO", 1, "2,0", "a"),
        ("no molecule", "", "7,4", "b"),
        ("CCS", 1, "", "a"),
    ]
    keys = {"where": {"pH": [7, 8], "kind": "a", "other": None}, "decimal": ",", "delimiter": ";"}
    path = write(tmp_path / "a.csv", [("smiles", "y", "pH", "kind"), *rows], ";")
    check_table(path, "target", TABLE | keys)
    _, rejected = partition(read_table(path, "target", TABLE | keys), nothing())
    assert rejected[["row", "reason", "detail"]].to_numpy().tolist() == [
        [10, "where", "pH is 2,0, outside 7 to 8"],
        [11, "where", "kind is 'b'"],
        [12, "where", "pH is '', and no number"],
    ]


def test_columns_beside_the_label_are_checked_with_the_header_and_read_from_data_items(tmp_path):
    keys = {"relation": "rel", "measured_in": "unit", "where": {"pH": 7}}
    path = write(tmp_path / "a.csv", [("smiles", "y", "rel", "unit"), ("C", 1, "=", "nM")])
    assert columns_of(path, TABLE | keys) == ["smiles", "y", "rel", "unit", "pH"]
    with pytest.raises(ChemsieveError, match="there is no column 'pH' among"):
        check_table(path, "target", TABLE | keys)
    sdf = tmp_path / "a.sdf"
    sdf.write_bytes(sdf_of(("CCO", {"y": "1", "rel": "<", "unit": "nM", "pH": "7.0"}), ("CC", {"y": "2", "pH": "5"})))
    frame = read_table(sdf, "target", TABLE | keys)
    assert frame["relation_text"].tolist() == ["<", ""]
    assert frame["unit_text"].tolist() == ["nM", ""]
    assert frame["outside"].tolist() == [None, "pH is '5'"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"target.where": {"pH": [8, 7]}}, "configuration: target.where.pH: 8 is above 7, so that no row has it"),
        ({"target.where": {"pH": 7}}, "configuration: target.where: only a file of yours has further columns"),
        ({"target.relation": "rel"}, "configuration: target.relation: only a file of yours has further columns"),
        ({"target.measured_in": "Units"},
            "configuration: target.measured_in: only a file of yours has further columns"),
        ({"pool.source": "file", "pool.path": "FILE", "pool.label": "y", "pool.measured_in": "nm"},
            "configuration: pool.measured_in: 'nm' is no column of the file, and no unit; units are mol/L, M, mM"),
        ({"pool.source": "file", "pool.path": "FILE", "pool.label": "y", "pool.relation": "rell"},
            "there is no column 'rell' among 'smiles', 'y', 'rel'; did you mean 'rel'?"),
        ({"target.where": {"pH": []}}, "configuration: target.where.pH: [] should be non-empty"),
        ({"target.repeats": "average"},
            "configuration: target.repeats: unknown value 'average'; choose from first, mean"),
        ({"target.drop_if_apart": -1}, "configuration: target.drop_if_apart: -1 is less than the minimum of 0"),
        ({"target.censored": "exlude"}, "did you mean 'exclude'?"),
        ({"split.group": "scaffold"}, "configuration: split.group: unknown value 'scaffold'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path, changes, sentence):
    path = write(tmp_path / "a.csv", [("smiles", "y", "rel"), ("C", 1, "=")])
    config = changed({key: str(path) if value == "FILE" else value for key, value in changes.items()})
    with pytest.raises(ChemsieveError) as caught:
        configuration.validate(config)
    assert sentence in str(caught.value)


# -- a pool on another scale -------------------------------------------------------------------------------------------


def sides(pool_label, salts=()):
    """Files of a pool and a target that share ten alcohols, labelled 0 to 9 in the target."""
    alcohols = [f"{'C' * n}O" for n in range(2, 12)]
    target = pd.DataFrame({"row": range(10), "smiles": alcohols, "label_text": map(str, range(10))})
    rows = [*((text, pool_label(number)) for number, text in enumerate(alcohols)), *salts, ("CCCl", 1), ("CCBr", 2)]
    pool = pd.DataFrame({"row": range(len(rows)), "smiles": [text for text, _ in rows]})
    pool["label_text"] = [str(label) for _, label in rows]
    return labelled.read(pool), labelled.read(target)


def test_labels_of_shared_molecules_are_compared():
    found = agreement(*sides(lambda label: 2 * label + 5))
    assert found["molecules"] == 10
    assert found["offset"] == 9.5  # label + 5 in the median
    assert (found["slope"], found["correlation"]) == (pytest.approx(2), pytest.approx(1))
    assert found["deviation"] == pytest.approx(np.std(range(10)))
    # A salt is compared where its molecule is not there by itself.
    assert agreement(*sides(lambda label: label, [("CC[O-].[Na+]", 99), ("CCC[O-].[Na+]", 99)]))["molecules"] == 10
    pool, target = sides(lambda label: label)
    assert agreement(pool.part(np.array([10, 11])), target) is None
    assert agreement(pool.part(np.array([0, 11])), target)["slope"] is None
    salt = labelled.read(pd.DataFrame({"row": [0], "smiles": ["CC[O-].[Na+]"], "label_text": ["3"]}))
    assert agreement(salt, target)["offset"] == 3


def test_labels_that_do_not_go_together_are_warned_of():
    order = [4, 9, 0, 7, 2, 5, 8, 1, 6, 3]
    shared = agreement(*sides(lambda label: order[label]))
    ((severity, words, *_),) = scale_sentences(shared, 12)
    assert severity == WARNING
    assert "hardly go with the target's" in words
    ((severity, *_),) = scale_sentences(agreement(*sides(lambda label: label + 0.5)), 12)
    assert severity != WARNING


@pytest.mark.parametrize(("shift", "warns"), [(4.2, True), (-4.2, True), (1.0, False)])
def test_a_pool_on_another_scale_comes_first_in_the_audit(tmp_path, shift, warns):
    pool, target = sides(lambda label: label + shift)
    rows = [(text, value) for text, value in zip(target.smiles, target.values, strict=True)]
    molecules, _ = tables(tmp_path, rows, {}, pool=[("CCCl", 1), ("CCBr", 2)])
    ids = molecules.loc[molecules["source"] == "target", "molecule_id"]
    folds = ["train"] * 8 + ["validation", "test"]
    split = pd.DataFrame({"molecule_id": ids, "splitter": "random", "split_seed": 0, "fold": folds})
    tried, rule = search(pool, target)
    made = survey(molecules, split, None, None)
    treatments = counted(made.pop("leaks"), pd.DataFrame(), "as_given", "keep")
    sentences = findings({"facts": facts(pool, target), "found": rule}, tried, None if rule else tried.iloc[:0],
                         treatments, *made.values(), EMPTY_SHIFT)  # fmt: skip
    about = sentences[sentences["finding"].str.contains("shared molecules differ|shares with the target")]
    assert len(about) == 1
    assert (about.index[0] == 0) is warns
    assert (about["severity"].iloc[0] == WARNING) is warns
    assert f"{shift:+.3g} in the median" in about["finding"].iloc[0]


# -- parents -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("splitter", ["random", "scaffold", "cross_validation", "maxmin"])
def test_molecules_of_one_group_go_to_one_fold_and_groups_as_they_would_alone(splitter):
    smiles = [f"{'C' * n}{ring}" for n in range(1, 7) for ring in ("c1ccccc1", "c1ccncc1", "C1CCCC1", "c1ccco1")]
    groups = [str(number // 3) for number in range(21)] + ["", "", ""]
    folds = divide(splitter, smiles, (0.6, 0.2, 0.2), 0, groups=groups)
    assert all(len(set(folds[start : start + 3])) == 1 for start in range(0, 21, 3))
    first = [*range(0, 21, 3), 21, 22, 23]
    alone = divide(splitter, [smiles[position] for position in first], (0.6, 0.2, 0.2), 0)
    assert folds[first].tolist() == alone.tolist()


def test_folds_of_the_users_own_that_divide_a_parent_are_refused():
    given = ["train", "test", "validation", "test"]
    groups = ["a", "b", "c", "b"]
    assert divide("column", ["C"] * 4, (0.8, 0.1, 0.1), 0, given=given, groups=groups).tolist() == given
    with pytest.raises(
        ChemsieveError, match=r"rows 1 \(train\) and 9 \(test\) are molecules of one parent in two folds"
    ):
        divide("column", ["C"] * 4, (0.8, 0.1, 0.1), 0, given=given, rows=[1, 3, 7, 9], groups=["a", "b", "c", "a"])


@pytest.mark.parametrize(
    ("how", "read"),
    [
        ("none", ["CC(=O)[O-].[Na+]", "CC(=O)C=C(C)O", "CC(=O)CC(C)=O", "C[NH3+]"]),
        ("parent", ["CC(=O)O", "CC(=O)C=C(C)O", "CC(=O)CC(C)=O", "CN"]),
        ("tautomer", ["CC(=O)O", "CC(=O)CC(C)=O", None, "CN"]),  # the third is then a repeat of the second
    ],
)
def test_molecules_are_read_as_they_are_or_as_their_parent_or_canonical_tautomer(how, read):
    given = ["CC(=O)[O-].[Na+]", "CC(O)=CC(C)=O", "CC(=O)CC(C)=O", "C[NH3+]"]
    frame = pd.DataFrame({"row": range(4), "smiles": given, "label_text": "1"})
    molecules, rejected = partition(frame, nothing(), standardise=how)
    assert list(molecules["encoder_smiles"]) == [text for text in read if text]
    assert list(molecules["smiles"]) == [one for one, text in zip(given, read, strict=True) if text]
    assert list(rejected["row"]) == [row for row, text in enumerate(read) if text is None]


def test_salts_and_charge_states_have_one_parent_in_the_table(tmp_path):
    relatives = ["CC(=O)Oc1ccccc1C(=O)O", "CC(=O)Oc1ccccc1C(=O)[O-].[Na+]", "CC(=O)Oc1ccccc1C(=O)[O-]"]
    molecules, _ = tables(tmp_path, [*BASE, *((text, 1) for text in relatives)], {})
    assert molecules["parent"].tolist()[10:] == ["BSYNRYMUTXBXSQ"] * 3
    assert molecules["parent"].nunique() == 11


# -- what is too small -------------------------------------------------------------------------------------------------


def test_a_pool_below_a_budget_is_told_with_the_reasons_and_the_key(tmp_path):
    pool = [(f"{'C' * n}S", 1) for n in range(1, 5)] + [(f"{'C' * n}N", "") for n in range(1, 8)] + [("CO(", 1)]
    molecules, rejected = tables(tmp_path, BASE, {}, pool=pool)
    config = copy.deepcopy(EMBEDDED)
    with pytest.raises(ChemsieveError) as caught:
        check(config, molecules, rejected)
    assert str(caught.value) == (
        "selection.strategies.random.budget: count 100 is more than the 4 molecules of the pool, for 8 of the 12 rows "
        "of its file are not used (refused: 7 no_label, 1 unparsable; row 4: the label '' is no finite number): lower "
        "the budget and look at pool.label; tables/rejected.parquet has each of them"
    )
    for name, entry in config["selection"]["strategies"].items():
        if "budget" in entry:
            config["selection"]["strategies"][name] = entry | {"budget": {"fraction": 0.5}}
    check(config, molecules, rejected)
    assert counts(molecules, rejected) == {
        "target": {"accepted": 10},
        "pool": {"accepted": 4, "no_label": 7, "unparsable": 1},
    }


# -- budgets over budgets ----------------------------------------------------------------------------------------------


def layered(*overlays):
    """The configuration of overlays of the embedded study's budget of ``random``, as Snakemake lays them."""
    budgets = [{"count": 100}, *overlays]
    config = copy.deepcopy(EMBEDDED)
    config["selection"]["strategies"]["random"]["budget"] = {
        key: value for one in budgets for key, value in one.items()
    }
    layers = [{"selection": {"strategies": {"random": {"budget": one}}}} for one in budgets]
    made = configuration.normalise(configuration.with_whole_budgets(config, [{"study": "a"}, *layers]))
    configuration.validate(made)
    return made["selection"]["strategies"]["random"]["budget"]


@pytest.mark.parametrize(
    ("overlays", "found"),
    [
        ([], {"count": 100}),
        ([{"fraction": 0.5}], {"fraction": 0.5}),
        ([{"fraction": 0.5}, {"count": 7}], {"count": 7}),
        ([{"count": None, "fraction": 0.5}], {"fraction": 0.5}),
        ([{"count": "null", "fraction": "0.5"}], {"fraction": 0.5}),  # from the command line
    ],
)
def test_a_budget_replaces_a_budget(overlays, found):
    assert layered(*overlays) == found


@pytest.mark.parametrize("overlay", [{"count": 7, "fraction": 0.5}, {"count": None}, {"cuont": 7}])
def test_a_budget_that_is_none_or_two_is_still_refused(overlay):
    with pytest.raises(ChemsieveError, match=r"configuration: .*selection\.strategies\.random\.budget"):
        layered(overlay)


# -- what stands above a header ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "# exported, 2024\n#\nsmiles,y\nCCO,1\n",
        '\ufeff# "a quote that is never closed\r\nsmiles,y\r\nCCO,1\r\n',
        "sep=;\n# units: mol/l\nsmiles;y\nCCO;1\n",
        "# units: mol/l\nsep=;\nsmiles;y\nCCO;1\n",
        "#note,smiles,y\n,CCO,1\n",
    ],
)
def test_comments_above_the_header_are_passed_over(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    check_table(path, "target", TABLE)
    frame = read_table(path, "target", TABLE)
    assert (frame["smiles"].tolist(), frame["label_text"].tolist()) == (["CCO"], ["1"])


# Name of the file, its text, keys of the table; SMILES and label as read.
AS_THEY_COME = {
    "no header": ("a.csv", "CCO,1\nCC,2\n", {"smiles": "1", "label": "2"}, [("CCO", "1"), ("CC", "2")]),
    "no header, a comment": ("a.csv", "# made, 2024\nCCO;1,5\n", {"smiles": "1", "label": "2", "delimiter": ";",
        "decimal": ","}, [("CCO", "1.5")]),
    "a header of numbers": ("a.csv", "2,1\nCCO,C\n", {"smiles": "1", "label": "2"}, [("C", "CCO")]),
    "comments, smi": ("a.smi", "# made\n#\nsmiles y\nCCO 1\n", {}, [("CCO", "1")]),
    "comments and no header, smi": ("a.smi", "# made\nCCO 1\n", {"smiles": "1", "label": "2"}, [("CCO", "1")]),
    "names with spaces, smi": ("a.smi", "smiles y name\nCCO 1 ethanol\nC 2 marsh gas\n", {}, [("CCO", "1"),
        ("C", "2")]),
    "names with spaces and no header, smi": ("a.smi", "C 2 marsh gas\nCCO 1 ethanol\n", {"smiles": "1", "label": "2"},
        [("C", "2"), ("CCO", "1")]),
    "tabs between names with spaces, smi": ("a.smi", "CCO\tcompound 17\t1\nC\tmarsh gas\t2\n",
        {"smiles": "1", "label": "3"}, [("CCO", "1"), ("C", "2")]),
    "tabs, a header and an empty name, smi": ("a.smi", "smiles\tlog S\tname\nCCO\t1\t\nC |^1:0|\t2\tmarsh gas\n",
        {"label": "log S"}, [("CCO", "1"), ("C |^1:0|", "2")]),
    "quotes around all, and sep": ("a.csv", 'sep=;\r\n"smiles";"y"\r\n"CCO";"1.0"\r\n', {}, [("CCO", "1.0")]),
    "empty columns at the end": ("a.csv", "smiles,y,,\nCCO,1,,\n", {}, [("CCO", "1")]),
    "line ends of old": ("a.csv", "smiles,y\rCCO,1\rCC,2\r", {}, [("CCO", "1"), ("CC", "2")]),
    "braces in a name": ("a.csv", "smiles,logP {exp}\nC,1\n", {"label": "logP {exp}"}, [("C", "1")]),
}  # fmt: skip


@pytest.mark.parametrize("case", AS_THEY_COME)
def test_files_as_they_come_are_read(tmp_path, case):
    name, text, keys, wanted = AS_THEY_COME[case]
    (tmp_path / name).write_text(text, encoding="utf-8")
    check_table(tmp_path / name, "target", TABLE | keys)
    frame = read_table(tmp_path / name, "target", TABLE | keys)
    assert list(zip(frame["smiles"], frame["label_text"], strict=True)) == wanted


def test_a_file_without_a_header_is_told_how_to_name_its_columns(tmp_path):
    (tmp_path / "a.csv").write_text("CCO,1\nCC,2\n", encoding="utf-8")
    with pytest.raises(
        ChemsieveError, match=r"where line 1 is no header, columns have numbers \(set target.smiles to '1'"
    ):
        check_table(tmp_path / "a.csv", "target", TABLE)


def test_lines_are_counted_with_the_comments(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("# one\n# two\nsmiles,y\nCCO,1\nCC\n")
    with pytest.raises(ChemsieveError, match=r"row 1 \(line 5\) has 1 field"):
        read_table(path, "target", TABLE)
    path.write_text("#smiles,value\nCCO,1\n")
    with pytest.raises(
        ChemsieveError, match="no column 'smiles' among 'CCO', '1'; 1 line above, with # at the beginning"
    ):
        check_table(path, "target", TABLE)
