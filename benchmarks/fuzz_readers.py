"""Fuzz the readers of the user's files: valid files of every format, broken at random, read to the end.

    python benchmarks/fuzz_readers.py --seconds 300 --seed 0

A file may be refused with one sentence, or be read; anything else is a finding: another exception, a sentence of
several lines, rows that end in neither table or in both, a crash of the process, more than ten seconds for one file.
The same file is then written with a predictor's columns, as `predict` does it: every line must have as many fields as
the header, and a file that the study reads must give the same SMILES there.
Each batch runs in a process of its own, so that a crash is found too; a finding's seed makes its file again.
"""

import argparse
import csv
import gzip
import io
import random
import signal
import subprocess
import sys
import tempfile
import time
import typing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "workflow_scripts"))

SMILES = [
    *("CCO", "c1ccccc1", "CC(=O)O", "C[C@H](N)C(=O)O", "[Na+].[Cl-]", "CCN(CC)CC", "*CC", "C1CC1", "O=C=O", "N#N"),
    *("C/C=C/C", "c1ccc2ccccc2c1", "FC(F)(F)Br", "[13CH4]", "CS(C)(=O)=O", "OCC(O)CO"),
]
LABELS = ["1", "-0.5", "2.25e1", "", "nan", "inf", "1,5", "high", " 3 ", "1_0", "0x1"]
ODD = [
    b"",
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\xef\xbb\xbf",
    b'"',
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b",",
    b"\t",
    b"$$$$\n",
    b"M  END\n",
]
ODD += [
    b"> <label>\n",
    b"PAR1",
    b"\x1f\x8b",
    b"[",
    b"]",
    b"(" * 300,
    b"C" * 7000,
    b"\xe2\x80\xa8",
    b"%99",
    b"|",
    b"V3000",
]
BATCH = 200


