"""How many molecules to add: selections cut by several budgets, the curves of their errors, and what is recommended."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from chemsieve.errors import ChemsieveError
from chemsieve.influence.kernel import Kernel
from chemsieve.report.budgets import blocks
from chemsieve.report.study import load
from chemsieve.selection import Context, recut, select
from chemsieve.statistics.budget_curves import budget_curves, recommended, weights
from chemsieve.study import budgets, configuration
from chemsieve.study.plan import Plan
from chemsieve.study.unlabelled import stepped_aside
from chemsieve.tables import TABLES, write_table
from helpers.configurations import changed
from helpers.replicates import SETTINGS, divisions
from helpers.reports import CONFIG, study_tables

POOL = pd.DataFrame({"molecule_id": [f"pool-{i}" for i in range(40)], "label": 0.0})


def swept(**changes):
    changes = {
        "selection.run": ["none", "all", "random", "influence"],
        "selection.rank": [],
        "selection.budgets": [100, 200, 0.25],
        "baselines.run": ["svr"],
        **changes,
    }
    config = configuration.normalise(changed(changes))
    configuration.validate(config)
    return config


# -- what is trained ---------------------------------------------------------------------------------------------------


def test_each_other_budget_is_a_run_beside_those_that_there_are():
    plan, before = Plan(swept()), Plan(swept(**{"selection.budgets": []}))
    added = ["random@200", "random@0.25", "influence@200", "influence@0.25"]  # 100 is the budget that both have
    assert set(plan.runs) - set(before.runs) == {f"selected/full/{name}" for name in added}
    assert set(plan.baselines) - set(before.baselines) == {
        f"descriptors/svr/{name}" for name in added if name.startswith("influence")
    }
    assert [run for run in plan.runs if "@" not in run] == before.runs
    assert plan.swept["random@0.25"] == ("random", {"fraction": 0.25})
    assert plan.budget_points["random"] == {"100": "random", "200": "random@200", "0.25": "random@0.25"}
    assert plan.selections == before.selections  # no score is computed again
    assert set(plan.tables) - set(before.tables) == {"budget_curves"}
    cell = plan.exported_cells["continued/full/random@200"]
    assert cell["selection"].endswith("/selection/random@200.parquet")


def test_without_budgets_nothing_that_a_step_depends_on_changes():
    plan = Plan(swept(**{"selection.budgets": []}))
    assert "sweep" not in plan.strategy("random")
    assert plan.swept == plan.budget_points == {}
    assert "sweep" in Plan(swept()).strategy("random")
    assert "sweep" not in Plan(swept()).strategy("all")


def test_a_sweep_asks_no_question_of_the_study():
    """The intervals of what is asked stay as narrow as they were."""
    from chemsieve.statistics.families import families

    def named(plan):
        return [(one.name, one.configurations) for one in families([tuple(c) for c in plan.configurations])]

    assert named(Plan(swept())) == named(Plan(swept(**{"selection.budgets": []})))
    assert Plan(swept()).planning["arms"] == Plan(swept(**{"selection.budgets": []})).planning["arms"]


def test_budgets_are_checked_early():
    config = swept()
    assert budgets.of(config)["influence@0.25"] == {"fraction": 0.25}
    with pytest.raises(ChemsieveError, match=r"^selection\.budgets: count 200 is more than the 150 molecules"):
        budgets.check(budgets.of(config), 150)
    for wrong in ([0], [1.5], [100, 100], ["many"]):
        with pytest.raises(ChemsieveError, match=r"selection\.budgets"):
            swept(**{"selection.budgets": wrong})
    config, left_out = stepped_aside(changed({"pool.labels": "unlabelled", "selection.budgets": [10]}))
    assert "selection.budgets (10)" in left_out
    assert Plan(config).swept == {}


# -- selections --------------------------------------------------------------------------------------------------------


def test_a_budget_takes_what_comes_first_in_the_same_order():
    gains = np.random.default_rng(0).normal(size=40)
    available = np.arange(40) % 4 != 0
    context = Context(expected_gain=gains, available=available)
    table = select(POOL, context, "mine", "influence", {"count": 5}, 0, {})
    order = [i for i in np.argsort(-gains) if available[i]]
    for budget, count in (({"count": 12}, 12), ({"fraction": 0.2}, 6), ({"count": 2}, 2)):
        again = recut(table.sample(frac=1, random_state=0), "mine@", budget)
        chosen = again.sort_values("rank").loc[lambda rows: rows["selected"], "molecule_id"]
        assert chosen.tolist() == [f"pool-{i}" for i in order[:count]]
        assert again.drop(columns="selected").equals(table.drop(columns="selected"))
    with pytest.raises(ChemsieveError, match=r"selection\.budgets: count 31 is more than the 30"):
        recut(table, "mine@31", {"count": 31})


@pytest.mark.parametrize("own", [{"count": 3}, {"threshold": 0.5}])
def test_a_greedy_design_is_ordered_as_far_as_the_largest_budget(own):
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(60, 8))
    kernel = Kernel(rows @ rows.T, np.zeros(60), 12, 8)
    frames = {"training": pd.DataFrame({"label": rng.normal(size=12)})}
    context = Context(kernels=lambda: [kernel], gram_labels=lambda: rng.normal(size=12), **frames)
    options = {"damping": 0.1}
    table = select(POOL, context, "mine", "v_optimal", own, 0, options, sweep=[{"count": 9}, {"fraction": 0.5}])
    alone = select(POOL, context, "mine", "v_optimal", own, 0, options)
    assert set(table.loc[table["selected"], "molecule_id"]) == set(alone.loc[alone["selected"], "molecule_id"])
    for count in (9, 20):
        itself = select(POOL, context, "mine", "v_optimal", {"count": count}, 0, options)
        found = recut(table, "mine@", {"count": count})
        both = [table.loc[table["selected"], "molecule_id"].tolist() for table in (found, itself)]
        assert both[0] == both[1]


# -- curves ------------------------------------------------------------------------------------------------------------


def test_an_area_is_that_of_the_trapezium_rule_over_the_logarithm():
    counts = np.array([50.0, 100.0, 300.0, 1000.0])
    errors = np.random.default_rng(0).normal(1, 0.1, 4)
    area = np.trapezoid(errors, np.log(counts)) / np.log(1000 / 50)
    assert weights(counts) @ errors == pytest.approx(area, rel=1e-12)
    assert weights(counts).sum() == pytest.approx(1)
    assert weights(np.array([7.0])).tolist() == [1.0]


@pytest.mark.parametrize(
    ("errors", "place"),
    [
        ([[1.0, 0.5, 0.4]], 2),  # one unit: the lowest
        ([[1.0, 0.50, 0.5], [1.0, 0.52, 0.5], [1.0, 0.49, 0.5]], 1),  # 0.003 apart, standard error 0.009
        ([[1.0, 0.60, 0.5], [1.0, 0.62, 0.5], [1.0, 0.61, 0.5]], 2),
        ([[0.5, 0.7, 0.8], [0.6, 0.7, 0.9]], 0),
    ],
)
def test_the_fewest_that_are_as_good_as_the_best_are_recommended(errors, place):
    assert recommended(np.array(errors)) == place


def metrics_of(errors, splits, validation=None):
    """Metrics of full fine-tuning: errors by selection (splits,)."""
    rows = []
    for fold, values in (("test", errors), ("validation", validation or errors)):
        for selection, numbers in values.items():
            count = {"none": 0, "random": 100, "mine": 100}.get(selection.split("@")[0])
            count = int(selection.split("@")[1]) if "@" in selection else count
            rows += [
                ("scaffold", split, 0, "adapted", "full", selection, "mixed", fold, count, rmse)
                for split, rmse in enumerate(numbers)
            ]
    columns = ["splitter", "split_seed", "seed", "origin", "method", "selection", "use", "fold", "n_selected", "rmse"]
    return pd.DataFrame(rows, columns=columns).assign(run_id=lambda frame: frame.index.astype(str)), divisions(splits)


POINTS = {
    "random": {"300": "random@300", "100": "random"},
    "mine": {"300": "mine@300", "100": "mine"},
}


def test_points_and_areas_have_their_differences_and_simultaneous_intervals():
    rng, n = np.random.default_rng(3), 8
    shared = rng.normal(0, 0.1, n)
    means = {"none": 1.0, "random": 0.95, "random@300": 0.9, "mine": 0.85, "mine@300": 0.7}
    errors = {name: mean + shared + rng.normal(0, 0.01, n) for name, mean in means.items()}
    metrics, splits = metrics_of(errors, n)
    table = budget_curves(metrics, splits, SETTINGS, POINTS)
    assert list(table.columns) == list(TABLES["budget_curves"])
    assert table["budget"].tolist() == ["0", "100", "300"] * 2
    rows = table.set_index(["strategy", "budget"])
    half = np.log(300) - np.log(100)
    area = {name: np.trapezoid([errors[name], errors[f"{name}@300"]], dx=half, axis=0) / half for name in POINTS}
    np.testing.assert_allclose(rows["area"], np.repeat([area["random"].mean(), area["mine"].mean()], 3))
    at = rows.loc["mine", "300"]
    apart = errors["mine@300"] - errors["random@300"]
    assert at["random_difference"] == pytest.approx(apart.mean())
    assert at["difference"] == pytest.approx((errors["mine@300"] - errors["none"]).mean())
    assert at["random_low"] < apart.mean() < at["random_high"] < 0
    assert at["area_random_difference"] == pytest.approx((area["mine"] - area["random"]).mean())
    assert at["verdict"].startswith("better than none")
    assert rows.loc["random", "area_random_verdict"].tolist() == [""] * 3
    assert rows.loc["mine", "0"]["error"] == pytest.approx(errors["none"].mean())
    assert rows["recommended"].sum() == 2


def test_one_point_has_the_interval_of_a_paired_t_test_at_half_of_alpha():
    """None and one point are a single pair; the splits share eight training molecules for one that is tested."""
    n = 6
    noise = np.array([-0.02, 0.02, -0.01, 0.01, -0.03, 0.03])  # symmetric: no correction for skewness
    errors = {"none": np.full(n, 1.0) + 0.1 * np.arange(n), "mine": 0.9 + 0.1 * np.arange(n) + noise}
    metrics, splits = metrics_of(errors, n)
    row = budget_curves(metrics, splits, SETTINGS, {"mine": {"100": "mine"}}).iloc[1]
    error = np.std(noise, ddof=1) * np.sqrt(1 / n + 1 / 8)
    half = stats.t.ppf(1 - SETTINGS["alpha"] / 4, n - 1) * error
    assert (row["low"], row["high"]) == pytest.approx((-0.1 - half, -0.1 + half))
    assert (row["area_low"], row["area_high"]) == pytest.approx((row["low"], row["high"]))


def test_the_number_is_recommended_by_validation_errors_alone():
    n = 5
    level = np.linspace(1, 1.2, n)
    tested = {"none": level, "random": level - 0.1, "random@300": level - 0.5, "mine": level, "mine@300": level}
    validated = tested | {
        "random": level - 0.3,
        "random@300": level - 0.2,
        "mine": level + 0.1,
        "mine@300": level + 0.1,
    }
    table = budget_curves(*metrics_of(tested, n, validated), SETTINGS, POINTS)
    chosen = table[table["recommended"]].set_index("strategy")
    assert chosen["budget"].to_dict() == {"random": "100", "mine": "0"}
    assert chosen.loc["random", "recommendation"].startswith("100 molecules (validation RMSE 0.800; without the pool")
    assert chosen.loc["mine", "recommendation"].startswith("none: no budget lowers the validation error")


def test_a_strategy_that_was_not_trained_at_every_budget_has_no_curve():
    level = np.linspace(1, 1.2, 4)
    errors = {"none": level, "random": level, "random@300": level, "mine": level}
    table = budget_curves(*metrics_of(errors, 4), SETTINGS, POINTS)
    assert set(table["strategy"]) == {"random"}


# -- the report --------------------------------------------------------------------------------------------------------


def test_the_report_says_how_many_and_keeps_the_sweep_out_of_the_rest(tmp_path):
    tables = study_tables()
    metrics, predictions, curves = tables["metrics"], tables["predictions"], tables["learning_curves"]
    for name in ("random", "influence"):
        for frame, key in ((metrics, "metrics"), (predictions, "predictions"), (curves, "learning_curves")):
            mine = frame[frame["run_id"].str.endswith(f"/adapted/full/{name}")]
            more = mine.assign(run_id=mine["run_id"] + "@20")
            if key == "metrics":
                more = more.assign(selection=f"{name}@20", n_selected=20, rmse=more["rmse"] - 0.1)
            tables[key] = pd.concat([tables[key], more], ignore_index=True)
    points = {name: {"10": name, "20": f"{name}@20"} for name in ("random", "influence")}
    tables["budget_curves"] = budget_curves(
        tables["metrics"], tables["splits"], SETTINGS, points, tables["predictions"]
    )
    for name, frame in (tables | {"comparisons": pd.DataFrame(columns=list(TABLES["comparisons"]))}).items():
        write_table(frame, tmp_path / f"{name}.parquet", name)
    study = load(tmp_path, CONFIG)
    for frame in (study.metrics, study.predictions, study.learning_curves):
        assert len(frame)
        assert not frame["run_id"].str.contains("@").any()
    heading, figure, said, advice, table = blocks(study, 0, "scaffold")
    assert heading.text == "How many molecules, scaffold split: full fine-tuning"
    assert len(figure.figure.data) == 2
    assert "by the validation errors" in said.text
    assert len(advice.texts) == 2
    cells = {(row[0].text, row[1].text) for row in table.rows}
    assert cells == {(name, budget) for name in points for budget in ("0", "10", "20")}
    assert blocks(study, 0, "random") == []
