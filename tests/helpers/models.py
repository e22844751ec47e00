"""Tiny models: options of each method, and a model folder made from a run of its own."""

import math

import numpy as np
import pandas as pd
import torch

from chemsieve import registry
from chemsieve.baselines import svr
from chemsieve.data.acceptance import Reader
from chemsieve.data.descriptors import descriptors
from chemsieve.data.molecules import prepare
from chemsieve.data.morgan import morgan
from chemsieve.deployment.export import DescribedRun, TrainedRun, export
from chemsieve.models import backbone, regressor
from chemsieve.models.frozen import of_folder
from chemsieve.models.prediction import predict_smiles
from chemsieve.study.runs import Identity, predictions_table
from chemsieve.training.loop import Conditions
from chemsieve.training.regression import Labelled, fine_tune
from helpers.settings import Settings
from helpers.tiny import SMILES

LORA_ROLES = ["query", "value", "attention_output", "intermediate", "output"]
METHODS = {
    "full": {},
    "bitfit": {},
    "lora": {"rank": 2, "alpha": 4, "targets": LORA_ROLES},
    "ia3": {"targets": ["key", "value", "intermediate", "output"], "feedforward": ["output"]},
    "ia3_pooled": {},
}
ROBERTA = {
    "model_type": "roberta",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "type_vocab_size": 1,
}
CPU = torch.device("cpu")
LABELS = np.random.default_rng(0).normal(3.0, 2.0, size=len(SMILES))
HEAD = {"descriptors": True, "morgan": 8, "hidden": 6, "dropout": 0.1}
DROPOUT = {"hidden": 0.1, "embedding": 0.1, "head": 0.2}


# Twenty training, two validation and two test molecules; the pool's first molecule was trained on too.
FOLDS = {"train": range(20), "validation": range(20, 22), "test": range(22, 24)}


def molecules(encoder):
    """The table ``molecules`` of a study of ``SMILES`` with a pool of one."""
    tokenizer = backbone.load_tokenizer(encoder)

    def frame(smiles):
        rows = {"row": range(len(smiles)), "smiles": smiles, "label_text": "", "given_fold": None}
        return pd.DataFrame(rows).assign(label_text=[str(LABELS[i]) for i in range(len(smiles))])

    return prepare(frame(SMILES), frame(["CCSCC"]), Reader(tokenizer, 50), False)[0]


def trained(encoder, family, method, table, head=None, **settings):
    """A regressor fine-tuned by a method at a rate that moves every trained parameter."""
    torch.manual_seed(1)
    model = regressor.build(encoder, family, DROPOUT, head=head)
    registry.load("methods", method).apply(model, **METHODS[method])
    data = table.iloc[[*FOLDS["train"], len(SMILES)]]
    held = table.iloc[list(FOLDS["validation"])]
    rate = 0.05 if method == "ia3" else 0.01  # its scaling vectors start at one and need more to tell
    settings = Settings(epochs=2, batch_size=3, learning_rate=rate, **settings)
    tokenizer, conditions = backbone.load_tokenizer(encoder), Conditions(0, CPU)
    fine_tune(model, tokenizer, Labelled.of(data), Labelled.of(held), settings, conditions)
    return model


DATA = {"target": {"file": "target.csv", "sha256": "0" * 64}}


def exported(target, encoder, *choices, **wanted):
    """A model folder made from a fresh run; what the run predicted for validation and test molecules."""
    run, spec = language_run(encoder, *choices, **wanted)
    export(target, run, molecules(encoder), spec, DATA, CPU)
    return run.predictions


def language_run(
    encoder, family="molformer", method="full", writings=1, draws=1, unknown="refuse", head=None, **wanted
):
    """A fresh run of a language model, and the settings by which it is exported."""
    table = molecules(encoder)
    model = trained(encoder, family, method, table, head, writings=writings, draws=draws)
    held = [table.iloc[list(FOLDS[fold])] for fold in ("validation", "test")]
    tokenizer = backbone.load_tokenizer(encoder)
    values = tuple(predict_smiles(model, tokenizer, list(f["encoder_smiles"]), writings, draws, CPU) for f in held)
    identity = Identity("random", 0, 0, "adapted", method, "random")
    errors = {"rmse": 1.0, "mae": 0.5, "r2": math.nan, "spearman": 0.25}
    chosen = {"run_id": identity.run_id, "n_selected": 1, "test": {**errors, "rmse": 1.25}} | errors
    spec = {
        "study": "own",
        "target": {"label": "exp", "name": "lipophilicity", "unit": "log units"},
        "family": family,
        "method": method,
        "options": METHODS[method],
        "dropout": DROPOUT,
        "head": head,
        "averaged": {"writings": writings, "draws": draws},
        "max_tokens": 50,
        "stereo": False,
        "unknown_tokens": unknown,
        "predict": {"model": "best", "coverage": 0.5, "uncertainty": "auto", "passes": 4, "seed": 0} | wanted,
    }
    training = list(table["molecule_id"].iloc[[*FOLDS["train"], len(SMILES)]])
    known = predictions_table(identity, *held, values).assign(label=LABELS[20:24])
    return TrainedRun(chosen, model, encoder, training, known), spec


def described_run(encoder, kinds=("descriptors",)):
    """A run of a support vector machine on some kinds of features, on the same molecules."""
    table = molecules(encoder)
    of = {
        "descriptors": descriptors,
        "morgan": morgan,
        "embeddings": lambda smiles: of_folder(encoder, "molformer", CPU).features(smiles),
    }
    made = {kind: of[kind](list(table["encoder_smiles"])) for kind in kinds}
    features, columns = np.hstack(list(made.values())).astype(float), {k: part.shape[1] for k, part in made.items()}
    parts = {fold: list(rows) for fold, rows in FOLDS.items()}
    data = [part for fold in ("train", "validation") for part in (features[parts[fold]], LABELS[parts[fold]])]
    fitted = svr.fit(*data, 0, list(columns.values()), C=5, epsilon=0.1, gamma=0.01)
    identity = Identity("random", 0, 1, "descriptors", "svr", "none")
    held = [table.iloc[parts[fold]] for fold in ("validation", "test")]
    values = tuple(fitted.predict(features[parts[fold]]) for fold in ("validation", "test"))
    known = predictions_table(identity, *held, values).assign(label=LABELS[20:24])
    errors = {"rmse": 1.5, "mae": 0.5, "r2": math.nan, "spearman": 0.25}
    chosen = {"run_id": identity.run_id, "n_selected": 0, "test": {**errors, "rmse": 1.75}, "surpassed": None} | errors
    training = list(table["molecule_id"].iloc[parts["train"]])
    return DescribedRun(chosen, "svr", fitted, columns, encoder, training, known)
