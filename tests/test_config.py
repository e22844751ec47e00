"""The configuration: each mistake is one sentence that names the key, before anything heavy is imported."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from chemsieve import registry
from chemsieve.errors import ChemsieveError
from chemsieve.study import configuration
from helpers.configurations import EMBEDDED, LEFT_OUT, changed

ROOT = Path(__file__).parent.parent


def sentence(config: dict) -> str:
    """The one sentence with which a configuration is refused."""
    with pytest.raises(ChemsieveError) as caught:
        configuration.validate(config)
    said = str(caught.value)
    assert "\n" not in said
    assert not re.search(r"\. [A-Z]|\.$", said), "one sentence"
    return said


@pytest.fixture
def table(tmp_path):
    """A target file of one molecule."""
    path = tmp_path / "own.csv"
    path.write_text("SMILES,logD,part\nCCO,-0.3,train\n", encoding="utf-8")
    return path


def of_file(path, **changes) -> dict:
    own = {"source": "file", "path": str(path), "smiles": "SMILES", "label": "logD"} | changes
    return changed({f"target.{key}": value for key, value in own.items()})


# -- what is accepted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"selection.strategies.mine": {"strategy": "diversity", "budget": {"fraction": 0.5}, "radius": 3},
         "selection.run": ["mine"]},
        {"grid.methods.wide": {"method": "lora", "rank": 64, "training": {"epochs": 9}}, "grid.run": ["wide"]},
        {"grid.methods.easy": {"method": "full", "training": {"curriculum": "length"}}, "grid.run": ["easy"]},
        {"selection.start": "encoder", "use.run": ["mixed", "half", "auto"]}
        | {"use.uses.half": {"use": "weighted", "weight": 0.5}},
        {"target.binarise": "mean", "split.seeds": [0]},
        {"selection.start": "encoder", "finetune.curriculum": "length", "validation.training": {"curriculum": None}},
        {"split.splitters": ["column"], "target.fold": "part"},
        {"split.options": {"butina": {"cutoff": 0.5}}},
        {"encoder.path": None, "encoder.repository": "a/b", "encoder.revision": "0123456789" * 4},
        {"influence.run": [], "selection.run": ["random"], "grid.selections": ["none"]},
        {"finetune.patience": None, "influence.hessian_molecules": None, "encoder.max_tokens": 50},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_meant_is_accepted(changes):
    configuration.validate(changed(changes))


def test_a_file_with_its_columns_is_accepted(table):
    configuration.validate(of_file(table))
    configuration.validate(of_file(table, fold="part"))


def merged(base, over):
    """As Snakemake merges."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return base | {key: merged(base.get(key), value) for key, value in over.items()}


