"""AUROC of label-error scores at ranking corrupted labels last, on a finished embedded study.

Usage: python benchmarks/label_errors.py results/embedded
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))


def main(study: Path) -> None:
    """Print a table of each replicate's AUROCs and the same as one JSON line; the truth is read for evaluating only."""
    import torch

    from chemsieve import backbone, config, registry, regressor, tokenization
    from chemsieve.aggregation import learning_rates
    from chemsieve.influence import _gramfile
    from chemsieve.report.control import CORRUPTED, auroc
    from chemsieve.selection import Context
    from chemsieve.selection._model import outputs

    settings = config.read(study / "config.yaml")
    pool = pd.read_parquet(study / "data/pool.parquet")
    groups = pd.read_parquet(study / "tables/pool_control.parquet").set_index("molecule_id")["group"]
    correct = (groups.loc[pool["molecule_id"]] != CORRUPTED).to_numpy()
    device, rows = torch.device("cpu"), []
    for folder in sorted((study / "runs").glob("*/*/*")):
        splitter, split_seed, seed = folder.parts[-3:]
        training = pd.read_parquet(study / "splits" / splitter / split_seed / "train.parquet")
        tuned, encoder = folder / "finetune/adapted", folder / "mlm"
        model = regressor.restore(encoder, settings["encoder"]["family"], "full", {}, tuned / "model.safetensors")
        tokenizer = backbone.load_tokenizer(encoder)
        pad_id = tokenization.special_id(tokenizer, "pad")
        (known, _), (candidates, predictions) = (
            outputs(model, tokenization.encode(tokenizer, list(part["encoder_smiles"])), pad_id, device)
            for part in (training, pool)
        )
        kept = sorted(settings["finetune"]["checkpoints"])
        grams = [folder / "influence/adapted" / str(epoch) for epoch in kept]
        kernels = [_gramfile.read(place / "gram.safetensors", place / "gram.json")[0] for place in grams]
        rates = list(learning_rates(pd.read_parquet(tuned / "curve.parquet"))[kept])
        gains = pd.read_parquet(folder / "influence/adapted/aggregate/shapley.parquet").set_index("molecule_id")
        context = Context(
            training=training,
            predictions=lambda values=predictions: values,
            embeddings=lambda values=(known, candidates): values,
            kernels=lambda values=kernels: values,
            rates=lambda values=rates: values,
            expected_gain=gains.loc[pool["molecule_id"], "expected_gain"].to_numpy(),
        )
        row = {"splitter": splitter, "split_seed": split_seed, "seed": seed}
        for name in (
            "residual",
            "disagreement",
            "self_influence",
            "target_alignment",
            "gradient_matching",
            "curriculum",
            "influence",
        ):
            score = registry.load("selection", name).score(pool, context, int(seed))
            row[name] = auroc(np.asarray(score), correct)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|")
    for row in rows:
        print("| " + " | ".join(v if isinstance(v, str) else f"{v:.3f}" for v in row.values()) + " |")
    print(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
