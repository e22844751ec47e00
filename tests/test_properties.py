"""What holds for any input: rows come back, splits are partitions, budgets take what they say, order and unit are none
of the statistics' business."""

import csv
import json
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from chemsieve.data.acceptance import structure
from chemsieve.data.measured import finite
from chemsieve.data.molecules import prepare
from chemsieve.data.reading import check_table, read_table
from chemsieve.errors import ChemsieveError
from chemsieve.influence import datamodelling
from chemsieve.influence import kernel as kernels
from chemsieve.splitting import FOLDS, divide
from chemsieve.statistics import bootstrap, power
from chemsieve.statistics.anova import anova
from chemsieve.statistics.comparisons import compare
from chemsieve.statistics.friedman import friedman
from chemsieve.statistics.holm import holm
from chemsieve.study import budgets
from helpers.inputs import READER, TABLE, sdf_of
from helpers.replicates import SETTINGS, step_down, study
from helpers.tiny import SMILES

PUBLISHED = json.loads((Path(__file__).parent / "fixtures/deepchem_small.json").read_text())["smiles"]

# -- readers -----------------------------------------------------------------------------------------------------------

FOLD_NAMES = st.sampled_from(["", "train", "validation", " test ", "VAL"])
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), max_size=8)
LABEL = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr), st.integers(-99, 99).map(str), st.just("")
)
ROWS = st.lists(st.tuples(st.sampled_from(SMILES), LABEL, FOLD_NAMES, TEXT), min_size=1, max_size=12)


def read_back(path, rows, **keys):
    table = TABLE | {"fold": "fold"} | keys
    check_table(path, "target", table)
    frame = read_table(path, "target", table)
    assert frame["row"].tolist() == list(range(len(rows)))
    assert frame["smiles"].tolist() == [row[0] for row in rows]
    assert frame["label_text"].tolist() == [row[1] for row in rows]
    assert frame["given_fold"].tolist() == [row[2].strip() or None for row in rows]


@given(rows=ROWS, order=st.permutations(["smiles", "y", "fold", "note"]), delimiter=st.sampled_from(",;\t|"))
@example(rows=[("C", "1", "", '"'), ("C", "", "", "\n")], order=["note", "y", "fold", "smiles"], delimiter=";")
def test_delimited_rows_come_back(tmp_path, rows, order, delimiter):
    path = tmp_path / "a.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["smiles", "y", "fold", "note"], delimiter=delimiter)
        writer.fieldnames = order
        writer.writeheader()
        writer.writerows(dict(zip(["smiles", "y", "fold", "note"], row, strict=True)) for row in rows)
    read_back(path, rows, delimiter=delimiter)


@given(rows=ROWS, order=st.permutations(["smiles", "y", "fold", "note"]))
def test_rows_of_parquet_come_back(tmp_path, rows, order):
    path = tmp_path / "a.parquet"
    pd.DataFrame(rows, columns=["smiles", "y", "fold", "note"])[order].to_parquet(path)
    read_back(path, rows)


@given(rows=st.lists(st.tuples(st.sampled_from(SMILES), st.integers(-99, 99).map(str)), min_size=1, max_size=12))
@pytest.mark.parametrize("header", [True, False])
def test_rows_of_smiles_files_come_back(tmp_path, header, rows):
    path = tmp_path / "a.smi"
    lines = [f"{smiles}\tname{i} {label}" for i, (smiles, label) in enumerate(rows)]
    path.write_text("\n".join(["smiles id y", *lines] if header else lines) + "\n", encoding="utf-8")
    names = {"smiles": "smiles", "label": "y"} if header else {"smiles": "1", "label": "3"}
    frame = read_table(path, "target", TABLE | names)
    assert list(zip(frame["smiles"], frame["label_text"], strict=True)) == rows


@given(rows=st.lists(st.tuples(st.sampled_from(SMILES), st.integers(-99, 99).map(str)), min_size=1, max_size=6))
def test_records_of_sd_files_come_back(tmp_path, rows):
    path = tmp_path / "a.sdf"
    path.write_bytes(sdf_of(*((smiles, {"y": label}) for smiles, label in rows)))
    frame = read_table(path, "target", TABLE)
    same = [structure(text).molecule.GetNumHeavyAtoms() for text in frame["smiles"]]
    assert same == [structure(smiles).molecule.GetNumHeavyAtoms() for smiles, _ in rows]
    assert frame["label_text"].tolist() == [label for _, label in rows]


# -- acceptance --------------------------------------------------------------------------------------------------------


