# The configuration, checked; the study's plan, and what rules ask it for. Nothing here computes results.
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError

SCRIPTS = Path(workflow.basedir).resolve() / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))

from chemsieve.errors import ChemsieveError
from chemsieve.models.bundled import local_folder
from chemsieve.runtime import tracking
from chemsieve.runtime.invocation import check_arguments
from chemsieve.runtime.processes import name_user
from chemsieve.runtime.provenance import code_hash, environment
from chemsieve.study import configuration, plan, resources
from chemsieve.study.steps import step

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


def layers():
    """What the configuration is laid over each other of: the workflow's own files, the user's, the command line."""
    given = workflow.overwrite_configfiles
    own = workflow.configfiles[len(given) :]
    return [*map(load_configfile, [*own, *given]), dict(workflow.config_settings.config)]


with one_sentence():
    if workflow.is_main_process:
        check_arguments(sys.argv)
    followed, left_out = configuration.prepared(config, layers())
    config |= followed
    configuration.validate(config)
    configuration.check_encoder(config)
    if left_out and workflow.is_main_process:
        print(f"pool.labels is unlabelled, and these need labels; left out: {'; '.join(left_out)}", file=sys.stderr)

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

PLAN = plan.Plan(config)
RESULTS, SPLIT, SEED, ENCODER, POOL = PLAN.results, PLAN.split, PLAN.replicate, PLAN.encoder, PLAN.pool
FAMILY, THREADS, COMPUTE = PLAN.family, PLAN.threads, PLAN.compute
ENVIRONMENT = "../envs/chemsieve.yaml"


def alternatives(names):
    """A wildcard constraint that admits exactly these names."""
    return "|".join(re.escape(str(name)) for name in names) or "none"


STRATEGY = alternatives(dict.fromkeys([*PLAN.strategies, config["selection"]["measure_next"]]))


wildcard_constraints:
    splitter=alternatives(config["split"]["splitters"]),
    split_seed=alternatives(config["split"]["seeds"]),
    seed=alternatives(config["seeds"]),
    origin="baseline|adapted",
    checkpoint=alternatives(PLAN.checkpoints),
    estimator=alternatives(config["influence"]["run"]),
    strategy="|".join([STRATEGY, *([alternatives(PLAN.swept)] if PLAN.swept else [])]),
    method=alternatives([plan.FULL, *config["grid"]["run"]]),
    use=alternatives(PLAN.uses),
    baseline=alternatives(config["baselines"]["run"]),
    subset=r"\d+",
    retrain_seed=r"\d+",
    table=alternatives(config["pretrain"]["targets"]),


def spec(**parts):
    """The slice of the configuration that a rule depends on, as one canonical string (Snakemake compares it)."""
    return configuration.canonical(parts)


def said(function):
    """An input function or parameter, an error of which Snakemake gives as one sentence."""

    def of_job(wildcards):
        with one_sentence():
            return function(wildcards)

    return of_job


def code(rule):
    """Hash of a rule's script with all that it imports, and of the modules that it loads by name."""
    declared = step(rule)

    def of_job(wildcards):
        modules = tuple(f"chemsieve.{module}" for module in declared.loads(PLAN, wildcards))
        return code_hash(SCRIPTS / f"{declared.script or rule}.py", modules)

    return of_job


def named_folder(path):
    """The files of an encoder folder with a name each, as Snakemake's cache wants outputs."""
    return {Path(name).stem: f"{path}/{name}" for name in plan.ENCODER_FILES}


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


def all_cores(wildcards):
    """The cores of the run; one where Snakemake was told of none, since nothing runs (--summary, --unlock, --report)."""
    try:
        return workflow.cores
    except WorkflowError:
        return 1


def expected(rule):
    """Memory (MB) and seconds that a rule's jobs are expected to take."""
    path = config["encoder"]["path"]
    # Not a function of `input`: Snakemake could not tell what a group needs before its files stand.
    return step(rule).takes(resources.sizes(config, RESULTS, local_folder(path) if path else None), config)


def needs(rule):
    """Memory (MB), time (minutes) and GPUs that a rule's jobs ask for.

    A further attempt asks for twice the memory and time. ``gpu_jobs`` counts the jobs that use a GPU, for a profile that
    lets several share one.
    """
    declared = step(rule)

    def gpus(wildcards):
        uses = declared.gpu if isinstance(declared.gpu, bool) else declared.gpu(PLAN, wildcards)
        return gpu() if uses else 0

    return {
        "mem_mb": lambda wildcards, attempt: resources.ask(expected(rule), attempt, gpu() > 0)[0],
        "runtime": lambda wildcards, attempt: resources.ask(expected(rule), attempt, gpu() > 0)[1],
        **({"gpu": gpus, "gpu_jobs": gpus} if declared.gpu else {}),
    }


def group(rule):
    """The submission that a rule's jobs share on a cluster."""
    declared = step(rule)
    if declared.grouped is None:
        return declared.group
    return lambda wildcards: (declared.group if declared.grouped(PLAN, wildcards, gpu(), expected(rule)[1]) else None)


def quote_interpreter():
    """Have scripts run where the path of Python has a space: Snakemake 9.27 leaves it unquoted in their commands."""
    from snakemake.script import PythonScript

    execute = PythonScript._execute_cmd

    def quoted(self, cmd, **parts):
        return execute(self, cmd.replace("{py_exec} ", "{py_exec:q} "), **parts)

    PythonScript._execute_cmd = quoted


quote_interpreter()
