"""How time and memory of each step grow with the pool: data, audit, influence, and every selection strategy.

python benchmarks/pool_scaling.py --smiles smiles.txt.gz --pools 300 3000 30000 300000

Each cell is a process of its own, so that its peak memory is its own, and one thread. Steps run as the workflow's
scripts run them, on files. Strategies are handed random embeddings, predictions, scores and a random Gram matrix in
place of a model's, so that what is measured is the strategy's own; ``scores``, influence by ``exact``, runs a model
(random weights). Pool molecules come from --smiles, one a line, plain or gzipped, or are the project's own over and
over. Seconds are the processor's, so that other work on the machine counts little. Growth is over what the process held
before the step began: for a strategy the pool's table, embeddings and some libraries. The exponent is the slope of log
seconds over log molecules between the last two pools, bytes per molecule that of the growth. The last line is one JSON
object.
"""

import argparse
import gzip
import json
import os
import resource
import runpy
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "workflow_scripts"), str(ROOT / "benchmarks")]

TRAIN, VALIDATION = 1000, 125
HIDDEN = 384  # of the encoder that comes with the project
STEPS = ("data", "audit_labels", "audit_shift", "audit", "scores")
MATRIX = 6000  # influence.gram.largest: molecules in the Gram matrix


def strategies() -> list[str]:
    """Names of all strategies."""
    folder = ROOT / "workflow_scripts" / "chemsieve" / "selection"
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


def molecules(count: int, path: str | None) -> list[str]:
    """So many SMILES of a file, or of the project's own molecules over and over."""
    if path is None:
        from influence_scaling import own_smiles

        own = own_smiles(2000)
        return [own[i % len(own)] for i in range(count)]
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as lines:
        found = [line.split()[0] for line in islice(lines, count)]
    if len(found) < count:
        sys.exit(f"{path}: {len(found)} molecules, and {count} are needed")
    return found


def make_inputs(folder: Path, smiles: list[str]) -> None:
    """target.csv and pool.csv, and the tables that strategies read: pool, train and validation."""
    import pandas as pd

    from chemsieve.tables import write_table

    labels = np.random.default_rng(0).normal(2, 1, len(smiles)).round(2)
    frame = pd.DataFrame({"smiles": smiles, "label": labels})
    size = TRAIN + VALIDATION
    for name, part in {"target": frame[:size], "pool": frame[size:]}.items():
        part.to_csv(folder / f"{name}.csv", index=False)
    sides = {"train": frame[:TRAIN], "validation": frame[TRAIN:size], "pool": frame[size:]}
    for name, part in sides.items():
        ids = [f"{'pool' if name == 'pool' else 'target'}-{row}" for row in part.index]
        table = pd.DataFrame({"molecule_id": ids, "encoder_smiles": part["smiles"], "label": part["label"]})
        write_table(table, folder / f"{name}.parquet", "labelled")


class Script:
    """A workflow script's work, as Snakemake would run it: the file, with this in place of ``snakemake``."""

    def __init__(self, name: str, files: dict, output: dict, spec: dict, folder: Path):
        import yaml

        class Named(dict):
            __getattr__ = dict.__getitem__

        config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
        config["influence"] |= {"run": ["exact"], "gram": {"largest": MATRIX}}
        self.given = SimpleNamespace(
            rule=name, wildcards=Named(splitter="random", split_seed="0", seed="0"), log=[str(folder / f"{name}.log")],
            input=Named(files), output=Named(output), params=SimpleNamespace(spec=json.dumps(spec)),
            config=config,
        )  # fmt: skip
        self.path = ROOT / "workflow_scripts" / f"{name}.py"

    def __call__(self) -> None:
        runpy.run_path(str(self.path), {"snakemake": self.given}, "__main__")