@given(value=st.floats())
def test_a_number_is_read_as_it_is_written_or_not_at_all(value):
    assert finite(repr(value)) == (value if np.isfinite(value) else None)
    assert finite(f" {value!r}\n") == finite(repr(value))
    assert finite("1_" + repr(abs(value))) is None


@given(chosen=st.lists(st.sampled_from(SMILES), min_size=0, max_size=20), blanks=st.sampled_from(["", " ", "\t"]))
def test_rows_are_molecules_or_refused_whatever_repeats(chosen, blanks):
    """The first of equal molecules stays, the others are repeats; white space around a SMILES makes no difference."""
    target = pd.DataFrame({"row": range(10), "smiles": ["C" * n for n in range(8, 18)], "label_text": "0"})
    target["label_text"] = [str(n) for n in range(10)]
    pool = pd.DataFrame({"row": range(len(chosen)), "smiles": [blanks + s + blanks for s in chosen]})
    pool = pool.assign(label_text="1", given_fold=None)
    molecules, rejected = prepare(target.assign(given_fold=None), pool, READER, False)
    kept, refused = (part[part["source"] == "pool"] for part in (molecules, rejected))
    assert kept["row"].tolist() == sorted({chosen.index(one) for one in chosen})
    assert set(refused["reason"]) <= {"repeat"}
    assert sorted([*kept["row"], *refused["row"]]) == list(range(len(chosen)))


# -- splits ------------------------------------------------------------------------------------------------------------

SPLITTERS = ["butina", "cross_validation", "fingerprint", "maxmin", "random", "scaffold", "weight"]
FRACTIONS = st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8)).map(
    lambda parts: np.array(parts) / sum(parts)
)


@pytest.mark.parametrize("splitter", SPLITTERS)
@given(
    smiles=st.lists(st.sampled_from(PUBLISHED), min_size=12, max_size=40),
    fractions=FRACTIONS,
    seed=st.integers(0, 2**31 - 1),
)
def test_a_split_is_a_partition_of_the_asked_sizes_and_the_same_again(splitter, smiles, fractions, seed):
    fractions = tuple(fractions)
    try:
        folds = divide(splitter, smiles, fractions, seed)
    except ChemsieveError as error:
        assert "fold of" in str(error)  # noqa: PT017
        assert "empty" in str(error)  # noqa: PT017
        if splitter in ("maxmin", "random", "weight", "fingerprint"):
            assert min(fractions) * len(smiles) < 1 + 1e-9
        assume(False)
    assert set(folds) == set(FOLDS)
    assert len(folds) == len(smiles)
    assert divide(splitter, smiles, fractions, seed).tolist() == folds.tolist()
    counts, n = Counter(folds.tolist()), len(smiles)
    if splitter == "cross_validation":
        assert n // 5 <= counts["test"] <= -(-n // 5)
        wanted = fractions[1] / (fractions[0] + fractions[1]) * (n - counts["test"])
        assert abs(counts["validation"] - wanted) <= 0.5 + 1e-9
    elif splitter in ("scaffold", "butina"):  # whole groups, as many as fit
        assert counts["train"] <= fractions[0] * n + 1e-9
        # Training may still be filled after a group that is too large for it went on to validation, as in DeepChem.
        assert counts["validation"] <= (fractions[0] + fractions[1]) * n + 1e-9
        by_molecule = {}
        for text, fold in zip(smiles, folds, strict=True):
            assert by_molecule.setdefault(text, fold) == fold
    else:
        for fold, fraction in zip(FOLDS, fractions, strict=True):
            assert abs(counts[fold] - fraction * n) < 2  # rounded down, test has what is left


@given(n=st.integers(10, 60), seed=st.integers(0, 10**6), folds=st.integers(2, 9))
def test_folds_of_a_repeat_test_each_molecule_once(n, seed, folds):
    first = seed // folds * folds
    tested = np.zeros(n, dtype=int)
    for number in range(folds):
        tested += divide("cross_validation", ["C"] * n, (0.5, 0.4, 0.1), first + number, folds=folds) == "test"
    assert tested.tolist() == [1] * n


# -- budgets -----------------------------------------------------------------------------------------------------------

SCORES = st.lists(st.floats(-10, 10), min_size=1, max_size=30).map(lambda values: np.sort(values)[::-1])


