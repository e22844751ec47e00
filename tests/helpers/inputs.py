"""Files that a user may give: how they are read, what is written into them, what becomes of their rows."""

import csv
from pathlib import Path

import pandas as pd
from rdkit import Chem

from chemsieve.data.acceptance import Reader
from chemsieve.data.molecules import prepare
from chemsieve.models import tokenization

TABLE = {
    "smiles": "smiles",
    "label": "y",
    "fold": None,
    "delimiter": ",",
    "format": "auto",
    "encoding": "utf-8",
    "decimal": ".",
}
ALKANES = ["C" * n for n in range(1, 11)]
READER = Reader(tokenization.build(), 202)


class Trap:
    """Unpickling it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def sdf_of(*records):
    """An SD file of (SMILES, data items); a text in place of a SMILES with a blank is the record's own block."""
    text = ""
    for smiles, items in records:
        text += smiles if "\n" in smiles else Chem.MolToMolBlock(Chem.MolFromSmiles(smiles))
        text += "".join(f"> <{name}>\n{value}\n\n" for name, value in items.items()) + "$$$$\n"
    return text.encode()


def partition(target, pool, **keys):
    """Accepted and refused rows; each row of both files is in exactly one of the two."""
    molecules, rejected = prepare(target, pool, READER, False, **keys)
    ended = pd.concat([molecules[["source", "row"]], rejected[["source", "row"]]])
    given = [(source, row) for source, frame in (("target", target), ("pool", pool)) for row in frame["row"]]
    assert sorted(ended.itertuples(index=False, name=None)) == sorted(given)
    smiles = {"target": dict(zip(target["row"], target["smiles"], strict=True)),
              "pool": dict(zip(pool["row"], pool["smiles"], strict=True))}  # fmt: skip
    for table in (molecules, rejected):
        assert [smiles[s][r] for s, r in zip(table["source"], table["row"], strict=True)] == list(table["smiles"])
    return molecules, rejected


def nothing():
    return pd.DataFrame({name: [] for name in ("row", "smiles", "label_text", "given_fold", "problem")})


def write(path, rows, delimiter=","):
    """Write rows of cells as delimited text."""
    with open(path, "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, delimiter=delimiter).writerows(rows)
    return path


def read(path, delimiter=",", encoding="utf-8-sig"):
    with open(path, encoding=encoding, newline="") as handle:
        return list(csv.reader(handle, delimiter=delimiter))


# The audit's table of shifts, where none was looked for.
EMPTY_SHIFT = pd.DataFrame(
    {name: [] for name in ("what", "standardised_difference", "statistic", "p_value", "target", "pool")}
)
