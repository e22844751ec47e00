"""The audit of the data: against brute force, peer libraries, and pools whose labels were computed on purpose."""

import itertools

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from scipy.spatial.distance import cdist
from scipy.stats import binom, ks_2samp
from sklearn.neighbors import KNeighborsRegressor

from chemsieve.audit import fingerprints, identity, labelled, rounding, shift, tracing, treatment
from chemsieve.audit.findings import LEAK, WARNING, findings
from chemsieve.audit.label_facts import facts
from chemsieve.audit.label_source import SMOOTHED, search, tolerance
from chemsieve.audit.neighbour_rule import Rule, means
from chemsieve.audit.survey import survey
from chemsieve.audit.too_good import RATIO, compare
from chemsieve.audit.tracing import EXACT, OTHER, WITHIN_TIES, Found
from chemsieve.data import chemistry
from chemsieve.data.embedded import make
from chemsieve.errors import ChemsieveError
from helpers.inputs import EMPTY_SHIFT


def frame(smiles, labels):
    """As a file is read: labels as text."""
    return pd.DataFrame({"row": range(len(smiles)), "smiles": smiles, "label_text": list(labels)})


@pytest.fixture(scope="module")
def molecules():
    """Molecules of the project's own making: 240 to take labels from, 120 to give labels to."""
    target, pool, _ = make(240, 120, 0.3, 1)
    return list(target["smiles"]), list(pool["smiles"])


@pytest.fixture(scope="module")
def target(molecules):
    rng = np.random.default_rng(0)
    return labelled.read(frame(molecules[0], [f"{value:.2f}" for value in rng.normal(2, 1, len(molecules[0]))]))


def pool_of(molecules, values, decimals=3):
    return labelled.read(frame(molecules[1], [f"{value:.{decimals}f}" for value in values]))


def prints(labelled_rows, name="ECFP4", bits=2048):
    return fingerprints.bits_of(labelled_rows.molecules, name, bits)


def computed(molecules, target, k=5, metric="euclidean", weights="uniform", name="ECFP4", bits=2048):
    """Labels that scikit-learn computes from the target's, exact to the bit in its own way of breaking ties."""
    pool = pool_of(molecules, np.zeros(len(molecules[1])))
    kind = {"euclidean": "euclidean", "tanimoto": "jaccard", "cosine": "cosine"}[metric]
    known, asked = prints(target, name, bits), prints(pool, name, bits)
    if kind == "jaccard":
        known, asked = known.astype(bool), asked.astype(bool)
    return KNeighborsRegressor(k, metric=kind, weights=weights).fit(known, target.values).predict(asked)


# Fingerprints


def test_bits_are_those_of_rdkit(target):
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    ours = prints(target, "ECFP4", 1024)
    for row, molecule in zip(ours[:20], target.molecules[:20], strict=True):
        assert set(np.flatnonzero(row)) == set(generator.GetFingerprint(molecule).GetOnBits())


@pytest.mark.parametrize("metric", list(fingerprints.METRICS))
def test_order_is_that_of_scipy_distances(target, metric):
    bits = prints(target)
    ((_, (block,)),) = fingerprints.orderings(bits[:40], bits, [metric])
    kind = {"euclidean": "euclidean", "tanimoto": "jaccard", "cosine": "cosine"}[metric]
    expected = cdist(
        bits[:40].astype(bool) if kind == "jaccard" else bits[:40],
        bits.astype(bool) if kind == "jaccard" else bits,
        kind,
    )
    np.testing.assert_allclose(fingerprints.DISTANCES[metric](block), expected, atol=1e-7)


def test_nearest_are_a_full_stable_sort(target):
    bits = prints(target)
    found = fingerprints.nearest(bits[:30], bits, ["tanimoto"], 7)
    ((_, (block,)),) = fingerprints.orderings(bits[:30], bits, ["tanimoto"])
    np.testing.assert_array_equal(found[0][0], np.argsort(block, axis=1, kind="stable")[:, :7])


# Rounding


