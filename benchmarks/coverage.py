"""Whether the intervals of exported models hold the labels of molecules that the study never had.

python benchmarks/coverage.py biogen_adme_3521.csv --smiles SMILES --label "LOG HLM_CLint (mL/min/kg)"

Some molecules of a measured set, drawn at random, are the target of a small study of several random splits; thirty more
stand for a pool, of which nothing is used, and the rest is its future. Of each split a language model and a descriptor
model are exported and predict that rest. A line per model: how many labels its interval holds, with a 95 % interval
(Wilson) of that share, its half-width, the RMSE on the test molecules and on the rest; last the mean over the splits of
each model with the range of the splits, since what calibrates an interval is itself a draw. The last line is one JSON
object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))
NAME = "coverage"
POOL = 30
MODELS = {"language model": "adapted/full/none", "SVR on descriptors": "descriptors/svr/none"}


def study(target: Path, arguments: argparse.Namespace) -> dict:
    """The study's configuration: training for a few epochs, nothing selected."""
    return {
        "study": NAME,
        "target": {"source": "file", "path": str(target), "smiles": "smiles", "label": "label", "identifier": None},
        "pool": {
            "source": "file",
            "path": str(target.with_name("pool.csv")),
            "smiles": "smiles",
            "labels": "unlabelled",
        },
        "split": {"splitters": ["random"], "seeds": list(range(arguments.splits)), "fractions": [0.5, 0.1, 0.4]},
        "seeds": [0],
        "mlm": {"epochs": 1},
        "finetune": {
            "head": {"descriptors": True, "morgan": 1024},
            "head_epochs": 15,
            "epochs": 4,
            "learning_rate": 0.0001,
            "checkpoints": [2, 3],
        },
        "baselines": {"run": ["svr"], "selections": []},
        "selection": {"run": ["none"], "rank": []},
        "grid": {"run": []},
        "predict": {"coverage": arguments.coverage},
    }


def called(folder: Path, *arguments: str) -> None:
    """Run a module of the workflow in a folder; its output goes to standard error."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow_scripts")}
    subprocess.run([sys.executable, "-m", *arguments], cwd=folder, env=environment, check=True, stdout=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--smiles", default="smiles")
    parser.add_argument("--label", required=True)
    parser.add_argument("--molecules", type=int, default=600, help="of the study; a half is trained on")
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0, help="of the draw of the study's molecules")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    from chemsieve.deployment.conformal import share_between

    rows = pd.read_csv(arguments.data)[[arguments.smiles, arguments.label]].dropna()
    rows.columns = ["smiles", "label"]
    rows = rows.sample(frac=1, random_state=arguments.seed)
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rows[: arguments.molecules].to_csv(folder / "target.csv", index=False)
        rest = rows[arguments.molecules :]
        rest[:POOL][["smiles"]].to_csv(folder / "pool.csv", index=False)
        rest[POOL:].to_csv(folder / "rest.csv", index=False)
        config = study(folder / "target.csv", arguments)
        for split in range(arguments.splits):
            for name, configuration in MODELS.items():
                chosen = config | {"predict": config["predict"] | {"model": f"random/{split}/0/{configuration}"}}
                (folder / "study.yaml").write_text(yaml.safe_dump(chosen), encoding="utf-8")
                called(folder, "chemsieve", "export", "study.yaml", "--cores", str(arguments.cores))
                model, out = folder / f"results/{NAME}/model", folder / "predictions.csv"
                called(folder, "chemsieve.predict", str(model), str(folder / "rest.csv"), str(out))
                facts = json.loads((model / "chemsieve.json").read_text(encoding="utf-8"))
                new = pd.read_csv(out)
                # A molecule of the study under another SMILES is no new one.
                new = new[new["reason"].isna() & new["same_molecule"].isna()]
                held = new["label"].between(new["label_low"], new["label_high"])
                low, high = share_between(int(held.sum()), len(held))
                errors = new["label"] - new["label_predicted"]
                row = {
                    "split": split,
                    "model": name,
                    "molecules": len(held),
                    "holds": float(held.mean()),
                    "from": low,
                    "to": high,
                    "half-width": facts["interval"]["half_width"],
                    "test RMSE": facts["metrics"]["test"]["rmse"],
                    "RMSE": float(np.sqrt(np.mean(errors**2))),
                }
                found.append(row)
                print(" | ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    table = pd.DataFrame(found)
    for name, part in table.groupby("model", sort=False):
        shares = part["holds"]
        print(
            f"{name}: {shares.mean():.3f} in the mean of {len(part)} splits, {shares.min():.3f} to {shares.max():.3f}"
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
