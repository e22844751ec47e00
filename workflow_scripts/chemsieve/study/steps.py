"""The steps of a study: one declaration for each rule.

A declaration says what the rule's jobs load by name, what they take, whether they use a GPU, which share a submission,
what makes them need less memory, and whether the study goes on without them. The rule itself says what is read and
made, and its script, of the same name, how.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chemsieve import selection
from chemsieve.influence import estimators
from chemsieve.study import resources
from chemsieve.study.configuration import all_strategies, module_of
from chemsieve.study.plan import FULL, Plan
from chemsieve.study.resources import Sizes
from chemsieve.tables import DECLARED

Json = dict[str, Any]
SHORT = 300  # seconds; trainings below it share a submission
CONTROLS = ("none", "all")  # strategies that the report cannot do without


def _nothing(plan: Plan, at: Any) -> list[str]:
    return []


@dataclass(frozen=True)
class Step:
    """A step: what Snakemake has to know of a rule besides its files.

    Args:
        takes: expected peak memory (MB) and time (seconds) of a job, without headroom, from the sizes of what it works
            on and the configuration.
        loads: modules of the package that its script loads by name, for a job at its place on the study's axes.
        gpu: whether its jobs use a GPU where there is one.
        group: name of the submission that its jobs share on a cluster.
        grouped: whether they do share it, from the plan, the job's place, the GPUs that a training asks for and the
            seconds that a job is expected to take; always where it is None.
        lighter: keys of the configuration that make it need less memory, in words.
        optional: whether the study goes on where a job fails, from the configuration and the job's wildcards.
        heavy: whether its jobs spend seconds on importing torch and what comes with it, which a warm server saves.
        script: name of its script; the rule's own where it is None.
    """

    takes: Callable[[Sizes, Json], tuple[float, float]]
    loads: Callable[[Plan, Any], list[str]] = _nothing
    gpu: bool | Callable[[Plan, Any], bool] = False
    group: str | None = None
    grouped: Callable[[Plan, Any, int, float], bool] | None = None
    lighter: str = ""
    optional: bool | Callable[[Json, Mapping[str, str]], bool] = False
    heavy: bool = False
    script: str | None = None


def _encoder(plan: Plan, at: Any) -> list[str]:
    return [f"models.encoders.{plan.family}"]


def _regressor(plan: Plan, at: Any) -> list[str]:
    return [f"models.encoders.{plan.family}", "methods.full"]


def _cell(plan: Plan, at: Any) -> list[str]:
    return [f"models.encoders.{plan.family}", f"methods.{plan.cell(at.method)['method']}"]


def _used(plan: Plan, at: Any) -> list[str]:
    use = plan.use(at.use)
    return [*_cell(plan, at), *_uses([use, *use["candidates"].values()])]


def _known_uses(plan: Plan, at: Any) -> list[str]:
    return _uses(plan.closed_form["uses"].values())


def _uses(entries: Iterable[Json]) -> list[str]:
    return sorted({f"uses.{entry['module']}" for entry in entries})


def _estimator(plan: Plan, at: Any) -> list[str]:
    return [*_regressor(plan, at), f"influence.estimators.{at.estimator}"]


def _cell_estimators(plan: Plan, at: Any) -> list[str]:
    return [*_cell(plan, at), *(f"influence.estimators.{name}" for name in plan.kernel_estimators)]


def _strategy(plan: Plan, at: Any) -> list[str]:
    model = _regressor(plan, at) if plan.strategy_uses_model(at.strategy) else []
    return [f"selection.{plan.strategy_module(at.strategy)}", *model]


def _methods(plan: Plan, at: Any) -> list[str]:
    return [*_regressor(plan, at), *_grid_methods(plan), *_descriptor_models(plan)]


def _grid_methods(plan: Plan) -> list[str]:
    return [f"methods.{plan.cell(name)['method']}" for name in plan.config["grid"]["run"]]


def _descriptor_models(plan: Plan) -> list[str]:
    return [f"baselines.{plan.baseline(name)['model']}" for name in plan.config["baselines"]["run"]]


def _predictors(plan: Plan, at: Any) -> list[str]:
    # A method's module puts adapters into the encoder that no merging could make weights of.
    return [*_encoder(plan, at), *_grid_methods(plan), *_descriptor_models(plan)]


def _splitter(plan: Plan, at: Any) -> list[str]:
    return [f"splitting.{at.splitter}"]


def _descriptor_model(plan: Plan, at: Any) -> list[str]:
    return [f"baselines.{plan.baseline(at.baseline)['model']}"]


def _described_uses(plan: Plan, at: Any) -> list[str]:
    return [*_descriptor_model(plan, at), *_uses(plan.described["uses"].values())]


def _short(plan: Plan, at: Any, gpus: int, seconds: float) -> bool:
    """A group asks for the GPUs of all its jobs, so that none of them may use one."""
    return seconds < SHORT and not gpus


def _brief(plan: Plan, at: Any, gpus: int, seconds: float) -> bool:
    """Jobs that never use a GPU share a submission where they are short."""
    return seconds < SHORT


def _without_gpu(plan: Plan, at: Any, gpus: int, seconds: float) -> bool:
    """Selections take seconds each; where one may take a GPU, each is a submission of its own."""
    return not gpus


def _with_its_aggregate(plan: Plan, at: Any, gpus: int, seconds: float) -> bool:
    """Solving with a Gram matrix that stands goes with the aggregation; other estimators take long."""
    return at.estimator in plan.kernel_estimators and not gpus


def _is_no_control(config: Json, wildcards: Mapping[str, str]) -> bool:
    return _strategy_module(config, wildcards["strategy"]) not in CONTROLS


def _is_of_the_grid(config: Json, wildcards: Mapping[str, str]) -> bool:
    return wildcards["method"] != FULL


def _strategy_module(config: Json, strategy: str) -> str:
    return module_of(config["selection"]["strategies"][strategy], strategy, "strategy")


def _chooses(config: Json, wildcards: Mapping[str, str]) -> bool:
    """Whether scores of the job's origin decide what an influence strategy selects."""
    return wildcards["origin"] == config["selection"]["origin"] and any(
        "influence" in selection.load(_strategy_module(config, name)).NEEDS for name in all_strategies(config)
    )


