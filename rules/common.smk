# Configuration, paths and helpers that every stage uses. Nothing here computes results.
import itertools
import json
import os
import shlex
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError

SCRIPTS = Path(workflow.basedir).resolve() / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))

from chemsieve.study import configuration
from chemsieve.runtime import tracking
from chemsieve.models.bundled import BUNDLED
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.invocation import check_arguments
from chemsieve.runtime.processes import name_user
from chemsieve.runtime.provenance import code_hash, environment
from chemsieve.runtime.warm import socket_folder

name_user()


@contextmanager
def one_sentence(*others):
    """An error of the package, or one of ``others``, as Snakemake's: without the traceback that would bury it."""
    try:
        yield
    except (ChemsieveError, *others) as error:
        raise WorkflowError(str(error)) from None


if set("{}") & set(str(workflow.basedir)):
    raise WorkflowError(
        f"{workflow.basedir}: Snakemake reads braces in a path as wildcards; rename the workflow's folder"
    )

with one_sentence():
    if workflow.is_main_process:
        check_arguments(sys.argv)
    config |= configuration.normalise(config)
    configuration.validate(config)
    configuration.check_encoder(config)

# A thread that spins while another process has the core slows both down many times.
for name, value in {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}.items():
    os.environ.setdefault(name, value)
os.environ |= {"OMP_NUM_THREADS": str(config["compute"]["threads"]), "TOKENIZERS_PARALLELISM": "false"}
# For jobs by the environment and by no parameter, so that to track reruns nothing. What the user has set there wins.
os.environ.pop(tracking.PLACE, None)
for name, value in tracking.environment(
    config["study"],
    config["tracking"]["run"],
    f"results/{config['study']}/tracking",
    config["on_failure"] == "stop",
).items():
    os.environ.setdefault(name, value)
if config["encoder"]["path"] or not config["encoder"]["repository"]:
    os.environ |= {"HF_HUB_OFFLINE": "1"}

RESULTS = f"results/{config['study']}"
SPLIT = f"{RESULTS}/splits/{{splitter}}/{{split_seed}}"
SEED = f"{RESULTS}/runs/{{splitter}}/{{split_seed}}/{{seed}}"
ENCODER = f"{RESULTS}/encoder"
FOLDER_FILES = ("config.json", "model.safetensors", "tokenizer.json")
ENVIRONMENT = "../envs/chemsieve.yaml"
THREADS = config["compute"]["threads"]
# What results depend on; a warm start changes none.
COMPUTE = {key: config["compute"][key] for key in ("device", "threads")}
FAMILY = config["encoder"]["family"]
CHECKPOINTS = sorted(config["finetune"]["checkpoints"])
STRATEGIES = configuration.all_strategies(config)
EMBEDDED = "embedded" in (config["target"]["source"], config["pool"]["source"])
CONTROL = config["pool"]["source"] == "embedded"
# Where the pool's labels are treated, or cut at the training mean, every split has a pool of its own.
TREATED = (
    config["pool"]["labels"] == "relabel_from_training"
    or config["pool"]["leaks"] == "drop"
    or config["target"]["binarise"] is not None
)
LABELLED_POOL = configuration.pool_is_labelled(config)
POOL = f"{SPLIT}/pool.parquet" if TREATED else f"{RESULTS}/data/pool.parquet"
SPLITS = dict(splitter=config["split"]["splitters"], split_seed=config["split"]["seeds"])
REPLICATES = SPLITS | dict(seed=config["seeds"])


def alternatives(names):
    """A wildcard constraint that admits exactly these names."""
    return "|".join(str(name) for name in names) or "none"


wildcard_constraints:
    splitter=alternatives(config["split"]["splitters"]),
    split_seed=alternatives(config["split"]["seeds"]),
    seed=alternatives(config["seeds"]),
    origin="baseline|adapted",
    checkpoint=alternatives(CHECKPOINTS),
    estimator=alternatives(config["influence"]["run"]),
    strategy=alternatives(STRATEGIES),
    method=alternatives(["full", *config["grid"]["run"]]),
    baseline=alternatives(config["baselines"]["run"]),
    subset=r"\d+",
    retrain_seed=r"\d+",
    table=alternatives(config["pretrain"]["targets"]),


def spec(**parts):
    """The slice of the configuration that a rule depends on, as one canonical string (Snakemake compares it)."""
    return configuration.canonical(parts)


