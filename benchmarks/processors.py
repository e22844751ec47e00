"""Which numbers depend on processor, precision and threads, and by how much.

python benchmarks/processors.py

The same fine-tuning and scoring of the embedded data, by the encoder that comes with the project, in a process of its
own for each setting: kernels of this processor, of AVX2 and of none (torch's and oneDNN's own limits), matrix products
in training in float32 and bfloat16, one thread and two. Against the first setting, and beside what another seed does:

* trained again: test RMSE, the largest change of a prediction (in standard deviations of the labels), rank correlation
  of the pool's influence, and how many of its best 50 are the same;
* at the same weights: the largest change of a prediction, and the relative change of the influence scores (a norm).

Prints a Markdown table, then one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
PLAIN = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
# Name, environment, precision of training, threads, seed.
SETTINGS = [
    ("this processor, float32", {}, "float32", 1, 0),
    ("the same again", {}, "float32", 1, 0),
    ("two threads", {}, "float32", 2, 0),
    ("AVX2 alone", AVX2, "float32", 1, 0),
    ("no vector extensions", PLAIN, "float32", 1, 0),
    ("bfloat16", {}, "bfloat16", 1, 0),
    ("bfloat16, two threads", {}, "bfloat16", 2, 0),
    ("bfloat16, AVX2 alone", AVX2, "bfloat16", 1, 0),
    ("float32, another seed", {}, "float32", 1, 1),
]
MOLECULES = {"train": 256, "validation": 64, "test": 256, "pool": 200}
EPOCHS = 2
DAMPING = 1.0
BEST = 50


def child(precision: str, threads: int, seed: int, weights: Path, output: Path) -> None:
    """Train and score; where ``weights`` stand, score with them too, else leave one's own there."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    from chemsieve.data.embedded import make
    from chemsieve.models import backbone, regressor, tokenization
    from chemsieve.models.bundled import BUNDLED, local_folder
    from chemsieve.models.checkpoints import load_strictly, read_tensors, write_tensors
    from chemsieve.models.prediction import predict
    from chemsieve.study.sections.training import Regression
    from chemsieve.training.epochs import Settings
    from chemsieve.training.loop import Conditions
    from chemsieve.training.regression import Labelled, fine_tune

    target, pool, _ = make(sum(MOLECULES[name] for name in ("train", "validation", "test")), MOLECULES["pool"], 0.3, 0)
    ends = np.cumsum([MOLECULES["train"], MOLECULES["validation"], MOLECULES["test"]])
    parts = {"train": target[: ends[0]], "validation": target[ends[0] : ends[1]], "test": target[ends[1] :]}
    parts["pool"] = pool
    smiles = {name: list(part["smiles"]) for name, part in parts.items()}
    labels = {name: part["crippen_logp_with_noise"].to_numpy() for name, part in parts.items()}
    encoder, device = local_folder(BUNDLED), torch.device("cpu")
    torch.manual_seed(seed)
    model = regressor.build(encoder, "molformer", {"hidden": 0.0, "embedding": 0.0, "head": 0.2})
    tokenizer = backbone.load_tokenizer(encoder)
    chosen = Regression(epochs=EPOCHS, batch_size=16, learning_rate=8e-4, patience=None, precision=precision)
    settings = Settings(**chosen.model_dump())
    data = [Labelled(smiles[name], labels[name]) for name in ("train", "validation")]
    fine_tune(model, tokenizer, *data, settings, Conditions(seed, device))
    pad = tokenization.special_id(tokenizer, "pad")
    ids = {name: tokenization.encode(tokenizer, texts) for name, texts in smiles.items()}
    found = {"labels": labels["test"]}

    def scored(prefix: str) -> None:
        found[f"{prefix}predictions"] = predict(model, ids["test"], pad, device)
        found[f"{prefix}influence"] = influence(model, ids, labels, pad)

    scored("")
    if weights.exists():
        load_strictly(model, read_tensors(weights), source=str(weights))
        scored("same_")
    else:
        write_tensors(model.state_dict(), weights)
    np.savez(output, **found)


def influence(model, ids: dict, labels: dict, pad: int):
    """Influence of the pool on the validation loss, from the Gram matrix: (pool,)."""
    import torch

    from chemsieve.influence.gram import gram
    from chemsieve.influence.kernel import Kernel, first_order
    from chemsieve.influence.problem import Molecules, Problem

    mean, scale = float(model.label_mean), float(model.label_scale)
    order = ("train", "validation", "pool")
    parts = [Molecules(ids[name], (labels[name] - mean) / scale) for name in order]
    problem, molecules = Problem(model.eval(), parts[0], pad, seed=0), Molecules.joined(parts)
    made = gram(problem, molecules)
    with torch.no_grad():
        residuals = made.outputs.double().numpy() - molecules.labels
    return first_order(Kernel(made.matrix.numpy(), residuals, len(parts[0]), len(parts[1])), DAMPING)


def compared(found: dict, first: dict) -> dict:
    """What changed against the first setting."""
    import numpy as np
    from scipy.stats import spearmanr

    sd = float(first["labels"].std())

    def best(scores) -> set:
        return set(np.argsort(scores)[:BEST])

    row = {
        "test_rmse": float(np.sqrt(np.mean((found["predictions"] - found["labels"]) ** 2))),
        "largest_change_sd": float(np.abs(found["predictions"] - first["predictions"]).max() / sd),
        "influence_spearman": float(spearmanr(found["influence"], first["influence"]).statistic),
        "same_best": len(best(found["influence"]) & best(first["influence"])),
    }
    if "same_influence" in found:
        change = np.linalg.norm(found["same_influence"] - first["influence"]) / np.linalg.norm(first["influence"])
        row["largest_change_same_weights_sd"] = float(
            np.abs(found["same_predictions"] - first["predictions"]).max() / sd
        )
        row["influence_change_same_weights"] = float(change)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args().child
    if given:
        child(given[0], int(given[1]), int(given[2]), Path(given[3]), Path(given[4]))
        return
    import numpy as np

    from chemsieve.runtime.processor import instruction_set

    rows, first = [], None
    print(f"{instruction_set()}\n")
    print(
        "| setting | seconds | test RMSE | largest change of a prediction (sd) | influence, rank correlation | "
        f"same of the best {BEST} | same weights: prediction (sd) | same weights: influence |\n" + "|---" * 8 + "|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, limits, precision, threads, seed in SETTINGS:
            output = Path(folder) / "found.npz"
            arguments = [precision, str(threads), str(seed), str(Path(folder) / "weights.safetensors"), str(output)]
            environment = os.environ | limits | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
            began = time.perf_counter()
            subprocess.run([sys.executable, __file__, "--child", *arguments], env=environment, check=True)
            seconds = time.perf_counter() - began
            found = dict(np.load(output))
            first = found if first is None else first
            row = {"setting": name, "seconds": round(seconds, 1)} | compared(found, first)
            rows.append(row)
            same = [
                row.get(f"{what}_same_weights{end}")
                for what, end in (("largest_change", "_sd"), ("influence_change", ""))
            ]
            cells = [name, f"{seconds:.0f}", f"{row['test_rmse']:.4f}", f"{row['largest_change_sd']:.2g}"]
            cells += [f"{row['influence_spearman']:.4f}", f"{row['same_best']}"]
            cells += ["" if value is None else f"{value:.2g}" for value in same]
            print(f"| {' | '.join(cells)} |", flush=True)
    print(json.dumps({"processor": instruction_set(), "molecules": MOLECULES, "epochs": EPOCHS, "rows": rows}))


if __name__ == "__main__":
    main()
