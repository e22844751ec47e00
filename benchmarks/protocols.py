"""Run a published protocol with the encoder that comes with the project, reduced, and print its table as Markdown.

python benchmarks/protocols.py team100 --target lipophilicity.csv --pool pool.csv --epochs 2 --cores 2

Reduced are the epochs of every training to at most `--epochs`, those of the adaptation to at most `--mlm-epochs`, and
the replicates to `--seeds`; the learning rates, batches, budgets, ranks and depths stay those of the protocol. Results
go to results/<protocol>_reduced, and a run that was stopped goes on. Prints what was reduced, each printed figure
beside ours, the test errors, and where the time went.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import yaml
from summarise import errors, markdown, times

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workflow_scripts"))


def reduced(protocol: dict, arguments: argparse.Namespace) -> dict:
    """An overlay that shortens a protocol, with its kept checkpoints moved to the last epochs that there are."""
    default = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    finetune = min(arguments.epochs, protocol["finetune"]["epochs"])
    kept = len(protocol["finetune"]["checkpoints"])
    methods = {
        name: {"training": {"epochs": min(arguments.epochs, entry["training"].get("epochs", arguments.epochs))}}
        for name, entry in protocol["grid"]["methods"].items()
    }
    return {
        "study": f"{protocol['study']}_reduced",
        "seeds": list(range(arguments.seeds)),
        "encoder": {"repository": None, "revision": None, "sha256": {}, "path": "bundled"},
        "target": {"path": str(Path(arguments.target).resolve())},
        "pool": {"path": str(Path(arguments.pool).resolve())},
        "mlm": {"epochs": min(arguments.mlm_epochs, protocol.get("mlm", default["mlm"])["epochs"])},
        "finetune": {"epochs": finetune, "checkpoints": list(range(max(1, finetune - kept + 1), finetune + 1))},
        "grid": {"methods": methods},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", help="a file of studies/, without .yaml")
    parser.add_argument("--target", required=True)
    parser.add_argument("--pool", required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--mlm-epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()

    file = Path("studies") / f"{arguments.protocol}.yaml"
    protocol = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    overlay = reduced(protocol, arguments)
    study = ROOT / "results" / overlay["study"]
    study.mkdir(parents=True, exist_ok=True)
    (study / "reduced.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    files = [str(file), str(study / "reduced.yaml")]
    command = [sys.executable, "-m", "snakemake", "all", "--cores", str(arguments.cores), "--configfile", *files]
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True)
    taken = time.perf_counter() - start

    from chemsieve.report import published
    from chemsieve.report.study import load
    from chemsieve.study import configuration as config

    made = load(study / "tables", config.read(study / "config.yaml"))
    header = ("what", "measure", "printed", "ours", "from", "to", "replicates", "remark")
    rows = [published.row(made, figure) for figure in protocol["published"]["figures"]]
    full = protocol["finetune"]["epochs"], len(protocol.get("seeds", [0]))
    print(
        f"\n{arguments.protocol}: {overlay['finetune']['epochs']} of {full[0]} epochs, {arguments.seeds} of {full[1]} "
        f"seeds, adaptation {overlay['mlm']['epochs']} epochs; {taken:.0f} s here\n"
    )
    print(markdown(pd.DataFrame(rows, columns=list(header))))
    print()
    print(markdown(errors(study / "tables")))
    print()
    print(markdown(times(study / "logs")))


if __name__ == "__main__":
    main()