@pytest.mark.parametrize(
    ("labels", "decimals", "unit"),
    [
        (["1.50", "2"], 1, 0.5),
        (["0.002", "1.004", "-0.338"], 3, 0.002),
        (["10", "25"], 0, 5.0),
        (["1e-3", "nan"], 3, None),
    ],
)
def test_unit_of_labels(labels, decimals, unit):
    assert rounding.decimals_of(labels) == decimals
    if unit:
        assert rounding.unit_of([float(text) for text in labels], decimals) == pytest.approx(unit)


@pytest.mark.parametrize(
    ("larger", "smaller", "k"),
    [(0.01, 0.002, 5), (0.01, 0.01, None), (0.01, 0.001, None), (0.01, 0.003, None), (0, 1, None)],
)
def test_ratio_of_units(larger, smaller, k):
    assert rounding.whole_ratio(larger, smaller) == k


# Where labels come from


def test_weighted_means_are_those_of_scikit_learn(molecules, target):
    pool = pool_of(molecules, np.zeros(len(molecules[1])))
    ((positions, order),) = fingerprints.nearest(prints(pool), prints(target), ["euclidean"], 6)
    untied = order[:, 4] < order[:, 5]
    ours = means(target.values[positions[:, :5]], order[:, :5], "euclidean", "distance")
    np.testing.assert_allclose(ours[untied], computed(molecules, target, weights="distance")[untied], atol=1e-9)


@pytest.mark.parametrize(
    ("k", "metric", "weights", "name", "bits"),
    [
        pytest.param(5, "euclidean", "uniform", "ECFP4", 2048, marks=pytest.mark.slow),
        pytest.param(3, "tanimoto", "uniform", "ECFP4", 2048, marks=pytest.mark.slow),
        (4, "tanimoto", "distance", "ECFP6", 1024),
        pytest.param(7, "cosine", "uniform", "FCFP4", 2048, marks=pytest.mark.slow),
    ],
)
def test_planted_rule_is_found(molecules, target, k, metric, weights, name, bits):
    pool = pool_of(molecules, computed(molecules, target, k, metric, weights, name, bits))
    _, rule = search(pool, target)
    assert (rule.k, rule.metric, rule.weighting, rule.fingerprint, rule.bits) == (k, metric, weights, name, bits)


def test_planted_line_is_found(molecules, target):
    pool = pool_of(molecules, 1.3 * computed(molecules, target) - 0.5)
    _, rule = search(pool, target)
    assert (rule.k, rule.metric) == (5, "euclidean")
    assert (rule.slope, rule.intercept) == pytest.approx((1.3, -0.5), abs=1e-3)


def test_rule_of_a_part_of_the_labels_is_found(molecules, target):
    values = computed(molecules, target)
    values[::2] = np.random.default_rng(3).normal(2, 1, len(values[::2]))
    tried, rule = search(pool_of(molecules, values), target)
    assert (rule.k, rule.metric) == (5, "euclidean")
    best = tried[tried["found"]].nlargest(1, "matched").iloc[0]
    assert best["matched"] < 0.7 * best["rows"]


@pytest.mark.parametrize("decimals", [*(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1, 3)), 2])
def test_labels_that_only_resemble_the_neighbours_are_no_finding(molecules, target, decimals):
    """As skilful as the rule itself, however coarsely written, but not computed by it."""
    noise = np.random.default_rng(4).normal(0, 0.3, len(molecules[1]))
    tried, rule = search(pool_of(molecules, computed(molecules, target) + noise, decimals), target)
    assert rule is None
    assert not tried["found"].any()


def test_p_values_are_corrected_for_every_rule_that_was_tried(molecules, target):
    """By scipy's binomial from the counts in the table, times all its rows; and labels of no origin show none."""
    labels = np.random.default_rng(8).normal(2, 1, len(molecules[1]))
    tried, rule = search(pool_of(molecules, labels, 1), target)
    assert rule is None
    assert len(tried) > 100
    chance = tried["expected"] / tried["rows"]
    alone = np.where(tried["rows"] > 0, binom.sf(tried["matched"] - 1, tried["rows"], chance), 1.0)
    np.testing.assert_allclose(tried["p_value"], np.minimum(1, alone * len(tried)), rtol=1e-9)
    assert alone.min() < 0.05, "of so many one is below by chance"
    assert tried["p_value"].min() > 0.05


