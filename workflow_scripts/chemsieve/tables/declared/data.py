"""Molecules as accepted and refused, their folds, and the files of molecules that pass between steps."""

import pyarrow as pa

from chemsieve.tables.declaration import (
    INTEGER,
    LABEL_UNIT,
    MAPPED,
    MOLECULE,
    REAL,
    SPLIT,
    TEXT,
    UNREAD,
    Column,
    Table,
    always,
)

TABLES = {
    "molecules": Table(
        "accepted molecule",
        {
            "molecule_id": MOLECULE,
            "source": Column(TEXT, "target or pool"),
            "row": Column(INTEGER, "0-based row in its file"),
            "smiles": Column(TEXT, "SMILES as given"),
            "canonical_smiles": Column(TEXT, "RDKit canonical isomeric SMILES"),
            "encoder_smiles": Column(TEXT, "SMILES as the encoder reads it (stereochemistry by configuration)"),
            "inchikey": Column(TEXT, "standard InChIKey; empty where InChI has none"),
            "scaffold": Column(TEXT, "Bemis-Murcko scaffold without chirality; empty for acyclic molecules"),
            "label": Column(
                REAL,
                "label as given, or as the configuration transforms and merges it; missing where the pool's labels are "
                "not used",
                LABEL_UNIT,
                nullable=True,
            ),
            "tokens": Column(INTEGER, "encoder tokens, special tokens included", "tokens"),
            "unknown_tokens": Column(
                INTEGER,
                "parts of the encoder SMILES that the encoder does not know or its tokenizer passes over",
                "parts",
            ),
            "unread": UNREAD,
            "mapped": MAPPED,
            "parent": Column(
                TEXT,
                "first block of the InChIKey of the parent (salts stripped, neutralised); empty where InChI has none",
            ),
            "relation": Column(TEXT, "= for a measured label; < or > where the value lies below or above it"),
            "repeats": Column(INTEGER, "rows of the molecule in its file whose labels count, this one among them"),
            "spread": Column(
                REAL, "largest of their labels less the smallest; missing as the label is", LABEL_UNIT, nullable=True
            ),
            "repeats_sd": Column(
                REAL, "their standard deviation; missing where there is one row", LABEL_UNIT, nullable=True
            ),
            "label_rows": Column(pa.list_(INTEGER), "rows of its file whose labels the label is made of"),
            "identifier": Column(TEXT, "the molecule's name in its file; missing where it has none", nullable=True),
        },
        made=always,
    ),
    "rejected": Table(
        "refused row of a file, with the reason",
        {
            "source": Column(TEXT, "target or pool"),
            "row": Column(INTEGER, "0-based row in its file"),
            "smiles": Column(TEXT, "SMILES as given"),
            "reason": Column(
                TEXT,
                "where, unparsable, dummy_atom, no_label, censored, unit, not_positive, no_carbon, metal, mixture, "
                "sentinel, too_long, unknown_token, contradiction, repeat, in_target",
            ),
            "detail": Column(TEXT, "what exactly was found"),
            "unread": UNREAD,
            "mapped": MAPPED,
            "identifier": Column(TEXT, "the row's name in its file; missing where it has none", nullable=True),
        },
        made=always,
    ),
    "splits": Table(
        "molecule and split",
        {
            "molecule_id": MOLECULE,
            **SPLIT,
            "fold": Column(TEXT, "train, validation or test"),
        },
        made=always,
        collected=lambda plan: plan.of_splits(f"{plan.split}/split.parquet"),
    ),
    "pool_control": Table(
        "molecule of the embedded pool: the truth about its label; nothing that trains or selects may read it",
        {
            "molecule_id": MOLECULE,
            "group": Column(TEXT, "like_target, other_chemistry or corrupted_label"),
            "true_label": Column(REAL, "label before noise and corruption", LABEL_UNIT),
        },
        made=lambda plan: plan.control,
        optional=True,
    ),
    "labelled": Table(
        "training, validation or pool molecule, as training reads it",
        {
            "molecule_id": MOLECULE,
            "encoder_smiles": Column(TEXT, "SMILES as the encoder reads it"),
            "label": Column(REAL, "label", LABEL_UNIT),
        },
    ),
    "limited": Table(
        "training molecule whose label is a limit (target.censored: censored), as fine-tuning reads it",
        {
            "molecule_id": MOLECULE,
            "encoder_smiles": Column(TEXT, "SMILES as the encoder reads it"),
            "label": Column(REAL, "the limit", LABEL_UNIT),
            "relation": Column(TEXT, "< or >: where the value lies"),
        },
    ),
    "limits_of_test": Table(
        "test molecule, with its label (target.censored: censored)",
        {
            "molecule_id": MOLECULE,
            "label": Column(REAL, "label, or limit", LABEL_UNIT),
            "relation": Column(TEXT, "= for a measured label; < or > where the value lies below or above it"),
        },
    ),
    "unlabelled": Table(
        "test molecule: they travel without their labels, which the step metrics_table joins",
        {
            "molecule_id": MOLECULE,
            "encoder_smiles": Column(TEXT, "SMILES as the encoder reads it"),
        },
    ),
    "labels": Table(
        "test molecule, with its label",
        {
            "molecule_id": MOLECULE,
            "label": Column(REAL, "label", LABEL_UNIT),
        },
    ),
    "descriptors": Table(
        "molecule of the target, or of the pool",
        {
            "molecule_id": MOLECULE,
            "values": Column(pa.list_(REAL), "RDKit descriptors in the order of RDKit's own list"),
        },
    ),
    "features": Table(
        "molecule of the target, or of the pool: other features than RDKit descriptors",
        {
            "molecule_id": MOLECULE,
            "values": Column(
                pa.list_(pa.float32()),
                "log(1 + count) of each Morgan substructure, or the encoder's output averaged over tokens",
            ),
        },
    ),
}
