"""What a job asks a cluster for: memory and time, from the sizes of what it works on.

A function for each kind of job gives the peak memory (MB) and the seconds that are expected, without headroom.
:mod:`chemsieve.study.steps` says which rule's jobs are of which kind.

Each coefficient was read off measured jobs (docs/measurements.md, What jobs ask for), of encoders of 2.7 and 44 million
parameters on one thread in float32. Headroom comes on top, and a job that failed asks for more when it is tried again.
Estimates err to the large side: what is asked for and not used costs waiting, what is lacking costs the job.
"""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from chemsieve.influence import estimators

MEMORY_HEADROOM = 1.5
TIME_HEADROOM = 3
LEAST_MB = 1000
LEAST_MINUTES = 5
RUNNER_MB = 500  # Snakemake's own processes beside the job's on a cluster
GPU_MB = 3000  # of host memory for the libraries of a GPU; not measured
PLAIN_MB = 480  # a process that has read tables
TORCH_MB = 600  # one that has imported torch and transformers
STEP = 8e-9  # seconds of training per parameter, molecule and epoch; bfloat16 takes a quarter of it
PASS = STEP / 3  # of a prediction
STATE = 16 / 1e6  # MB per parameter: float32 weights, gradients, two moments of Adam
TOKENS = 100  # of a molecule that fills its batch
ACTIVATION = 80 / 1e6  # MB per token, layer and hidden unit: about 20 values that the backward pass reads
MOLFORMER_XL = {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 768, "vocab_size": 2362}
ROW = 20  # bytes of a molecule in a user's file, at least
UNKNOWN = 10_000  # molecules of a file that is yet to be downloaded


@dataclass(frozen=True)
class Sizes:
    """Molecules and the encoder's shape."""

    train: int
    query: int
    pool: int
    hidden: int
    layers: int
    parameters: int

    @property
    def molecules(self) -> int:
        return self.train + 2 * self.query + self.pool

    def activations(self, batch: int) -> float:
        """MB that a training step on ``batch`` molecules keeps for its backward pass."""
        return batch * TOKENS * self.layers * self.hidden * ACTIVATION


def ask(expected: tuple[float, float], attempt: int = 1, gpu: bool = False) -> tuple[int, int]:
    """Memory in MB and time in minutes to ask for: with headroom, doubled at each further attempt."""
    memory, seconds = expected
    grown = 2 ** (attempt - 1)
    asked = max(LEAST_MB, MEMORY_HEADROOM * memory) + RUNNER_MB + GPU_MB * gpu
    return round(asked * grown), round(max(LEAST_MINUTES, TIME_HEADROOM * seconds / 60) * grown)


def sizes(config: dict, results: str | Path, encoder: str | Path | None = None) -> Sizes:
    """Sizes of a study: from its tables where they stand, else from its files or the configuration.

    Args:
        results: the study's folder of results.
        encoder: a local folder that the encoder comes from.
    """
    results = Path(results)
    pool, molecules = _rows(results / "data/pool.parquet"), _rows(results / "tables/molecules.parquet")
    if pool is None or molecules is None:
        targets, pool = (_molecules(config, section) for section in ("target", "pool"))
    else:
        targets = molecules - pool
    train, query = (round(share * targets) for share in config["split"]["fractions"][:2])
    shape = _shape(config, results, encoder)
    hidden, layers, inner = (shape[k] for k in ("hidden_size", "num_hidden_layers", "intermediate_size"))
    parameters = layers * (4 * hidden**2 + 2 * hidden * inner) + shape["vocab_size"] * hidden
    return Sizes(train, query, pool, hidden, layers, parameters)


def _molecules(config: dict, section: str) -> int:
    table = config[section]
    if table["source"] == "embedded":
        return config["embedded"]["targets" if section == "target" else "pool"]
    return _lines(table["path"])