def test_properties_are_compared_as_scipy_compares_them():
    rng = np.random.default_rng(9)
    first, second = rng.normal(0, 1, 7), rng.normal(0.5, 2, 5)
    found = shift.compare("weight", first, second)
    deviations = [
        (sum((x - values.mean()) ** 2 for x in values) / (len(values) - 1)) ** 0.5 for values in (first, second)
    ]
    assert (found["target_sd"], found["pool_sd"]) == pytest.approx(tuple(deviations))
    pooled = ((deviations[0] ** 2 + deviations[1] ** 2) / 2) ** 0.5
    assert found["standardised_difference"] == pytest.approx((second.mean() - first.mean()) / pooled)
    test = ks_2samp(first, second, method="asymp")
    assert (found["statistic"], found["p_value"]) == pytest.approx((test.statistic, test.pvalue))


def test_one_measurement_in_two_files_is_no_computation(molecules, target):
    pool = target.part(np.arange(60))
    tried, rule = search(pool, target)
    assert rule is None
    assert not tried["found"].any()


def test_computed_property_is_found(molecules, target):
    from rdkit.Chem import Crippen

    values = [Crippen.MolLogP(Chem.MolFromSmiles(text)) for text in molecules[1]]
    tried, rule = search(pool_of(molecules, values), target)
    assert rule is None
    assert set(tried.loc[tried["found"], "features"]) == {"Crippen logP"}


def test_linear_model_of_the_target_is_found(molecules, target):
    from sklearn.linear_model import Ridge

    pool = pool_of(molecules, np.zeros(len(molecules[1])))
    values = Ridge().fit(prints(target), target.values).predict(prints(pool))
    tried, rule = search(pool_of(molecules, values), target)
    assert rule is None
    assert set(tried.loc[tried["found"], "metric"]) == {"Ridge"}


# Which labels they were computed from


@pytest.fixture(scope="module")
def traced(molecules, target):
    pool = pool_of(molecules, computed(molecules, target))
    found = Found(Rule(metric="euclidean"), tolerance(pool), target.decimals)
    return found, pool, tracing.trace(found, pool, target)


def choices(source, k=5):
    """Every choice of k rows that the distances allow, by brute force."""
    for rest in itertools.combinations(range(len(source["tied"])), k - len(source["nearer"])):
        labels = [*source["nearer_labels"], *(source["tied_labels"][i] for i in rest)]
        yield {*source["nearer"], *(source["tied"][i] for i in rest)}, sum(labels) / k


def test_every_computed_label_is_explained(traced, target):
    found, pool, sources = traced
    assert len(sources) == len(pool)
    assert set(sources["match"]) == {EXACT, WITHIN_TIES}
    by_row = dict(zip(target.rows, target.values, strict=True))
    for source in sources.to_dict("records"):
        assert len(source["used"]) == 5
        assert np.mean([by_row[row] for row in source["used"]]) == pytest.approx(source["label"], abs=found.tolerance)
        assert set(source["nearer"]) <= set(source["used"]) <= {*source["nearer"], *source["tied"]}


def test_label_outside_every_choice_is_not_explained(molecules, target, traced):
    _, _, sources = traced
    small = sources[sources["tied"].map(len).between(1, 12)].iloc[0]
    value = max(mean for _, mean in choices(small)) + 0.01
    position = int(np.flatnonzero(sources["row"] == small["row"])[0])
    values = np.zeros(len(molecules[1]))
    values[position] = value
    moved = tracing.trace(traced[0], pool_of(molecules, values), target)
    assert moved.loc[position, "match"] == OTHER


