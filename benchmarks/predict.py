"""Molecules per second and peak memory of the plain command, for a file and for one four times as long.

python benchmarks/predict.py --molecules 20000 --threads 2

The model is a folder that a study made (--model), or the encoder that comes with the project with a head from random
weights and as many training molecules as the embedded study has, which costs the same. Molecules are the project's own,
over and over. Each file is predicted by a process of its own, so that its peak memory is its own; the rate leaves out
its start, the peak does not. The last line is one JSON object.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))


def own_molecules(count: int) -> list[str]:
    """SMILES of the project's own molecules."""
    from chemsieve.data.embedded import make

    return list(make(count, 30, 0.3, 0)[0]["smiles"])


def make_model(target: Path, smiles: list[str], dropout: dict, passes: int) -> None:
    """A model folder on the bundled encoder, trained on nothing."""
    import pandas as pd
    import torch
    from rdkit import Chem

    from chemsieve.deployment import folder, inference, language
    from chemsieve.deployment.neighbours import training_table
    from chemsieve.models import backbone, regressor
    from chemsieve.models.bundled import BUNDLED, local_folder

    encoder = local_folder(BUNDLED)
    torch.manual_seed(0)
    model = regressor.build(encoder, "molformer", dropout).eval()
    molecules = pd.DataFrame(
        {
            "molecule_id": [f"target-{row}" for row in range(len(smiles))],
            "canonical_smiles": smiles,
            "identifier": None,
            "inchikey": [Chem.MolToInchiKey(Chem.MolFromSmiles(text)) for text in smiles],
        }
    )
    files = folder.write(
        target,
        lambda place: language.write(place, model, backbone.read_config(encoder)),
        backbone.load_tokenizer(encoder),
        training_table(molecules),
    )
    facts = {
        "format": folder.FORMAT,
        "family": "molformer",
        "target": {"label": "logp", "name": "benchmark", "unit": ""},
        "input": {"stereo": False, "max_tokens": backbone.token_limit(encoder, "molformer", None)},
        "averaged": {"writings": 1, "draws": 1},
        "dropout": dropout,
        "uncertainty": {"kind": inference.spread_kind(model, "auto"), "passes": passes, "seed": 0},
        "interval": {"coverage": 0.9, "half_width": 1.0},
        "domain": {"similarity": 0.3, "percentile": 5},
        "files": files,
    }
    folder.seal(target, facts)


def measure(model: Path, smiles: list[str], count: int, threads: int, chunk: int, work: Path) -> dict:
    """Predict a file of ``count`` rows; rate and peak memory of the process."""
    with open(work / "in.csv", "w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["row", "smiles"])
        writer.writerows([row, smiles[row % len(smiles)]] for row in range(count))
    command = [sys.executable, "-m", "chemsieve.predict", str(model), "in.csv", "out.csv"]
    command += ["--threads", str(threads), "--chunk", str(chunk)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow_scripts"), "OMP_NUM_THREADS": str(threads)}
    with open(work / "log", "w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=work, env=environment, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        log.seek(0)
        said = log.read()
    if status:
        raise SystemExit(said)
    rate = float(re.search(r"([\d.]+) rows per second", said)[1])
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return {"molecules": count, "molecules_per_second": rate, "peak_mb": round(peak), "cpu_seconds": usage.ru_utime}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--molecules", type=int, default=20_000)
    parser.add_argument("--model", type=Path, help="a model folder")
    parser.add_argument("--training", type=int, default=576, help="training molecules, without --model")
    parser.add_argument("--hidden-dropout", type=float, default=0.0, help="beside that of the head, without --model")
    parser.add_argument("--passes", type=int, default=10, help="networks for the spread, without --model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--chunk", type=int, default=4096)
    given = parser.parse_args()
    smiles = own_molecules(2 * given.training)
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        model = given.model and given.model.resolve()
        if model is None:
            model = work / "model"
            dropout = {"hidden": given.hidden_dropout, "embedding": 0.0, "head": 0.2}
            make_model(model, smiles[: given.training], dropout, given.passes)
        points = []
        for count in (given.molecules, 4 * given.molecules):
            point = measure(model, smiles, count, given.threads, given.chunk, work)
            points.append(point)
            print("{molecules:,} molecules: {molecules_per_second:.0f} a second, peak {peak_mb} MB".format(**point))
    print(json.dumps({"threads": given.threads, "chunk": given.chunk, "points": points}))


if __name__ == "__main__":
    main()
