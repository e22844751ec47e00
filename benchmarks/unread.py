"""How many molecules of a file have parts that an encoder does not know or its tokenizer passes over, and which.

    python benchmarks/unread.py lipophilicity.csv --smiles smiles
    python benchmarks/unread.py lipophilicity.csv --smiles smiles --tokenizer tokenizer.json

Without a tokenizer.json it is the project's own, which the encoder that comes with the project has. The molecules are
read as an encoder without stereochemistry reads them.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

from chemsieve.data import chemistry
from chemsieve.data.acceptance import FLAG, Reader, structure
from chemsieve.data.reading import stream
from chemsieve.errors import ChemsieveError
from chemsieve.models import tokenization


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="delimited text, .smi, .sdf or Parquet")
    parser.add_argument("--smiles", default="smiles", help="column of the SMILES")
    parser.add_argument("--tokenizer", help="a tokenizer.json")
    given = parser.parse_args()
    try:
        reader = Reader(tokenization.load_or_build(given.tokenizer), 10**9, FLAG)
        found = [structure(row.smiles) for row in stream(given.file, "input", given.smiles)[1]]
    except ChemsieveError as error:
        sys.exit(str(error))
    molecules = [one.molecule for one in found if one.molecule is not None]
    readings = reader.read([chemistry.canonical_smiles(molecule, stereo=False) for molecule in molecules])
    parts = Counter(piece for reading in readings for piece in set(reading.unread.pieces))
    unread = sum(bool(reading.unread.pieces) for reading in readings)
    said = ", ".join(f"{piece} in {count}" for piece, count in parts.most_common(10)) or "none"
    mapped = sum(one.mapped for one in found)
    print(
        f"{unread} of {len(molecules)} molecules ({len(found)} rows, {mapped} with atom maps) have such parts: {said}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
