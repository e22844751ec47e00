"""Selection strategies against RDKit's own picker, hand-made orders and budgets; aggregation against pandas by hand."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator
from rdkit.SimDivFilters.rdSimDivPickers import MaxMinPicker
from scipy.stats import spearmanr

from chemsieve import registry
from chemsieve.errors import ChemsieveError
from chemsieve.influence.aggregation import agreement_with_last, over_checkpoints
from chemsieve.influence.kernel import Kernel
from chemsieve.selection import Context, left_in, select
from chemsieve.study import budgets, configuration
from chemsieve.study.plan import Plan
from chemsieve.study.unlabelled import stepped_aside
from helpers.tiny import SMILES

ROOT = Path(__file__).parent.parent
POOL = pd.DataFrame(
    {"molecule_id": [f"pool-{i}" for i in range(len(SMILES))], "encoder_smiles": SMILES, "label": np.arange(24.0)}
)
GAIN = np.random.default_rng(5).normal(size=len(POOL))
N = len(POOL)


def chosen(table):
    return list(table.loc[table["selected"], "molecule_id"])


def by_gain(gains, budget, module="influence", pool=POOL):
    return select(pool.iloc[: len(gains)], Context(expected_gain=np.array(gains)), "mine", module, budget, 0, {})


# -- what every strategy promises --------------------------------------------------------------------------------------


class Passes:
    """Stands in for the model: predictions whose spread is known."""

    def __init__(self):
        self.asked = []

    def __call__(self, count, seed):
        self.asked.append((count, seed))
        spread = np.arange(N)[::-1] ** 2  # the first molecule is the most uncertain
        return np.where(np.arange(count)[:, None] % 2, 1.0, -1.0) * spread + 7.0


def full_context():
    random = np.random.default_rng(3)
    rows = random.normal(size=(8 + N, 200))
    kernel = Kernel(rows @ rows.T, random.normal(size=8 + N), 5, 3)
    return Context(
        training=POOL,
        predict_passes=Passes(),
        expected_gain=GAIN,
        predictions=lambda: GAIN,
        embeddings=lambda: (rows[:N], rows[8:]),
        kernels=lambda: [kernel],
        gram_labels=lambda: random.normal(size=5),
        rates=lambda: [1.0],
        validation=POOL.iloc[:8],
        validation_embeddings=lambda: rows[:8],
    )


@pytest.mark.parametrize("strategy", registry.choices("selection"))
def test_every_strategy_ranks_every_molecule_once(strategy):
    module = registry.load("selection", strategy)
    budget = {"count": 5} if module.BUDGET else None
    table = select(POOL, full_context(), strategy, strategy, budget, 0, {})
    assert list(table.columns[:4]) == ["molecule_id", "score", "rank", "selected"]
    assert sorted(table["molecule_id"]) == sorted(POOL["molecule_id"])
    assert list(table["rank"]) == list(range(1, N + 1))
    if module.BUDGET:
        assert list(table["selected"]) == [True] * 5 + [False] * (N - 5)
        assert (np.diff(table["score"]) <= 0).all()
    again = select(POOL, full_context(), strategy, strategy, budget, 0, {})
    pd.testing.assert_frame_equal(table, again)


@pytest.mark.parametrize(("strategy", "count"), [("none", 0), ("all", N)])
def test_controls_choose_nothing_and_everything_in_the_files_order(strategy, count):
    table = select(POOL, Context(), strategy, strategy, None, 0, {})
    assert table["selected"].sum() == count
    assert list(table["molecule_id"]) == list(POOL["molecule_id"])
    assert table["score"].isna().all()


# -- each strategy -----------------------------------------------------------------------------------------------------


def test_random_is_a_seeded_permutation_that_forgets_the_files_order():
    orders = [
        list(select(POOL, Context(), "random", "random", {"count": 1}, seed, {})["molecule_id"]) for seed in range(200)
    ]
    assert len({tuple(order) for order in orders}) == 200
    first = pd.Series(order[0] for order in orders).value_counts()
    # 200 draws over 24 molecules: chi-squared with 23 degrees of freedom stays below 60 but once in 30,000.
    observed = first.reindex(POOL["molecule_id"], fill_value=0)
    assert float(((observed - 200 / N) ** 2 / (200 / N)).sum()) < 60


def test_uncertainty_orders_by_the_spread_over_the_passes():
    context = full_context()
    table = select(POOL, context, "uncertainty", "uncertainty", {"count": 3}, 11, {"passes": 4})
    assert context.predict_passes.asked == [(4, 11)]
    assert chosen(table) == ["pool-0", "pool-1", "pool-2"]
    np.testing.assert_allclose(table["score"], np.arange(N)[::-1] ** 2, atol=1e-9)


def test_influence_takes_the_largest_gains_and_its_control_the_smallest():
    assert chosen(by_gain([0.5, -2.0, 3.0, 0.0], {"count": 2})) == ["pool-2", "pool-0"]
    assert chosen(by_gain([0.5, -2.0, 3.0, 0.0], {"count": 2}, "influence_bottom")) == ["pool-1", "pool-3"]
    top, bottom = (by_gain(GAIN, {"count": 4}, module) for module in ("influence", "influence_bottom"))
    assert list(top["molecule_id"]) == list(bottom["molecule_id"])[::-1]
    np.testing.assert_array_equal(top["score"], -bottom["score"][::-1])


def fingerprints(smiles, radius=2, bits=2048):
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
    return [generator.GetFingerprint(Chem.MolFromSmiles(s)) for s in smiles]


# Large and varied enough that farthest molecules are seldom tied; where they are, both take the first.
VARIED = [
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O", "CC(=O)Oc1ccccc1C(=O)O", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "OC(=O)c1ccccc1O",
    "CC(=O)Nc1ccc(O)cc1", "CN(C)CCc1c[nH]c2ccccc12", "NC(=O)c1cccnc1", "Cc1ccc(cc1)S(=O)(=O)N", "OCC1OC(O)C(O)C(O)C1O",
    "CCOC(=O)c1ccc(N)cc1", "Clc1ccc(cc1)C(c1ccccc1)N1CCOCC1", "O=C1NC(=O)c2ccccc12", "CCCCCCCCCC(=O)O",
    "c1ccc2c(c1)ccc1ccccc12", "FC(F)(F)c1cccc(c1)N1CCNCC1", "CSCCC(N)C(=O)O", "O=S(=O)(c1ccccc1)N1CCCC1",
    "N#Cc1ccc(cc1)-c1ccncc1", "CC1(C)SC2C(NC(=O)C)C(=O)N2C1C(=O)O", "COc1cc2ncnc(Nc3cccc(Br)c3)c2cc1OC",
    "C1CCC(CC1)NC(=O)NC1CCCCC1", "CP(=O)(O)OCCN", "C=CCc1ccc(O)c(OC)c1", "O=C(c1ccccc1)c1ccc(F)cc1",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("options", [{}, {"radius": 3, "bits": 512}], ids=str)
def test_diversity_picks_what_rdkits_own_maxmin_picker_picks(seed, options):
    pool = pd.DataFrame({"molecule_id": [str(i) for i in range(len(VARIED))], "encoder_smiles": VARIED})
    table = select(pool, Context(), "diversity", "diversity", {"count": 5}, seed, options)
    order = [int(name) for name in table["molecule_id"]]
    prints = fingerprints(VARIED, **options)
    rdkit = list(MaxMinPicker().LazyBitVectorPick(prints, len(prints), len(prints), firstPicks=order[:1]))
    assert order == rdkit
    matrix = 1 - np.array([DataStructs.BulkTanimotoSimilarity(p, prints) for p in prints])
    # Each pick is a farthest one, and its score is how far it was.
    for k in range(1, len(order)):
        nearest = matrix[:, order[:k]].min(axis=1)
        nearest[order[:k]] = -1
        assert matrix[order[k], order[:k]].min() == nearest.max()
        assert table["score"][k] == pytest.approx(nearest.max(), abs=1e-9)


def test_diversity_starts_from_a_random_molecule():
    starts = {select(POOL, Context(), "d", "diversity", {"count": 1}, seed, {})["molecule_id"][0] for seed in range(40)}
    assert len(starts) > 10


def test_diversity_leaves_copies_for_last():
    pool = pd.DataFrame({"molecule_id": list("abcde"), "encoder_smiles": ["CCO", "CCO", "c1ccccc1", "CCO", "CC#N"]})
    for seed in range(5):
        table = select(pool, Context(), "d", "diversity", {"count": 3}, seed, {})
        smiles = pool.set_index("molecule_id")["encoder_smiles"][list(table["molecule_id"])]
        assert set(smiles.iloc[:3]) == {"CCO", "c1ccccc1", "CC#N"}
        np.testing.assert_allclose(table["score"][3:], 0, atol=1e-9)


# -- order and budgets -------------------------------------------------------------------------------------------------


def test_ties_keep_the_order_of_the_file():
    assert list(by_gain([1.0, 2.0, 1.0, 2.0, 1.0], {"count": 3})["molecule_id"]) == [
        "pool-1", "pool-3", "pool-0", "pool-2", "pool-4",
    ]  # fmt: skip
    many = pd.DataFrame({"molecule_id": [f"pool-{i}" for i in range(1000)]})
    order = list(by_gain([float(i % 3) for i in range(1000)], {"count": 1}, pool=many)["molecule_id"])
    assert order == [f"pool-{i}" for remainder in (2, 1, 0) for i in range(remainder, 1000, 3)]


@pytest.mark.parametrize(
    ("budget", "names"),
    [
        ({"count": 1}, "a"),
        ({"count": 5}, "abcde"),
        ({"fraction": 0.4}, "ab"),
        ({"fraction": 0.5}, "ab"),  # 2.5 rounds to even
        ({"fraction": 0.7}, "abcd"),  # 3.5 rounds to even
        ({"fraction": 1.0}, "abcde"),
        ({"threshold": 2.0}, "abc"),  # at least
        ({"threshold": 2.1}, "ab"),
        ({"threshold": -9.0}, "abcde"),
        ({"threshold": 9.0}, ""),
    ],
    ids=str,
)
def test_budgets(budget, names):
    table = by_gain([4.0, 3.0, 2.0, 1.0, 0.0], budget)
    assert chosen(table) == [f"pool-{'abcde'.index(name)}" for name in names]


def test_what_another_strategy_leaves_out_is_set_aside():
    kept = np.arange(N) % 3 > 0
    before = pd.DataFrame({"molecule_id": POOL["molecule_id"], "selected": kept, "strategy": "cleaned"}).iloc[::-1]
    assert (left_in(before, POOL) == kept).all()
    context = replace(full_context(), available=kept)
    for strategy in registry.choices("selection"):
        module = registry.load("selection", strategy)
        table = select(POOL, context, strategy, strategy, {"count": 5} if module.BUDGET else None, 0, {})
        assert sorted(table["molecule_id"]) == sorted(POOL["molecule_id"])
        assert set(table.loc[table["set_aside"], "molecule_id"]) == set(POOL["molecule_id"][~kept])
        assert not (table["selected"] & table["set_aside"]).any()
        assert table["selected"].sum() == {"none": 0, "all": kept.sum()}.get(strategy, 5)
    table = select(POOL, context, "mine", "influence", {"fraction": 0.5}, 0, {})
    order = [i for i in np.argsort(-GAIN) if kept[i]]
    assert chosen(table) == [f"pool-{i}" for i in order[: kept.sum() // 2]]
    with pytest.raises(ChemsieveError, match=r"mine\.budget: count 17 is more than the 16"):
        select(POOL, context, "mine", "influence", {"count": 17}, 0, {})
    with pytest.raises(ChemsieveError, match="cleaned leaves no molecule to choose from"):
        left_in(before.assign(selected=False), POOL)


def test_a_design_knows_what_cannot_be_measured():
    """The batch is that of the pool without the molecules that were set aside."""
    kept = np.arange(N) % 3 != 2  # pool-5 is the first choice of all
    random = np.random.default_rng(4)
    rows = random.normal(size=(8 + N, 12))
    labels = random.normal(size=5)

    def context(places, available=None):
        some = rows[[*range(8), *(8 + places)]]
        kernel = Kernel(some @ some.T, np.zeros(len(some)), 5, 3)
        given = {"kernels": lambda: [kernel], "gram_labels": lambda: labels, "available": available}
        return Context(training=POOL.iloc[:5], validation=POOL.iloc[:3], **given)

    options = {"damping": 0.1}
    whole = select(POOL, context(np.arange(N), kept), "d", "v_optimal", {"count": 6}, 0, options)
    alone = select(POOL[kept], context(np.flatnonzero(kept)), "d", "v_optimal", {"count": 6}, 0, options)
    assert chosen(whole) == chosen(alone)
    assert chosen(whole) != chosen(select(POOL, context(np.arange(N)), "d", "v_optimal", {"count": 6}, 0, options))


def test_what_goes_before_a_strategy_is_checked_and_made():
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    strategies = config["selection"]["strategies"]
    strategies |= {
        "cleaned": {"strategy": "disagreement", "budget": {"fraction": 0.8}},
        "clean": {"strategy": "influence", "budget": {"count": 9}, "after": "cleaned"},
    }
    config["selection"] |= {"run": ["none", "all", "clean"], "rank": []}
    config["grid"] |= {"selections": ["none"]}
    config = configuration.normalise(config)
    configuration.validate(config)
    plan = Plan(config)
    assert plan.strategies == ["none", "all", "clean", "cleaned"]
    at = SimpleNamespace(splitter="random", split_seed=0, seed=1, strategy="clean")
    assert plan.selection_after(at) == ["results/embedded/runs/random/0/1/selection/cleaned.parquet"]
    assert "after" not in plan.strategy("clean")["options"]
    unlabelled, _ = stepped_aside(config | {"pool": config["pool"] | {"labels": "unlabelled"}})
    assert unlabelled["selection"]["run"] == ["none"]
    for before, why in {
        "nobody": "nobody",
        "all": "'all' has no budget",
        "clean": "'clean' has an `after` itself",
    }.items():
        config["selection"]["strategies"]["clean"]["after"] = before
        with pytest.raises(ChemsieveError, match=rf"selection\.strategies\.clean\.after: .*{why}"):
            configuration.validate(config)


def test_a_sweep_is_several_entries_of_one_strategy():
    """Budgets of 2, 8 and 20 as a user writes them; each selection begins as the smaller one."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    sizes = {f"influence_{k}": k for k in (2, 8, 20)}
    config["selection"]["strategies"] |= {
        name: {"strategy": "influence", "budget": {"count": k}} for name, k in sizes.items()
    }
    config["selection"] |= {"run": list(sizes), "rank": []}
    config["grid"]["selections"] = ["influence_8"]
    config = configuration.normalise(config)
    configuration.validate(config)
    assert configuration.all_strategies(config) == [*sizes, "none"]
    assert {name: budget["count"] for name, budget in budgets.of(config).items()} == sizes
    taken = []
    for name in sizes:
        entry = config["selection"]["strategies"][name]
        module = configuration.module_of(entry, name, "strategy")
        options = configuration.options_of(entry, configuration.STRATEGY_KEYS)
        context = Context(expected_gain=GAIN)
        taken.append(chosen(select(POOL, context, name, module, entry["budget"], 0, options)))
    order = [f"pool-{i}" for i in np.argsort(-GAIN)]
    assert taken == [order[:k] for k in sizes.values()]
    with pytest.raises(ChemsieveError, match=r"influence_20\.budget: count 20 is more than the 10"):
        budgets.check(budgets.of(config), 10)