def code(rule_name, *modules):
    """Hash of a rule's script with all that it imports, and of the choices that it loads by name."""
    return code_hash(SCRIPTS / f"{rule_name}.py", tuple(f"chemsieve.{module}" for module in modules))


def folder(path):
    """The files of an encoder folder."""
    return [f"{path}/{name}" for name in FOLDER_FILES]


def named_folder(path):
    """The same with a name each, as Snakemake's cache wants outputs."""
    return {Path(name).stem: f"{path}/{name}" for name in FOLDER_FILES}


# Whether results are shared between checkouts and users: the variable names the folder. Snakemake's own option
# --cache is then on without being given: without rule names, version 9.27 does not hand it on to the jobs of a cluster.
CACHE = bool(os.environ.get("SNAKEMAKE_OUTPUT_CACHE"))
if CACHE and workflow.workflow_settings.cache is None:
    workflow.workflow_settings.cache = []


def cache_key(wildcards, input):
    """What Snakemake's cache key lacks, as a parameter; nothing where nothing is shared.

    Snakemake hashes parameters, scripts, the keys of the jobs before, and the files that no job makes, though not which
    is which. Scripts read wildcards too, and libraries. Since this takes ``input``, Snakemake does not count it among
    the parameters whose change reruns a step: another machine or another version reruns nothing that stands.
    """
    if not CACHE:
        return ""
    from chemsieve.runtime.files import sha256

    own = {name: path for name, path in input.items() if isinstance(path, str) and not path.startswith(f"{RESULTS}/")}
    return spec(
        wildcards=dict(wildcards),
        files={name: sha256(path) for name, path in own.items()},
        environment=environment() | {"gpu": gpu(), "threads": THREADS},
    )


def gpu(wildcards=None):
    """GPUs that a training job asks for: one where there is one, so that a profile can limit them."""
    from shutil import which

    device = config["compute"]["device"]
    return int(device == "cuda" or (device == "auto" and which("nvidia-smi") is not None))


def expected(rule):
    """Memory (MB) and seconds that a rule's jobs are expected to take."""
    from chemsieve.study import demands
    from chemsieve.models.bundled import local_folder

    path = config["encoder"]["path"]
    # Not a function of `input`: Snakemake could not tell a group's demands before its files stand.
    return demands.demand(rule, demands.sizes(config, RESULTS, local_folder(path) if path else None), config)


def needs(rule):
    """Memory (MB) and time (minutes) that a rule's jobs ask for; a further attempt asks for twice as much."""
    from chemsieve.study import demands

    return {
        "mem_mb": lambda wildcards, attempt: demands.ask(expected(rule), attempt, gpu() > 0)[0],
        "runtime": lambda wildcards, attempt: demands.ask(expected(rule), attempt, gpu() > 0)[1],
    }


# What failed and can no longer be done without is tried again: without its mark it is a step that has not run.
if workflow.is_main_process:
    from chemsieve.study.optional import forget

    with one_sentence(OSError):
        for failed in forget(RESULTS, config, sys.argv[1:]):
            print(f"trying again what failed: {failed.step}", file=sys.stderr)


def say_what_is_missing():
    """Name the optional parts that this study has to do without."""
    path = Path(f"{RESULTS}/tables/failures.parquet")
    if not path.exists():
        return
    import pyarrow.parquet as pq

    failed = [row for row in pq.read_table(path).to_pylist() if not row["cause"]]
    for row in failed:
        print(f"missing: {row['rule']} {row['part']}: {row['reason']} ({row['log']})", file=sys.stderr)
    if failed:
        print("the report's first screen says what follows; --config on_failure=stop tries again", file=sys.stderr)


def quote_interpreter():
    """Have scripts run where the path of Python has a space: Snakemake 9.27 leaves it unquoted in their commands."""
    from snakemake.script import PythonScript

    execute = PythonScript._execute_cmd

    def quoted(self, cmd, **parts):
        return execute(self, cmd.replace("{py_exec} ", "{py_exec:q} "), **parts)

    PythonScript._execute_cmd = quoted


quote_interpreter()


def check_interpreter():
    """Stop where jobs are submitted with a command that the path of Python breaks."""
    from snakemake_interface_executor_plugins.settings import SharedFSUsage

    shared = SharedFSUsage.SOFTWARE_DEPLOYMENT in workflow.storage_settings.shared_fs_usage
    if shared and not workflow.local_exec and shlex.quote(sys.executable) != sys.executable:
        raise WorkflowError(
            f"the path of Python, {sys.executable}, has characters that Snakemake does not quote where it submits jobs; "
            "make the environment in a folder without spaces in its path"
        )