@given(scores=SCORES, count=st.integers(-2, 40))
def test_a_count_takes_so_many_of_the_first_or_is_refused(scores, count):
    if 1 <= count <= len(scores):
        assert budgets.cut(scores, {"count": count}, "x").tolist() == [i < count for i in range(len(scores))]
        assert budgets.most({"count": count}, len(scores)) == count
    else:
        with pytest.raises(ChemsieveError, match=rf"strategies\.x\.budget: .*{len(scores)} molecules"):
            budgets.cut(scores, {"count": count}, "x")


@given(scores=SCORES, fraction=st.floats(0.001, 1))
def test_a_fraction_takes_the_nearest_whole_number_of_the_first(scores, fraction):
    wanted = fraction * len(scores)
    if wanted <= 0.5:
        with pytest.raises(ChemsieveError, match="is none"):
            budgets.cut(scores, {"fraction": fraction}, "x")
        return
    taken = budgets.cut(scores, {"fraction": fraction}, "x")
    assert abs(taken.sum() - wanted) <= 0.5
    assert taken.tolist() == sorted(taken.tolist(), reverse=True)
    assert budgets.most({"fraction": fraction}, len(scores)) == taken.sum()


@given(scores=SCORES, limit=st.floats(0, 10))
def test_thresholds_take_what_reaches_them(scores, limit):
    assert budgets.cut(scores, {"threshold": limit}, "x").tolist() == [score >= limit for score in scores]
    assert budgets.cut(scores, {"magnitude": limit}, "x").tolist() == [abs(score) >= limit for score in scores]
    own = budgets.cut(scores, {"threshold": scores[0]}, "x")
    assert own[0]  # at least: its own score is enough
    for budget in ({"threshold": limit}, {"magnitude": limit}, None):
        assert budgets.most(budget, len(scores)) == len(scores)


@given(pool=st.integers(3, 60), fraction=st.floats(0.02, 0.98), index=st.integers(0, 99), seed=st.integers(0, 99))
def test_a_subset_is_of_the_asked_size_and_the_same_again(pool, fraction, index, seed):
    if not 0 < round(fraction * pool) < pool:
        with pytest.raises(ChemsieveError, match="no proper subset"):
            datamodelling.subset(pool, fraction, index, seed)
        return
    chosen = datamodelling.subset(pool, fraction, index, seed)
    assert abs(len(chosen) - fraction * pool) <= 0.5
    assert (np.diff(chosen) > 0).all()
    assert set(chosen) <= set(range(pool))
    assert datamodelling.subset(pool, fraction, index, seed).tolist() == chosen.tolist()


# -- statistics --------------------------------------------------------------------------------------------------------


@given(p=st.lists(st.floats(0, 1), max_size=12), order=st.randoms(use_true_random=False))
def test_holm_is_its_definition_in_any_order(p, order):
    adjusted = holm(p)
    assert adjusted.tolist() == pytest.approx(step_down(p))
    places = list(range(len(p)))
    order.shuffle(places)
    assert holm([p[i] for i in places]).tolist() == pytest.approx(adjusted[places].tolist())


ERRORS = arrays.arrays(float, st.tuples(st.integers(3, 8), st.integers(2, 5)), elements=st.integers(0, 50).map(float))


@given(
    errors=ERRORS,
    scale=st.sampled_from([1e-3, 7.0, 1e4]),
    shift=st.floats(-5, 5),
    mixed=st.randoms(use_true_random=False),
)
def test_tests_know_neither_unit_nor_order(errors, scale, shift, mixed):
    errors = errors + np.random.default_rng(0).normal(0, 0.1, errors.shape)
    rows, columns = (mixed.sample(range(size), size) for size in errors.shape)
    changed = (errors * scale + shift * scale)[rows][:, columns]
    before, after = anova(errors), anova(changed)
    assert after.p == pytest.approx(before.p, rel=1e-6, abs=1e-12)
    assert after.ms_residual == pytest.approx(scale**2 * before.ms_residual, rel=1e-6)
    before, after = friedman(errors), friedman(changed)
    assert after.p == pytest.approx(before.p)
    np.testing.assert_allclose(after.pairs, before.pairs[np.ix_(columns, columns)], rtol=1e-9)
    if errors.shape[1] > 2:  # scipy compares no two
        assert before.statistic == pytest.approx(stats.friedmanchisquare(*errors.T).statistic)