def test_dependence_is_that_of_all_choices(traced):
    """A label depends on held-out rows if no choice of equally near rows that gives it avoids them."""
    found, _, sources = traced
    rng, decided = np.random.default_rng(5), set()
    for source in sources.to_dict("records"):
        if len(source["tied"]) > 12:
            continue
        for _ in range(10):
            held_out = set(rng.choice(240, 60, replace=False).tolist())
            expected = not any(
                abs(mean - source["label"]) <= found.tolerance and not rows & held_out for rows, mean in choices(source)
            )
            assert tracing.must_use(found, source, held_out) is expected
            decided.add((bool(source["tied"]), expected))
    assert decided == {(False, False), (False, True), (True, False), (True, True)}


def test_rule_survives_json(traced):
    assert Found.of(traced[0].as_dict()) == traced[0]
    assert Found.of(None) is None


# What is done about it


def study(molecules, values):
    """The tables ``molecules`` and ``split`` of a study of these files."""
    parts = []
    for source, smiles, labels in (("target", molecules[0], values[0]), ("pool", molecules[1], values[1])):
        part = pd.DataFrame({"source": source, "row": range(len(smiles)), "smiles": smiles, "label": labels})
        ids, rows = [f"{source}-{row}" for row in part["row"]], [[row] for row in part["row"]]
        parts.append(part.assign(molecule_id=ids, label_rows=rows))
    table = pd.concat(parts, ignore_index=True)
    table["canonical_smiles"] = table["encoder_smiles"] = [Chem.CanonSmiles(text) for text in table["smiles"]]
    table["inchikey"] = [Chem.MolToInchiKey(Chem.MolFromSmiles(text)) for text in table["smiles"]]
    table["scaffold"] = ""
    table["parent"] = table["inchikey"].str[:14]
    folds = np.random.default_rng(6).choice(["train", "validation", "test"], len(molecules[0]), p=[0.8, 0.1, 0.1])
    ids = table.loc[table["source"] == "target", "molecule_id"]
    split = pd.DataFrame({"molecule_id": ids, "splitter": "random", "split_seed": 0, "fold": folds})
    return table, split


def test_dropped_are_those_that_depend_on_held_out_labels(molecules, target, traced):
    found, pool, sources = traced
    table, split = study(molecules, (target.values, pool.values))
    kept, counts = treatment.treat_split(table, split, found, sources, "as_given", "drop")
    held_out = set(split.index[split["fold"] != "train"])
    certain = sources[sources["match"] == EXACT]
    for source in certain.to_dict("records"):
        uses = bool(held_out & set(source["used"]))
        assert (f"pool-{source['row']}" in set(kept["molecule_id"])) is not uses
    assert counts.loc[0, "dropped"] == len(pool) - len(kept) > 0
    assert (kept["label"].to_numpy() == table.set_index("molecule_id").loc[kept["molecule_id"], "label"]).all()


def test_new_labels_come_from_training_molecules_alone(molecules, target, traced):
    found, pool, sources = traced
    table, split = study(molecules, (target.values, pool.values))
    made, counts = treatment.treat_split(table, split, found, sources, "relabel_from_training", "keep")
    # Whatever the held-out labels are, they change nothing.
    held_out = split.loc[split["fold"] != "train", "molecule_id"]
    other = table.assign(label=table["label"].where(~table["molecule_id"].isin(held_out), 99.0))
    again, _ = treatment.treat_split(other, split, found, sources, "relabel_from_training", "keep")
    pd.testing.assert_frame_equal(made, again)
    train = (split["fold"] == "train").to_numpy()
    ((positions, _),) = fingerprints.nearest(prints(pool), prints(target)[train], ["euclidean"], 5)
    np.testing.assert_allclose(made["label"], target.values[train][positions].mean(axis=1))
    assert counts.loc[0, "relabelled"] == len(pool)
    assert counts.loc[0, "mean_change"] == pytest.approx(np.abs(made["label"].to_numpy() - pool.values).mean())


def test_a_pool_that_leaks_whole_is_an_error(molecules, target, traced):
    found, pool, sources = traced
    table, split = study(molecules, (target.values, pool.values))
    split = split.assign(fold=["train", *["test"] * (len(split) - 1)])
    with pytest.raises(ChemsieveError, match="no molecule is left"):
        treatment.treat_split(table, split, found, sources, "as_given", "drop")