def check_results():
    """Stop where results cannot be written: Snakemake would end with a traceback."""
    from chemsieve.runtime.files import check_folder

    with one_sentence():
        check_folder(RESULTS)


def check_sizes():
    """Stop before anything runs where the accepted pool is too small for a budget, or too large for an estimator.

    The data step checks the pool that it makes; this is for a pool that stands. (A rule of its own would need to be an
    `ancient` input of training, and Snakemake then overlooks changed parameters of whatever stands downstream.)
    """
    pool, molecules = Path(f"{RESULTS}/data/pool.parquet"), Path(f"{RESULTS}/tables/molecules.parquet")
    if pool.exists() and molecules.exists() and not any(job.rule.name == "data" for job in workflow.dag.needrun_jobs()):
        from pyarrow.parquet import read_metadata

        from chemsieve.study import budgets
        from chemsieve.influence.capacity import check_pool

        rows = read_metadata(pool).num_rows
        with one_sentence():
            budgets.check(budgets.of(config), rows)
            check_pool(config, read_metadata(molecules).num_rows - rows, rows)


# The lock on the results folder, which ends with this process however it ends (see chemsieve/runtime/locking.py).
HELD = []


def take_results():
    """Stop where another run writes the same results; remove what killed processes left half-written."""
    from chemsieve.runtime.files import remove_partial
    from chemsieve.runtime.locking import RUN, hold

    with one_sentence(OSError):
        HELD.append(hold(RESULTS))
    remove_partial(RESULTS)
    if workflow.local_exec:
        os.environ |= {RUN: str(os.getpid())}


def give_up_results():
    """Leave the results folder to the next run."""
    from chemsieve.runtime.files import remove_partial

    remove_partial(RESULTS)  # of jobs that were killed
    while HELD:
        HELD.pop().close()


def short_group(rule, name):
    """The group of a rule's trainings where they are expected to take minutes, and no GPU, of which a group asks for
    one per member."""

    def group(wildcards):
        from chemsieve.study import demands

        return name if expected(rule)[1] < demands.SHORT and not gpu() else None

    return group


def share_gpus():
    """Where jobs run on this machine and several may have a GPU at a time, each is to have one of its own."""
    from chemsieve.runtime import devices

    limit = workflow.global_resources.get("gpu")
    if not (workflow.local_exec and gpu() and limit is not None and (limit.value or 0) > 1):
        return
    with one_sentence():
        os.environ.setdefault(devices.VARIABLE, devices.share(limit.value))


# A server that imports the heavy libraries once for all jobs of this run (see chemsieve/runtime/warm.py).
WARM = {}


def start_warm_server():
    """Start it where jobs run on this machine and are many enough to pay for it."""
    heavy = ("mlm", "retrain", "finetune", "finetune_on_selection", "gram", "influence", "influence_on_test")
    planned = sum(job.rule.name in heavy for job in workflow.dag.needrun_jobs())
    if not (config["compute"]["warm_start"] and workflow.local_exec and planned > 2):
        return
    if (place := socket_folder()) is None:
        return
    WARM["folder"] = place
    address = f"{WARM['folder'].name}/socket"
    os.environ |= {"CHEMSIEVE_WARM": address}
    command = [sys.executable, str(SCRIPTS / "chemsieve" / "runtime" / "warm.py"), address, str(os.getpid())]
    WARM["server"] = subprocess.Popen(command, stdin=subprocess.DEVNULL)


def stop_warm_server():
    """End it with the run."""
    if WARM:
        WARM["server"].terminate()
        WARM["server"].wait()
        WARM["folder"].cleanup()


def below_seed(wildcards, name):
    """A file or folder of one replicate."""
    return f"{SEED}/{name}".format(**wildcards)


def origin_encoder(wildcards):
    """The encoder that an origin starts from."""
    origin = getattr(wildcards, "origin", "adapted")
    return folder(ENCODER) if origin == "baseline" else folder(below_seed(wildcards, "mlm"))


# rules/data.smk


def table_file(section):
    """Where the target or the pool is read from: the user's path, the embedded data, or a download."""
    table = config[section]
    if table["source"] == "embedded":
        return f"{RESULTS}/embedded/{section}.csv"
    return table["path"] or f"{RESULTS}/data/downloaded_{section}.csv"


