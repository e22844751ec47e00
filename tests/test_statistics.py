"""The statistics of a study against published worked examples, tables, closed forms and simulation."""

import math
import warnings
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from chemsieve.errors import ChemsieveError
from chemsieve.statistics import assumptions, power, skewness, tukey
from chemsieve.statistics.anova import anova, negligible
from chemsieve.statistics.comparisons import Planned, compare
from chemsieve.statistics.effects import cohen_dav, cohen_dz, noise_floor
from chemsieve.statistics.equivalence import tost
from chemsieve.statistics.families import families, judged, named, unknown
from chemsieve.statistics.friedman import friedman
from chemsieve.statistics.holm import holm
from chemsieve.statistics.molecules import molecules
from chemsieve.statistics.replicates import inflation, replicates
from chemsieve.statistics.verdicts import Estimate, Evidence, verdict
from chemsieve.tables import TABLES, read_table, write_table
from helpers.replicates import SELECTIONS, SETTINGS, divisions, step_down, study

# Fitness of six subjects before, three and six months into an exercise programme: the worked example of Laerd
# Statistics' guide to repeated-measures ANOVA, which gives SS 143.44 (time), 658.3 (subjects) and 57.2 (error),
# F(2, 10) = 12.53 and p = .002.
EXERCISE = np.array([[45, 50, 55], [42, 42, 45], [36, 41, 43], [39, 35, 40], [51, 55, 59], [44, 49, 56]])

# Ranks of four grasses by twelve homeowners: Conover, "Practical nonparametric statistics", the example of Friedman's
# test, with T1 = 8.097 (p about .044) and pairs told apart where rank sums differ by more than 11.49.
GRASSES = np.array(
    [
        [4, 4, 3, 3, 4, 2, 1, 2, 3.5, 4, 4, 3.5],
        [3, 2, 1.5, 1, 2, 2, 3, 4, 1, 1, 2, 1],
        [2, 3, 1.5, 2, 1, 2, 2, 1, 2, 3, 3, 2],
        [1, 1, 4, 4, 3, 4, 4, 3, 3.5, 2, 1, 3.5],
    ]
).T


def row_of(table, what, versus, family="selections"):
    (row,) = table[(table["what"] == what) & (table["versus"] == versus) & (table["family"] == family)].itertuples()
    return row


# Tests, against published numbers.


def test_repeated_measures_anova_is_the_published_one():
    found = anova(EXERCISE)
    assert found.ss_configurations == pytest.approx(143.44, abs=0.01)
    assert found.ss_units == pytest.approx(658.3, abs=0.05)
    assert found.ss_residual == pytest.approx(57.2, abs=0.05)
    assert found.df_residual == 10
    assert found.f == pytest.approx(12.53, abs=0.01)
    assert found.p == pytest.approx(0.002, abs=0.0005)
    total = ((EXERCISE - EXERCISE.mean()) ** 2).sum()
    assert found.ss_configurations + found.ss_units + found.ss_residual == pytest.approx(total)


def test_anova_of_two_configurations_is_the_paired_t_test():
    errors = EXERCISE[:, :2].astype(float)
    assert anova(errors).f == pytest.approx(stats.ttest_rel(*errors.T).statistic ** 2)
    assert anova(errors).p == pytest.approx(stats.ttest_rel(*errors.T).pvalue)
    assert tukey.p_values(errors, anova(errors))[0, 1] == pytest.approx(stats.ttest_rel(*errors.T).pvalue)


@pytest.mark.parametrize("errors", [np.ones((1, 3)), np.ones((3, 1)), np.ones(3), [[1, math.nan], [1, 2]]])
def test_errors_that_cannot_be_analysed_are_refused(errors):
    with pytest.raises(ChemsieveError, match="statistics: "):
        anova(errors)


@pytest.mark.parametrize(
    ("k", "df", "value"),  # upper 5 % points, as printed in textbooks (Winer, Brown and Michels 1991, table D.4)
    [(3, 10, 3.88), (4, 10, 4.33), (5, 20, 4.23), (7, 24, 4.54), (10, 60, 4.65), (3, 120, 3.36), (10, math.inf, 4.47)],
)
def test_critical_values_are_the_tabulated_ones(k, df, value):
    assert tukey.critical(0.05, k, df) * math.sqrt(2) == pytest.approx(value, abs=0.006)


def test_interpolated_critical_values_are_close_to_the_exact_ones():
    for k, df in [(4, 200), (7, 500)]:
        exact = stats.studentized_range.ppf(0.95, k, df) / math.sqrt(2)
        assert tukey.critical(0.05, k, df) == pytest.approx(exact, rel=2e-4)
    assert tukey.critical(0.05, 2, 7) == pytest.approx(2.3646, abs=1e-4)  # Student's t


def test_tukey_tells_apart_what_the_tabulated_difference_does():
    # 3.88 (k = 3, 10 degrees of freedom) times the root of MS 5.72 over n = 6 is 3.79.
    found = anova(EXERCISE)
    p = tukey.p_values(EXERCISE, found)
    means = EXERCISE.mean(axis=0)
    for i, j in combinations(range(3), 2):
        assert (p[i, j] < 0.05) == (abs(means[i] - means[j]) > 3.79)
        q = abs(means[i] - means[j]) / math.sqrt(found.ms_residual / 6)
        assert p[i, j] == pytest.approx(stats.studentized_range.sf(q, 3, 10))
    assert np.allclose(p, p.T)
    assert np.allclose(np.diag(p), 1)


def test_friedman_and_conover_are_the_published_ones():
    found = friedman(GRASSES)
    assert found.statistic == pytest.approx(8.097, abs=0.001)
    assert found.p == pytest.approx(0.044, abs=0.0005)
    sums = GRASSES.sum(axis=0)
    assert sums.tolist() == [38, 23.5, 24.5, 34]
    for i, j in combinations(range(4), 2):
        assert (found.pairs[i, j] < 0.05) == (abs(sums[i] - sums[j]) > 11.49)
    # A gap of 11.49 is at the critical value of t with 33 degrees of freedom.
    t = stats.t.isf(found.pairs[0, 1] / 2, 33)
    assert (sums[0] - sums[1]) / t * stats.t.ppf(0.975, 33) == pytest.approx(11.49, abs=0.02)
    assert found.statistic == pytest.approx(stats.friedmanchisquare(*GRASSES.T).statistic)


def test_ranks_of_two_are_judged_by_wilcoxon_and_ties_by_nothing():
    errors = np.random.default_rng(0).normal(size=(8, 2))
    assert friedman(errors).pairs[0, 1] == pytest.approx(stats.wilcoxon(*errors.T).pvalue)
    tied = friedman(np.ones((4, 3)))
    assert (tied.statistic, tied.p, tied.pairs.tolist()) == (0, 1, [[1] * 3] * 3)


def test_ranks_that_agree_in_all_units_leave_no_doubt_and_ties_in_all_units_no_difference():
    pairs = friedman(np.array([[1.0, 1, 2], [2, 2, 3], [3, 3, 5]])).pairs
    assert pairs.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_holm_is_the_published_procedure():
    # Holm 1979 by hand: 0.01 * 4, 0.02 * 3, 0.03 * 2 (not below the one before), 0.04.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert len(holm([])) == 0