@pytest.mark.parametrize("overlay", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_each_overlay_changes_only_keys_that_there_are(overlay):
    """A file that the user must give may be missing, and nothing else."""
    config = merged(EMBEDDED, yaml.safe_load(overlay.read_text(encoding="utf-8")) or {})
    problem = None
    try:
        configuration.validate(config)
    except ChemsieveError as error:
        problem = str(error)
    assert problem is None or re.search(r"(target|pool)\.path|no such file", problem), problem


# -- mistakes ----------------------------------------------------------------------------------------------------------

UNKNOWN = [
    ("sede", 1, "'seeds'"),
    ("split.sede", 1, "'seeds'"),
    ("target.colour", 1, "known keys: .*smiles"),
    ("pool.fold", "x", "known keys: .*label"),
    ("embedded.molecules", 3, "known keys: .*targets"),
    ("encoder.hidden_size", 3, "known keys: .*architecture"),
    ("mlm.learning_rte", 0.1, "'learning_rate'"),
    ("finetune.dropout.heads", 0.1, "'head'"),
    ("mlm.curriculum", "length", "known keys: .*epochs"),
    ("mlm.objectives.descriptor", 1.0, "'descriptors'"),
    ("influence.estimator", {}, "'estimators'"),
    ("influence.estimators.cg.dampng", 1, "'damping'"),
    ("selection.strategys", {}, "'strategies'"),
    ("selection.strategies.random.budgt", {"count": 1}, "'budget'"),
    ("selection.strategies.random.budget.counts", 3, "'count'"),
    ("selection.strategies.uncertainty.pases", 3, "'passes'"),
    ("grid.method", {}, "'methods'"),
    ("grid.methods.lora.rnk", 3, "'rank'"),
    ("grid.methods.lora.training.epoch", 3, "'epochs'"),
    ("grid.methods.lora.training.checkpoints", [1], "known keys: .*epochs"),
    ("baselines.methods.svr.Z", 3, "known keys: .*gamma"),
    ("baselines.methods.svr.feature", ["morgan"], "'features'"),
    ("predict.inputs", "new.csv", "'input'"),
    ("compute.gpu", 1, "known keys: .*device"),
    ("split.options.butina", {"cut": 1}, "split.options.butina.cut.*'cutoff'"),
]


@pytest.mark.parametrize(("key", "value", "hint"), UNKNOWN, ids=[case[0] for case in UNKNOWN])
def test_an_unknown_key_is_named_with_the_nearest_known_one(key, value, hint):
    said = sentence(changed({key: value}))
    assert said.startswith(f"configuration: unknown key '{key}")
    assert re.search(hint, said)


NAMES = [
    ("split.splitters", ["scafold"], "'scaffold'"),
    ("split.options", {"butin": {}}, "'butina'"),
    ("encoder.family", "molformr", "'molformer'"),
    ("influence.run", ["lisa"], "'lissa'"),
    ("influence.origins", ["adaptd"], "'adapted'"),
    ("influence.estimators.lisa", {}, "'lissa'"),
    ("influence.aggregate", "best", "mean, last"),
    ("selection.estimator", "gc", "cg, exact, greedy, lissa, metagradient, shapley"),
    ("selection.run", ["none", "influnce"], "'influence'"),
    ("selection.strategies.mine", {"strategy": "diversty", "budget": {"count": 1}}, "'diversity'"),
    ("selection.strategies.mine", {"budget": {"count": 1}}, "known: all, curriculum"),
    ("grid.run", ["lorra"], "'lora'"),
    ("use.run", ["mixed", "weigthed"], "'weighted'"),
    ("use.uses.half", {"use": "wheighted"}, "'weighted'"),
    ("grid.selections", ["best"], "known: none, all"),
    ("grid.start", "scratch", "encoder, regressor"),
    ("grid.methods.lorra", {}, "'lora'"),
    ("grid.methods.mine", {"method": "bitfiit"}, "'bitfit'"),
    ("grid.methods.lora.targets", ["querry"], "'query'"),
    ("grid.methods.lora.head", "some", "all, bias, none"),
    ("grid.methods.lora.training.schedule", "cosin", "'cosine'"),
    ("baselines.run", ["svm"], "'svr'"),
    ("baselines.selections", ["influnce"], "'influence'"),
    ("baselines.methods.mine", {"model": "svm"}, "'svr'"),
    (
        "baselines.methods.mine",
        {"features": ["morgan"]},
        "known: gaussian_process, gradient_boosting, random_forest, svr",
    ),
    ("baselines.methods.svr.features", ["descriptors", "mogan"], "'morgan'"),
    ("compute.device", "gpu", "'cpu'"),
    ("target.source", "csv", "embedded, file"),
    ("encoder.unknown_tokens", "flagged", "'flag'"),
]


@pytest.mark.parametrize(("key", "value", "hint"), NAMES, ids=[f"{case[0]}={case[1]}" for case in NAMES])
def test_a_mistyped_choice_is_named_with_the_nearest_known_one(key, value, hint):
    said = sentence(changed({key: value}))
    assert said.startswith(f"configuration: {key}")
    assert "unknown" in said
    assert hint in said


VALUES = [
    ("finetune.epochs", "ten"),
    ("finetune.epochs", 2.5),
    ("finetune.epochs", True),
    ("finetune.epochs", None),
    ("finetune.learning_rate", -0.1),
    ("finetune.learning_rate", 0),
    ("finetune.learning_rate", "fast"),
    ("finetune.patience", 0),
    ("finetune.checkpoints", []),
    ("finetune.checkpoints", [0]),
    ("finetune.dropout", 0.1),
    ("finetune.dropout.hidden", 1.0),
    ("finetune.dropout.head", None),
    ("finetune.curriculum", "loss"),
    ("finetune.curriculum", True),
    ("mlm.masking", 1.5),
    ("mlm.masking", 0),
    ("mlm.held_out", 1),
    ("mlm.batch_size", 0),
    ("mlm.warmup", -0.5),
    ("seeds", []),
    ("seeds", [1, 1]),
    ("seeds", [-1]),
    ("seeds", 3),
    ("split.seeds", ["a"]),
    ("split.splitters", []),
    ("split.fractions", [0.8, 0.1]),
    ("split.fractions", [1.2, -0.1, -0.1]),
    ("split.fractions", [0.8, 0.1, 0.2]),
    ("study", "my study"),
    ("study", None),
    ("target", None),
    ("target.delimiter", ";;"),
    ("target.delimiter", ""),
    ("target.content_sha256", "abc"),
    ("target.binarise", "median"),
    ("target.downloads", [{"url": "http://example.org/a.csv", "smiles": "a", "label": "b"}]),
    ("embedded.noise", -1),
    ("encoder.revision", "main"),
    ("encoder.sha256", {"config.json": "abc"}),
    ("encoder.stereo", "yes"),
    ("encoder.unknown_tokens", True),
    ("encoder.max_tokens", 2),
    ("influence.hessian_molecules", 0),
    ("influence.tolerance", 0),
    ("influence.estimators.lissa.damping", 1.5),
    ("influence.estimators.cg.iterations", "many"),
    ("influence.estimators.cg", None),
    ("selection.strategies.random", None),
    ("selection.strategies.random.budget", {}),
    ("selection.strategies.random.budget", {"count": 1, "fraction": 0.5}),
    ("selection.strategies.random.budget", {"count": -3}),
    ("selection.strategies.random.budget", {"count": 0}),
    ("selection.strategies.random.budget", {"fraction": 1.5}),
    ("selection.strategies.random.budget", 10),
    ("grid.methods.lora.targets", []),
    ("grid.methods.lora.rank", 0),
    ("grid.methods.lora.training.epochs", None),
    ("split.options.butina", {"cutoff": "wide"}),
    ("predict.coverage", 1),
    ("predict.passes", 1),
    ("predict.uncertainty", "drop"),
    ("compute.threads", 0),
]


@pytest.mark.parametrize(("key", "value"), VALUES, ids=[f"{key}={value}" for key, value in VALUES])
def test_an_impossible_value_is_named(key, value):
    assert sentence(changed({key: value})).startswith(f"configuration: {key}")


@pytest.mark.parametrize("key", ["mlm", "seeds", "encoder.seed", "finetune.dropout.head", "compute.threads"])
def test_a_missing_key_is_named(key):
    assert sentence(changed({key: LEFT_OUT})) == f"configuration: key '{key}' is missing"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("pretrain.exclude", [{"pth": "a.csv"}], "unknown key 'pretrain.exclude.0.pth'; did you mean 'path'?"),
        ("target.downloads", [{"ulr": "x"}], "unknown key 'target.downloads.0.ulr'; did you mean 'url'?"),
        ("study", "a b" * 40, f"study: {'a b' * 40!r} is no name for files; it may have letters, digits, _ and, but "
         "for the first, -"),
    ],
)  # fmt: skip
def test_of_two_mistakes_in_one_place_the_one_that_says_more_is_named(key, value, said):
    """A key that is missing may be the unknown one, mistyped; a name may be too long and have blanks in it."""
    assert sentence(changed({key: value})) == f"configuration: {said}"