def table_columns(section):
    """How a table is read; what the project writes itself is plain CSV, a download with the names smiles and label."""
    keys = ("smiles", "label", "fold", "delimiter", "format", "encoding", "decimal")
    table = {key: config[section].get(key) for key in keys}
    if not config[section]["path"]:
        table |= {"delimiter": ",", "format": "csv", "encoding": "utf-8", "decimal": "."}
        if config[section]["source"] == "file":
            table |= {"smiles": "smiles", "label": "label", "fold": None}
    return table


# rules/audit.smk


def audited(name):
    """What is known of the pool's labels, where they are used."""
    return [f"{RESULTS}/{name}"] if LABELLED_POOL else []


# rules/encoder.smk


def encoder_files():
    """Files of the local folder that the encoder is made from."""
    from chemsieve.models.bundled import local_folder

    encoder = config["encoder"]
    names = [n for n in FOLDER_FILES if not (n == "tokenizer.json" and encoder["tokenizer"])]
    return {name: f"{local_folder(encoder['path'])}/{name}" for name in names} if encoder["path"] else {}


def encoder_inputs(wildcards):
    """The user's files that the encoder is made from.

    Not those that come with the project: they are as old as the checkout, and a study beside a newer one would run anew.
    """
    encoder = config["encoder"]
    files = [] if encoder["path"] == BUNDLED else list(encoder_files().values())
    return [*files, *([encoder["tokenizer"]] if encoder["tokenizer"] else [])]


def encoder_spec():
    """What the encoder depends on: its architecture only where it starts from random weights; in place of the dates of
    files that come with the project, their content."""
    from chemsieve.runtime.files import sha256

    encoder = {k: v for k, v in config["encoder"].items() if k not in ("stereo", "max_tokens", "unknown_tokens")}
    if encoder["path"] or encoder["repository"]:
        encoder |= {"architecture": None, "seed": None}
    shipped = encoder_files() if encoder["path"] == BUNDLED else {}
    return spec(encoder=encoder, shipped={name: sha256(path) for name, path in shipped.items()})


# rules/pretrain.smk


def pretrain_corpus_file(wildcards):
    """The corpus, which the configuration must name."""
    if not config["pretrain"]["corpus"]:
        raise WorkflowError("configuration: pretrain.corpus: name a file of SMILES to pretrain on")
    return config["pretrain"]["corpus"]


def all_cores(wildcards):
    """The cores of the run; one where Snakemake was told of none, since nothing runs (--summary, --unlock, --report)."""
    try:
        return workflow.cores
    except WorkflowError:
        return 1


def pretrain_tokenizer(wildcards):
    """A given tokenizer; none for the project's own."""
    return [config["encoder"]["tokenizer"]] if config["encoder"]["tokenizer"] else []


def pretrain_excluded(wildcards):
    """Files whose molecules are left out."""
    return [file["path"] for file in config["pretrain"]["exclude"]]


def pretrain_settings():
    """What training depends on: not the corpus's preparation, nor where the vectors come from."""
    chosen = {k: v for k, v in config["pretrain"].items() if k not in ("corpus", "limit", "held_out", "exclude")}
    learned = {
        name: {key: table[key] for key in ("weight", "credit") if key in table}
        for name, table in chosen["targets"].items()
    }
    return chosen | {"targets": learned}


def pretrain_table(wildcards):
    """A table of vectors that are learned beside the tokens, without what concerns their learning."""
    table = config["pretrain"]["targets"][wildcards.table]
    return {key: value for key, value in table.items() if key not in ("weight", "credit")}


def pretrain_targets(wildcards):
    """The tables' vectors in the corpus's order."""
    return [f"{RESULTS}/pretrain/targets/{name}.npy" for name in config["pretrain"]["targets"]]


# rules/influence.smk


def kernel_estimators():
    """Estimators of the study that work on the Gram matrix."""
    from chemsieve import registry

    return [name for name in config["influence"]["run"] if registry.load("influence.estimators", name).KERNEL]


def gram_inputs(wildcards, suffix):
    """The Gram matrix, or its facts, for estimators that work on it."""
    if wildcards.estimator not in kernel_estimators():
        return []
    return [below_seed(wildcards, f"influence/{wildcards.origin}/{wildcards.checkpoint}/gram.{suffix}")]