def test_epsilon_of_greenhouse_and_geisser():
    # By its other definition, from the eigenvalues of the covariance of orthonormal contrasts.
    contrasts = np.array([[1, -1, 0], [1, 1, -2]]) / np.sqrt([[2], [6]])
    values = np.linalg.eigvalsh(contrasts @ np.cov(EXERCISE, rowvar=False) @ contrasts.T)
    expected = values.sum() ** 2 / (2 * (values**2).sum())
    assert assumptions.greenhouse_geisser(EXERCISE) == pytest.approx(expected)
    corrected = (6 * 2 * expected - 2) / (2 * (5 - 2 * expected))  # Huynh and Feldt 1976
    assert assumptions.huynh_feldt(EXERCISE) == pytest.approx(min(1, corrected))
    assert assumptions.greenhouse_geisser(EXERCISE[:, :2]) == pytest.approx(1)
    unequal = np.random.default_rng(0).normal(size=(200, 4)) * [1, 1, 1, 10]
    assert assumptions.greenhouse_geisser(unequal) < 0.5
    assert not assumptions.spherical(unequal)


def test_normality_is_that_of_shapiro_and_wilk():
    errors = np.random.default_rng(0).normal(size=(10, 4))
    left = errors - errors.mean(0) - errors.mean(1, keepdims=True) + errors.mean()
    assert assumptions.normality(errors) == pytest.approx(stats.shapiro(left.ravel()).pvalue)
    half = (errors[:, 0] - errors[:, 1]) / 2
    assert assumptions.normality(errors[:, :2]) == pytest.approx(stats.shapiro(half - half.mean()).pvalue)
    assert not assumptions.normal(np.random.default_rng(0).standard_cauchy(size=(20, 4)), 0.05)
    constant = np.column_stack([errors, np.full(10, 3.0)])
    assert assumptions.normal(constant, 0.05) == assumptions.normal(errors, 0.05)


@pytest.mark.parametrize(("units", "models"), [(2, 5), (5, 2), (3, 5), (5, 3), (2, 3), (3, 3)])
def test_normality_tests_one_of_two_mirrored_residuals_and_all_others(units, models):
    errors = np.random.default_rng(units * models).gamma(1.0, size=(units, models))
    left = errors - errors.mean(axis=0) - errors.mean(axis=1)[:, None] + errors.mean()
    tested = left[0] if units == 2 else left[:, 0] if models == 2 else left.ravel()
    assert assumptions.normality(errors) == pytest.approx(stats.shapiro(tested).pvalue)


def test_two_residuals_are_not_tested():
    assert assumptions.normality(np.array([[0.1, 0.4], [0.3, 0.2]])) == 1.0


def test_a_deviation_is_rounding_below_1e_12_of_the_largest_error_or_of_one():
    errors = np.array([[1000.0, 0.0], [-3.0, 2.0]])
    assert negligible(5e-10, errors)
    assert negligible(5e-10, -errors)
    assert not negligible(2e-9, errors)
    assert negligible(5e-13, errors / 1e6)
    assert not negligible(2e-12, errors / 1e6)


@pytest.mark.parametrize("mean", [-0.04, 0.0, 0.02, 0.2])
def test_equivalence_is_two_one_sided_tests(mean):
    differences = mean + 0.03 * np.array([-1.2, 0.4, 0.9, -0.6, 0.5])
    error = differences.std(ddof=1) / math.sqrt(5)
    above = stats.ttest_1samp(differences, -0.05, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 0.05, alternative="less").pvalue
    assert tost(float(differences.mean()), error, 4, 0.05) == pytest.approx(max(above, below))
    # The same as the 90 % interval within the margin.
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    assert (tost(float(differences.mean()), error, 4, 0.05) < 0.05) == (low > -0.05 and high < 0.05)


def test_effect_sizes_are_as_defined():
    one, other = EXERCISE[:, 2].astype(float), EXERCISE[:, 0].astype(float)
    difference = one - other
    assert cohen_dz(difference) == pytest.approx(stats.ttest_rel(one, other).statistic / math.sqrt(6))
    assert cohen_dav(one, other) == pytest.approx(difference.mean() / ((one.std(ddof=1) + other.std(ddof=1)) / 2))
    assert math.isnan(cohen_dz(np.ones(4)))
    assert math.isnan(cohen_dz(np.ones(1)))


def test_effects_of_one_and_of_two_units():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(cohen_dz(np.array([0.3])))
        assert math.isnan(cohen_dav(np.array([0.3]), np.array([0.1])))
    assert cohen_dz(np.array([0.0, 2.0])) == pytest.approx(1 / math.sqrt(2))
    assert cohen_dav(np.array([1.0, 3.0]), np.array([0.0, 2.0])) == pytest.approx(1 / math.sqrt(2))


def test_noise_floor_is_the_deviation_between_seeds_of_a_split():
    index = pd.MultiIndex.from_tuples([(0, 0), (0, 1), (1, 0), (1, 1)], names=["split", "seed"])
    errors = pd.DataFrame({"a": [1.0, 1.2, 5.0, 5.0], "b": [2.0, 2.0, 7.0, 7.4]}, index=index)
    # Variances within split and configuration: 0.02, 0, 0, 0.08, one degree of freedom each.
    assert noise_floor(errors) == pytest.approx(math.sqrt(0.1 / 4))
    assert math.isnan(noise_floor(errors.iloc[[0, 2]]))


# Power.


@pytest.mark.parametrize(("critical", "df", "noncentrality"), [(2.776, 4, 3.0), (2.0, 60, 1.0), (3.2, 24, 5.0)])
def test_upper_tail_is_that_of_the_noncentral_t(critical, df, noncentrality):
    found = power.upper_tail(critical, df, noncentrality)
    assert found == pytest.approx(stats.nct.sf(critical, df, noncentrality), abs=2e-4)


@pytest.mark.parametrize(("critical", "df", "wanted"), [(0.5, 9, 0.7), (1.0, 4, 0.5), (2.3, 9, 0.8)])
def test_a_two_sided_test_finds_an_effect_on_either_side(critical, df, wanted):
    found = power.required(critical, df, wanted)
    assert stats.nct.sf(critical, df, found) + stats.nct.cdf(-critical, df, found) == pytest.approx(wanted, abs=3e-4)
    assert power.required(critical, df, 2 * stats.t.sf(critical, df) - 1e-3) == 0


def test_detectable_effect_is_detected_as_often_as_stated():
    rng, n, sd = np.random.default_rng(3), 8, 0.03
    effect = power.detectable(sd / math.sqrt(n), stats.t.ppf(0.975, n - 1), n - 1, 0.8)
    samples = rng.normal(effect, sd, (20_000, n))
    rejected = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05
    assert rejected.mean() == pytest.approx(0.8, abs=0.01)
    # Textbook: at 80 % power, n = 34 pairs detect d_z = 0.5 (Cohen 1988; G*Power gives 34).
    assert power.to_detect(
        0.5, lambda n: 1 / math.sqrt(n), lambda n: stats.t.ppf(0.975, n - 1), lambda n: n - 1, 0.8
    ) == pytest.approx(34)


