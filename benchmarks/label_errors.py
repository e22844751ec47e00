"""AUROC of label-error scores at ranking corrupted labels last.

python benchmarks/label_errors.py results/embedded                                  on a finished embedded study
python benchmarks/label_errors.py --target target.csv smiles label --pool pool.csv smiles label

The second corrupts labels of a real pool: ``--rows`` rows of it, none of whose molecules is in the target (by the first
block of the InChIKey), a share ``--corrupted`` of them with their labels shuffled among themselves. ``disagreement``
reads them on the embeddings of the encoder that comes with the project, which has seen no label; nothing is trained.

The last line is JSON.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow_scripts"))


def main(study: Path) -> None:
    """Print a table of each replicate's AUROCs and the same as one JSON line; the truth is read for evaluating only."""
    import torch

    from chemsieve import registry
    from chemsieve.influence import gramfile
    from chemsieve.influence.aggregation import learning_rates
    from chemsieve.models import backbone, embeddings, prediction, regressor, tokenization
    from chemsieve.report.control import CORRUPTED, auroc
    from chemsieve.selection import Context
    from chemsieve.study import configuration as config

    settings = config.read(study / "config.yaml")
    pool = pd.read_parquet(study / "data/pool.parquet")
    groups = pd.read_parquet(study / "tables/pool_control.parquet").set_index("molecule_id")["group"]
    correct = (groups.loc[pool["molecule_id"]] != CORRUPTED).to_numpy()
    device, rows = torch.device("cpu"), []
    for folder in sorted((study / "runs").glob("*/*/*")):
        splitter, split_seed, seed = folder.parts[-3:]
        training, validation = (
            pd.read_parquet(study / "splits" / splitter / split_seed / f"{fold}.parquet")
            for fold in ("train", "validation")
        )
        tuned, encoder = folder / "finetune/adapted", folder / "mlm"
        model = regressor.restore(encoder, settings["encoder"]["family"], "full", {}, tuned / "model.safetensors")
        tokenizer = backbone.load_tokenizer(encoder)
        pad_id = tokenization.special_id(tokenizer, "pad")
        known, candidates, checked = (
            embeddings.pooled(
                model.encoder, tokenization.encode(tokenizer, list(part["encoder_smiles"])), pad_id, device
            )
            for part in (training, pool, validation)
        )
        ids = tokenization.encode(tokenizer, list(pool["encoder_smiles"]))
        predictions = prediction.predict(model, ids, pad_id, device)
        kept = sorted(settings["finetune"]["checkpoints"])
        grams = [folder / "influence/adapted" / str(epoch) for epoch in kept]
        kernels = [gramfile.read(place / "gram.safetensors", place / "gram.json")[0] for place in grams]
        rates = list(learning_rates(pd.read_parquet(tuned / "curve.parquet"))[kept])
        gains = pd.read_parquet(folder / "influence/adapted/aggregate/shapley.parquet").set_index("molecule_id")
        context = Context(
            training=training,
            validation=validation,
            validation_embeddings=lambda values=checked: values,
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
            "ts_dshapley",
            "s2l",
            "influence",
        ):
            score = registry.load("selection", name).score(pool, context, int(seed))
            row[name] = auroc(np.asarray(score), correct)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    show(rows)


def labelled(path: str, smiles: str, label: str) -> pd.DataFrame:
    """``encoder_smiles``, ``label`` and the ``block`` of the InChIKey, one row for each molecule that parses."""
    from chemsieve.data import chemistry

    frame = pd.read_csv(path)[[smiles, label]].set_axis(["smiles", "label"], axis=1).dropna()
    mols = [chemistry.parse(text) for text in frame["smiles"]]
    frame = frame[[mol is not None for mol in mols]]
    mols = [mol for mol in mols if mol is not None]
    frame = frame.assign(
        encoder_smiles=[chemistry.canonical_smiles(mol, stereo=False) for mol in mols],
        block=[chemistry.first_block(mol) for mol in mols],
    )
    return frame[frame["block"] != ""].drop_duplicates("block", ignore_index=True)


def real(arguments: argparse.Namespace) -> None:
    """Corrupt labels of a real pool and score them, once per seed."""
    import torch

    from chemsieve import registry
    from chemsieve.models import backbone, embeddings, tokenization
    from chemsieve.models.bundled import BUNDLED, local_folder
    from chemsieve.models.regressor import build
    from chemsieve.report.control import auroc
    from chemsieve.selection import Context

    folder = local_folder(BUNDLED)
    model, tokenizer = build(folder, "molformer", {}), backbone.load_tokenizer(folder)
    pad_id = tokenization.special_id(tokenizer, "pad")
    longest = model.encoder.config.max_position_embeddings

    def embedded(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
        ids = tokenization.encode(tokenizer, list(frame["encoder_smiles"]))
        fits = [len(row) <= longest for row in ids]
        read = [row for row, fit in zip(ids, fits, strict=True) if fit]
        return frame[fits].reset_index(drop=True), embeddings.pooled(model.encoder, read, pad_id, torch.device("cpu"))

    target, known = embedded(labelled(*arguments.target))
    pool = labelled(*arguments.pool)
    pool = pool[~pool["block"].isin(target["block"])]
    pool, candidates = embedded(pool.sample(min(arguments.rows, len(pool)), random_state=0))
    scores = registry.load("selection", "disagreement")
    rows = []
    for seed in arguments.seeds:
        draw = np.random.default_rng(seed)
        wrong = draw.permutation(len(pool))[: round(arguments.corrupted * len(pool))]
        labels = pool["label"].to_numpy(dtype=float).copy()
        labels[wrong] = labels[draw.permutation(wrong)]
        context = Context(training=target, embeddings=lambda: (known, candidates))
        found = scores.score(pool.assign(label=labels), context, seed)
        correct = np.ones(len(pool), dtype=bool)
        correct[wrong] = False
        moved = np.abs(labels - pool["label"].to_numpy())[wrong]
        row = {"seed": seed, "pool": len(pool), "target": len(target), "corrupted": len(wrong)}
        row["disagreement"] = auroc(found, correct)
        row["moved_more_than_1"] = int((moved > 1).sum())
        row["disagreement_of_those"] = auroc(
            np.concatenate([found[correct], found[wrong[moved > 1]]]),
            np.arange(correct.sum() + (moved > 1).sum()) < correct.sum(),
        )
        rows.append(row)
    show(rows)


def show(rows: list[dict]) -> None:
    """Markdown, then one line of JSON."""
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    print(json.dumps(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, nargs="?")
    parser.add_argument("--target", nargs=3, metavar=("FILE", "SMILES", "LABEL"))
    parser.add_argument("--pool", nargs=3, metavar=("FILE", "SMILES", "LABEL"))
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--corrupted", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    if given.study is not None:
        main(given.study)
    elif given.target and given.pool:
        real(given)
    else:
        parser.error("give a finished study, or --target and --pool")
