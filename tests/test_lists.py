"""Lists of what each strategy chose, against tables made by hand."""

import csv
import io

import pandas as pd
import pytest

from chemsieve.deployment.lists import agreement, as_csv, consensus, described, file_names, write_lists
from chemsieve.study.plan import Plan
from helpers.configurations import EMBEDDED, UNLABELLED, changed
from helpers.reports import make, study_tables

SPLITS = [("scaffold", 0), ("random", 3)]


def table():
    """One strategy, three replicates on two splits, four molecules, two chosen in each."""
    orders = {
        ("scaffold", 0, 0): "adbc",
        ("scaffold", 0, 1): "abdc",
        ("random", 3, 0): "bacd",
    }
    rows = [
        ("influence", *replicate, f"pool-{name}", 4.0 - place, place + 1, place < 2)
        for replicate, order in orders.items()
        for place, name in enumerate(order)
    ]
    columns = ["strategy", "splitter", "split_seed", "seed", "molecule_id", "score", "rank", "selected"]
    return pd.DataFrame(rows, columns=columns)


MOLECULES = pd.DataFrame(
    [
        *(("pool-a", "CCO", 1.5, "CMP-1"), ("pool-b", "CCN", None, "=1+1"), ("pool-c", "CCC", 2.0, None)),
        *(("pool-d", "CCS", 0.25, "-5"), ("target-0", "CO", 0.0, "T-0"), ("target-1", "CN", 0.0, None)),
    ],
    columns=["molecule_id", "smiles", "label", "identifier"],
)
NEAREST = pd.DataFrame(
    [
        *(("pool-a", "scaffold", 0, "target-0", 0.5), ("pool-a", "random", 3, "target-1", 0.75)),
        *(("pool-b", "scaffold", 0, "target-0", 0.25), ("pool-b", "random", 3, "target-1", 0.125)),
    ],
    columns=["molecule_id", "splitter", "split_seed", "nearest_id", "similarity"],
)


def test_what_most_replicates_chose_comes_first():
    found = consensus(table())
    assert list(found["molecule_id"]) == ["pool-a", "pool-b", "pool-d"]  # c was never chosen
    assert list(found["rank"]) == [1, 2, 3]
    assert list(found["chosen_in"]) == [3, 2, 1]
    assert set(found["of"]) == {3}
    assert list(found["median_rank"]) == [1, 2, 3]  # of 1, 1, 2; 3, 2, 1; 2, 3, 4
    assert list(found["score"]) == [4.0, 3.0, 2.0]


def test_the_better_rank_decides_among_equals():
    rows = table()
    first = rows[(rows["splitter"] == "scaffold") & (rows["seed"] == 1)]
    assert list(consensus(first.iloc[::-1])["molecule_id"]) == ["pool-a", "pool-b"]
    assert str(agreement(first)) == "2 chosen, in the one replicate"


def test_agreement_is_what_all_replicates_chose():
    assert str(agreement(table())) == "1 of 2 chosen in all 3 replicates"
    assert str(agreement(table().query("splitter == 'scaffold'"))) == "1 of 2 chosen in both replicates"
    assert agreement(table().head(0)).replicates == 0


def test_a_list_names_molecules_as_their_file_does():
    found = described(consensus(table()), MOLECULES, NEAREST).set_index("molecule_id")
    assert found.loc["pool-a", "identifier"] == "CMP-1"
    # Of both splits, the nearer one; a training molecule without a name of its own has that of the tables.
    assert found.loc["pool-a", ["nearest_training", "nearest_training_smiles", "similarity"]].tolist() == [
        *("target-1", "CN"),
        0.75,
    ]
    assert found.loc["pool-b", ["nearest_training", "similarity"]].tolist() == ["T-0", 0.25]
    assert pd.isna(found.loc["pool-d", "nearest_training"])
    assert described(consensus(table()), MOLECULES, None)["similarity"].isna().all()


def read(path):
    return list(csv.DictReader(path.open(encoding="utf-8", newline="")))


def test_lists_are_written_over_all_splits_and_for_each(tmp_path):
    said = write_lists(tmp_path, ["influence", "failed"], SPLITS, table(), MOLECULES, NEAREST)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}{split}.csv" for name in ("influence", "failed") for split in ("", "_scaffold-0", "_random-3")
    }
    rows = read(tmp_path / "influence.csv")
    assert [(row["identifier"], row["chosen_in"], row["of"], row["label"]) for row in rows] == [
        *(("CMP-1", "3", "3", "1.5"), ("'=1+1", "2", "3", ""), ("-5", "1", "3", "0.25")),
    ]
    one = read(tmp_path / "influence_random-3.csv")
    assert [(row["molecule_id"], row["of"], row["similarity"]) for row in one] == [
        ("pool-b", "1", "0.125"),
        ("pool-a", "1", "0.75"),
    ]
    assert read(tmp_path / "failed.csv") == []
    assert said["failed"].replicates == 0


def test_one_split_has_no_lists_of_its_own():
    assert list(file_names("influence", SPLITS[:1])) == ["influence.csv"]


@pytest.mark.parametrize("text", ["=cmd()", "+A1", "-A1", "@x", "\tx", "a,b", 'a"b', "a\nb", "-5", "Säure", "+1.5"])
def test_a_cell_is_a_text_whatever_it_holds(text):
    written = as_csv(pd.DataFrame({"x": [text]}))
    assert written.startswith("\ufeff") != text.isascii()  # by which Excel knows UTF-8
    ((cell,),) = list(csv.reader(io.StringIO(written), strict=True))[1:]
    assert cell.removeprefix("'") == text
    try:
        float(cell)
    except ValueError:
        assert cell[0] not in "=+-@\t"


def test_every_strategy_that_chooses_has_a_list():
    plan = Plan(EMBEDDED)
    assert "results/embedded/selected/influence.csv" in plan.lists
    assert not any("none" in path for path in plan.lists)
    several = Plan(changed({**UNLABELLED, "split.seeds": [0, 1]}))
    assert several.lists[:3] == [
        f"results/embedded/selected/random{split}.csv" for split in ("", "_draws-0", "_draws-1")
    ]


def test_the_first_screen_links_the_lists_and_names_molecules_as_their_files_do(tmp_path):
    tables = study_tables(seeds=(0, 1))
    page = make(tmp_path, tables)
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert {f"selected/{name}.csv" for name in ("random", "influence", "influence_bottom")} <= set(links)
    rows = tables["selections"].query("strategy == 'influence' and selected")
    both = (rows["molecule_id"].value_counts() == 2).sum()
    assert f"influence.csv: {both} of 10 chosen in both replicates." in page.text
    assert "CMP-0000 (pool-0)" in page.text