@settings(max_examples=8)
@given(seed=st.integers(0, 99), scale=st.sampled_from([1e-3, 50.0]), splits=st.sampled_from([1, 4]))
def test_comparisons_know_neither_unit_nor_the_order_of_rows(seed, scale, splits):
    rng = np.random.default_rng(seed)
    means = {"none": 1.0, "random": 1.02, "all": 1.1}
    metrics, divided = study(rng, 5, deviation=0.03, means=means, n_splits=splits)
    before = compare(metrics, divided, SETTINGS)
    changed = metrics.assign(rmse=metrics["rmse"] * scale).sample(frac=1, random_state=seed)
    divided = divided.sample(frac=1, random_state=seed)
    after = compare(changed, divided, SETTINGS | {"margin": SETTINGS["margin"] * scale})
    in_unit = ["seed_sd", "difference", "sd", "low", "high", "detectable"]
    without = ["cohen_dz", "cohen_dav", "p_tukey", "p_paired", "p_conover", "p_equivalence", "omnibus"]
    np.testing.assert_allclose(after[in_unit].astype(float), before[in_unit].astype(float) * scale, rtol=1e-4)
    np.testing.assert_allclose(after[without].astype(float), before[without].astype(float), rtol=1e-4, atol=1e-12)
    for column in ("family", "what", "versus", "test_used", "n_units", "n_splits", "replicates_needed"):
        assert after[column].tolist() == pytest.approx(before[column].tolist(), nan_ok=True)


@given(mean=st.floats(0.001, 0.2), sd=st.floats(0.005, 0.1))
def test_units_that_are_needed_are_the_fewest(mean, sd):
    """One fewer would not do; and what one design detects, a larger one does too."""

    def enough(n):
        return mean >= power.detectable(sd / n**0.5, stats.t.ppf(0.975, n - 1), n - 1, 0.8)

    found = power.to_detect(mean, lambda n: sd / n**0.5, lambda n: stats.t.ppf(0.975, n - 1), lambda n: n - 1, 0.8)
    if found is None:
        assert not enough(1000)
    else:
        assert enough(found)
        assert found == 3 or not enough(found - 1)


@given(values=arrays.arrays(float, st.integers(5, 30), elements=st.floats(-5, 5)), scale=st.sampled_from([0.01, 30.0]))
@settings(max_examples=10)
def test_intervals_follow_the_unit(values, scale):
    molecules = np.arange(len(values))
    one = bootstrap.interval(molecules, lambda weights: bootstrap.mean(values, weights))
    other = bootstrap.interval(molecules, lambda weights: bootstrap.mean(scale * values + 3, weights))
    assert other == pytest.approx(tuple(scale * end + 3 for end in one), rel=1e-9, abs=1e-9)
    assert one[0] <= values.mean() + 1e-12
    assert one[1] >= values.mean() - 1e-12


# -- the kernel --------------------------------------------------------------------------------------------------------


@cache
def kernel(seed, unit=1.0):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(14, 9))
    return kernels.Kernel(rows @ rows.T, unit * generator.normal(size=14), 6, 3)


@given(seed=st.integers(0, 20), damping=st.sampled_from([0.01, 0.5, 20.0]), unit=st.sampled_from([0.1, 7.0]))
def test_what_follows_from_a_kernel_follows_the_unit_of_the_labels(seed, damping, unit):
    one, other = kernel(seed), kernel(seed, unit)
    np.testing.assert_allclose(kernels.per_query(other, damping), unit**2 * kernels.per_query(one, damping), rtol=1e-9)
    model, scaled = kernels.refit(one, damping), kernels.refit(other, damping)
    assert kernels.greedy(model)[0].tolist() == kernels.greedy(scaled)[0].tolist()
    np.testing.assert_allclose(kernels.leverage(scaled), kernels.leverage(model), rtol=1e-9)
    np.testing.assert_allclose(kernels.self_influence(scaled), unit**2 * kernels.self_influence(model), rtol=1e-9)


@given(seed=st.integers(0, 20), damping=st.sampled_from([0.01, 0.5, 20.0]), order=st.permutations(range(5)))
def test_gains_along_any_order_sum_to_the_effect_of_the_whole(seed, damping, order):
    model = kernels.refit(kernel(seed), damping)
    gains = kernels.marginal_gains(model, np.array(order))
    assert gains.sum() == pytest.approx(-kernels.group_effect(model, order), rel=1e-9, abs=1e-12)
    first = kernels.group_effect(model, order[:1])
    assert gains[order[0] == np.array(order)] == pytest.approx(-first, rel=1e-9, abs=1e-12)
    falls = kernels.greedy(model)[1]
    assert falls.sum() == pytest.approx(gains.sum(), rel=1e-7, abs=1e-10)
    assert falls[0] >= gains[0] - 1e-12
    assert ((kernels.leverage(model) > 0) & (kernels.leverage(model) < 1)).all()