def test_replicates_for_equivalence_are_as_many_as_the_power_needs():
    sd, margin = 0.04, 0.05
    critical = lambda n: stats.t.ppf(0.95, n - 1)  # noqa: E731
    n = power.to_equate(0.0, margin, lambda n: sd / math.sqrt(n), critical, lambda n: n - 1, 0.8)
    rng = np.random.default_rng(4)
    shares = []
    for count in (n - 1, n):
        samples = rng.normal(0, sd, (20_000, count))
        error = samples.std(axis=1, ddof=1) / math.sqrt(count)
        near = (margin - np.abs(samples.mean(axis=1))) / error > stats.t.ppf(0.95, count - 1)
        shares.append(near.mean())
    assert shares[0] < 0.81
    assert shares[1] > 0.79
    assert power.to_equate(0.06, margin, lambda n: sd / math.sqrt(n), critical, lambda n: n - 1, 0.8) is None


def test_no_number_of_splits_of_the_same_molecules_tells_what_their_overlap_hides():
    def error_of(n):
        return power.standard_error(0.05, n, 0.125)

    assert power.to_detect(0.01, error_of, lambda n: stats.t.ppf(0.975, n - 1), lambda n: n - 1, 0.8) is None


# Replicates.


def test_one_split_has_its_seeds_as_units_and_says_so():
    metrics, splits = study(np.random.default_rng(0), 6)
    found = replicates(metrics, splits)
    assert (found.splits, found.shared, found.alone) == (1, 0.0, True)
    table = compare(metrics, splits, SETTINGS)
    assert (table["n_units"] == 6).all()
    assert (table["n_splits"] == 1).all()
    assert table["verdict"].str.contains("this split alone|6 seeds of one split").all()


def test_several_splits_are_averaged_over_seeds_and_corrected_for_their_overlap():
    metrics, splits = study(np.random.default_rng(0), 3, n_splits=5, means={"none": 1.0, "random": 1.03})
    row = row_of(compare(metrics, splits, SETTINGS), "random", "none")
    means = metrics.groupby(["split_seed", "selection"])["rmse"].mean().unstack()
    differences = means["random"] - means["none"]
    assert (row.n_units, row.n_splits, row.n_replicates) == (5, 5, 15)
    # Nadeau and Bengio 2003: 1 / J + n_test / n_train, here 1 / 5 + 1 / 8.
    error = differences.std(ddof=1) * math.sqrt(1 / 5 + 1 / 8)
    assert inflation(5, 1 / 8) == pytest.approx(5 * (1 / 5 + 1 / 8))
    skew = stats.skew(differences) / 5**0.5 * (1 / 5 / (1 / 5 + 1 / 8)) ** 1.5  # what the splits share dilutes it
    low, high = skewness.interval(differences.mean(), error, stats.t.ppf(0.975, 4), skew)
    assert (row.low, row.high) == pytest.approx((low, high))
    assert row.p_tukey == pytest.approx(2 * stats.t.sf(abs(differences.mean()) / error, 4))
    assert "split alone" not in row.verdict


def test_two_splits_are_two_units_however_many_seeds_they_have():
    metrics, splits = study(np.random.default_rng(0), 3, n_splits=2)
    found = replicates(metrics, splits)
    means = metrics.groupby(["split_seed", "selection"])["rmse"].mean().unstack()
    assert (found.splits, found.alone) == (2, False)
    assert found.shared == pytest.approx(1 / 8)  # n_test / n_train: they train on some of the same molecules
    units = found.units(found.errors)
    assert units.xs("none", axis=1, level="selection").to_numpy().ravel().tolist() == pytest.approx(
        means["none"].tolist()
    )


def test_an_r2_that_one_run_lacks_is_missing_there_alone():
    metrics, splits = study(np.random.default_rng(0), 3)
    metrics = metrics.assign(r2=np.where(metrics["seed"] == 1, np.nan, 0.5))
    found = replicates(metrics, splits)
    missing = found.r2.isna().all(axis=1)
    assert missing.xs(1, level="seed").all()
    assert (found.r2[~missing] == 0.5).all(axis=None)


def test_splits_that_are_the_same_are_one_split():
    metrics, _ = study(np.random.default_rng(0), 4, n_splits=3)
    found = replicates(metrics, divisions(3, same=True))
    assert found.splits == 1
    assert len(found.errors) == 4  # seeds, the three copies averaged
    assert (compare(metrics, divisions(3, same=True), SETTINGS)["n_splits"] == 1).all()


def test_only_replicates_that_all_of_a_family_have_are_compared():
    metrics, splits = study(np.random.default_rng(0), 5)
    fewer = metrics.drop(metrics[(metrics["selection"] == "influence") & (metrics["seed"] == 2)].index)
    table = compare(fewer, splits, SETTINGS)
    assert (table["n_units"] == 4).all()
    kept = metrics[metrics["seed"] != 2]
    assert table["difference"].tolist() == pytest.approx(compare(kept, splits, SETTINGS)["difference"].tolist())


def test_a_configuration_that_lacks_half_of_the_replicates_costs_the_others_none():
    metrics, splits = study(np.random.default_rng(0), 4)
    lacking = (metrics["selection"] == "influence") & (metrics["seed"] < 2)
    table = compare(metrics[~lacking], splits, SETTINGS)
    assert "influence" not in {*table["what"], *table["versus"]}
    without = compare(metrics[metrics["selection"] != "influence"], splits, SETTINGS)
    pd.testing.assert_frame_equal(table, without)


def test_models_without_seed_stand_beside_every_seed_of_their_split():
    metrics, splits = study(np.random.default_rng(0), 4)
    described = metrics.iloc[[0]].assign(seed=None, origin="descriptors", method="svr", selection="none", rmse=0.3)
    found = replicates(pd.concat([metrics, described]), splits)
    assert found.errors["descriptors", "svr", "none"].tolist() == [0.3] * 4


def test_copies_are_no_replicates():
    metrics, splits = study(np.random.default_rng(0), 1)
    copied = pd.concat([metrics.assign(seed=seed) for seed in range(4)])
    table = compare(copied, splits, SETTINGS)
    assert set(table["verdict"]) == {
        "cannot tell: the 4 seeds of one split gave the same errors, so that their noise is unknown"
    }
    assert table[["low", "p_tukey", "detectable"]].isna().all(axis=None)


# The families and the table.


def test_families_cover_what_a_study_asks():
    found = [
        *(("adapted", "full", name) for name in ("none", "random", "influence")),
        *(("adapted", "lora", name) for name in ("none", "random")),
        ("baseline", "full", "none"),
        *(("descriptors", "svr", name) for name in ("none", "influence", "all")),
        ("descriptors", "forest", "none"),
    ]
    made = {family.name: [(pair.what, pair.versus) for pair in family.pairs] for family in families(found)}
    assert made == {
        "selections": [("random", "none"), ("influence", "none"), ("influence", "random")],
        "adaptation": [("adapted", "baseline")],
        "methods on none": [("lora", "full")],
        "methods on random": [("lora", "full")],
        "descriptors": [
            (f"{origin}, {name}", model)
            for model in ("forest", "svr")
            for origin, name in [
                ("baseline", "none"),
                ("adapted", "none"),
                ("adapted", "random"),
                ("adapted", "influence"),
            ]
        ],
        "selections of svr": [("all", "none"), ("influence", "none")],
    }