CONFLICTS = [
    ({"selection.strategies.random": {}}, "selection.strategies.random: it needs a budget"),
    ({"selection.strategies.none": {"budget": {"count": 1}}}, "selection.strategies.none: a control has no budget"),
    ({"finetune.checkpoints": [2, 9]}, "finetune.checkpoints: epoch 9 lies beyond the last, "),
    ({"influence.run": ["lissa"]}, "selection.estimator: 'shapley' is not in influence.run"),
    ({"influence.origins": ["baseline"]}, "selection.origin: 'adapted' is not in influence.origins"),
    ({"split.splitters": ["column"]}, "target.fold: the splitter 'column' needs"),
    (
        {"encoder.family": "automodel"},
        "encoder.path: the encoder that comes with the project is of the family molformer",
    ),
    ({"encoder.path": None, "encoder.repository": "a/b"}, "encoder.revision: a repository needs a pinned revision"),
    ({"target.source": "file"}, "target.path: give your file"),
    ({"pool.source": "file"}, "pool.path: give your file"),
    ({"use.uses.weighted.weight": -1}, "use.uses.weighted.weight: -1 is less than the minimum of 0"),
    ({"use.uses.then_target.share": 1}, "use.uses.then_target.share: 1 "),
    ({"use.run": ["weighted"]}, "use.run: the others are compared with 'mixed'; add it"),
    ({"use.uses.none": {"use": "weighted"}}, "use.uses.none: it is the name of leaving the pool out"),
    ({"use.uses.mixed": {"use": "own_head"}}, "use.uses.mixed: it is the use of that name and no other"),
    (
        {
            "selection.start": "encoder",
            "use.run": ["mixed", "then_target"],
            "finetune.epochs": 1,
            "finetune.checkpoints": [1],
        },
        "use.run: 'then_target' needs two epochs",
    ),
    ({"grid.methods.full": {}, "grid.run": ["full"]}, "grid.run: 'full' is fine-tuned on every selection anyway"),
    (
        {"finetune.curriculum": "length", "selection.start": "regressor"},
        "selection.start: a regressor is continued without a curriculum",
    ),
    ({"target.binarise": "mean", "split.seeds": [0, 1]}, "target.binarise: labels are cut at the training mean of one"),
    ({"mlm.objectives.mlm": 0}, "mlm.objectives: all weights are 0"),
    ({"mlm.objectives.teacher": 1.0}, "mlm.teacher: mlm.objectives.teacher has a weight, and there is no table"),
    (
        {"mlm.objectives.teacher": 1.0, "mlm.teacher": {"path": "nowhere"}},
        "mlm.teacher.path: there is no file or folder nowhere",
    ),
    (
        {"mlm.objectives.descriptors": 1.0, "mlm.descriptors": ["TPSA", "MolWeight"]},
        "mlm.descriptors: RDKit has no descriptor 'MolWeight'; did you mean ",
    ),
    (
        {"mlm.objectives.descriptors": 1.0, "mlm.descriptors_left_out": ["Crippen*"]},
        "mlm.descriptors_left_out: RDKit has no descriptor 'Crippen*'",
    ),
    (
        {"mlm.objectives.descriptors": 1.0, "mlm.descriptors": ["qed"]},
        "mlm.descriptors_left_out: no descriptor is left to learn",
    ),
    (
        {"baselines.selections": ["random", "v_optimal"]},
        "baselines.selections: the study does not select by 'v_optimal'; add it to selection.run",
    ),
    ({"mlm.unmasked": 0.5}, "mlm.unmasked: molecules that nothing is masked in teach nothing"),
    ({"mlm.objectives.morgan": 1.0, "mlm.unmasked": 1}, "mlm.unmasked: where all molecules stay whole no token"),
    ({"selection.strategies.my-own": {}}, "selection.strategies: 'my-own'"),
    ({"pool.label": None}, "pool.label: name the column of the pool's labels, or set pool.labels to unlabelled"),
    ({"selection.rank": ["residul"]}, "selection.rank: unknown name 'residul'; did you mean 'residual'?"),
    (
        {"selection.measure_next": "v_optmal"},
        "selection.measure_next: unknown name 'v_optmal'; did you mean 'v_optimal'",
    ),
    (
        {"pool.labels": "unlabelled", "selection.measure_next": "residual"},
        "selection.measure_next: pool.labels is unlabelled, and 'residual' needs labels",
    ),
    (
        {
            "pool.labels": "unlabelled",
            "selection.strategies.mine": {"strategy": "influence", "budget": {"count": 5}},
            "selection.measure_next": "mine",
        },
        "selection.measure_next: pool.labels is unlabelled, and 'mine' needs labels",
    ),
]


