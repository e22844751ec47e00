"""What made the page: program, data, encoder, budgets, machine, and the command that makes it again."""

import hashlib
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chemsieve import __version__
from chemsieve.report.blocks import Block, Code, Section, table
from chemsieve.report.study import DESCRIPTORS, Study
from chemsieve.report.words import count, listing, number

_SHOWN = 12  # digits of a commit
_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Made:
    """What is known of the files that the page was made from.

    Attributes:
        date: day on which the errors were computed, as written in ISO 8601.
        commit: of the checkout, with ``-dirty`` where it was changed; empty where it is none.
        hashes: SHA-256 of the configuration and of the tables that say what was learned from and what came out.
    """

    date: str = ""
    commit: str = ""
    hashes: dict[str, str] = field(default_factory=dict)


def of_files(tables: Path, config: Path) -> Made:
    """What is known of a study's files.

    Args:
        tables: folder with the Parquet tables.
        config: the effective configuration.
    """
    metrics = tables / "metrics.parquet"
    date = datetime.fromtimestamp(metrics.stat().st_mtime, UTC).date().isoformat() if metrics.exists() else ""
    files = [config, *(tables / f"{name}.parquet" for name in ("molecules", "splits", "metrics"))]
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.exists()}
    return Made(date, _commit(), hashes)


def _commit() -> str:
    """The commit of the checkout that the package lies in; empty where there is no Git or no checkout."""
    call = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", f"--abbrev={_SHOWN}", "--exclude=*"]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def brief(study: Study, made: Made) -> str:
    """The same for the first screen, in a line."""
    commit = f" ({made.commit})" if made.commit else ""
    parts = [f"chemsieve {__version__}{commit}", made.date]
    if _encoder(study.config):
        parts.append(f"encoder {_encoder(study.config)}")
    if runs := study.metrics["run_id"].nunique():
        minutes = float(study.metrics.drop_duplicates("run_id")["train_seconds"].sum()) / 60
        parts.append(f"{count(runs, 'training')} in {number(minutes, 2)} min of computing")
    return " · ".join(part for part in parts if part)


def section(study: Study, made: Made) -> Section:
    """All of it, in a table."""
    machines = study.language_models.drop_duplicates(["device", "precision", "instruction_set"])
    budgets = {
        name: entry["budget"]
        for name, entry in ((study.config.get("selection") or {}).get("strategies") or {}).items()
        if name in set(study.selections["strategy"]) and isinstance(entry, dict) and entry.get("budget")
    }
    rows = [
        ("program", f"chemsieve {__version__}"),
        ("commit", made.commit),
        ("date of the errors", made.date),
        ("encoder", _encoder(study.config)),
        ("budgets", listing(f"{name}: {_said(budget)}" for name, budget in budgets.items())),
        ("splits", _splits(study)),
        (
            "machine",
            listing(
                f"{row.device}, {row.precision}, {row.instruction_set}, {count(int(row.threads or 1), 'thread')}"
                if row.threads == row.threads
                else f"{row.device}, {row.precision}, {row.instruction_set}"
                for row in machines.itertuples(index=False)
            ),
        ),
        *((f"SHA-256 of {name}", digest) for name, digest in made.hashes.items()),
    ]
    blocks: list[Block] = [
        table("What made this page", ["what", "value"], [(name, value) for name, value in rows if value]),
        Code(
            "The configuration with every key stands beside this page. To run the study again from it:",
            f"snakemake --cores 2 all --configfile results/{study.name}/config.yaml",
        ),
    ]
    return Section("provenance", "How this was made", blocks)


def _encoder(config: dict[str, Any]) -> str:
    encoder = config.get("encoder") or {}
    if encoder.get("path"):
        return "bundled with the project" if encoder["path"] == "bundled" else str(encoder["path"])
    if encoder.get("repository"):
        return f"{encoder['repository']} at {str(encoder.get('revision'))[:_SHOWN]}"
    return "with random weights" if encoder else ""


def _splits(study: Study) -> str:
    named = study.metrics[study.metrics["origin"] != DESCRIPTORS].groupby("splitter")
    return listing(
        f"{splitter}, {count(rows['split_seed'].nunique(), 'split seed')} and "
        f"{count(rows['seed'].nunique(), 'training seed')}"
        for splitter, rows in named
    )


def _said(budget: dict[str, Any]) -> str:
    return ", ".join(f"{number(value)}" if key == "count" else f"{key} {value}" for key, value in budget.items())