def scores_group(wildcards):
    """Solving with a Gram matrix that stands goes with the aggregation, in one submission; other estimators are long.

    A group asks for the GPUs of all its jobs, so that none of them may be in one.
    """
    return "scores" if wildcards.estimator in kernel_estimators() and not gpu() else None


# rules/validation.smk


def retrained_regressor(wildcards):
    """The fine-tuned regressor that retraining starts from, where the configuration says so."""
    started = config["validation"]["start"] == "regressor"
    return [below_seed(wildcards, "finetune/adapted/model.safetensors")] if started else []


VALIDATED = [
    f"{RESULTS}/runs/{splitter}/{split_seed}/{seed}"
    for splitter in config["split"]["splitters"]
    for split_seed in config["split"]["seeds"]
    for seed in config["seeds"]
][: config["validation"]["replicates"]]
VALIDATION_LOSSES = [
    f"{replicate}/validation/{subset}/{seed}.parquet"
    for replicate in VALIDATED
    for subset in range(config["validation"]["subsets"])
    for seed in config["validation"]["seeds"]
]
VALIDATED_SCORES = [
    path
    for replicate in VALIDATED
    for origin in config["influence"]["origins"]
    for estimator in config["influence"]["run"]
    for path in (
        *(f"{replicate}/influence/{origin}/{checkpoint}/{estimator}/scores.parquet" for checkpoint in CHECKPOINTS),
        f"{replicate}/influence/{origin}/aggregate/{estimator}.parquet",
    )
]


# rules/finetune.smk


def cell_regressor(wildcards):
    """The fine-tuned regressor that a grid cell starts from, where the configuration says so."""
    if wildcards.method == "full" or config["grid"]["start"] == "encoder":
        return []
    return [below_seed(wildcards, "finetune/adapted/model.safetensors")]


def cell_spec(wildcards):
    """Hyperparameters of one cell: of full fine-tuning, or of its own method."""
    if wildcards.method == "full":
        method, options, training = "full", {}, {k: v for k, v in config["finetune"].items() if k != "dropout"}
    else:
        entry = config["grid"]["methods"][wildcards.method]
        method = configuration.module_of(entry, wildcards.method, "method")
        options = configuration.options_of(entry, configuration.METHOD_KEYS)
        training = configuration.training_of(config, wildcards.method)
    training.pop("checkpoints", None)
    return spec(
        method=method,
        options=options,
        training=training,
        dropout=config["finetune"]["dropout"],
        family=FAMILY,
        compute=COMPUTE,
    )


def cell_module(wildcards):
    """Module of a cell's method."""
    if wildcards.method == "full":
        return "methods.full"
    entry = config["grid"]["methods"][wildcards.method]
    return f"methods.{configuration.module_of(entry, wildcards.method, 'method')}"


def cell_influence_spec(wildcards):
    """What influence at a grid cell depends on."""
    cell = json.loads(cell_spec(wildcards))
    return spec(
        method=cell["method"],
        method_options=cell["options"],
        gram=config["influence"]["gram"],
        batch_size=config["influence"]["batch_size"],
        tolerance=config["influence"]["tolerance"],
        estimators={name: config["influence"]["estimators"][name] for name in kernel_estimators()},
        family=FAMILY,
        compute=COMPUTE,
    )


# rules/selection.smk


def strategy_module(name):
    """Module of a strategy."""
    return configuration.module_of(config["selection"]["strategies"][name], name, "strategy")


def strategy_needs(name):
    """What a strategy reads besides the pool."""
    from chemsieve import registry

    return registry.load("selection", strategy_module(name)).NEEDS


def strategy_uses_model(name):
    """Whether a strategy reads anything that the fine-tuned model computes."""
    return not {"model", "predictions", "embeddings"}.isdisjoint(strategy_needs(name))


def selection_gpu(wildcards):
    """GPUs that a selection asks for: those of a training job where it reads what the model computes."""
    return gpu() if strategy_uses_model(wildcards.strategy) else 0


def selection_group(wildcards):
    """Selections are seconds each; where one may take a GPU, each is a submission of its own."""
    return None if gpu() else "selection"


