"""What a model folder knows of the molecules that it was trained on."""

import pyarrow as pa

from chemsieve.tables.declaration import MOLECULE, TEXT, Column, Table

TABLES = {
    "model_training": Table(
        "training molecule of a model folder",
        {
            "molecule_id": MOLECULE,
            "canonical_smiles": Column(TEXT, "RDKit canonical isomeric SMILES"),
            "identifier": Column(TEXT, "the molecule's name in its file; missing where it has none", nullable=True),
            "inchikey_block": Column(TEXT, "first block of the InChIKey; empty where InChI has none"),
            "fingerprint": Column(pa.binary(), "ECFP4, 2,048 bits packed into 256 bytes, the first bit the highest"),
        },
    ),
}