def test_methods_are_compared_where_full_fine_tuning_was_not_trained_and_uses_by_model():
    found = [
        ("adapted", "full", "none"),
        *(("adapted", method, "all") for method in ("lora", "bitfit")),
        *(("descriptors", "svr", name) for name in ("none", "all", named("all", "weighted"))),
        *(("adapted", "full", name) for name in ("random", named("random", "weighted"), named("random", "auto"))),
    ]
    made = {family.name: [(pair.what, pair.versus) for pair in family.pairs] for family in families(found)}
    assert made["methods on all"] == [("lora", "bitfit")] or made["methods on all"] == [("bitfit", "lora")]
    assert made["uses of random"] == [(use, versus) for versus in ("none", "mixed") for use in ("auto", "weighted")]
    assert made["uses of all by svr"] == [("weighted", "none"), ("weighted", "mixed")]
    uses = [name for name in made if name.startswith("uses")]
    assert uses == ["uses of random", "uses of all by svr"]  # the language model's first


def test_descriptor_models_may_have_any_name_and_stand_in_its_order():
    names = ["full", "e", "d", "c", "b", "a"]
    found = [("adapted", "full", "none"), *(("descriptors", name, of) for name in names for of in ("none", "all"))]
    made = {family.name: family for family in families(found)}
    assert {pair.what for pair in made["descriptors"].pairs} == {"adapted, none"}  # full is not only a method's name
    assert [pair.versus for pair in made["descriptors"].pairs] == sorted(names)
    assert list(made) == ["descriptors", *(f"selections of {name}" for name in sorted(names))]


def test_uses_of_a_selection_are_compared_with_mixed_and_with_none_in_a_family_of_their_own():
    metrics, splits = study(np.random.default_rng(0), 4)
    mixed = metrics[(metrics["origin"] == "adapted") & (metrics["selection"] == "random")]
    weighted = mixed.assign(use="weighted", rmse=mixed["rmse"] - 0.1)
    table = compare(pd.concat([metrics, weighted]), splits, SETTINGS)
    rows = table[table["family"] == "uses of random"].set_index("versus")
    assert set(rows["what"]) == {"weighted"}
    assert set(rows.index) == {"none", "mixed"}
    assert rows.loc["mixed", "difference"] == pytest.approx(-0.1)
    others = table[table["family"] != "uses of random"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, compare(metrics, splits, SETTINGS), check_dtype=False)


def test_table_is_as_declared_and_reads_the_test_fold_only(tmp_path):
    metrics, splits = study(np.random.default_rng(0), 4)
    table = compare(metrics, splits, SETTINGS)
    write_table(table, tmp_path / "comparisons.parquet", "comparisons")
    assert list(read_table(tmp_path / "comparisons.parquet")) == list(TABLES["comparisons"])
    validation = metrics.assign(fold="validation", rmse=7.0)
    pd.testing.assert_frame_equal(compare(pd.concat([metrics, validation]), splits, SETTINGS), table)
    empty = compare(metrics.iloc[:0], splits.iloc[:0], SETTINGS)
    write_table(empty, tmp_path / "empty.parquet", "comparisons")


def test_pairs_of_a_spherical_family_are_judged_by_tukey():
    metrics, splits = study(np.random.default_rng(1), 8)
    table = compare(metrics, splits, SETTINGS)
    errors = metrics.pivot(index="seed", columns="selection", values="rmse")[SELECTIONS]
    assert set(table["test_used"]) == {"Tukey"}
    found = anova(errors.to_numpy())
    q = stats.studentized_range.ppf(0.95, 5, 28)
    for row in table.itertuples():
        assert row.difference == pytest.approx((errors[row.what] - errors[row.versus]).mean())
        assert row.high - row.low == pytest.approx(2 * q * math.sqrt(found.ms_residual / 8))
        assert (row.low > 0 or row.high < 0) == (row.p_tukey < 0.05)
        assert row.omnibus == pytest.approx(found.p)


def test_pairs_of_unequal_noise_are_judged_by_their_own():
    metrics, splits = study(np.random.default_rng(1), 12, deviation=[0.002, 0.002, 0.002, 0.002, 0.2])
    table = compare(metrics, splits, SETTINGS)
    assert set(table["test_used"]) == {"paired t"}
    errors = metrics.pivot(index="seed", columns="selection", values="rmse")
    for row in table.itertuples():
        test = stats.ttest_rel(errors[row.what], errors[row.versus])
        interval = test.confidence_interval(1 - 0.05 / 10)
        assert row.low <= interval.low + 1e-12  # the wider of Student's and Hall's
        assert row.high >= interval.high - 1e-12
        assert min(abs(row.low - interval.low), abs(row.high - interval.high)) < 1e-9
        assert row.p_paired >= min(1, 10 * test.pvalue) - 1e-12


def conover(errors, inflation=1.0):
    """P values of the pairs (i < j), not adjusted, by the formula of Conover 1999, 5.8, with scipy's ranks."""
    ranks = stats.rankdata(errors, axis=1)
    n, k = ranks.shape
    sums, df = ranks.sum(axis=0), (n - 1) * (k - 1)
    error = math.sqrt(2 * (n * (ranks**2).sum() - (sums**2).sum()) * inflation / df)
    return [2 * stats.t.sf(abs(sums[i] - sums[j]) / error, df) for i, j in combinations(range(k), 2)]


def by_pair(metrics):
    """Units (seeds, or splits) by configuration, and the pairs in the order of the table's rows: later less earlier."""
    names = list(dict.fromkeys(metrics["selection"]))
    unit = "split_seed" if metrics["split_seed"].nunique() > 1 else "seed"
    errors = metrics.groupby([unit, "selection"])["rmse"].mean().unstack()[names]
    return errors, [(other, one) for one, other in combinations(names, 2)]


@pytest.fixture
def by_ranks(monkeypatch):
    """Errors that pass for spherical and not for normal, whatever they are."""
    monkeypatch.setattr(assumptions, "spherical", lambda errors: True)
    monkeypatch.setattr(assumptions, "normal", lambda errors, alpha: False)


@pytest.mark.parametrize("alpha", [0.04, 0.06])
def test_ranks_decide_nothing(by_ranks, alpha):
    """Three replicates that rank three configurations alike: chi-squared 6, p 0.0498, and no doubt of any pair."""
    errors = np.array([[1.0, 1.1, 1.2], [2.0, 2.3, 2.5], [3.0, 3.2, 3.5]])
    metrics, splits = study(np.random.default_rng(0), 3, means={"none": 1.0, "random": 1.0, "all": 1.0})
    metrics["rmse"] = errors.ravel()
    table = compare(metrics, splits, SETTINGS | {"alpha": alpha, "margin": 1e-6})
    assert set(table["test_used"]) == {"paired t"}
    assert table["p_conover"].tolist() == [0, 0, 0]
    assert table["omnibus"].tolist() == pytest.approx([stats.chi2.sf(6, 2)] * 3)
    assert table["verdict"].str.startswith("worse").tolist() == (table["low"] > 0).tolist()