def test_a_pool_without_labels_takes_one_key():
    """All that needs labels steps aside and is named; what needs none stays."""
    strategies = ["none", "all", "random", "uncertainty", "diversity", "influence", "influence_bottom"]
    changes = {"selection.run": strategies, "selection.rank": ["disagreement", "residual", "self_influence"]}
    changes |= {"influence.run": ["exact", "shapley", "lissa"]}
    changes |= {"grid.selections": ["none", "random", "uncertainty", "diversity", "influence"]}
    given = changed(changes | {"pool.labels": "unlabelled", "pool.leaks": "drop", "influence.test_molecules": 3})
    followed, left_out = configuration.stepped_aside(given)
    configuration.validate(followed)
    assert followed["selection"]["run"] == ["none", "random", "uncertainty", "diversity"]
    assert followed["grid"]["selections"] == ["none"]
    assert followed["selection"]["rank"] == followed["influence"]["run"] == []
    assert not followed["validation"]["run"]
    assert followed["baselines"]["selections"] == []
    assert left_out == [
        "pool.leaks (drop)",
        "influence.run (exact, shapley, lissa)",
        "influence.test_molecules (3)",
        "validation.run (true)",
        "baselines.selections (all, influence)",
        "selection.run (all, influence, influence_bottom)",
        "selection.rank (disagreement, residual, self_influence)",
        "grid.selections (random, uncertainty, diversity, influence)",
    ]
    assert configuration.stepped_aside(followed) == (followed, [])
    assert given["validation"]["run"], "what is given is left alone"