def selection_gram_inputs(wildcards):
    """The scoring model's curve and its Gram matrices with their facts, for strategies that need them."""
    if "gram" not in strategy_needs(wildcards.strategy):
        return []
    origin = config["selection"]["origin"]
    names = [f"finetune/{origin}/curve.parquet"]
    for checkpoint in CHECKPOINTS:
        names += [f"influence/{origin}/{checkpoint}/gram.{suffix}" for suffix in ("safetensors", "json")]
    return [below_seed(wildcards, name) for name in names]


def model_inputs(wildcards):
    """The fine-tuned model of the scoring origin and its encoder, for strategies that need it."""
    if not strategy_uses_model(wildcards.strategy):
        return []
    origin = config["selection"]["origin"]
    encoder = folder(ENCODER) if origin == "baseline" else folder(below_seed(wildcards, "mlm"))
    return [below_seed(wildcards, f"finetune/{origin}/model.safetensors"), *encoder]


def influence_inputs(wildcards):
    """Aggregated influence scores, for strategies that need them."""
    if "influence" not in strategy_needs(wildcards.strategy):
        return []
    chosen = config["selection"]
    name = f"influence/{chosen['origin']}/aggregate/{chosen['estimator']}.parquet"
    return [below_seed(wildcards, name)]


def training_inputs(wildcards):
    """Training molecules, for strategies that need them."""
    needed = not {"training", "embeddings"}.isdisjoint(strategy_needs(wildcards.strategy))
    return [f"{SPLIT}/train.parquet".format(**wildcards)] if needed else []


def validation_inputs(wildcards):
    """Validation molecules, for strategies that need them."""
    needed = "validation" in strategy_needs(wildcards.strategy)
    return [f"{SPLIT}/validation.parquet".format(**wildcards)] if needed else []


# rules/predict.smk


def exported_cells():
    """What each language model of the study is made of: settings, and files as patterns; by origin/method/selection."""
    cells = {}
    for run in RUNS:
        kind, *names = run.split("/")
        origin, method, selection = (names[0], "full", "none") if kind == "finetune" else ("adapted", *names)
        made = json.loads(cell_spec(SimpleNamespace(method=method)))
        on_regressor = method != "full" and config["grid"]["start"] == "regressor"
        cells[f"{origin}/{method}/{selection}"] = {
            "model": f"{SEED}/{run}/model.safetensors",
            "encoder": ENCODER if origin == "baseline" else f"{SEED}/mlm",
            "base": f"{SEED}/finetune/adapted/model.safetensors" if on_regressor else None,
            "selection": f"{SEED}/selection/{selection}.parquet" if kind == "selected" else None,
            **{key: made[key] for key in ("method", "options", "dropout")},
            "averaged": {key: made["training"][key] for key in ("writings", "draws")},
        }
    return cells


def exported_candidates():
    """The replicates and cells among which predict.model chooses."""
    cells, wanted = exported_cells(), config["predict"]["model"]
    if wanted == "best":
        return REPLICATES, cells
    from chemsieve.deployment.choice import check_named

    known = {
        f"{'/'.join(map(str, replicate))}/{name}": (dict(zip(REPLICATES, replicate)), {name: cell})
        for replicate in itertools.product(*REPLICATES.values())
        for name, cell in cells.items()
    }
    with one_sentence():
        check_named(wanted, list(known))
    return known[wanted]


def exported_files(wildcards):
    """All that the model may be made of: which run it is shows in the metrics alone."""
    replicates, cells = exported_candidates()
    patterns = [f"{SPLIT}/train.parquet"]
    for cell in cells.values():
        patterns += folder(cell["encoder"]) + [cell[name] for name in ("model", "base", "selection") if cell[name]]
    return sorted({path for pattern in patterns for path in expand(pattern, **replicates)})


def exported_spec(wildcards):
    """What a model folder depends on."""
    return spec(
        study=config["study"],
        target={key: config["target"][key] for key in ("label", "name", "unit")},
        cells=exported_candidates()[1],
        train=f"{SPLIT}/train.parquet",
        family=FAMILY,
        **{key: config["encoder"][key] for key in ("stereo", "max_tokens", "unknown_tokens")},
        predict={key: config["predict"][key] for key in ("model", "coverage", "uncertainty", "passes", "seed")},
        compute=COMPUTE,
    )


def predict_input(wildcards):
    """The file to predict, which the configuration must name."""
    if not config["predict"]["input"]:
        raise WorkflowError(
            "configuration: predict.input: give your file, for example --config 'predict={input: my_molecules.csv}'"
        )
    return config["predict"]["input"]