def _lines(path: str | None) -> int:
    """At most so many molecules are in a file of the user."""
    if not path or not Path(path).is_file():
        return UNKNOWN
    return max(1, Path(path).stat().st_size * (5 if str(path).endswith(".gz") else 1) // ROW)


def _shape(config: dict, results: Path, encoder: str | Path | None) -> dict:
    folders: list[str | Path] = [results / "encoder", *([encoder] if encoder else [])]
    for folder in folders:
        try:
            found = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            return MOLFORMER_XL | {k: v for k, v in found.items() if k in MOLFORMER_XL and isinstance(v, int)}
    random = not (config["encoder"]["path"] or config["encoder"]["repository"])
    given = config["encoder"]["architecture"] if random else {}
    return MOLFORMER_XL | {k: v for k, v in given.items() if k in MOLFORMER_XL}


def _rows(path: Path) -> int | None:
    try:
        return _rows_at(str(path), path.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=8)
def _rows_at(path: str, changed: int) -> int | None:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_metadata

    try:
        return read_metadata(path).num_rows
    except ArrowException:
        return None


def table(s: Sizes, config: dict) -> tuple[float, float]:
    """Steps that read and write a few columns per molecule and run."""
    runs = 2 + len(config["selection"]["run"]) * (len(config["use"]["run"]) + len(config["selection"]["budgets"]))
    runs += len(config["grid"]["run"]) * len(config["grid"]["selections"])
    checkpoints = len(config["finetune"]["checkpoints"]) + 1
    scores = len(config["influence"]["run"]) * len(config["influence"]["origins"]) * checkpoints
    replicates = len(config["split"]["splitters"]) * len(config["split"]["seeds"]) * len(config["seeds"])
    rows = replicates * (runs * 2 * s.query + (scores + runs) * s.pool)
    return PLAIN_MB + rows * 1e-3, 30 + rows * 1e-4 + 0.02 * runs**2


def molecule_table(s: Sizes, config: dict) -> tuple[float, float]:
    """Steps that compute something of each molecule."""
    return PLAIN_MB + 0.02 * s.molecules, 30 + 0.02 * s.molecules


def _training(s: Sizes, training: dict, molecules: float) -> tuple[float, float]:
    tokens = training.get("batch_tokens")  # pretraining has none
    batch = training["batch_size"] if tokens is None else math.ceil(tokens / TOKENS)
    memory = TORCH_MB + STATE * s.parameters + s.activations(batch) + 0.005 * molecules
    return memory, 30 + STEP * s.parameters * molecules * training["epochs"]


def mlm(s: Sizes, config: dict) -> tuple[float, float]:
    """Adaptation of the encoder."""
    chosen = config["mlm"]
    molecules = s.train + (s.pool if chosen["molecules"] == "training_and_pool" else 0)
    beside = molecules if any(weight for name, weight in chosen["objectives"].items() if name != "mlm") else 0
    memory, seconds = _training(s, chosen, molecules)
    # Scores of all tokens of the vocabulary; what is computed of each molecule.
    return memory + 200 + 0.04 * beside, seconds + 0.02 * beside


def finetune(s: Sizes, config: dict) -> tuple[float, float]:
    """Fine-tuning on the training molecules."""
    return _with_kernel(config, _training(s, config["finetune"], s.train), s.train)


def selected(s: Sizes, config: dict) -> tuple[float, float]:
    """Fine-tuning on training molecules and, at most, the whole pool."""
    epochs = [config["finetune"]["epochs"]]
    epochs += [(m.get("training") or {}).get("epochs", epochs[0]) for m in config["grid"]["methods"].values()]
    training = _training(s, config["finetune"] | {"epochs": max(epochs)}, s.train + s.pool)
    return _with_kernel(config, training, s.train + s.pool)


def tune(s: Sizes, config: dict) -> tuple[float, float]:
    """Trials of a learning rate: of each rung about as many epochs as all rates have in the first."""
    memory, seconds = selected(s, config)
    trials = config["tuning"]["trials"]
    return memory, seconds * 2 * max(1, trials.bit_length() - 1)


def retrain(s: Sizes, config: dict) -> tuple[float, float]:
    """Fine-tuning with a random subset of the pool."""
    training = config["finetune"] | config["validation"]["training"]
    molecules = s.train + config["validation"]["fraction"] * s.pool
    return _with_kernel(config, _training(s, training, molecules), molecules)


def _with_kernel(config: dict, training: tuple[float, float], n: float) -> tuple[float, float]:
    """With a head that is a kernel regression on n molecules: some matrices, and solutions at each epoch."""
    memory, seconds = training
    if not config["finetune"]["head"]["kernel"]:
        return memory, seconds
    solutions = 16 + 6 * (config["finetune"]["epochs"] + 1)
    return memory + 30 / 1e6 * n**2, seconds + 4e-11 * solutions * n**3 + 0.02 * n


def pretrain(s: Sizes, config: dict) -> tuple[float, float]:
    """Pretraining on a corpus."""
    chosen = config["pretrain"]
    memory, seconds = _training(s, chosen | {"epochs": 0}, 0)
    return memory + 200, seconds + STEP * s.parameters * chosen["steps"] * chosen["batch_size"]


def _in_matrix(s: Sizes, config: dict) -> int:
    return min(s.train + s.query + s.pool, config["influence"]["gram"]["largest"])


def gram(s: Sizes, config: dict) -> tuple[float, float]:
    """All products of the molecules' gradients."""
    chosen = config["influence"]["gram"]
    n = _in_matrix(s, config)
    memory = TORCH_MB + 1.2 * chosen["memory_mb"] + 40 / 1e6 * s.parameters + 24 / 1e6 * n**2
    # A pass over the molecules records as many layers as memory has room for: inputs and derivatives of six dense
    # layers in each of the encoder's, in float32, of which a tolerance leaves less than half.
    share = 0.5 if chosen["tolerance"] >= 1e-3 or chosen["rank"] is not None else 1.0
    recorded = share * n * TOKENS / 2 * s.layers * 12 * s.hidden * 4 / 2**20
    passes = min(max(recorded / (chosen["memory_mb"] * 7 / 8), 1.0), 6 * s.layers)
    return memory, 30 + s.parameters * ((1e-8 + PASS * (passes - 1)) * n + 1e-12 * n**2)


def influence(s: Sizes, config: dict) -> tuple[float, float]:
    """Scores of the pool by the dearest estimator."""
    chosen = config["influence"]
    n, curvature = _in_matrix(s, config), min(chosen["hessian_molecules"] or s.train, s.train)
    steps, replays = [0], 0.0  # of the dearest estimator, as many as a molecule's training steps; MB of a replay
    for name in chosen["run"]:
        options = chosen["estimators"].get(name, {})
        iterations, module = options.get("iterations", 0), estimators.load(name)
        if module.REPLAYS:
            section = options.get("replay", module.OPTIONS["replay"]["default"])
            training = config["finetune"] | config[section]["training"]
            steps.append(7 * options.get("points", 1) * training["epochs"] * (s.train + s.pool))
            replays = _replay(s, training, options.get("every"))
        elif module.KERNEL:
            whole = s.train + s.query <= chosen["gram"]["largest"]
            # Unset, it measures only where it must, and may then go on by iterations: how many, nobody can foresee.
            again = options.get("refinements", 0) + {True: 1, False: 0, None: 2}[options.get("check")]
            steps.append((4 * again if whole else 5 * iterations) * s.train)
        else:
            own = 2 * options.get("depth", 0) * options.get("repeats", 1) * options.get("batch_size", 0)
            steps.append((20 + 5 * iterations) * curvature + own)
    passes = max(steps) + 3 * s.pool + 2 * s.query
    memory = TORCH_MB + STATE * s.parameters + max(2.4 * s.activations(chosen["batch_size"]), replays)
    return memory + 48 / 1e6 * n**2 + 0.005 * s.molecules, 30 + STEP * s.parameters * passes + 1e-9 * n**3


def _replay(s: Sizes, training: dict, every: int | None) -> float:
    """MB of the states of a training that is differentiated, and of one step that is differentiated twice."""
    steps = training["epochs"] * max(1, math.ceil(s.train / training["batch_size"]))
    every = every or math.isqrt(steps)
    kept = steps / every + every + 6  # with the state in hand, the adjoint and what the way back computes beside it
    batch = training["batch_size"] * (1 + s.pool / max(s.train, 1))
    return 12 / 1e6 * s.parameters * kept + 4 * s.activations(math.ceil(batch))


def selection(s: Sizes, config: dict) -> tuple[float, float]:
    """An order of the pool, at most by the model's embeddings and the Gram matrices."""
    n = _in_matrix(s, config)
    memory = TORCH_MB + 4 / 1e6 * s.parameters + s.activations(16) + 24 / 1e6 * n**2
    seconds = 30 + 15 * PASS * s.parameters * s.molecules + 1e-7 * s.molecules * min(s.molecules, 10_000)
    return memory + 0.02 * s.molecules, seconds


def fingerprints(s: Sizes, config: dict) -> tuple[float, float]:
    """Fingerprints of the target's molecules, four bytes a column."""
    return PLAIN_MB + 0.03 * s.molecules, 30 + 2e-3 * s.molecules


def embeddings(s: Sizes, config: dict) -> tuple[float, float]:
    """What the encoder says of the target's molecules."""
    memory = TORCH_MB + STATE / 4 * s.parameters + s.activations(64) / s.layers + 0.01 * s.molecules
    return memory, 30 + 4 * PASS * s.parameters * s.molecules


def baseline(s: Sizes, config: dict) -> tuple[float, float]:
    """The dearest descriptor model: columns by the thousand, of which there are copies, and a kernel of all pairs."""
    return _described(s, s.train)


def baseline_on_selection(s: Sizes, config: dict) -> tuple[float, float]:
    """The same with the whole pool, as far as so many molecules are allowed."""
    memory, seconds = _described(s, max(s.train, min(s.train + s.pool, config["baselines"]["largest"])))
    return memory + 0.03 * s.pool, seconds  # features of the whole pool are read


def baseline_with_uses(s: Sizes, config: dict) -> tuple[float, float]:
    """The same in several uses: about ten fits in each of five folds, and kernels of width after width."""
    memory, seconds = baseline_on_selection(s, config)
    molecules = min(s.train + s.pool, config["baselines"]["largest"])
    return memory + 60 / 1e6 * molecules**2, 30 + 50 * (seconds - 30)


def _described(s: Sizes, molecules: int) -> tuple[float, float]:
    memory = PLAIN_MB + 100 + 0.12 * (molecules + 2 * s.query) + 24 / 1e6 * min(molecules, 6000) ** 2
    return memory, 30 + 2.5e-5 * molecules**2


def audit(s: Sizes, config: dict) -> tuple[float, float]:
    """Comparisons of all pairs of molecules, at most so many as `audit.molecules`."""
    most = min(config["audit"]["molecules"], s.molecules)
    memory = TORCH_MB + STATE / 4 * s.parameters + s.activations(16) + 40 / 1e6 * most**2 + 0.02 * s.molecules
    seconds = 60 + PASS * s.parameters * 2 * most + 2e-5 * most**2 + 1e-6 * s.pool * s.train + 0.02 * s.molecules
    return memory, seconds


def encoder(s: Sizes, config: dict) -> tuple[float, float]:
    """An encoder folder that is made or fetched."""
    return TORCH_MB + 12 / 1e6 * s.parameters, 120


def predict(s: Sizes, config: dict) -> tuple[float, float]:
    """Predictions of a file of molecules."""
    rows = _lines(config["predict"]["input"])
    memory = TORCH_MB + 8 / 1e6 * s.parameters + s.activations(64) + 0.05 * config["predict"]["chunk"]
    return memory + 0.01 * s.train, 60 + rows * (2e-3 + PASS * s.parameters * (1 + config["predict"]["passes"]))


def corpus(s: Sizes, config: dict) -> tuple[float, float]:
    """A corpus that is read and tokenised."""
    rows = min(_lines(config["pretrain"]["corpus"]), config["pretrain"]["limit"] or math.inf)
    return PLAIN_MB + rows * 1e-3, 60 + rows * 1e-3


def vectors(s: Sizes, config: dict) -> tuple[float, float]:
    """A teacher's vectors that are brought into a corpus's order."""
    rows = min(_lines(config["pretrain"]["corpus"]), config["pretrain"]["limit"] or math.inf)
    return PLAIN_MB + rows * 2e-3, 60 + rows * 1e-3


def figures(s: Sizes, config: dict) -> tuple[float, float]:
    """A browser that draws each figure of a report."""
    return 1500.0, 300.0
