"""Predict the molecules of a file with a model folder, without the workflow.

python -m chemsieve.predict MODEL_FOLDER INPUT OUTPUT --smiles COLUMN
"""

import argparse
import logging
import sys
import time

from chemsieve.data.reading import FORMATS, check_encoding, check_molecules
from chemsieve.errors import ChemsieveError
from chemsieve.runtime.processes import name_user


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status."""
    parser = argparse.ArgumentParser(prog="chemsieve-predict", description="Predict the molecules of a file.")
    parser.add_argument("model", help="a model folder")
    parser.add_argument("input", help="delimited text with a header, .smi, .sdf or Parquet, gzipped or not")
    parser.add_argument("output", help="delimited text: the same with predictions; gzipped where the name ends in .gz")
    parser.add_argument("--smiles", default="smiles", help="column of the SMILES; its number in a .smi without header")
    parser.add_argument("--format", choices=("auto", *FORMATS), default="auto")
    parser.add_argument("--encoding", default="utf-8", help="of the text (default: utf-8)")
    parser.add_argument("--delimiter", default=",", help="one character, or tab (default: a comma)")
    parser.add_argument("--decimal", choices=(".", ","), default=".", help="mark of the decimals (default: a point)")
    parser.add_argument("--chunk", type=int, default=4096, help="rows in memory at a time (default: 4096)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's own choice)")
    given = parser.parse_args(arguments)
    delimiter = {"tab": "\t", "\\t": "\t"}.get(given.delimiter, given.delimiter)
    if len(delimiter) != 1:
        parser.error("--delimiter: give one character, or tab")
    if given.chunk < 1 or (given.threads is not None and given.threads < 1):
        parser.error("--chunk and --threads: give 1 or more")
    name_user()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        run(given, delimiter)
    except ChemsieveError as error:
        print(f"chemsieve-predict: {error}", file=sys.stderr)
        return 1
    return 0


def run(given: argparse.Namespace, delimiter: str) -> None:
    """Do what the command line says, after a look at the header: importing torch takes seconds."""
    layout = {"smiles": given.smiles, "delimiter": delimiter, "format": given.format, "encoding": given.encoding}
    check_encoding("predict", given.encoding)
    check_molecules(given.input, "predict", layout)
    from chemsieve.deployment.folder import load, uses_torch
    from chemsieve.deployment.stream import predict_file

    if uses_torch(given.model):
        import torch

        from chemsieve.runtime.devices import choose_device

        if given.threads:
            torch.set_num_threads(given.threads)
        predictor = load(given.model, choose_device(given.device))
    else:
        predictor = load(given.model)
    began = time.perf_counter()
    reading = given.smiles, delimiter, given.chunk, given.format, given.encoding
    counts = predict_file(predictor, given.input, given.output, *reading, given.decimal)
    log_counts(counts, time.perf_counter() - began)


def log_counts(counts: dict[str, int], seconds: float) -> None:
    """Say how many rows have a prediction, and why others have none."""
    total = sum(counts.values())
    without = "".join(f", {count:,} {reason}" for reason, count in sorted(counts.items()) if reason)
    message = "%d rows: %d predicted%s; %.0f rows per second"
    logging.getLogger("chemsieve").info(message, total, counts.get("", 0), without, total / max(seconds, 1e-9))


if __name__ == "__main__":
    sys.exit(main())