def test_a_budget_above_the_pool_is_one_sentence_that_names_it():
    for call in (lambda: by_gain([1.0, 2.0], {"count": 3}), lambda: budgets.check({"mine": {"count": 3}}, 2)):
        with pytest.raises(ChemsieveError) as caught:
            call()
        assert str(caught.value) == (
            "selection.strategies.mine.budget: count 3 is more than the 2 molecules of the pool"
        )


@pytest.mark.parametrize("budget", [{"count": 2}, {"fraction": 1.0}, {"threshold": 5.0}])
def test_a_budget_that_the_pool_meets_passes_the_early_check(budget):
    budgets.check({"mine": budget}, 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_selects_nothing(bad):
    with pytest.raises(ChemsieveError, match="the score of pool-1 is not finite"):
        by_gain([1.0, bad, 2.0], {"count": 1})


# -- aggregation over checkpoints --------------------------------------------------------------------------------------


@pytest.fixture
def scores():
    rows = [
        # checkpoint, molecule, influence
        (1, "pool-3", 1.0), (1, "pool-1", -2.0), (1, "pool-2", 0.5),
        (2, "pool-3", 4.0), (2, "pool-1", 0.0), (2, "pool-2", -0.5),
        (4, "pool-3", 4.0), (4, "pool-1", -1.0), (4, "pool-2", 3.0),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["checkpoint", "molecule_id", "influence"])
    errors = np.arange(1, len(frame) + 1) / 10
    return frame.assign(expected_gain=-frame["influence"], estimator="cg", seed=7, standard_error=errors)


def test_mean_over_checkpoints(scores):
    # The checkpoints' rows need not stand in the same order.
    shuffled = pd.concat([scores[:3], scores[3:].sample(frac=1.0, random_state=0)])
    result = over_checkpoints(shuffled, "mean")
    assert list(result["molecule_id"]) == ["pool-3", "pool-1", "pool-2"]
    np.testing.assert_allclose(result["influence"], [3.0, -1.0, 1.0])
    by_molecule = scores.groupby("molecule_id")["standard_error"].mean()
    np.testing.assert_allclose(result["standard_error"], by_molecule[result["molecule_id"]])
    np.testing.assert_allclose(result["expected_gain"], [-3.0, 1.0, -1.0])
    assert set(result["checkpoint"]) == {-1}
    assert set(result["seed"]) == {7}
    assert set(result.columns) == set(scores.columns)


def test_last_checkpoint(scores):
    result = over_checkpoints(scores.iloc[::-1], "last")
    assert dict(zip(result["molecule_id"], result["influence"], strict=True)) == {
        "pool-3": 4.0, "pool-1": -1.0, "pool-2": 3.0,
    }  # fmt: skip
    np.testing.assert_array_equal(result["expected_gain"], -result["influence"])
    assert set(result["checkpoint"]) == {-1}


def test_mean_weighted_by_the_learning_rates_of_the_epochs(scores):
    # Rates at the ends of epochs 1 to 4; means over the epochs 1, 2 and 4: 4, 3.5, 0.5.
    curve = pd.DataFrame({"epoch": [0, 1, 2, 3, 4], "learning_rate": [None, 4.0, 3.0, 1.0, 0.0]})
    result = over_checkpoints(scores, "learning_rate", curve)
    expected = [(4 * 1 + 3.5 * 4 + 0.5 * 4) / 8, (4 * -2 + 3.5 * 0 + 0.5 * -1) / 8, (4 * 0.5 - 3.5 * 0.5 + 0.5 * 3) / 8]
    assert list(result["molecule_id"]) == ["pool-3", "pool-1", "pool-2"]
    np.testing.assert_allclose(result["influence"], expected)


def test_agreement_with_the_last_checkpoint(scores):
    axes = {"splitter": "random", "split_seed": 0, "origin": "adapted"}
    constant = scores.assign(influence=1.0, estimator="lissa")
    table = agreement_with_last(pd.concat([scores, constant]).assign(**axes)).set_index(["estimator", "checkpoint"])
    expected = [
        spearmanr(scores["influence"][scores["checkpoint"] == c], scores["influence"][scores["checkpoint"] == 4])[0]
        for c in (1, 2, 4)
    ]
    np.testing.assert_allclose(table.loc["cg", "spearman_vs_last"], expected)
    assert expected[-1] == pytest.approx(1)
    assert table.loc["lissa", "spearman_vs_last"].isna().all()


@pytest.mark.parametrize("how", ["mean", "last"])
def test_one_checkpoint_is_its_own_aggregate_and_the_input_is_left_alone(scores, how):
    before = scores.copy()
    one = scores[scores["checkpoint"] == 2]
    np.testing.assert_array_equal(over_checkpoints(one, how)["influence"], [4.0, 0.0, -0.5])
    over_checkpoints(scores, how)
    pd.testing.assert_frame_equal(scores, before)


def test_a_diversity_threshold_takes_a_molecule_exactly_that_far():
    pool = pd.DataFrame({"molecule_id": ["a", "b"], "encoder_smiles": ["CCCCC(=O)O", "CCCCCC"]})
    far = 1 - DataStructs.TanimotoSimilarity(*fingerprints(pool["encoder_smiles"]))
    assert 0 < far < 1
    table = select(pool, Context(), "d", "diversity", {"threshold": far}, 0, {})
    assert table["selected"].tolist() == [True, True]