def test_a_pool_with_labels_loses_nothing():
    assert configuration.stepped_aside(EMBEDDED) == (EMBEDDED, [])


@pytest.mark.parametrize("key", ["run", "rank"])
def test_a_mistyped_strategy_is_still_named_where_labels_are_not_used(key):
    given = changed({"pool.labels": "unlabelled", f"selection.{key}": ["randm"]})
    assert "unknown name 'randm'" in sentence(configuration.stepped_aside(given)[0])


@pytest.mark.parametrize("below", [["template"], ["template", "tiny"], ["lipophilicity"], ["curriculum"]])
def test_a_study_becomes_one_of_a_pool_without_labels(below, table):
    """Nothing is left to say but that there are no such files."""
    config = EMBEDDED
    for name in [*below, "unlabelled"]:
        config = merged(config, yaml.safe_load((ROOT / "studies" / f"{name}.yaml").read_text(encoding="utf-8")) or {})
    own = {"path": str(table), "smiles": "SMILES", "source": "file"}
    config = merged(config, {"target": own | {"label": "logD", "downloads": []}, "pool": own})
    configuration.validate(configuration.stepped_aside(configuration.normalise(config))[0])


@pytest.mark.parametrize(("changes", "said"), CONFLICTS, ids=[case[1].split(":")[0] for case in CONFLICTS])
def test_values_that_do_not_go_together_are_named(changes, said):
    assert sentence(changed(changes)).startswith(f"configuration: {said}")


