# Configuration, paths and helpers that every stage uses. Nothing here computes results.
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

SCRIPTS = Path(workflow.basedir) / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))

from chemsieve import config as configuration
from chemsieve.errors import ChemsieveError
from chemsieve.provenance import code_hash

try:
    configuration.validate(config)
except ChemsieveError as error:
    # One sentence, without the traceback that would bury it.
    raise WorkflowError(str(error)) from None

# A thread that spins while another process has the core slows both down many times.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
os.environ["OMP_NUM_THREADS"] = str(config["compute"]["threads"])
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
if config["encoder"]["path"] or not config["encoder"]["repository"]:
    os.environ["HF_HUB_OFFLINE"] = "1"

RESULTS = f"results/{config['study']}"
SPLIT = RESULTS + "/splits/{splitter}/{split_seed}"
SEED = RESULTS + "/runs/{splitter}/{split_seed}/{seed}"
ENCODER = RESULTS + "/encoder"
FOLDER_FILES = ("config.json", "model.safetensors", "tokenizer.json")
ENVIRONMENT = "../envs/chemsieve.yaml"
THREADS = config["compute"]["threads"]
FAMILY = config["encoder"]["family"]
CHECKPOINTS = config["finetune"]["checkpoints"]
STRATEGIES = configuration.all_strategies(config)
EMBEDDED = "embedded" in (config["target"]["source"], config["pool"]["source"])


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


def spec(**parts):
    """The slice of the configuration that a rule depends on, as one canonical string (Snakemake compares it)."""
    return configuration.canonical(parts)


def code(rule_name, *modules):
    """Hash of a rule's script with all that it imports, and of the choices that it loads by name."""
    return code_hash(SCRIPTS / f"{rule_name}.py", tuple(f"chemsieve.{module}" for module in modules))


def folder(path):
    """The files of an encoder folder."""
    return [f"{path}/{name}" for name in FOLDER_FILES]


def gpu(wildcards=None):
    """GPUs that a training job asks for: one where there is one, so that a profile can limit them."""
    from shutil import which

    device = config["compute"]["device"]
    return int(device == "cuda" or (device == "auto" and which("nvidia-smi") is not None))


def origin_encoder(wildcards):
    """The encoder that an origin starts from."""
    origin = getattr(wildcards, "origin", "adapted")
    return folder(ENCODER) if origin == "baseline" else folder(SEED.format(**wildcards) + "/mlm")