def test_survey_counts_what_leaks_and_the_finding_says_so(molecules, target, traced):
    found, pool, sources = traced
    table, split = study(molecules, (target.values, pool.values))
    made = survey(table, split, found, sources)
    leaks = made.pop("leaks").iloc[0]
    test = set(split.index[split["fold"] == "test"])
    used = sources["used"].map(lambda rows: bool(test & set(rows)))
    exact = sources["match"] == EXACT
    assert leaks["test_used"] == used.sum()
    assert (used & exact).sum() <= leaks["test"] <= leaks["test_used"]
    treatments = treatment.counted(pd.DataFrame([leaks]), pd.DataFrame(), "as_given", "keep")
    tried, _ = search(pool, target)
    audit = {"facts": facts(pool, target), "found": found.as_dict()}
    said = findings(audit, tried, sources, treatments, *made.values(), EMPTY_SHIFT)
    leak = said[said["severity"] == LEAK]["finding"].tolist()
    assert any(f"within ties {len(pool)} of {len(pool)}" in text for text in leak)
    assert any(f"the labels of {leaks['test']} of {len(pool)} accepted" in text for text in leak)


def test_measured_labels_are_not_warned_of(molecules, target, traced):
    """Units and equal labels of stereoisomers warn beside a rule alone: measured sets have both by accident."""
    _, pool, sources = traced
    made = survey(*study(molecules, (target.values, pool.values)), None, None)
    counted = treatment.counted(made.pop("leaks"), pd.DataFrame(), "as_given", "keep")
    odd = facts(pool, target) | {"unit_ratio": 5}
    odd["pool"], odd["target"] = (
        odd[side] | {"groups": 60, "identical": same} for side, same in (("pool", 60), ("target", 1))
    )
    tried, _ = search(pool, target)
    for rule, expected in ((None, 0), (traced[0].as_dict(), 2)):
        rules = tried.assign(found=tried["found"] & (rule is not None))
        said = findings({"facts": odd, "found": rule}, rules, sources, counted, *made.values(), EMPTY_SHIFT)
        texts = said[(said["topic"] == "labels") & said["finding"].str.contains("multiples|InChIKey first block")]
        assert len(texts) == 2
        assert (texts["severity"] == WARNING).sum() == expected


# Identity and similarity


def test_shared_molecules_are_counted_at_each_level():
    smiles = ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "CCO", "c1ccccc1C", "c1ccccc1CC", "CC[O-].[Na+]", "CCO"]
    table = pd.DataFrame({"molecule_id": list("abcdefg"), "source": ["target"] * 6 + ["pool"], "smiles": smiles})
    table["canonical_smiles"] = [Chem.CanonSmiles(text) for text in smiles]
    table["encoder_smiles"] = [Chem.MolToSmiles(Chem.MolFromSmiles(text), isomericSmiles=False) for text in smiles]
    table["inchikey"] = [Chem.MolToInchiKey(Chem.MolFromSmiles(text)) for text in smiles]
    table["scaffold"] = ["", "", "", "c1ccccc1", "c1ccccc1", "", ""]
    table["parent"] = [chemistry.parent_block(Chem.MolFromSmiles(text)) for text in smiles]
    folds = ["train", "test", "train", "train", "test", "test"]
    split = pd.DataFrame({"molecule_id": list("abcdef"), "fold": folds})
    counts = (
        identity.shared(identity.places(table, split)).set_index(["place", "other", "level"])["molecules"].sort_index()
    )
    assert counts["test", "train"].to_dict() == {
        "canonical SMILES": 0,
        "InChIKey": 0,
        "InChIKey first block": 1,  # the other enantiomer
        "parent": 2,  # and the salt of an alcohol
        "encoder input": 1,
        "scaffold": 1,  # acyclic molecules have none
    }
    assert counts["pool", "train", "InChIKey"] == 1
    assert counts["pool", "test"].drop("parent").sum() == 0
    assert counts["pool", "test", "parent"] == 1