def step(name: str, folder: Path):
    """The work of a step; what it reads stands in ``folder``."""
    read = {"smiles": "smiles", "label": "label", "fold": None}
    read |= {"delimiter": ",", "format": "csv", "encoding": "utf-8", "decimal": "."}
    files = {side: str(folder / f"{side}.csv") for side in ("target", "pool")}
    encoder = [str(ROOT / "resources" / "encoder" / part) for part in ("config.json", "model.safetensors")]
    made = {part: str(folder / f"made_{part}.parquet") for part in (
        "molecules", "rejected", "pool", "rules", "sources", "table", "audit", "audit_identity", "nearest_training",
        "treatments")} | {"facts": str(folder / "made_facts.json")}  # fmt: skip
    compute = {"compute": {"threads": 1, "device": "cpu"}, "family": "molformer"}

    def some(*names: str) -> dict:
        return {part: made[part] for part in names}

    if name == "data":
        spec = {"target": read, "pool": read, "pool_labels": True, "content_sha256": None, "stereo": False,
                "max_tokens": None, "unknown_tokens": "refuse", "family": "molformer"}  # fmt: skip
        return Script(name, files | {"encoder": encoder}, some("molecules", "rejected", "pool"), spec, folder)
    if name == "audit_labels":
        spec = {"tables": {"target": read, "pool": read}, "molecules": 2000}
        return Script(name, files, some("rules", "sources", "facts"), spec, folder)
    if name == "audit_shift":
        spec = compute | {"molecules": 2000, "permutations": 1000}
        return Script(name, some("molecules") | {"encoder": encoder}, some("table"), spec, folder)
    if name == "audit":
        write_splits(made["molecules"], folder / "made_splits.parquet")
        given = {"splits": str(folder / "made_splits.parquet"), "shift": made["table"]}
        spec = {"labels": "as_given", "leaks": "report"}
        output = some("audit", "audit_identity", "nearest_training", "treatments")
        return Script(name, some("molecules", "rejected", "facts", "rules", "sources") | given, output, spec, folder)
    return lambda: scores(folder)


def write_splits(molecules_path: str, path: Path) -> None:
    """A random split of the target's molecules."""
    from chemsieve.tables import read_table, write_table

    target = read_table(molecules_path, columns=["molecule_id", "source"])
    target = target.loc[target["source"] == "target", ["molecule_id"]]
    fold = np.random.default_rng(0).choice(["train", "validation", "test"], len(target), p=[0.8, 0.1, 0.1])
    write_table(target.assign(splitter="random", split_seed=0, fold=fold), path, "splits")


def scores(folder: Path) -> None:
    """The Gram matrix and the estimator ``exact``, on a small encoder."""
    import torch
    from influence_scaling import problem_of

    from chemsieve.influence import gramfile
    from chemsieve.influence.problem import Molecules
    from chemsieve.influence.scoring import from_kernel
    from chemsieve.models import tokenization
    from chemsieve.tables import read_table

    torch.set_num_threads(1)
    tables = {name: read_table(folder / f"{name}.parquet") for name in ("train", "validation", "pool")}
    problem, _ = problem_of(10, "small", list(tables["train"]["encoder_smiles"]))
    tokenizer = tokenization.build()
    train, query, pool = (
        Molecules(tokenization.encode(tokenizer, list(table["encoder_smiles"])), table["label"].to_numpy() - 2)
        for table in tables.values()
    )
    problem.train = train
    gram = {"tolerance": 1e-2, "rank": None, "basis": "principal", "largest": MATRIX, "memory_mb": 700}
    kernel = gramfile.compute(problem, query, pool, gram)
    found, *_ = from_kernel(*kernel, lambda: (problem, query, pool), "exact", {"damping": 1.0}, 0.05, 0)
    assert np.isfinite(found).all()