def valid(kind: str, draw: random.Random) -> bytes:
    """A file of one format with a few rows."""
    rows = [
        (draw.choice(SMILES), draw.choice(LABELS), draw.choice(["train", "test", ""]))
        for _ in range(draw.randint(1, 12))
    ]
    if kind == "csv":
        lines = ["smiles,label,fold", *(f'{s},"{label}",{fold}' for s, label, fold in rows)]
        return "\n".join(lines).encode(draw.choice(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    if kind == "smi":
        return "\n".join(
            ["smiles label fold", *(f"{s} {label or 0} {fold or 'x'}" for s, label, fold in rows)]
        ).encode()
    if kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        smiles, labels, folds = (list(column) for column in zip(*rows, strict=True))
        numbers = pa.array([draw.random() for _ in rows], draw.choice([pa.float64(), pa.float32()]))
        table = pa.table({"smiles": smiles, "label": draw.choice([labels, numbers]), "fold": folds})
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression=draw.choice(["none", "zstd", "snappy"]))
        return buffer.getvalue()
    from rdkit import Chem

    records = []
    for smiles, label, fold in rows:
        block = Chem.MolToMolBlock(Chem.MolFromSmiles(smiles), forceV3000=draw.random() < 0.3)
        records.append(f"{block}> <label>\n{label}\n\n> <fold>\n{fold}\n\n$$$$\n")
    return "".join(records).encode()


def broken(content: bytes, draw: random.Random) -> bytes:
    """The content with a few random changes: bytes, cuts, repeats, odd pieces; sometimes gzipped, and cut again."""
    data = bytearray(content)
    for _ in range(draw.choice([0, 1, 1, 2, 4, 16])):
        place = draw.randrange(len(data) + 1)
        match draw.randrange(6):
            case 0 if place < len(data):
                data[place] = draw.randrange(256)
            case 1:
                del data[place : place + draw.choice([1, 2, 10, 1000])]
            case 2:
                data[place:place] = draw.choice(ODD)
            case 3:
                start = draw.randrange(len(data) + 1)
                data[place:place] = data[start : start + draw.randint(1, 200)]
            case 4:
                del data[place:]
            case _ if place < len(data):
                data[place] ^= 1 << draw.randrange(8)
    if draw.random() < 0.15:
        packed = bytearray(gzip.compress(bytes(data), mtime=0))
        if draw.random() < 0.5:
            packed[draw.randrange(2, len(packed))] ^= 1 << draw.randrange(8)
        return bytes(packed[: draw.choice([len(packed), draw.randrange(2, len(packed))])])
    return bytes(data)


def examine(seed: int, folder: Path) -> str | None:
    """Make the file of a seed and read it; what is wrong with how that ended, or None."""
    from chemsieve.data import acceptance, molecules, reading
    from chemsieve.errors import ChemsieveError
    from chemsieve.models import tokenization

    draw = random.Random(seed)
    kind = draw.choice(["csv", "smi", "sdf", "parquet"])
    path = folder / f"fuzzed.{kind}"
    path.write_bytes(broken(valid(kind, draw), draw))
    table = {"smiles": "smiles", "label": "label", "fold": draw.choice([None, "fold"])}
    table |= {"format": draw.choice(["auto", "auto", "auto", "csv", "smi", "sdf", "parquet"])}
    table |= {"encoding": draw.choice(["utf-8", "utf-8", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-7", "ascii"])}
    table |= {"delimiter": draw.choice([",", ",", ";", "\t"]), "decimal": draw.choice([".", ","])}
    began = time.monotonic()
    frame = None
    try:
        for read in (reading.check_table, reading.read_table):
            try:
                frame = read(path, "pool", table)
            except ChemsieveError as error:
                if wrong := no_sentence(error):
                    return wrong
                continue
        streamed = written(path, table, folder)
        if isinstance(streamed, str):
            return streamed
        if frame is None:
            return None
        if streamed is None and reading.format_of(path, table["format"]) == "parquet":
            return None  # the study does not look at a broken column that it does not need
        if streamed is None:
            return "read by the study, refused by predict"
        if streamed != [
            "" if problem else text for text, problem in zip(frame["smiles"], frame["problem"], strict=True)
        ]:
            return f"SMILES {streamed} of predict, {list(frame['smiles'])} of the study"
        reader = acceptance.Reader(tokenization.build(), 202)
        kept, refused = molecules.examine(frame, molecules.Intake("pool", reader, stereo=False))
        ended = sorted(record["row"] for record in kept + refused)
        if ended != list(range(len(frame))):
            return f"rows {ended} of {len(frame)}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    took = time.monotonic() - began
    return f"took {took:.1f} s" if took > 10 else None


def no_sentence(error: Exception) -> str | None:
    """What is wrong with how a file was refused, or None."""
    text = str(error)
    return f"not one sentence: {text}" if "\n" in text or len(text) > 3000 else None


class Predictor:
    """What writing predictions needs of one."""

    columns: typing.ClassVar = ["prediction", "reason"]

    def __init__(self):
        self.asked: list[str] = []

    def predict(self, smiles: list[str]) -> dict[str, list]:
        self.asked += smiles
        return {"prediction": [0.5] * len(smiles), "reason": [""] * len(smiles)}


def written(path: Path, table: dict, folder: Path) -> list[str] | str | None:
    """The SMILES that predict finds in a file; None where it refuses the file, a sentence where the output is wrong."""
    from chemsieve.deployment.stream import predict_file
    from chemsieve.errors import ChemsieveError

    predictor, output = Predictor(), folder / "predictions.csv"
    output.unlink(missing_ok=True)
    layout = {"delimiter": table["delimiter"], "file_format": table["format"], "encoding": table["encoding"]}
    try:
        counts = predict_file(predictor, path, output, table["smiles"], chunk=3, **layout)
    except ChemsieveError as error:
        return no_sentence(error) or (f"{output} is left of a refused file" if output.exists() else None)
    with output.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle, delimiter=table["delimiter"]))
    if {len(row) for row in rows} != {len(rows[0])} or len(rows) - 1 != sum(counts.values()):
        return f"lines of {[len(row) for row in rows]} fields for {sum(counts.values())} rows"
    return predictor.asked


def batch(first: int) -> None:
    """Examine ``BATCH`` seeds; print each before it is tried, so that a crash names its own."""
    import chemsieve.deployment.stream  # noqa: F401  (what it imports takes seconds, which are no file's)

    csv.field_size_limit(100_000_000)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + BATCH):
            print("trying", seed, flush=True)
            if finding := examine(seed, Path(folder)):
                print("finding", seed, finding.replace("\n", " | ")[:300], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="the first file's; with --batch, that batch alone")
    parser.add_argument("--batch", action="store_true")
    given = parser.parse_args()
    if given.batch:
        batch(given.seed)
        return
    began, files, findings, seed = time.monotonic(), 0, 0, given.seed
    while time.monotonic() - began < given.seconds:
        command = [sys.executable, __file__, "--batch", "--seed", str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        tried = [line for line in lines if line.startswith("trying")]
        found = [line for line in lines if line.startswith("finding")]
        if done.returncode:
            why = signal.Signals(-done.returncode).name if done.returncode < 0 else done.stderr.strip()[-300:]
            found.append(f"finding {tried[-1].split()[1] if tried else seed} ended by {why}")
        print("\n".join(found), end="\n" if found else "", flush=True)
        files, findings, seed = files + len(tried), findings + len(found), seed + BATCH
    print(f"{files} files in {time.monotonic() - began:.0f} s, {findings} findings")
    sys.exit(findings > 0)


if __name__ == "__main__":
    main()