@pytest.mark.parametrize("n_splits", [1, 6])
def test_p_values_of_ranks_are_adjusted_and_allow_for_shared_molecules(by_ranks, n_splits):
    means = {"none": 1.0, "random": 1.005, "all": 1.02, "influence": 0.99}
    metrics, splits = study(np.random.default_rng(6), 8 if n_splits == 1 else 1, means=means, n_splits=n_splits)
    table = compare(metrics, splits, SETTINGS)
    errors, pairs = by_pair(metrics)
    shared = 1.0 if n_splits == 1 else 1 + n_splits / 8  # n_test / n_train is 1 / 8
    raw = conover(errors.to_numpy(), shared)
    assert list(zip(table["what"], table["versus"], strict=True)) == pairs
    assert table["p_conover"].tolist() == pytest.approx(step_down(raw))
    assert np.abs(np.subtract(step_down(raw), raw)).max() > 0.01, "or it shows nothing"
    assert table["omnibus"].tolist() == pytest.approx([stats.friedmanchisquare(*errors.to_numpy().T).pvalue] * 6)


def test_the_omnibus_f_allows_for_shared_molecules():
    metrics, splits = study(np.random.default_rng(3), 2, n_splits=6)
    table = compare(metrics, splits, SETTINGS)
    assert set(table["test_used"]) == {"Tukey"}
    errors = by_pair(metrics)[0].to_numpy()
    n, k = errors.shape
    between = n * ((errors.mean(axis=0) - errors.mean()) ** 2).sum() / (k - 1)
    left = errors - errors.mean(axis=0) - errors.mean(axis=1, keepdims=True) + errors.mean()
    df = (n - 1) * (k - 1)
    inflated = (left**2).sum() / df * (1 + n / 8)
    assert table["omnibus"].tolist() == pytest.approx([stats.f.sf(between / inflated, k - 1, df)] * 10)
    # The interval, the p values and the detectable effect rest on the same variance: 1 / n + n_test / n_train.
    error = math.sqrt(2 * (left**2).sum() / df * (1 / n + 1 / 8))
    half = stats.studentized_range.ppf(0.95, k, df) / math.sqrt(2) * error
    assert (table["high"] - table["low"]).tolist() == pytest.approx([2 * half] * 10)
    t = table["difference"].abs() / error
    assert table["p_tukey"].tolist() == pytest.approx(stats.studentized_range.sf(t * math.sqrt(2), k, df).tolist())


def test_families_of_one_question_divide_its_share_and_all_questions_together_have_one():
    runs = [("adapted", method, selection) for method in ("full", "lora") for selection in ("none", "random", "all")]
    found = families([*runs, ("baseline", "full", "none")])
    shares = {one.family.name: (one.question, one.share) for one in judged(found, found, ["selections", "methods"])}
    assert shares["selections"] == ("selections", 1 / 2)
    methods = [shares[f"methods on {selection}"] for selection in ("none", "random", "all")]
    assert methods == [("methods", pytest.approx(1 / 6))] * 3
    assert shares["adaptation"] == ("", 1.0)  # which nobody asked about
    halved = judged(found, found, ["selections", "methods"], splitters=2)
    assert sum(one.share for one in halved if one.question) == pytest.approx(1 / 2)
    assert {one.share for one in judged(found, [], [])} == {1.0}


@pytest.mark.parametrize("judged", ["Tukey", "paired t"])
def test_equivalence_is_adjusted_by_holm(monkeypatch, judged):
    monkeypatch.setattr(assumptions, "spherical", lambda errors: judged == "Tukey")
    monkeypatch.setattr(assumptions, "normal", lambda errors, alpha: True)
    metrics, splits = study(np.random.default_rng(2), 6, deviation=0.03)
    table = compare(metrics, splits, SETTINGS)
    assert set(table["test_used"]) == {judged}
    errors, pairs = by_pair(metrics)
    k, n = errors.shape[1], len(errors)
    pooled = math.sqrt(2 * anova(errors.to_numpy()).ms_residual / n)
    raw = []
    for what, versus in pairs:
        difference = (errors[what] - errors[versus]).to_numpy()
        if judged == "paired t":
            above, below = (
                stats.ttest_1samp(difference, side * 0.05, alternative=way).pvalue
                for side, way in ((-1, "greater"), (1, "less"))
            )
            raw.append(max(above, below))
        else:
            raw.append(stats.t.sf((0.05 - abs(difference.mean())) / pooled, (n - 1) * (k - 1)))
    assert table["p_equivalence"].tolist() == pytest.approx(step_down(raw))
    assert np.abs(np.subtract(step_down(raw), raw)).max() > 0.01, "or it shows nothing"


@pytest.mark.parametrize("judged", ["Tukey", "paired t"])
def test_verdicts_are_given_at_the_level_asked_for(monkeypatch, judged):
    """Whatever the level: a difference where its p lies below it, which is where its interval leaves out zero."""
    monkeypatch.setattr(assumptions, "spherical", lambda errors: judged != "paired t")
    monkeypatch.setattr(assumptions, "normal", lambda errors, alpha: judged == "Tukey")
    for planning in ("to_detect", "to_equate"):  # not what is looked at here, and most of the time
        monkeypatch.setattr(power, planning, lambda *_: None)
    decisive = {"Tukey": "p_tukey", "paired t": "p_paired"}[judged]
    means = {"none": 1.0, "random": 1.02, "all": 1.03}
    metrics, splits = study(np.random.default_rng(4), 9, deviation=0.025, means=means)

    def judged_at(alpha):
        return compare(metrics, splits, SETTINGS | {"alpha": alpha, "margin": 0.06})

    looked_at = [p for p in judged_at(0.05)[decisive] if 1e-6 < p < 0.5]
    assert len(looked_at) >= 2
    for alpha in [factor * p for p in looked_at for factor in (0.7, 1.3) if factor * p < 1]:
        for row in judged_at(alpha).itertuples():
            told = row.verdict.startswith(("better", "worse"))
            assert told == (getattr(row, decisive) < alpha) == (not row.low <= 0 <= row.high)
            assert row.verdict.startswith("equivalent") == (not told and row.low > -0.06 and row.high < 0.06)


