"""A corpus and its pretraining, small enough for a test."""

import gzip

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import Descriptors

from chemsieve.models import tokenization
from chemsieve.models.encoders import molformer
from chemsieve.training import heads, pretraining
from chemsieve.training.batches import MaskingCollator
from chemsieve.training.loop import Conditions
from helpers.settings import PretrainingSettings
from helpers.tiny import SMILES, TINY

TOKENIZER = tokenization.build()
CPU = torch.device("cpu")
COLLATE = MaskingCollator.of(TOKENIZER, 0.15)


def written(tmp_path, lines, name="corpus.txt.gz"):
    path = tmp_path / name
    with (gzip.open if name.endswith("gz") else open)(path, "wt") as file:
        file.write("\n".join(lines) + "\n")
    return path


def corpora():
    """Molecules to pretrain on and molecules held out, with vectors of a teacher."""
    ids = tokenization.encode(TOKENIZER, SMILES)
    values = np.array([[Descriptors.TPSA(Chem.MolFromSmiles(s)), len(s)] for s in SMILES], dtype=np.float32)
    values[0, 0] = np.nan
    # Two numbers that follow from the molecule, one that never varies; three molecules unknown.
    vectors = np.stack([[s.count("c"), len(s), 7.0] for s in SMILES]).astype(np.float16)
    vectors[[1, 5, 20]] = np.nan
    rows = np.arange(len(SMILES))
    return (
        heads.Corpus(ids[:18], values[:18], {"teacher": vectors}, rows[:18]),
        heads.Corpus(ids[18:], values[18:], {"teacher": vectors}, rows[18:]),
    )


def trained(corpora, state, steps=12, stop=None, **settings):
    torch.manual_seed(3)
    model = molformer.initialise(
        {**TINY, "vocab_size": COLLATE.vocabulary, "pad_token_id": COLLATE.pad_id, "hidden_dropout_prob": 0.1}
    )
    chosen = PretrainingSettings(
        **{
            "steps": steps,
            "batch_size": 4,
            "learning_rate": 5e-3,
            "evaluate_every": 5,
            "save_every": 3,
            "weights": {"teacher": 2.0},
            "unmasked": 0.25,
        }
        | settings
    )
    arguments = (model, model.molformer, *corpora, COLLATE, chosen, Conditions(7, CPU), state)
    if stop is None:
        return model, pretraining.run(*arguments)[0]
    real, calls = pretraining.losses, iter(range(stop))

    def killed(*given):
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return real(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "losses", killed)
        with pytest.raises(KeyboardInterrupt):
            pretraining.run(*arguments)
    return None
