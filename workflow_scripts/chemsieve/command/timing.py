"""How long a study takes on this machine: what a cluster is asked for is an upper bound, and this is the middle."""

from dataclasses import replace

from chemsieve.models.bundled import local_folder
from chemsieve.study import budgets, resources
from chemsieve.study.plan import Plan
from chemsieve.study.steps import step

START = 1.0  # seconds of a job beside its work, where the warm server has loaded the libraries
_ALLOWED = 30.0  # seconds that every job is granted for its start on a cluster
# Share of a cluster's seconds that jobs took in the embedded study (docs/results.md, The embedded study), by rule.
# Bounds are for the dearest case of a rule: a strategy that embeds the pool, an estimator that iterates, a selection of
# the whole pool.
_USUAL = 0.25
_SHARES = {
    **dict.fromkeys(["influence", "influence_on_test", "influence_per_query", "cell_influence"], 0.05),
    **dict.fromkeys(
        ["baseline", "baseline_on_selection", "embeddings", "pool_embeddings", "audit", "audit_labels"], 0.2
    ),
    **dict.fromkeys(["encoder", "audit_shift", "retrain"], 0.15),
    "gram": 0.45,
    "mlm": 0.2,
    "selection": 0.02,
}
_TABLES = 0.05  # of steps that only read and write
_ON_SELECTIONS = ("finetune_on_selection", "finetune_with_use")
_WORKING = {*_SHARES, *_ON_SELECTIONS, "finetune", "pretrain", "descriptors", "pool_descriptors", "data"}


def seconds(plan: Plan, rules: list[str]) -> dict[str, float]:
    """Seconds that a job of each rule is expected to take on one core; another machine may need half or twice."""
    path = plan.config["encoder"]["path"]
    sizes = resources.sizes(plan.config, plan.results, local_folder(path) if path else None)
    return {rule: START + _share(rule) * max(0.0, _bound(plan, rule, sizes) - _ALLOWED) for rule in rules}


def _share(rule: str) -> float:
    return _SHARES.get(rule, _USUAL if rule in _WORKING else _TABLES)


def _bound(plan: Plan, rule: str, sizes: resources.Sizes) -> float:
    """What a cluster is asked for; of a training on a selection, as large as selections are on average."""
    config = plan.config
    if rule in _ON_SELECTIONS:
        taken = [budgets.most(budget, sizes.pool) for budget in budgets.of(config).values()]
        sizes = replace(sizes, pool=round(sum(taken) / len(taken)) if taken else sizes.pool)
        config = config | {"finetune": config["finetune"] | config["selection"]["training"]}
    try:
        return step(rule).takes(sizes, config)[1]
    except KeyError:  # a target, which does nothing itself
        return 0.0