@pytest.mark.parametrize("judged", ["Tukey", "paired t"])
def test_planning_of_equivalence_allows_for_the_number_of_pairs(monkeypatch, judged):
    """Against scipy's noncentral t, at the critical value of the interval that has to lie within the margin."""
    monkeypatch.setattr(assumptions, "spherical", lambda errors: judged == "Tukey")
    monkeypatch.setattr(assumptions, "normal", lambda errors, alpha: True)
    metrics, splits = study(np.random.default_rng(2), 6, deviation=0.03)
    table = compare(metrics, splits, SETTINGS)
    errors, pairs = by_pair(metrics)
    pooled = math.sqrt(2 * anova(errors.to_numpy()).ms_residual)

    def needed(mean, sd, df, pairs_of):
        for n in range(3, 1001):
            critical = stats.t.ppf(1 - 0.025 / pairs_of, df(n))
            if judged == "Tukey" and pairs_of > 1:
                critical = stats.studentized_range.ppf(0.95, 5, df(n)) / math.sqrt(2)
            ncp = [(0.05 - s * mean) / sd * math.sqrt(n) for s in (-1, 1)]
            if sum(stats.nct.sf(critical, df(n), one) for one in ncp) - 1 >= 0.8:
                return n
        return None

    counts = []
    for row, (what, versus) in zip(table.itertuples(), pairs, strict=True):
        difference = errors[what] - errors[versus]
        sd = pooled if judged == "Tukey" else difference.std(ddof=1)
        df = (lambda n: (n - 1) * 4) if judged == "Tukey" else (lambda n: n - 1)
        if abs(difference.mean()) < 0.012:  # where equivalence takes fewer than telling the difference would
            counts.append([needed(difference.mean(), sd, df, pairs_of) for pairs_of in (10, 1)])
            assert row.replicates_needed == counts[-1][0]
    assert len(counts) >= 2
    assert all(one > other for one, other in counts), "or it shows nothing"


def test_sphericity_is_given_up_below_three_quarters():
    """Between a half and three quarters, too: Huynh and Feldt's epsilon, from the eigenvalues of the contrasts."""
    rng = np.random.default_rng(1)
    contrasts = np.linalg.qr(np.column_stack([np.ones(4), rng.normal(size=(4, 3))]))[0][:, 1:]
    found = []
    for last in np.linspace(1, 6, 40):
        errors = rng.normal(size=(30, 4)) * [1, 1, 1, last]
        values = np.linalg.eigvalsh(contrasts.T @ np.cov(errors, rowvar=False) @ contrasts)
        epsilon = values.sum() ** 2 / (3 * (values**2).sum())
        epsilon = (30 * 3 * epsilon - 2) / (3 * (29 - 3 * epsilon))
        found.append(epsilon)
        assert assumptions.spherical(errors) == (epsilon >= 0.75)
    assert sum(0.5 < one < 0.75 for one in found) > 5
    assert sum(one > 0.75 for one in found) > 5


def test_the_noise_floor_is_of_trained_models_alone():
    """A descriptor model without a seed would count as one without noise, one with a seed as one of the trained."""
    metrics, splits = study(np.random.default_rng(0), 3, n_splits=4, means={"none": 1.0, "random": 1.0})
    described = metrics[metrics["selection"] == "none"].assign(origin="descriptors", method="svr")
    described["rmse"] = 1.0 + 5 * np.arange(len(described))
    table = compare(pd.concat([metrics, described]), splits, SETTINGS)
    variances = metrics.groupby(["split_seed", "selection"])["rmse"].var(ddof=1)
    family = table[table["family"] == "descriptors"]
    assert len(family)
    assert family["seed_sd"].tolist() == pytest.approx([math.sqrt(variances.mean())] * len(family))


def test_one_replicate_far_off_gives_no_direction():
    """Eleven of twelve are worse by 0.01 to 0.02 and one is better by half: ranks would say worse, the mean better."""
    metrics, splits = study(np.random.default_rng(0), 12, deviation=0.0, means={"none": 1.0, "random": 1.0})
    moved = metrics["selection"] == "random"
    metrics.loc[moved, "rmse"] += [*np.linspace(0.01, 0.02, 11), -0.5]
    (row,) = compare(metrics, splits, SETTINGS).itertuples()
    assert row.verdict.startswith("cannot tell with 12 seeds of one split")
    assert row.median == pytest.approx(0.015, abs=0.002)
    assert row.difference < 0 < row.median
    # Even where a narrow interval has the mean's sign, it does not stand against that of most replicates.
    estimate = Estimate(mean=-0.03, low=-0.05, high=-0.01, detectable=0.1, needed=9, median=0.015)
    words = verdict(Evidence(versus="none", n=12, alone=False, margin=0.05, estimate=estimate))
    assert words == "cannot tell: better than none on average, but worse typically"


@pytest.mark.slow
def test_family_wise_coverage_of_the_simultaneous_intervals(monkeypatch):
    for planning in ("to_detect", "to_equate"):  # not what is looked at here, and most of the time
        monkeypatch.setattr(power, planning, lambda *_: None)
    rng, covered, wrong, times = np.random.default_rng(5), 0, 0, 200
    for _ in range(times):
        metrics, splits = study(rng, 6, means=dict.fromkeys(SELECTIONS[:4], 1.0))
        table = compare(metrics, splits, SETTINGS)
        covered += bool(((table["low"] <= 0) & (table["high"] >= 0)).all())
        wrong += bool(table["verdict"].str.match("better|worse").any())
    assert covered / times >= 0.93
    assert wrong / times <= 0.07


# Words.


def test_verdicts_of_studies():
    rng = np.random.default_rng(0)
    means = {"none": 1.0, "random": 1.001, "all": 1.2, "influence": 0.9}
    table = compare(*study(rng, 6, deviation=0.01, means=means), SETTINGS)
    assert row_of(table, "random", "none").verdict == "equivalent to none (within 0.05, this split alone)"
    better, worse = row_of(table, "influence", "random"), row_of(table, "all", "none")
    low, high = -better.high, -better.low
    assert better.verdict == f"better than random by {low:.2f} to {high:.2f} (this split alone)"
    assert worse.verdict == f"worse than none by {worse.low:.2f} to {worse.high:.2f} (this split alone)"


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_replicates_never_tell(n):
    means = {"none": 1.0, "random": 1.0, "all": 9.0}
    table = compare(*study(np.random.default_rng(0), n, deviation=1e-4, means=means), SETTINGS)
    assert table["verdict"].str.startswith(f"cannot tell with {n} seed").all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "better than none by 0.03 to 0.06"),
        ({"alone": True}, "better than none by 0.03 to 0.06 (this split alone)"),
        ({"mean": 0.045, "interval": (0.031, 0.062)}, "worse than none by 0.03 to 0.06"),
        ({"interval": (-0.045, -0.021)}, "better than none by 0.02 to 0.04 (less than the margin of 0.05)"),
        ({"interval": (-0.0141, -0.0136), "margin": 0.01}, "better than none by 0.014 to 0.014"),
        ({"interval": (-0.06, -1e-6)}, "better than none by up to 0.060"),
        ({"interval": (-0.04, 0.03)}, "equivalent to none (within 0.05)"),
        ({"interval": (-0.04, 0.03), "alone": True}, "equivalent to none (within 0.05, this split alone)"),
        ({"interval": (-0.1, 0.2)}, "cannot tell with 5 splits: 0.10 better to 0.20 worse; about 14 would"),
        ({"interval": (-0.1, 0.2), "needed": None}, "cannot tell with 5 splits: 0.10 better to 0.20 worse"),
        (
            {"interval": (-0.1, 0.2), "alone": True, "molecules": 15, "molecules_needed": 140},
            "cannot tell with 5 seeds of one split: 0.10 better to 0.20 worse; 15 test molecules are too few for a "
            "margin of 0.05, about 140 would do",
        ),
        ({"n": 2}, "cannot tell with 2 splits; about 14 would"),
        ({"n": 1, "needed": None}, "cannot tell with 1 split"),
        ({"exploratory": True}, "better than none by 0.03 to 0.06 (exploratory)"),
        (
            {"unlearned": (-0.16, -0.2), "alone": True},
            "no verdict: neither predicts better than the mean label (test R2 -0.16 and -0.20) (this split alone)",
        ),
        ({"same": "chose the same molecules as none"}, "chose the same molecules as none"),
    ],
)
def test_verdict_says_what_the_interval_carries(change, words):
    estimate = {"mean": -0.045, "interval": (-0.062, -0.031), "detectable": 0.08, "needed": 14}
    estimate |= {name: value for name, value in change.items() if name in estimate}
    low, high = estimate.pop("interval")
    known = {"versus": "none", "n": 5, "alone": False, "margin": 0.05}
    known |= {name: value for name, value in change.items() if name not in ("interval", *estimate)}
    assert verdict(Evidence(**known, estimate=Estimate(low=low, high=high, **estimate))) == words


