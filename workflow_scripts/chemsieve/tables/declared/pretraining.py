"""A corpus and the curve of an encoder that is pretrained on it."""

import pyarrow as pa

from chemsieve.tables.declaration import FLAG, INTEGER, REAL, TEXT, Column, Table

TABLES = {
    "corpus": Table(
        "molecule of a corpus",
        {
            "smiles": Column(TEXT, "canonical SMILES without stereo and isotopes"),
            "tokens": Column(pa.list_(pa.int32()), "token ids, special tokens included"),
            "held_out": Column(FLAG, "whether pretraining leaves it out, to be measured on it"),
            "properties": Column(pa.list_(pa.float32()), "computed properties; NaN where RDKit gives none"),
            "unknown_tokens": Column(
                INTEGER, "parts of the SMILES that the vocabulary lacks or the tokenizer passes over", "parts"
            ),
        },
    ),
    "corpus_refused": Table(
        "refused line of a corpus",
        {
            "line": Column(INTEGER, "1-based line of the file"),
            "smiles": Column(TEXT, "as given"),
            "reason": Column(TEXT, "unparsable, dummy_atom, too_long, unknown_token, repeat"),
            "detail": Column(TEXT, "what exactly was found"),
        },
    ),
    "pretraining_curve": Table(
        "evaluation during pretraining",
        {
            "step": Column(INTEGER, "optimiser steps done"),
            "train_loss": Column(REAL, "masked-token cross-entropy since the row before", "nats", nullable=True),
            "learning_rate": Column(REAL, "learning rate of the next step"),
            "validation_loss": Column(REAL, "masked-token cross-entropy on held-out molecules", "nats"),
            "masked_accuracy": Column(REAL, "share of held-out masked tokens guessed right"),
            "properties_r2": Column(REAL, "R2 of the computed properties, held out", nullable=True),
            "targets_r2": Column(REAL, "R2 of the given vectors, mean over their tables, held out", nullable=True),
        },
    ),
}