def _chooses_no_molecule(config: Json, wildcards: Mapping[str, str]) -> bool:
    """Whether no selection follows from the scores of a job."""
    return not (_chooses(config, wildcards) and wildcards["estimator"] == config["selection"]["estimator"])


def _serves_no_choice(config: Json, wildcards: Mapping[str, str]) -> bool:
    """Whether no selection follows from scores that are made with a job's Gram matrix."""
    estimator = estimators.load(config["selection"]["estimator"])
    return not (_chooses(config, wildcards) and estimator.KERNEL)


_MATRIX = "influence.gram.memory_mb and influence.gram.largest"
STEPS: dict[str, Step] = {
    "all": Step(resources.table),
    "effective_config": Step(resources.table),
    # Data.
    "embedded_data": Step(resources.molecule_table, group="data"),
    "download_target": Step(resources.molecule_table),
    "data": Step(resources.molecule_table, _encoder, group="data"),
    "sizes": Step(resources.table, group="data"),
    "descriptors": Step(resources.molecule_table, group="data", optional=True),
    "morgan": Step(resources.fingerprints, group="data", optional=True),
    "embeddings": Step(resources.embeddings, _encoder, gpu=True, optional=True, heavy=True),
    "pool_descriptors": Step(resources.molecule_table, group="data", optional=True, script="descriptors"),
    "pool_morgan": Step(resources.fingerprints, group="data", optional=True, script="morgan"),
    "pool_embeddings": Step(resources.embeddings, _encoder, gpu=True, optional=True, heavy=True, script="embeddings"),
    "split": Step(resources.molecule_table, _splitter, group="split"),
    "treat_pool": Step(resources.molecule_table, group="split"),
    "audit_labels": Step(resources.audit, group="data", lighter="audit.molecules"),
    "audit_shift": Step(resources.audit, _encoder, gpu=True, group="audit", lighter="audit.molecules", optional=True),
    "audit": Step(resources.audit, group="audit"),
    # Encoders.
    "encoder": Step(resources.encoder, _encoder),
    "mlm": Step(resources.mlm, _encoder, gpu=True, lighter="mlm.batch_size", heavy=True),
    "pretrain_corpus": Step(resources.corpus),
    "pretrain_targets": Step(resources.vectors),
    "pretrain": Step(resources.pretrain, _encoder, gpu=True, lighter="pretrain.batch_size"),
    # Models.
    "baseline": Step(resources.baseline, _descriptor_model, group="baselines", optional=True),
    "baseline_on_selection": Step(
        resources.baseline_on_selection,
        _descriptor_model,
        group="described",
        grouped=_brief,
        lighter="baselines.largest",
        optional=True,
    ),
    "tune": Step(
        resources.tune,
        _cell,
        gpu=True,
        lighter="finetune.batch_size, or that of the method in grid.methods",
        optional=_is_of_the_grid,
        heavy=True,
    ),
    "baseline_with_uses": Step(
        resources.baseline_with_uses,
        _described_uses,
        group="described",
        grouped=_brief,
        lighter="baselines.largest",
        optional=True,
    ),
    "finetune": Step(resources.finetune, _regressor, gpu=True, lighter="finetune.batch_size", heavy=True),
    "finetune_on_selection": Step(
        resources.selected,
        _cell,
        gpu=True,
        group="cells",
        grouped=_short,
        lighter="finetune.batch_size, or that of the method in grid.methods",
        optional=True,
        heavy=True,
    ),
    "finetune_with_use": Step(
        resources.selected,
        _used,
        gpu=True,
        group="cells",
        grouped=_short,
        lighter="finetune.batch_size",
        optional=True,
        heavy=True,
    ),
    # Influence.
    "gram": Step(resources.gram, _regressor, gpu=True, lighter=_MATRIX, optional=_serves_no_choice, heavy=True),
    "influence": Step(
        resources.influence,
        _estimator,
        gpu=True,
        group="scores",
        grouped=_with_its_aggregate,
        lighter="influence.batch_size and influence.gram.memory_mb",
        optional=_chooses_no_molecule,
        heavy=True,
    ),
    "aggregate_influence": Step(resources.table, group="scores", optional=_chooses_no_molecule),
    "influence_per_query": Step(resources.influence, lighter="influence.gram.memory_mb"),
    "influence_on_test": Step(resources.gram, _regressor, gpu=True, lighter=_MATRIX, optional=True, heavy=True),
    "cell_influence": Step(
        resources.influence,
        _cell_estimators,
        gpu=True,
        lighter="influence.gram.memory_mb and influence.batch_size",
    ),
    # Selection, and what it is worth.
    "selection": Step(
        resources.selection,
        _strategy,
        gpu=lambda plan, at: plan.strategy_uses_model(at.strategy),
        group="selection",
        grouped=_without_gpu,
        optional=_is_no_control,
    ),
    "selection_at_budget": Step(resources.table, group="selection", optional=True),
    "pool_use": Step(
        resources.selection, _known_uses, group="selection", lighter="influence.gram.largest", optional=True
    ),
    "selected": Step(resources.table, group="tables"),
    "retrain": Step(
        resources.retrain,
        _regressor,
        gpu=True,
        group="retrain",
        grouped=_short,
        lighter="finetune.batch_size",
        optional=True,
        heavy=True,
    ),
    "validate_influence": Step(resources.table, group="tables", optional=True),
    # Tables and pages.
    "splits_table": Step(resources.table, group="audit", script="collect_table"),  # the audit reads it
    "metrics_table": Step(resources.table, group="tables"),
    "pool_use_table": Step(resources.table, group="tables"),
    "budget_curves_table": Step(resources.table, group="tables", optional=True),
    "comparisons_table": Step(resources.table, group="tables", optional=True),
    "influence_tables": Step(resources.table, group="tables"),
    "failures_table": Step(resources.table, group="tables"),
    "report": Step(resources.table, group="tables"),
    "figures": Step(resources.figures),
    # On demand.
    "plan": Step(resources.table),
    "measure_next": Step(resources.selection, _regressor, gpu=True),
    "export_model": Step(resources.predict, _methods, gpu=True),
    "predict": Step(resources.predict, _predictors, gpu=True, lighter="predict.chunk"),
}


def step(rule: str) -> Step:
    """The declaration of a rule; of a rule that collects a table, what its declaration says.

    Raises:
        KeyError: there is no such rule.
    """
    if rule not in STEPS and rule.endswith("_table"):
        table = DECLARED.get(rule.removesuffix("_table"))
        if table and table.collected:
            return Step(resources.table, group="tables", optional=table.optional, script="collect_table")
    return STEPS[rule]


def lighter(rule: str) -> str:
    """Keys of the configuration that make a rule's jobs need less memory, in words; empty where none does."""
    return step(rule).lighter