def test_nearest_training_molecule_is_that_of_rdkit(molecules, target):
    table, split = study(molecules, (target.values, np.zeros(len(molecules[1]))))
    nearest = survey(table, split, None, None)["nearest_training"]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    made = {
        i: generator.GetFingerprint(Chem.MolFromSmiles(s))
        for i, s in zip(table["molecule_id"], table["smiles"], strict=True)
    }
    train = list(split.loc[split["fold"] == "train", "molecule_id"])
    assert set(nearest["fold"]) == {"validation", "test", "pool"}
    for row in nearest.itertuples():
        similarities = DataStructs.BulkTanimotoSimilarity(made[row.molecule_id], [made[i] for i in train])
        assert row.similarity == pytest.approx(max(similarities))
        assert similarities[train.index(row.nearest_id)] == max(similarities)


# Shift


def test_discrepancy_is_that_of_its_definition():
    rng = np.random.default_rng(7)
    first, second = rng.normal(0, 1, (12, 3)), rng.normal(0.5, 1, (9, 3))
    both = np.concatenate([first, second])
    width = np.median(cdist(both, both, "sqeuclidean")[np.triu_indices(21, 1)])

    def kernel(a, b):
        return np.exp(-((a - b) ** 2).sum() / width)

    expected = np.mean([kernel(a, b) for a, b in itertools.permutations(first, 2)])
    expected += np.mean([kernel(a, b) for a, b in itertools.permutations(second, 2)])
    expected -= 2 * np.mean([kernel(a, b) for a in first for b in second])
    assert shift.discrepancy(first, second, 9, 0)[0] == pytest.approx(expected)


def test_permutation_p_is_small_for_a_shift_and_uniform_without():
    rng = np.random.default_rng(8)
    assert shift.discrepancy(rng.normal(0, 1, (60, 4)), rng.normal(1, 1, (50, 4)), 199, 0)[1] == 1 / 200
    p_values = [shift.discrepancy(rng.normal(0, 1, (30, 2)), rng.normal(0, 1, (20, 2)), 99, i)[1] for i in range(60)]
    assert 0.35 < np.mean(p_values) < 0.65
    assert np.mean(np.array(p_values) <= 0.05) < 0.15


def test_infinite_embedding_is_an_error():
    broken = np.ones((4, 2))
    broken[2, 1] = np.inf
    with pytest.raises(ChemsieveError, match="molecule 2 is not finite"):
        shift.discrepancy(broken, np.zeros((3, 2)), 9, 0)


# Labels that other models have computed


@pytest.mark.parametrize("weighting", ["median", "similarity"])
def test_medians_and_means_by_similarity_are_found_up_to_twelve_neighbours(molecules, target, weighting):
    pool = pool_of(molecules, np.zeros(len(molecules[1])))
    ours, theirs = (fingerprints.bits_of(side.molecules, "ECFP4", 2048) for side in (pool, target))
    ((positions, order),) = fingerprints.nearest(ours, theirs, ["tanimoto"], 13)
    values = target.values[positions[:, :12]]
    near = 1 - fingerprints.DISTANCES["tanimoto"](order[:, :12])
    planted = np.median(values, axis=1) if weighting == "median" else (near * values).sum(1) / near.sum(1)
    tried, _ = search(pool_of(molecules, planted), target)
    best = tried[tried["found"]].nlargest(1, "matched").iloc[0]
    assert (best["k"], best["weighting"], best["kind"]) == (12, weighting, SMOOTHED)


def test_labels_of_a_model_with_noise_are_smoother_than_measurements(molecules, target):
    """Predictions with a tenth of the labels' deviation as noise, and with as much as the target's own show."""
    from sklearn.svm import SVR

    rng = np.random.default_rng(6)
    pool = pool_of(molecules, np.zeros(len(molecules[1])))
    predicted = SVR(C=5).fit(prints(target), target.values).predict(prints(pool))
    spread = target.values.std()
    computed_by_model = predicted + rng.normal(0, 0.1 * spread, len(predicted))
    assert compare(pool_of(molecules, computed_by_model), target)["ratio"] < RATIO
    like_measured = predicted + rng.normal(0, 0.8 * spread, len(predicted))
    found = compare(pool_of(molecules, like_measured), target)
    assert found is None or found["ratio"] > RATIO
