"""The script for a GPU, at toy size on the processor: every part runs, and finds the processor equal to itself."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chemsieve.models import tokenization
from helpers.models import LABELS
from helpers.tiny import SMILES

ROOT = Path(__file__).resolve().parent.parent
PARTS = {
    *("machine", "predictions", "training_steps", "repeats_and_resumes", "influence", "training_speed"),
    *("gram_speed", "prediction_speed", "compiled_steps", "several_jobs", "pretrained", "lipophilicity"),
}


@pytest.mark.slow
def test_every_part_runs_at_toy_size(tmp_path):
    ids = tokenization.encode(tokenization.build(), SMILES)
    lengths = np.array([len(row) for row in ids] * 5)
    np.savez(tmp_path / "corpus.npz", tokens=np.concatenate([*ids] * 5).astype(np.int16), lengths=lengths)
    folds = np.repeat(["train", "validation", "test"], len(SMILES))
    given = {"smiles": np.array([*SMILES] * 3), "labels": np.tile(LABELS, 3), "folds": folds}
    np.savez(tmp_path / "lipophilicity.npz", **given)
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "run", str(tmp_path), str(tmp_path / "out")]
    command += ["--size", "toy", "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert {row["part"] for row in rows} == PARTS
    assert not [row for row in rows if "error" in row and isinstance(row["error"], str)], rows
    for row in rows:
        if row["part"] in ("predictions", "training_steps") and row.get("precision") != "bfloat16":
            assert row["largest_difference_sd"] == 0.0, row
        if row["part"] == "influence":
            assert set(row["relative_errors"].values()) == {0.0}
        assert row.get("equal_to_the_bit", True), row
    steps = {row["step"]: row for row in rows if row["part"] == "compiled_steps"}
    assert steps["plain"]["milliseconds"] > 0
    assert {name for name, row in steps.items() if "skipped" in row} == {"compile_with_cuda_graphs", "cuda_graphs"}
    assert {"milliseconds", "failed"} & set(steps["compile"])
    assert [row["jobs"] for row in rows if row["part"] == "several_jobs"] == [2]
    for name in ("encoder", "encoder_small"):
        assert (tmp_path / "out" / name / "model.safetensors").is_file()