# -- the user's file ---------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "none.csv"
    assert sentence(of_file(path)) == f"target file {path}: there is no such file"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert str(tmp_path) in sentence(of_file(tmp_path))  # a folder
    path = tmp_path / "table.xlsx"
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    assert "not UTF-8 text" in sentence(of_file(path))
    path.write_bytes(b"")
    assert "the file is empty" in sentence(of_file(path))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"smiles": "Smile"}, "no column 'Smile' .*'SMILES', 'logD', 'part'; did you mean 'SMILES'"),
        ({"label": "LogP"}, "no column 'LogP' .*did you mean 'logD'"),
        ({"fold": "parts"}, "no column 'parts' .*did you mean 'part'"),
        ({"label": "activity"}, "no column 'activity' among 'SMILES', 'logD', 'part'$"),
        ({"delimiter": ";"}, "check the delimiter"),
    ],
    ids=str,
)
def test_a_wrong_column_is_named_with_the_closest_match(table, changes, said):
    found = sentence(of_file(table, **changes))
    assert found.startswith(f"target file {table}: ")
    assert re.search(said, found)


def test_the_files_beside_a_corpus_are_looked_at_before_anything_runs(table, tmp_path):
    entry = {"path": str(table), "smiles": "SMILES"}
    configuration.validate(changed({"pretrain.exclude": [entry]}))
    said = sentence(changed({"pretrain.exclude": [entry, {"path": str(table)}]}))
    assert said.startswith(f"pretrain.exclude[1] file {table}: there is no column 'smiles'")
    assert "unknown key 'pretrain.exclude.0.weight'" in sentence(changed({"pretrain.exclude": [entry | {"weight": 1}]}))
    assert "there is no file or folder" in sentence(changed({"pretrain.targets": {"a": {"path": str(tmp_path / "a")}}}))
    targets = {"a": {"path": str(tmp_path), "weight": -1}}
    assert "pretrain.targets.a.weight" in sentence(changed({"pretrain.targets": targets}))
    assert "pretrain.unmasked: molecules that nothing is masked in" in sentence(changed({"pretrain.unmasked": 0.2}))
    # Snakemake's command line hands numbers over as text.
    given = configuration.normalise(changed({"pretrain.targets": {"a": {"path": str(tmp_path), "weight": "0.5"}}}))
    assert given["pretrain"]["targets"]["a"]["weight"] == 0.5
    configuration.validate(given)


def test_the_file_to_predict_is_looked_at_before_anything_runs(table):
    good = {"predict.input": str(table), "predict.smiles": "SMILES"}
    configuration.validate(changed(good))
    said = sentence(changed(good | {"predict.smiles": "Smile"}))
    assert said.startswith(f"predict file {table}: there is no column 'Smile'")
    assert "there is no such file" in sentence(changed(good | {"predict.input": f"{table}.gz"}))


# -- helpers -----------------------------------------------------------------------------------------------------------


def test_every_choice_declares_options_that_are_valid_schemas():
    from jsonschema import Draft202012Validator

    for package in ("splitting", "selection", "methods", "influence.estimators", "baselines", "uses"):
        for name in registry.choices(package):
            options = registry.load(package, name).OPTIONS
            Draft202012Validator.check_schema({"type": "object", "properties": options})


def test_an_unknown_choice_of_a_registry_is_refused():
    with pytest.raises(ChemsieveError, match="unknown choice 'best'; known are all, curriculum"):
        registry.load("selection", "best")


def test_a_methods_training_is_that_of_fine_tuning_with_its_own_on_top():
    config = changed({"grid.methods.lora.training": {"epochs": 7}, "finetune.batch_size": 11})
    training = configuration.training_of(config, "lora")
    assert (training["epochs"], training["batch_size"]) == (7, 11)
    assert training.keys() == EMBEDDED["finetune"].keys() - {"checkpoints", "dropout", "head"}