def test_three_units_may_tell_and_two_never():
    estimate = Estimate(mean=0.3, low=0.25, high=0.35, detectable=0.1, needed=None)
    told = Evidence(versus="none", n=3, alone=False, margin=0.05, estimate=estimate)
    assert verdict(told) == "worse than none by 0.25 to 0.35"
    assert verdict(replace(told, n=2)) == "cannot tell with 2 splits"
    undecided = replace(estimate, low=-0.1, high=0.7, needed=9)
    assert verdict(replace(told, estimate=undecided)) == (
        "cannot tell with 3 splits: 0.10 better to 0.70 worse; about 9 would"
    )


def test_copies_carry_no_verdict():
    copies = Evidence(versus="none", n=5, alone=True, margin=0.05, estimate=None)
    assert verdict(copies).startswith("cannot tell: the 5 seeds of one split gave the same errors")
    assert verdict(replace(copies, n=1)) == "cannot tell with 1 seed of one split"


def test_selections_of_the_same_molecules_are_said_to_be_so():
    metrics, splits = study(np.random.default_rng(0), 3, means={"none": 1.0, "all": 1.1})
    same = metrics[metrics["selection"] == "all"].assign(selection="influence")
    table = compare(pd.concat([metrics, same]), splits, SETTINGS)
    assert row_of(table, "influence", "all").verdict == "chose the same molecules as all"


# Questions.


def names_of(*selections, methods=()):
    found = [("adapted", "full", name) for name in selections] + [("baseline", "full", "none")]
    return [*found, *(("adapted", method, "none") for method in methods)]


def test_questions_share_the_error_probability_whatever_else_was_trained():
    planned = families(names_of("none", "random", "influence", methods=("lora",)))
    made = {
        one.family.name: one
        for one in judged(families(names_of("none", "random")), planned, ["selections", "adaptation"], 2)
    }
    assert {name: one.share for name, one in made.items()} == {"selections": 0.25, "adaptation": 0.25}
    assert (made["selections"].configurations, made["selections"].pairs) == (3, 3), "as planned, not as trained"
    whole = {one.family.name: one for one in judged(planned, planned, ["selections", "adaptation"], 2)}
    assert (whole["methods on none"].share, whole["methods on none"].question) == (1.0, "")


def test_a_single_comparison_is_a_question_of_its_own():
    planned = families(names_of("none", "random", "influence"))
    first, rest, adaptation = judged(planned, planned, ["random vs influence"])
    assert [(pair.what, pair.versus) for pair in first.family.pairs] == [("influence", "random")]
    assert (first.question, first.share, first.configurations, first.pairs) == ("random vs influence", 1.0, 2, 1)
    assert (rest.question, len(rest.family.pairs), adaptation.question) == ("", 2, "")
    assert unknown(["methods", "influence vs random"], planned) is None
    assert unknown(["influence vs nothing"], planned) == "influence vs nothing"


def test_a_comparison_does_not_depend_on_what_else_could_be_trained():
    metrics, splits = study(np.random.default_rng(0), 2, n_splits=5)
    planned = Planned([("adapted", "full", name) for name in SELECTIONS])
    asked = SETTINGS | {"compare": ["influence vs random"]}
    fewer = metrics[metrics["selection"].isin(["none", "random", "influence"])]
    one, other = (compare(rows, splits, asked, planned=planned).query("question != ''") for rows in (metrics, fewer))
    pd.testing.assert_frame_equal(one, other)


# The noise of test molecules, and models that have learned nothing.


def predicted(rng, n_molecules, seeds, spread, labels=None):
    """Metrics, splits and predictions of two selections on one split, equal but for the noise of single predictions."""
    labels = rng.normal(size=n_molecules) if labels is None else labels
    metrics, predictions = [], []
    fixed = {name: rng.normal(0, 0.5, n_molecules) for name in ("none", "random")}
    for seed in range(seeds):
        for name, errors in fixed.items():
            run, guess = f"scaffold/0/{seed}/adapted/full/{name}", labels + errors + rng.normal(0, spread, n_molecules)
            mse = float(((guess - labels) ** 2).mean())
            metrics.append(
                {"run_id": run, "splitter": "scaffold", "split_seed": 0, "seed": seed, "origin": "adapted"}
                | {"method": "full", "selection": name, "fold": "test", "rmse": mse**0.5}
                | {"r2": 1 - mse / labels.var()}
            )
            ids = [f"t{i}" for i in range(n_molecules)]
            rows = {"run_id": run, "molecule_id": ids, "fold": "test", "label": labels, "prediction": guess}
            predictions.append(pd.DataFrame(rows))
    return pd.DataFrame(metrics), divisions(1), pd.concat(predictions)


def test_variance_of_test_molecules_is_that_of_drawing_others():
    """Two fixed models on fresh molecules: the formula against the spread of the difference over draws."""
    rng, differences, said = np.random.default_rng(0), [], []
    for _ in range(150):
        metrics, _, predictions = predicted(rng, 60, 1, 0.0)
        found = molecules(predictions, metrics.assign(split=0), ["origin", "method", "selection"])
        one, other = (("adapted", "full", name) for name in ("random", "none"))
        said.append(found.variance(one, other))
        differences.append(np.subtract(*metrics["rmse"]))
    assert np.mean(said) ** 0.5 == pytest.approx(np.std(differences), rel=0.2)
    assert found.count == 60


