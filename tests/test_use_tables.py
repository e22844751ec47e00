"""What is said of uses: the step of the closed form, its tables, and the report's section."""

import numpy as np
import pandas as pd
import pytest

from chemsieve.errors import ChemsieveError
from chemsieve.influence.kernel import Kernel
from chemsieve.influence.pool_use_tables import chosen_use, with_outcomes
from chemsieve.tables import TABLES
from helpers.reports import make, study_tables

CANDIDATES = {
    "mixed": {"module": "mixed", "options": {}},
    "weighted": {"module": "weighted", "options": {}},
    "own_head": {"module": "own_head", "options": {"weight": 1}},
}


def problem(shift=0.0, noise=0.1, seed=0):
    """A linear property of random features, in its own unit: 12 training, 6 validation and 50 pool molecules."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(68, 10))
    labels = 5 + 2 * (rows @ rng.normal(size=10)) + noise * rng.normal(size=68)
    labels[18:] += shift
    mean, scale = labels[:12].mean(), labels[:12].std()
    frames = [
        pd.DataFrame({"molecule_id": [f"{name}-{i}" for i in range(part.stop - part.start)], "label": labels[part]})
        for name, part in (("train", slice(0, 12)), ("validation", slice(12, 18)), ("pool", slice(18, 68)))
    ]
    kernel = Kernel(rows @ rows.T + 10.0, np.zeros(68), 12, 6)  # with an intercept, as a head has
    return kernel, (labels[:12] - mean) / scale, *frames


def test_a_shifted_pool_gets_a_head_of_its_own_and_its_offset_in_label_units():
    kernel, labels, train, validation, pool = problem(shift=7.0)
    selected = set(pool["molecule_id"][5:])
    choices, curves, residuals = chosen_use(kernel, labels, train, validation, pool, selected, CANDIDATES, 0.01, 0)
    rows = choices.set_index("use")
    assert list(rows.index) == ["none", *CANDIDATES]
    assert rows.index[rows["chosen"]].tolist() == ["own_head"]
    true = pool["label"][5:].mean() - train["label"].mean()  # the features differ in the mean too
    assert rows.loc["own_head", "offset"] == pytest.approx(7.0, abs=1.5), true
    assert rows.loc["own_head", "loo_rmse"] < 0.9 * rows.loc["none", "loo_rmse"]
    assert rows.loc["weighted", "loo_rmse"] <= rows.loc["mixed", "loo_rmse"]
    assert rows["offset"].notna().tolist() == [False, False, False, True]
    assert (rows["n_selected"] == 45).all()
    assert (rows["n_target"] == 18).all()
    for (use, _), curve in curves.groupby(["use", "parameter"]):
        assert curve["loo_rmse"].min() == pytest.approx(rows.loc[use, "loo_rmse"])
    assert residuals["molecule_id"].tolist() == pool["molecule_id"].tolist()[5:]
    assert set(curves["use"] + curves["parameter"]) == {"weightedweight", "own_headrho"}


def test_a_good_pool_is_used_and_of_no_molecule_nothing_is_chosen():
    kernel, labels, train, validation, pool = problem()
    everyone = set(pool["molecule_id"])
    choices, *_ = chosen_use(kernel, labels, train, validation, pool, everyone, CANDIDATES, 0.01, 0)
    errors = choices.set_index("use")["loo_rmse"]
    assert errors["mixed"] < 0.5 * errors["none"]
    choices, curves, residuals = chosen_use(kernel, labels, train, validation, pool, set(), CANDIDATES, None, 0)
    assert choices["loo_rmse"].nunique() == 1
    assert choices.loc[choices["chosen"], "use"].tolist() == ["none"]
    assert curves.empty
    assert residuals.empty


def test_no_error_is_of_the_scale_of_the_label():
    """Labels in another unit have errors in that unit, and the same choice."""
    kernel, labels, train, validation, pool = problem(shift=2.0)
    selected = set(pool["molecule_id"])
    one, *_ = chosen_use(kernel, labels, train, validation, pool, selected, CANDIDATES, 0.01, 0)
    thousand = [frame.assign(label=1000 * frame["label"]) for frame in (train, validation, pool)]
    other, *_ = chosen_use(kernel, labels, *thousand, selected, CANDIDATES, 0.01, 0)
    for column in ("loo_rmse", "loo_rmse_validation", "offset"):
        np.testing.assert_allclose(other[column].astype(float), 1000 * one[column].astype(float), rtol=1e-8)
    assert other["chosen"].tolist() == one["chosen"].tolist()


def test_a_pool_outside_the_matrix_is_one_sentence():
    kernel, labels, train, validation, pool = problem()
    without = Kernel(kernel.matrix[:18, :18], kernel.residuals[:18], 12, 6)
    with pytest.raises(ChemsieveError, match=r"raise influence\.gram\.largest"):
        chosen_use(without, labels, train, validation, pool, set(), CANDIDATES, None, 0)


def test_what_uses_would_give_stands_beside_what_they_gave():
    """Of full fine-tuning and of descriptor models, each with its own row for no pool at all."""
    at = {"splitter": "random", "split_seed": 0, "seed": 1}
    known = dict.fromkeys(TABLES["use_choices"]) | at | {"strategy": "random", "chosen": False, "loo_rmse": 0.5}
    parts = [
        pd.DataFrame([known | {"model": model, "use": use} for use in ("none", "mixed")]) for model in ("full", "svr")
    ]
    runs = [
        ("adapted", "full", "none", "mixed", 0.1),
        ("adapted", "full", "random", "mixed", 0.2),
        ("adapted", "full", "random", "then_target", 0.3),
        ("adapted", "lora", "random", "mixed", 9.0),
        ("descriptors", "svr", "none", "mixed", 0.4),
        ("descriptors", "svr", "random", "mixed", 0.5),
        ("descriptors", "svr", "all", "mixed", 9.0),
        ("descriptors", "forest", "random", "mixed", 9.0),
    ]
    metrics = pd.DataFrame(runs, columns=["origin", "method", "selection", "use", "rmse"]).assign(
        fold="validation", **at
    )
    table = with_outcomes(parts, pd.concat([metrics, metrics.assign(fold="test", rmse=8.0)]))
    found = table.set_index(["model", "strategy", "use"])["validation_rmse"].to_dict()
    assert found == {
        ("full", "random", "none"): 0.1,
        ("full", "random", "mixed"): 0.2,
        ("full", "random", "then_target"): 0.3,
        ("svr", "random", "none"): 0.4,
        ("svr", "random", "mixed"): 0.5,
    }
    assert not table["chosen"].any()


# -- the report --------------------------------------------------------------------------------------------------------


def with_uses():
    """The small study, with two selections weighted too and what the closed form says of them."""
    tables = study_tables()
    metrics = tables["metrics"]
    full = (metrics["origin"] == "adapted") & (metrics["method"] == "full")
    weighted = metrics[full & metrics["selection"].isin(["random", "influence"])]
    weighted = weighted.assign(use="weighted", run_id=weighted["run_id"] + "/weighted", rmse=weighted["rmse"] - 0.3)
    tables["metrics"] = pd.concat([metrics, weighted], ignore_index=True)
    curves = tables["learning_curves"]
    copied = curves[curves["run_id"].str.endswith("adapted/full/random")]
    tables["learning_curves"] = pd.concat([curves, copied.assign(run_id=copied["run_id"] + "/weighted")])
    rows, lines = [], []
    for seed in (0, 1, 2):
        for strategy in ("random", "influence"):
            at = {"model": "full", "strategy": strategy, "splitter": "scaffold", "split_seed": 0, "seed": seed}
            for use, loo, weight in (("none", 0.9, 0.0), ("mixed", 0.8, 1.0), ("weighted", 0.6, 0.1)):
                known = {"loo_rmse": loo, "loo_rmse_validation": loo, "weight": weight, "rho": 1.0, "damping": 0.1}
                known |= {"offset": None, "chosen": use == "weighted", "n_target": 25, "n_selected": 10}
                gave = 0.7 if use == "mixed" else 0.5
                rows.append({**at, "use": use, **known, "validation_rmse": gave})
            rows.append({**dict.fromkeys(TABLES["pool_use"]), **at, "use": "then_target", "chosen": False})
            lines += [
                {**at, "use": "weighted", "parameter": "weight", "value": value, "loo_rmse": 0.6 + value}
                for value in (0.01, 0.1, 1.0)
            ]
    tables["pool_use"] = pd.DataFrame(rows, columns=list(TABLES["pool_use"]))
    tables["pool_use_curves"] = pd.DataFrame(lines, columns=list(TABLES["pool_use_curves"]))
    return tables


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return make(tmp_path_factory.mktemp("uses"), with_uses())


def test_the_report_says_what_each_use_would_give_and_gave(page):
    rows = {(row["selection"], row["use"]): row for row in page.table("What each use would give and gave")}
    assert len(rows) == 8
    row = rows["random", "weighted"]
    assert (row["leave-one-out"], row["less mixed"]) == ("0.600", "-0.200")
    assert (row["validation, trained"], row["less mixed, trained"]) == ("0.500", "-0.200")
    assert (row["weight"], row["chosen in"]) == ("0.10", "3 of 3")
    assert rows["random", "then_target"]["leave-one-out"] == rows["random", "then_target"]["less mixed"]
    assert "use-weight-0" in page.ids


def test_uses_stand_among_the_strategies_and_their_comparisons(page):
    rows = [row["trained on"] for row in page.table("RMSE, mean")]
    assert {"random", "random, weighted", "influence", "influence, weighted"} <= set(rows)
    compared = page.table("uses of random: how far")
    assert {(row[""], row["compared with"]) for row in compared} == {("weighted", "none"), ("weighted", "mixed")}


def test_a_study_that_mixes_alone_has_no_such_section(tmp_path):
    page = make(tmp_path, study_tables())
    assert "Uses of a selection" not in page.text
    assert "weighted" not in page.text
