"""Write envs/chemsieve.yaml, the conda environment with exactly the pins of requirements.lock (make lock)."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
HEAD = """\
# Written by `make lock` from requirements.lock; a test holds them together. For users of snakemake --sdm conda.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def environment(lock: str) -> str:
    """The conda environment for the text of a lock file."""
    pins = [line.split("#")[0].strip() for line in lock.splitlines()]
    return HEAD + "".join(f"      - {pin}\n" for pin in pins if pin)


if __name__ == "__main__":
    text = environment((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    (ROOT / "envs" / "chemsieve.yaml").write_text(text, encoding="utf-8")