def test_seeds_of_one_split_carry_the_noise_of_its_molecules():
    metrics, splits, predictions = predicted(np.random.default_rng(3), 40, 5, 0.02)
    (without,) = compare(metrics, splits, SETTINGS).itertuples()
    (row,) = compare(metrics, splits, SETTINGS, predictions).itertuples()
    assert row.difference == pytest.approx(without.difference)
    assert row.molecules == 40
    seeds = without.sd / 5**0.5
    assert row.molecules_sd > 3 * seeds
    error = math.hypot(seeds, row.molecules_sd)
    df = math.floor(error**4 / (seeds**4 / 4 + row.molecules_sd**4 / 39))
    assert row.high - row.low == pytest.approx(2 * stats.t.ppf(0.975, df) * error, rel=0.02)
    assert row.low < 0 < row.high
    half = stats.norm.ppf(0.975) * row.molecules_sd
    assert row.molecules_needed == pytest.approx(40 * (half / 0.05) ** 2, rel=0.06)
    assert f"40 test molecules are too few for a margin of 0.05, about {row.molecules_needed:,} would" in row.verdict


def test_models_that_learned_nothing_get_no_verdict():
    rng = np.random.default_rng(0)
    metrics, splits, predictions = predicted(rng, 15, 5, 0.01, labels=rng.normal(0, 0.3, 15))
    (row,) = compare(metrics, splits, SETTINGS | {"margin": 0.1}, predictions).itertuples()
    assert max(row.r2, row.r2_versus) < 0
    assert row.verdict.startswith("no verdict: neither predicts better than the mean label")
    # One that did is worth comparing with one that did not.
    learned = metrics["selection"] == "none"
    metrics.loc[learned, "r2"] = 0.9
    (row,) = compare(metrics, splits, SETTINGS | {"margin": 0.1}).itertuples()
    assert not row.verdict.startswith("no verdict")


def test_both_errors_stand_beside_a_difference():
    metrics, splits = study(np.random.default_rng(0), 3)
    for row in compare(metrics, splits, SETTINGS).itertuples():
        means = metrics.groupby("selection")["rmse"].mean()
        assert (row.error, row.error_versus) == pytest.approx((means[row.what], means[row.versus]))


# Skewness.


@pytest.mark.parametrize("skew", [-0.8, -0.1, 0.02, 0.5])
def test_skewed_intervals_and_p_values_are_those_of_halls_cubic_where_it_is_the_wider(skew):
    def cubic(t):  # Hall 1992: t + a t^2 / 3 + a^2 t^3 / 27 + a / 6, of the skewness a of the mean
        return t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6

    below, above = (optimize.brentq(lambda t, end=end: cubic(t) - end, -99, 99) for end in (-2.5, 2.5))
    low, high = skewness.interval(0.3, 0.1, 2.5, skew)
    assert (low, high) == pytest.approx((0.3 - 0.1 * max(2.5, above), 0.3 + 0.1 * max(2.5, -below)))
    for t in (-3, 3):
        expected = 2 * stats.t.sf(min(3, abs(cubic(t))), 7)
        assert skewness.p_value(0.1 * t, 0.1, 7, skew) == pytest.approx(expected)
    between = -skew / 12  # the mean's sign is not the corrected one's
    assert between * cubic(between) < 0
    assert skewness.p_value(0.1 * between, 0.1, 7, skew) == 1.0


def test_without_skewness_the_interval_is_students():
    assert skewness.interval(0.3, 0.1, 2.5, 0.0) == pytest.approx((0.05, 0.55))
    assert skewness.p_value(0.3, 0.1, 7, 0.0) == pytest.approx(2 * stats.t.sf(3, 7))


@pytest.mark.parametrize("skew", [-0.3, 0.05, 0.3])
@pytest.mark.parametrize("mean", [-0.4, 0.1, 0.25, 0.6])
def test_p_and_interval_agree(skew, mean):
    p = skewness.p_value(mean, 0.1, 6, skew)
    for alpha in (p * 0.9, min(0.99, p * 1.1)):
        low, high = skewness.interval(mean, 0.1, stats.t.ppf(1 - alpha / 2, 6), skew)
        assert (p < alpha) == (not low <= 0 <= high)


def test_skewed_differences_of_mean_zero_are_rarely_told():
    """Exponential differences at twelve units: Student's t errs in 10 %, ranks in as many; the bound is binomial."""
    rng, times, wrong = np.random.default_rng(1), 2000, 0
    for _ in range(times):
        d = rng.exponential(size=12) - 1
        wrong += skewness.p_value(d.mean(), d.std(ddof=1) / 12**0.5, 11, stats.skew(d) / 12**0.5) < 0.05
    assert wrong <= stats.binom.ppf(0.999, times, 0.06)


def test_draws_that_share_no_training_molecule_are_independent_but_for_their_test_molecules():
    """Five draws tested on the same molecules: the spread of the mean difference over draws and test molecules anew."""
    rng = np.random.default_rng(4)
    tested, draws = 400, 5
    noise = {name: rng.normal(size=(draws, tested)) * 0.1 for name in ("none", "random")}
    names = [f"m{i}" for i in range(tested)]
    hard = rng.normal(size=tested)
    runs, rows, folds = [], [], []
    for draw in range(draws):
        folds += [(f"own-{draw}-{i}", draw, "train") for i in range(9)]
        folds += [(f"own-{other}-{i}", draw, "") for other in range(draws) if other != draw for i in range(9)]
        folds += [(name, draw, "test") for name in names]
        for selection, factor in (("none", 1.0), ("random", 1.1)):
            run = f"draws/{draw}/0/adapted/full/{selection}"
            error = factor * hard + noise[selection][draw]
            rows += [(run, name, "test", 0.0, value) for name, value in zip(names, error, strict=True)]
            runs.append(
                (run, "draws", draw, 0, "adapted", "full", selection, "test", math.sqrt(np.mean(error**2)), 0.5)
            )
    columns = ["run_id", "splitter", "split_seed", "seed", "origin", "method", "selection", "fold", "rmse", "r2"]
    metrics = pd.DataFrame(runs, columns=columns)
    splits = pd.DataFrame(folds, columns=["molecule_id", "split_seed", "fold"]).assign(splitter="draws")
    predictions = pd.DataFrame(rows, columns=["run_id", "molecule_id", "fold", "label", "prediction"])
    found = replicates(metrics, splits, predictions)
    assert found.shared == 0
    assert found.molecules.common
    one, other = ("adapted", "full", "random"), ("adapted", "full", "none")

    def difference(places):
        return np.mean(
            [
                math.sqrt(np.mean((1.1 * hard + noise["random"][draw])[places] ** 2))
                - math.sqrt(np.mean((hard + noise["none"][draw])[places] ** 2))
                for draw in range(draws)
            ]
        )

    again = [difference(rng.integers(0, tested, tested)) for _ in range(2000)]
    assert math.sqrt(found.molecules.variance(one, other)) == pytest.approx(np.std(again), rel=0.1)
    (row,) = compare(metrics, splits, SETTINGS, predictions).itertuples()
    assert row.molecules_sd == pytest.approx(math.sqrt(found.molecules.variance(one, other)))
    spread = found.errors[one] - found.errors[other]
    wanted = math.sqrt(spread.var(ddof=1) / draws + found.molecules.variance(one, other))
    assert (row.high - row.low) / 2 > 1.9 * wanted