def test_all_strategies_are_those_selected_then_those_of_the_grid_then_those_that_only_rank():
    chosen = {"selection.run": ["random", "none"], "grid.selections": ["none", "diversity"]}
    config = changed(chosen | {"selection.rank": ["residual", "random"]})
    assert configuration.all_strategies(config) == ["random", "none", "diversity", "residual"]


def test_equal_slices_have_one_canonical_form():
    assert configuration.canonical({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    assert configuration.canonical({"a": 1, "b": 2}) == configuration.canonical({"b": 2, "a": 1})
    assert configuration.canonical({"a": 1, "b": 2}) != configuration.canonical({"a": 2, "b": 1})


def test_checking_imports_nothing_heavy(table):
    """It runs whenever the workflow starts, be it for a dry run."""
    code = (
        "import json, sys\n"
        "sys.path.append(sys.argv[1])\n"
        "from chemsieve.study import configuration\n"
        "for text in sys.argv[2:]:\n"
        "    configuration.validate(json.loads(text))\n"
        "print(*sorted(sys.modules))\n"
    )
    # Every strategy, method and estimator is configured, and so is a file.
    everything = of_file(table, fold="part")
    everything["split"]["splitters"] = registry.choices("splitting")
    everything["baselines"]["methods"] |= {name: {} for name in registry.choices("baselines")}
    arguments = [str(ROOT / "workflow_scripts"), json.dumps(EMBEDDED), json.dumps(everything)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "chemsieve.selection.diversity" in loaded
    heavy = {"torch", "pandas", "rdkit", "transformers", "peft", "sklearn", "scipy", "pyarrow", "tokenizers"}
    assert loaded & heavy == set()


@pytest.mark.parametrize("section", ["", "finetune", "selection.strategies.random.budget", "compute"])
@pytest.mark.parametrize("name", [1, False, None])
def test_a_key_that_is_not_text_is_named(section, name):
    """YAML 1.1 reads `on:`, `no:` and `1:` as such keys."""
    config = changed({})
    part = config
    for step in section.split(".") if section else ():
        part = part[step]
    part[name] = 1
    assert str(name) in sentence(config)


@pytest.mark.parametrize(
    "key", ["embedded.noise", "finetune.learning_rate", "influence.tolerance", "mlm.minimum_delta",
            "influence.estimators.cg.damping", "grid.methods.lora.alpha"],
)  # fmt: skip
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_is_named(key, value):
    assert sentence(changed({key: value})).startswith(f"configuration: {key}")


def test_a_hash_for_a_file_that_is_not_fetched_is_refused():
    encoder = {"encoder.repository": "a/b", "encoder.revision": "0" * 40}
    said = sentence(changed(encoder | {"encoder.sha256": {"weights.bin": "0" * 64}}))
    assert said.startswith("configuration: encoder.sha256")


def test_the_bundled_encoder_gives_way_to_a_repository():
    named = {"encoder.repository": "a/b", "encoder.revision": "0" * 40}
    assert changed({})["encoder"]["path"] == configuration.BUNDLED
    assert configuration.normalise(changed(named))["encoder"]["path"] is None
    assert configuration.normalise(changed(named | {"encoder.path": "mine"}))["encoder"]["path"] == "mine"


def test_a_path_that_the_source_ignores_is_refused(table):
    """A file of the user's must never be passed over for the embedded molecules."""
    said = sentence(changed({"target.path": str(table)}))
    assert "target.path" in said
    assert "target.source" in said


def test_texts_are_read_as_what_their_key_wants():
    """Snakemake hands nested values of --config over as text; YAML 1.1 reads 1e-4 as text."""
    texts = changed(
        {
            "seeds": ["3", "4"],
            "finetune.learning_rate": "1e-4",
            "finetune.patience": "null",
            "compute.warm_start": "false",
            "encoder.path": "null",
            "target.unit": "1",
            "split.options": {"butina": {"cutoff": "0.5"}},
            "selection.strategies.random.budget": {"count": "7"},
            "selection.strategies.uncertainty.passes": "9",
            "grid.methods.lora.rank": "16",
            "grid.methods.lora.training": {"epochs": "4"},
            "baselines.methods.svr": {"C": ["1", "2.5"], "gamma": "scale"},
            "influence.estimators.lissa.scale": "null",
        }
    )
    config = configuration.normalise(texts)
    configuration.validate(config)
    assert config["seeds"] == [3, 4]
    assert config["finetune"]["learning_rate"] == 1e-4
    assert config["finetune"]["patience"] is None
    assert config["compute"]["warm_start"] is False
    assert config["encoder"]["path"] is None
    assert config["target"]["unit"] == "1"
    assert config["split"]["options"]["butina"]["cutoff"] == 0.5
    assert config["selection"]["strategies"]["random"]["budget"]["count"] == 7
    assert config["selection"]["strategies"]["uncertainty"]["passes"] == 9
    assert config["grid"]["methods"]["lora"]["rank"] == 16
    assert config["grid"]["methods"]["lora"]["training"]["epochs"] == 4
    assert config["baselines"]["methods"]["svr"] == {"C": [1, 2.5], "gamma": "scale"}
    assert config["influence"]["estimators"]["lissa"]["scale"] is None


def test_what_needs_no_reading_stays_as_it_is():
    assert configuration.normalise(changed({})) == EMBEDDED


@pytest.mark.parametrize("value", ["three", "3.5", "nan", "inf"])
def test_a_text_that_is_no_such_number_stays_a_mistake(value):
    with pytest.raises(ChemsieveError, match=r"mlm\.epochs"):
        configuration.normalise(changed({"mlm.epochs": value}))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (["draws"], [0, 1, 2, 3, 4, 5, 6, 7], [0.12, 0.04, 0.84])),
        ({"split": {"splitters": ["random"]}}, (["random"], [0], [0.8, 0.1, 0.1])),
        ({"target": {"source": "file", "path": "mine.csv"}}, (["scaffold"], [0], [0.8, 0.1, 0.1])),
        (
            {"target": {"source": "file", "path": "mine.csv"}, "split": {"seeds": [3, 4]}},
            (["scaffold"], [3, 4], [0.8, 0.1, 0.1]),
        ),
        (
            {"target": {"source": "file", "path": "mine.csv"}, "split": {"splitters": ["draws"]}},
            (["draws"], [0, 1, 2, 3, 4, 5, 6, 7], [0.12, 0.04, 0.84]),
        ),
    ],
)
def test_the_embedded_studys_split_is_of_its_own_data(given, expected):
    """A stranger's 400 molecules are not drawn from as if there were thousands."""
    base = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    whole = {**base, **{section: {**base[section], **part} for section, part in given.items()}}
    split = configuration.prepared(copy.deepcopy(whole), [base, given])[0]["split"]
    assert (split["splitters"], split["seeds"], split["fractions"]) == expected


@pytest.mark.parametrize(
    ("given", "grid"),
    [
        ({}, ["lora"]),
        ({"target": {"source": "file", "path": "mine.csv"}}, ["bitfit", "lora", "ia3"]),
        ({"target": {"source": "file", "path": "mine.csv"}, "grid": {"run": []}}, []),
    ],
)
def test_what_makes_the_embedded_study_short_is_of_its_own_data(given, grid):
    base = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    made = configuration.prepared(merged(base, given), [base, given])[0]
    assert made["grid"]["run"] == grid
    own = "target" in given
    assert ("uncertainty" in made["selection"]["rank"], "svr" in made["baselines"]["run"]) == (own, own)
    assert ("adaptation" in made["statistics"]["compare"]) == own