def strategy(name: str, folder: Path):
    """The work of a strategy: the ordered pool."""
    from chemsieve import registry
    from chemsieve.influence.kernel import Kernel
    from chemsieve.selection import Context, select
    from chemsieve.tables import read_table, write_table

    pool, train, validation = (read_table(folder / f"{part}.parquet") for part in ("pool", "train", "validation"))
    n = len(pool)
    rng = np.random.default_rng(1)
    direction = rng.normal(size=HIDDEN).astype(np.float32)

    def embedded(labels) -> np.ndarray:
        """As of an encoder: float32, correlated, carrying the label."""
        rows = rng.standard_normal((len(labels), HIDDEN), dtype=np.float32)
        rows *= np.geomspace(1, 0.01, HIDDEN, dtype=np.float32)
        for row, label in zip(rows, labels.to_numpy(np.float32), strict=True):  # in place: no second copy
            row += label * direction
        return rows

    def kernels() -> list[Kernel]:
        factors = np.random.default_rng(2).normal(size=(TRAIN + VALIDATION + n, 200))
        residuals = np.random.default_rng(3).normal(size=len(factors))
        return [Kernel(factors @ factors.T, residuals, TRAIN, VALIDATION)]

    module = registry.load("selection", name)
    if "gram" in module.NEEDS and 2 * n > MATRIX - VALIDATION:
        sys.exit("not in the matrix")
    given = {part: embedded(table["label"]) for part, table in (("train", train), ("pool", pool))} if (
        "embeddings" in module.NEEDS) else {}  # fmt: skip
    context = Context(
        training=train,
        validation=validation,
        expected_gain=rng.normal(size=n),
        predictions=lambda: rng.normal(size=n),
        predict_passes=lambda passes, seed: np.random.default_rng(seed).normal(size=(passes, n)),
        embeddings=lambda: (given["train"], given["pool"]),
        validation_embeddings=lambda: embedded(validation["label"]),
        kernels=kernels,
        rates=lambda: [1e-3],
    )
    budget = {"count": 100} if module.BUDGET else None
    # As many chains as make a cell of minutes; its time is proportional to them.
    options = {"permutations": 20} if name == "ts_dshapley" else {}

    def work() -> None:
        table = select(pool, context, name, name, budget, 0, options)
        axes = {"strategy": name, "splitter": "random", "split_seed": 0, "seed": 0}
        write_table(table.assign(**axes), folder / f"selected_{name}.parquet", "selections")

    return work


def peak() -> float:
    """Peak resident memory in MB; on Linux what getrusage says begins with that of the parent at its fork."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure(name: str, folder: str) -> dict:
    """Seconds and memory in MB (1e6 bytes) of one cell."""

    work = step(name, Path(folder)) if name in STEPS else strategy(name, Path(folder))
    before, began = peak(), time.process_time()
    work()
    return {"seconds": time.process_time() - began, "peak_mb": peak(), "growth_mb": peak() - before}


def cell(name: str, folder: Path, limit: float) -> dict:
    """One cell in a process of its own; ``cut`` says why there is no figure."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    command = [sys.executable, __file__, "--cell", name, str(folder)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"cut": f"over {limit:g} s"}
    if done.returncode:
        return {"cut": (done.stderr.strip().splitlines() or ["killed"])[-1][:60]}
    return json.loads(done.stdout.splitlines()[-1])


def row(name: str, pools: list[int], found: list[dict]) -> str:
    """One line of the table."""
    cells = [
        facts.get("cut") or f"{facts['seconds']:.1f} s, {facts['peak_mb']:,.0f} (+{facts['growth_mb']:,.0f})"
        for facts in found
    ]
    exponent = growth = ""
    whole = [(n, facts) for n, facts in zip(pools, found, strict=True) if "cut" not in facts]
    if len(whole) > 1:
        (m, less), (n, more) = whole[-2:]
        exponent = f"{np.log(more['seconds'] / less['seconds']) / np.log(n / m):.2f}"
        growth = f"{1e6 * max(more['growth_mb'] - less['growth_mb'], 0) / (n - m):,.0f}"
    return "| " + " | ".join([name, *cells, exponent, growth]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", type=int, nargs="+", default=[300, 3000, 30000, 300000])
    parser.add_argument("--run", nargs="+", default=[*STEPS, *strategies()], help="steps and strategies")
    parser.add_argument("--smiles", help="file of SMILES, one a line; at least 1,125 more than the largest pool")
    parser.add_argument("--limit", type=float, default=1800, help="seconds after which a cell is cut off")
    parser.add_argument("--work", help="folder for the tables, kept; a temporary one by default")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        print(json.dumps(measure(*arguments.cell)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        summary = {}
        folders = {n: Path(arguments.work or temporary) / str(n) for n in arguments.pools}
        for n, folder in folders.items():
            if not (folder / "pool.parquet").exists():
                folder.mkdir(parents=True, exist_ok=True)
                make_inputs(folder, molecules(TRAIN + VALIDATION + n, arguments.smiles))
        heads = ["", *(f"{n:,}: s, peak MB (growth)" for n in arguments.pools), "exponent", "bytes per molecule"]
        print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
        for name in arguments.run:
            found = []
            for folder in folders.values():
                found.append(cell(name, folder, arguments.limit))
            print(row(name, arguments.pools, found), flush=True)
            summary[name] = dict(zip(map(str, arguments.pools), found, strict=True))
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
