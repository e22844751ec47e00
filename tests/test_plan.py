"""What a study consists of, from its configuration alone: no Snakemake, no file."""

import copy
import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from chemsieve.errors import ChemsieveError
from chemsieve.statistics.families import families
from chemsieve.study.agreement import check_described_uses
from chemsieve.study.plan import Plan, expand
from chemsieve.study.sections.data import Pool, Target
from chemsieve.study.steps import STEPS, step
from chemsieve.study.unlabelled import stepped_aside
from chemsieve.tables import DECLARED
from chemsieve.tables.reference import page
from helpers.configurations import changed

ROOT = Path(__file__).parent.parent
AT = SimpleNamespace(splitter="random", split_seed=3, seed=1, origin="adapted", checkpoint=2, estimator="exact")


@pytest.fixture
def config():
    return copy.deepcopy(yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")))


def test_the_plan_needs_no_snakemake():
    code = (
        "import sys; import chemsieve.study.plan, chemsieve.study.steps; "
        "sys.exit('snakemake' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "workflow_scripts").returncode == 0


def test_the_last_axis_varies_fastest():
    assert expand("{b}/{a}", a="xy", b=[1, 2]) == ["1/x", "2/x", "1/y", "2/y"]
    with pytest.raises(KeyError):
        expand("{b}/{a}", a="xy")


def test_every_run_has_its_curve_its_predictions_and_one_place(config):
    config["seeds"], config["split"]["seeds"] = [0, 1, 2], [5, 6]
    config["selection"]["start"] = "encoder"
    plan = Plan(config)
    assert len(set(plan.runs)) == len(plan.runs)
    assert {"finetune/baseline", "finetune/adapted"} <= set(plan.runs)
    crossed = itertools.product(config["grid"]["run"], config["grid"]["selections"])
    assert {f"selected/{method}/{selection}" for method, selection in crossed} <= set(plan.runs)
    replicates = 3 * 2 * len(config["split"]["splitters"])
    assert len(set(plan.curves)) == replicates * (1 + len(plan.runs))
    assert len(plan.exported_cells) == len(plan.runs) + len(plan.baselines)


def test_other_uses_of_a_selection_have_places_of_their_own(config):
    assert Plan(config).used == []
    before = Plan(copy.deepcopy(config))
    config["selection"]["run"] = ["none", "random"]
    config["use"]["run"] = ["mixed", "weighted", "then_target"]
    config["use"]["uses"] |= {"tenth": {"use": "weighted", "weight": 0.1}}
    plan = Plan(config)
    assert {run for run in plan.runs if run.startswith("used/")} == {
        "used/weighted/full/random",
        "used/then_target/full/random",
    }
    assert "selected/full/random" in plan.runs
    assert plan.cell("full") == before.cell("full")
    cell = plan.exported_cells["adapted/full/random/weighted"]
    assert cell["model"].endswith("/used/weighted/full/random/model.safetensors")
    assert cell["selection"].endswith("/selection/random.parquet")
    assert {"pool_use", "pool_use_curves"} <= set(plan.tables)
    assert not {"pool_use", "pool_use_curves"} & set(before.tables)
    # The closed form is read by a use that leaves it a choice, and by no other.
    at = SimpleNamespace(**vars(AT) | {"strategy": "random", "use": "weighted"})
    assert plan.use_choice(at) == [plan.below(at, "pool_use/random.parquet")]
    for fixed in ("then_target", "tenth"):
        assert plan.use_choice(SimpleNamespace(**vars(at) | {"use": fixed})) == []
        assert plan.use(fixed)["candidates"] == {}
    assert plan.use("tenth")["options"] == {"weight": 0.1}
    robust = SimpleNamespace(**vars(at) | {"use": "robust"})
    assert plan.use_residuals(robust) == [plan.below(at, "pool_use/random-residuals.parquet")]
    assert plan.use_choice(robust) == plan.use_residuals(at) == []
    assert set(plan.use("auto")["candidates"]) == {"mixed", "weighted", "own_head", "tenth"}
    config["pool"] |= {"labels": "unlabelled"}
    assert Plan(stepped_aside(config)[0]).used == []


def test_a_pool_without_labels_is_ordered_and_trains_nothing(config):
    config["pool"] |= {"labels": "unlabelled"}
    config["pool"]["leaks"] = "drop"
    config["target"]["binarise"] = "mean"
    config = stepped_aside(config)[0]
    plan = Plan(config)
    assert not plan.labelled
    assert not plan.treated
    assert all(run.endswith("/none") for run in plan.runs if run.startswith("selected"))
    assert not {"audit_labels", "label_sources"} & set(plan.tables)
    assert plan.selections


@pytest.mark.parametrize(
    ("section", "change", "own"),
    [("pool", {"leaks": "drop"}, True), ("pool", {"labels": "relabel_from_training"}, True),
     ("target", {"binarise": "mean"}, True), ("pool", {}, False)],
)  # fmt: skip
def test_a_split_has_a_pool_of_its_own_where_labels_are_treated(config, section, change, own):
    config[section] |= change
    plan = Plan(config)
    assert plan.treated is own
    assert plan.pool.startswith(plan.split) is own


def test_tables_are_those_that_the_configuration_asks_for(config):
    assert "influence_on_test" not in Plan(config).tables
    config["influence"]["test_molecules"] = 3
    assert "influence_on_test" in Plan(config).tables
    config["validation"]["run"] = False
    assert not {"retraining", "influence_validation"} & set(Plan(config).tables)
    config["pool"] |= {"source": "file", "path": "pool.csv"}
    assert "pool_control" not in Plan(config).tables


def test_a_job_starts_from_its_origins_encoder(config):
    plan = Plan(config)
    baseline = plan.origin_encoder(SimpleNamespace(**vars(AT) | {"origin": "baseline"}))
    assert {Path(path).parent.as_posix() for path in baseline} == {"results/embedded/encoder"}
    without = SimpleNamespace(splitter="random", split_seed=3, seed=1)
    for at in (AT, without):
        folders = {Path(path).parent.as_posix() for path in plan.origin_encoder(at)}
        assert folders == {"results/embedded/runs/random/3/1/mlm"}


def test_adaptation_depends_on_what_it_learns_and_on_nothing_else(config):
    before = Plan(config).adaptation
    assert before["objectives"] == {"weights": {"mlm": 1.0}}
    config["mlm"] |= {"descriptors": ["TPSA"], "descriptors_left_out": [], "teacher": {"path": "vectors"}}
    assert Plan(config).adaptation == before
    assert Plan(config).adaptation_pool == Plan(config).adaptation_teacher == []
    config["mlm"]["objectives"] |= {"descriptors": 1.0, "teacher": 0.5}
    config["mlm"]["molecules"] = "training_and_pool"
    plan = Plan(config)
    assert plan.adaptation["objectives"] == {
        "weights": {"mlm": 1.0, "descriptors": 1.0, "teacher": 0.5},
        "descriptors": ["TPSA"],
        "left_out": [],
        "teacher": {"path": "vectors"},
    }
    # Structures alone: labels of the pool that are treated by split concern none.
    config["pool"]["leaks"] = "drop"
    assert plan.adaptation_pool == ["results/embedded/data/pool.parquet"] != [plan.pool]
    assert plan.adaptation_teacher == ["vectors"]


def test_only_estimators_on_the_gram_matrix_read_it(config):
    config["influence"]["run"] = ["exact", "lissa"]
    plan = Plan(config)
    assert plan.gram(AT, "json") == ["results/embedded/runs/random/3/1/influence/adapted/2/gram.json"]
    assert plan.gram(SimpleNamespace(**vars(AT) | {"estimator": "lissa"}), "json") == []


def test_a_named_model_is_one_of_the_study(config):
    config["grid"]["selections"] = ["influence"]
    config["predict"]["model"] = "draws/3/0/adapted/lora/influence"
    plan = Plan(config)
    replicates, cells = plan.exported_candidates()
    assert (replicates, list(cells)) == (
        {"splitter": ["draws"], "split_seed": [3], "seed": [0]},
        ["adapted/lora/influence"],
    )
    assert {path.split("/")[-2] for path in plan.exported_files() if path.endswith("model.safetensors")} >= {
        "influence",
        "mlm",
    }
    config["predict"]["model"] = "draws/3/0/adapted/lora/influenc"
    with pytest.raises(ChemsieveError, match="lora/influence"):
        Plan(config).exported_candidates()
    config["predict"]["model"] = "adapted/lora/influence"
    replicates, cells = Plan(config).exported_candidates()
    assert (replicates["split_seed"], list(cells)) == (config["split"]["seeds"], ["adapted/lora/influence"])
    config["predict"]["model"] = "draws/3/0/descriptors/svr_frozen/none"
    files = Plan(config).exported_files()
    assert {path.split("/")[-1] for path in files if "/data/" in path} == {"embeddings.parquet"}
    config["predict"]["model"] = "best_language_model"
    assert not any("/data/" in path for path in Plan(config).exported_files())


def test_every_key_of_target_and_pool_reaches_the_step_that_reads_them(config):
    """But for those that say where the file is, what it is called, and what later steps make of it."""
    elsewhere = {
        Target: {"source", "path", "downloads", "content_sha256", "name", "unit", "binarise", "unlabelled"},
        Pool: {"source", "path", "labels", "leaks"},
    }
    for section, others in elsewhere.items():
        read = Plan(config).identified(section.__name__.lower())
        assert set(section.model_fields) == set(read) & set(section.model_fields) | others


def test_selections_that_aim_at_the_validation_fold_are_known(config):
    """By what they read, or what goes before them reads; a cut by another budget aims where its strategy does."""
    config["selection"]["strategies"] |= {
        "clean": {"strategy": "random", "budget": {"count": 5}, "after": "kept"},
        "kept": {"strategy": "ts_dshapley", "budget": {"fraction": 0.5}},
        **{name: {"budget": {"count": 5}} for name in ("gradient_matching", "v_optimal", "residual", "d_optimal")},
        "self_influence": {"budget": {"count": 5}},
        "plain": {"strategy": "random", "budget": {"count": 5}, "after": "disagreement"},
    }
    config["selection"] |= {"budgets": [10], "run": ["none", "all", "random", "influence"]}
    plan = Plan(config)
    aims = ["influence", "influence_bottom", "gradient_matching", "v_optimal", "clean"]
    aims += [name for name in plan.swept if name.startswith("influence")]
    assert [name for name in aims if not plan.aims_at_validation(name)] == []
    others = ["none", "all", "random", "disagreement", "residual", "self_influence", "d_optimal", "plain"]
    assert [name for name in others if plan.aims_at_validation(name)] == []
    assert {"descriptors/svr_morgan/influence"} <= set(plan.exported()["aimed"]).difference(["adapted/full/none"])


@pytest.mark.parametrize("ask", [Plan.predicted_file, Plan.corpus_file])
def test_a_file_that_is_not_named_is_asked_for(config, ask):
    with pytest.raises(ChemsieveError, match=r"^configuration: (predict\.input|pretrain\.corpus): "):
        ask(Plan(config))


def test_vectors_of_a_teacher_rerun_the_training_only_by_their_weight(config):
    config["pretrain"]["targets"] = {"teacher": {"path": "a", "weight": 2.0}}
    before = Plan(copy.deepcopy(config))
    config["pretrain"]["targets"]["teacher"]["path"] = "b"
    after = Plan(config)
    assert before.pretraining == after.pretraining
    assert before.vectors("teacher") != after.vectors("teacher")


def test_declared_steps_load_modules_that_there_are(config):
    plan = Plan(config)
    at = SimpleNamespace(**vars(AT), method="lora", strategy="uncertainty", baseline="svr", use="weighted")
    package = ROOT / "workflow_scripts" / "chemsieve"
    for rule, declared in STEPS.items():
        for module in declared.loads(plan, at):
            assert (package / f"{module.replace('.', '/')}.py").is_file(), (rule, module)


def test_a_descriptor_model_names_its_module_and_its_features(config):
    config["baselines"]["methods"]["both"] = {"model": "svr", "features": ["morgan", "embeddings"], "C": 2}
    plan = Plan(config)
    assert plan.baseline("both") == {"model": "svr", "features": ["morgan", "embeddings"], "options": {"C": 2}}
    tables = [f"results/embedded/data/{name}.parquet" for name in ("morgan", "embeddings")]
    assert plan.baseline_features("both") == tables
    assert plan.baseline("svr") == {"model": "svr", "features": ["descriptors"], "options": {}}


def test_descriptor_models_are_fitted_on_selections_where_these_are_named(config):
    config["baselines"] |= {"run": ["svr", "svr_all"], "selections": []}
    before = Plan(config)
    assert before.baselines == ["descriptors/svr", "descriptors/svr_all"]
    assert not any("pool_" in path for path in before.exported_files())
    config["baselines"]["selections"] = ["none", "random"]
    config["pool"]["leaks"] = "drop"
    plan = Plan(config)
    assert plan.baselines == [*before.baselines, "descriptors/svr/random", "descriptors/svr_all/random"]
    assert plan.exported_cells["descriptors/svr/none"] == before.exported_cells["descriptors/svr/none"]
    added = plan.exported_cells["descriptors/svr_all/random"]["added"]
    assert added["pool"] == f"{plan.split}/pool.parquet"  # with the labels as they are treated
    assert [Path(path).name for path in added["tables"]] == [
        "pool_descriptors.parquet", "pool_morgan.parquet", "pool_embeddings.parquet"
    ]  # fmt: skip
    config["predict"]["model"] = "draws/1/0/descriptors/svr/random"
    files = Plan(config).exported_files()
    assert "results/embedded/runs/draws/1/0/selection/random.parquet" in files
    assert {Path(path).name for path in files if "pool_" in path} == {"pool_descriptors.parquet"}


def test_descriptor_models_have_uses_of_their_own(config):
    config["baselines"] |= {"run": ["svr", "gaussian_process"], "selections": ["random"]}
    before = Plan(copy.deepcopy(config))
    config["baselines"]["uses"] = ["mixed", "weighted", "auto"]
    plan = Plan(config)
    added = [f"described/{name}/random/{use}" for name in ("svr", "gaussian_process") for use in ("weighted", "auto")]
    assert plan.baselines == [*before.baselines, *added]
    assert {"pool_use", "pool_use_curves"} <= set(plan.tables)
    assert plan.pool_uses("")[0].endswith("/described/svr/random/uses.parquet")
    cell = plan.exported_cells["descriptors/gaussian_process/random/auto"]
    assert cell["use"] == "auto"
    assert set(cell["uses"]) == {"mixed", "weighted", "own_head", "auto"}
    found = {family.name: family for family in families([tuple(one) for one in plan.configurations])}
    pairs = {(pair.what, pair.versus) for pair in found["uses of random by svr"].pairs}
    assert pairs == {(use, versus) for use in ("weighted", "auto") for versus in ("none", "mixed")}
    with pytest.raises(ChemsieveError, match=r"baselines\.uses: 'then_target' is a way of training in steps"):
        check_described_uses(changed({"baselines.uses": ["then_target"]}))


def test_by_default_descriptor_models_take_the_usual_selections_of_the_study(config):
    names = config["baselines"]["run"]
    usual = [f"descriptors/{name}/{strategy}" for name in names for strategy in ("all", "influence")]
    assert Plan(config).baselines[len(names) :] == usual
    config["selection"]["run"] = ["none", "all", "diversity"]
    assert Plan(config).baselines[len(names) :] == [f"descriptors/{name}/all" for name in names]


def test_what_a_selection_depends_on_has_the_model_only_where_it_is_read(config):
    plan = Plan(config)
    assert "family" in plan.strategy("uncertainty")
    assert "family" not in plan.strategy("random")


def test_what_to_measure_next_is_of_the_first_replicate_and_needs_what_its_strategy_needs(config):
    config["seeds"], config["split"]["seeds"], config["pool"]["leaks"] = [4, 1], [6, 5], "drop"
    plan = Plan(config)
    at = SimpleNamespace(splitter="draws", split_seed=6, seed=4, strategy="v_optimal")
    inputs = plan.measure_inputs
    assert inputs["selection"] == plan.below(at, "selection/v_optimal.parquet")
    assert inputs["pool"] == "results/embedded/splits/draws/6/pool.parquet"
    for name in ("model", "gram", "training", "validation"):
        assert inputs[name] == getattr(plan, f"selection_{name}" + "s" * (name == "gram"))(at)
    config["selection"] |= {"measure_next": "mine", "strategies": {"mine": {"strategy": "d_optimal", "damping": 0.5}}}
    assert (Plan(config).measuring["damping"], Plan(config).measuring["seed"]) == (0.5, 4)


def test_a_collected_table_brings_its_rule(config):
    for name, table in DECLARED.items():
        if table.collected:
            assert step(f"{name}_table").script == "collect_table"
            assert step(f"{name}_table").optional == table.optional
    with pytest.raises(KeyError):
        step("metrics_of_table")


def test_the_page_of_tables_says_what_is_declared():
    assert (ROOT / "docs" / "tables.md").read_text(encoding="utf-8") == page()


def test_questions_are_comparisons_of_the_study(config):
    config["statistics"]["compare"] = ["influence vs random", "adapted, none vs svr_morgan", "methods"]
    planned = Plan(config).compared
    assert planned["splitters"] == len(config["split"]["splitters"])
    for one in (["baseline", "full", "none"], ["adapted", "lora", "none"], ["descriptors", "svr_morgan", "none"]):
        assert one in planned["configurations"]
    config["statistics"]["compare"] = ["influence vs randon"]
    with pytest.raises(
        ChemsieveError, match=r"statistics\.compare: unknown comparison 'influence vs randon'; did you mean"
    ):
        _ = Plan(config).compared


def test_selections_that_continue_a_regressor_have_a_control_that_does_so_too():
    plan = Plan(changed({"selection.start": "regressor"}))
    at = SimpleNamespace(splitter="draws", split_seed=0, seed=0, method="full", strategy="none")
    assert "selected/full/none" in plan.runs
    assert "finetune/adapted" in plan.runs
    assert plan.cell_regressor(at) == ["results/embedded/runs/draws/0/0/finetune/adapted/model.safetensors"]
    cells = plan.exported_cells
    assert cells["adapted/full/none"]["model"].endswith("finetune/adapted/model.safetensors")
    assert cells["continued/full/none"]["model"].endswith("selected/full/none/model.safetensors")
    assert cells["continued/full/none"]["base"] is None  # a full checkpoint needs no other


def test_selections_from_the_encoder_are_compared_with_the_fine_tuning_on_none():
    plan = Plan(changed({"selection.start": "encoder"}))
    at = SimpleNamespace(splitter="draws", split_seed=0, seed=0, method="full", strategy="random")
    assert "selected/full/none" not in plan.runs
    assert plan.cell_regressor(at) == []
    assert {"adapted/full/none", "adapted/full/random"} <= plan.exported_cells.keys()
