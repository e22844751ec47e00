"""Which step reads what: labels of test molecules, treated pools, the folds of strategies."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from helpers.workflow import PACKAGE, RESULTS, overlay, plan

# Every option that brings a rule or an input of its own, and everything that is made on demand.
EVERYTHING = {
    "influence": {"run": ["exact", "shapley", "greedy", "lissa", "cg"], "test_molecules": 2},
    "pool": {"labels": "relabel_from_training", "leaks": "drop"},
    "target": {"binarise": "mean"},
    "tracking": {"run": ["tensorboard"]},
    "validation": {"run": True},
    "pretrain": {"corpus": "corpus.smi", "targets": {"teacher": {"path": "vectors.parquet"}}},
    "mlm": {
        "molecules": "training_and_pool",
        "objectives": {"descriptors": 1.0, "morgan": 1.0, "teacher": 1.0},
        "teacher": {"path": "vectors.parquet"},
    },
    "predict": {"input": "new.csv"},
    "baselines": {
        "run": ["svr", "svr_morgan", "svr_frozen", "random_forest"],
        "methods": {"random_forest": {}},
        "selections": ["all", "influence"],
        "uses": ["weighted", "auto"],
    },
    "grid": {"run": ["bitfit", "lora", "ia3", "ia3_pooled"], "methods": {"ia3_pooled": {}}},
    "use": {"run": ["mixed", "weighted", "own_head", "then_target", "robust", "auto"]},
}
ON_DEMAND = ["all", "figures", "measure_next", "export_model", "predict", "pretrain", "plan"]
ON_DEMAND += [f"{RESULTS}/runs/scaffold/0/0/influence/adapted/2/per_query.parquet"]
ON_DEMAND += [f"{RESULTS}/runs/scaffold/0/0/selected/lora/influence/influence.parquet"]
# What trains, scores or chooses. (Of test molecules some of these read the structures, to predict them.)
CHOOSING = {
    "encoder",
    "pretrain_corpus",
    "pretrain_targets",
    "pretrain",
    "mlm",
    "finetune",
    "finetune_on_selection",
    "finetune_with_use",
    "pool_use",
    "retrain",
    "gram",
}
CHOOSING |= {"influence", "influence_per_query", "cell_influence", "aggregate_influence", "selection", "baseline"}
CHOOSING |= {"validate_influence", "baseline_on_selection", "selection_at_budget"}
CHOOSING |= {"baseline_with_uses"}


def test_labels_of_test_molecules_and_the_truth_about_the_pool_reach_no_step_that_trains_or_chooses(fresh):
    strategies = {path.stem for path in (PACKAGE / "selection").glob("[a-z]*.py")}
    configured = yaml.safe_load((fresh / "config.yaml").read_text(encoding="utf-8"))
    more = {name: {"budget": {"count": 5}} for name in strategies - set(configured["selection"]["strategies"])}
    everything = EVERYTHING | {"selection": {"run": sorted(strategies), "strategies": more, "budgets": [4]}}
    for name in ("corpus.smi", "new.csv"):
        (fresh / name).write_text("smiles\nCCO\n", encoding="utf-8")
    pd.DataFrame({"smiles": ["CCO"], "vector": [[0.0, 1.0]]}).to_parquet(fresh / "vectors.parquet")
    jobs = plan(fresh, *ON_DEMAND, *overlay(fresh, everything))
    planned = {job.rule for job in jobs}
    defined = set(
        re.findall(r"^ *rule (\w+):", "\n".join(p.read_text() for p in (fresh / "rules").glob("*.smk")), re.M)
    )
    assert planned >= defined - {"download_target"}, "a rule is in no plan, so that nothing here guards it"
    estimators = {job.wildcards["estimator"] for job in jobs if job.rule == "influence"}
    assert estimators == set(configured["influence"]["estimators"])
    readers: dict[str, set[str]] = {}
    for job in jobs:
        if job.rule != "all":  # it reads nothing; it lists what is wanted
            for path in job.input:
                readers.setdefault(path.removeprefix(f"{RESULTS}/"), set()).add(job.rule)
    split, run = "splits/scaffold/0", "runs/scaffold/0/0"
    # With the labels of test molecules in them: the file of these alone,
    allowed = {f"{split}/test_labels.parquet": {"metrics_table", "influence_on_test"}}
    # the data as given, all molecules, and the predictions with their labels,
    given = {"data", "audit_labels", "export_model"}
    allowed |= {"embedded/target.csv": given, "embedded/pool.csv": given}
    features = {"descriptors", "morgan", "embeddings"}
    features |= {f"pool_{name}" for name in features}
    everywhere = features | {"split", "sizes", "audit", "audit_shift", "treat_pool", "report", "export_model"}
    everywhere |= {"measure_next", "selected"}  # names and structures, of what is chosen already
    allowed |= {"tables/molecules.parquet": everywhere}
    compared = {"budget_curves_table", "comparisons_table", "report", "export_model"}
    allowed |= {"tables/predictions.parquet": compared, "tables/budget_curves.parquet": {"failures_table", "report"}}
    # and made from these: errors, explanations of errors, and what the audit finds.
    allowed |= {"tables/metrics.parquet": {"pool_use_table", *compared}}
    allowed |= {"tables/pool_use.parquet": {"report"}}
    allowed |= {"tables/comparisons.parquet": {"failures_table", "report"}}
    allowed |= {f"{run}/influence/adapted/2/on_test.parquet": {"influence_on_test_table"}}
    allowed |= {"tables/influence_on_test.parquet": {"failures_table", "report"}}
    allowed |= {"tables/audit_labels.parquet": {"audit", "report"}}
    allowed |= {"tables/label_sources.parquet": {"treat_pool", "audit", "report"}}
    allowed |= {"data/label_facts.json": {"treat_pool", "audit"}}
    allowed |= {f"{split}/pool_treatment.parquet": {"audit"}}
    allowed |= {f"tables/{name}.parquet": {"report"} for name in ("audit", "audit_identity")}
    allowed |= {"tables/nearest_training.parquet": {"report", "selected"}}
    allowed |= {"tables/pool_treatment.parquet": {"report"}, "report.html": {"figures"}}
    allowed |= {"tables/audit_shift.parquet": {"audit", "failures_table", "report"}}
    # What kind each pool molecule is.
    allowed |= {"tables/pool_control.parquet": {"report"}}
    assert {path: readers.get(path) for path in allowed} == allowed
    assert not CHOOSING & set().union(*allowed.values())
    # Whatever else a step that trains or chooses reads from the tables would be one that this test does not know.
    assert {path for path, rules in readers.items() if rules & CHOOSING and path.startswith("tables/")} == set()
    predicting = {"finetune", "finetune_on_selection", "finetune_with_use", "baseline", "baseline_on_selection"}
    predicting |= {"baseline_with_uses"}
    assert readers[f"{split}/test.parquet"] == predicting | {"influence_on_test"}
    # Adaptation reads training molecules and the pool's structures, and none of the target's others.
    (read,) = ({path.removeprefix(f"{RESULTS}/") for path in job.input} for job in jobs if job.rule == "mlm")
    assert {path for path in read if not path.startswith("encoder/")} == {
        f"{split}/train.parquet", "data/pool.parquet", "vectors.parquet"
    }  # fmt: skip


@pytest.mark.parametrize(
    "pool", [{"labels": "relabel_from_training"}, pytest.param({"leaks": "drop"}, marks=pytest.mark.slow)]
)
def test_a_treated_pool_is_one_of_each_split_and_all_read_it(workspace, pool):
    jobs = plan(workspace, "all", *overlay(workspace, {"pool": pool}))
    readers = {job.rule for job in jobs if f"{RESULTS}/splits/scaffold/0/pool.parquet" in job.input}
    assert readers == {"gram", "influence", "selection", "finetune_on_selection", "retrain"}
    untreated = {job.rule for job in jobs if f"{RESULTS}/data/pool.parquet" in job.input}
    assert not untreated


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "folds"), [("ts_dshapley", {"train", "validation"}), ("s2l", {"train"}), ("curriculum_loss", set())]
)
def test_strategies_read_the_folds_that_they_need(workspace, strategy, folds):
    change = {"selection": {"run": [strategy], "strategies": {strategy: {"budget": {"count": 5}}}}}
    target = f"{RESULTS}/runs/scaffold/0/0/selection/{strategy}.parquet"
    jobs = plan(workspace, target, *overlay(workspace, change))
    (job,) = (job for job in jobs if job.rule == "selection")
    assert {Path(path).stem for path in job.input if "/splits/" in path} == folds
