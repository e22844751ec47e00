"""Which steps a study goes on without, where they fail; and trying again those that it no longer goes on without.

No result follows from this, so that no step's code hash covers it: :mod:`chemsieve.runtime.job` loads it by name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chemsieve import registry
from chemsieve.runtime.failures import Failure, of
from chemsieve.study.effective import all_strategies, module_of

_LARGEST = 1_000_000  # bytes; a mark is a few hundred
_SUFFIXES = {".parquet", ".json", ".safetensors"}
# Options of Snakemake with which it runs nothing.
LOOKING = {
    *("-n", "--dry-run", "--dryrun", "--summary", "-S", "--detailed-summary", "-D", "--dag", "--rulegraph"),
    *("--filegraph", "--d3dag", "--report", "--archive", "--lint", "--list", "-l", "--list-target-rules", "--lt"),
    *("--list-changes", "--lc", "--list-input-changes", "--li", "--list-params-changes", "--lp", "--unlock"),
    *("--cleanup-metadata", "--cm", "--containerize", "--print-compilation", "--delete-all-output", "--touch", "-t"),
}
# Rules whose every job is optional. Others depend on the configuration: see `optional`.
ALWAYS = {
    *("baseline", "descriptors", "finetune_on_selection", "retrain", "validate_influence", "audit_shift"),
    *("influence_on_test", "influence_on_test_table", "comparisons_table"),
}
CONTROLS = ("none", "all")  # strategies that the report cannot do without


def optional(config: dict[str, Any], rule: str, wildcards: Mapping[str, str]) -> bool:
    """Whether a study goes on where a step fails: its report can be written, and each selection made, without it."""
    if config["on_failure"] == "stop":
        return False
    if rule in ALWAYS:
        return True
    if rule == "selection":
        return _module(config, wildcards["strategy"]) not in CONTROLS
    if rule in ("influence", "aggregate_influence", "gram"):
        return not _needed(config, rule, wildcards)
    return False


def _needed(config: dict[str, Any], rule: str, wildcards: Mapping[str, str]) -> bool:
    """Whether the scores that the influence strategies use come from such a step."""
    chosen = config["selection"]
    if wildcards["origin"] != chosen["origin"]:
        return False
    if not any(
        "influence" in registry.load("selection", _module(config, name)).NEEDS for name in all_strategies(config)
    ):
        return False
    if rule == "gram":
        return getattr(registry.load("influence", chosen["estimator"]), "KERNEL", False)
    return wildcards["estimator"] == chosen["estimator"]


def _module(config: dict[str, Any], strategy: str) -> str:
    return module_of(config["selection"]["strategies"][strategy], strategy, "strategy")


def forget(results: str | Path, config: dict[str, Any], arguments: Sequence[str]) -> list[Failure]:
    """Remove the marks of steps that the study no longer goes on without, so that they run again.

    Args:
        results: the study's folder of results.
        arguments: of Snakemake's command line; where they only ask what would be done, or what was, nothing is removed.

    Returns:
        The failures that are tried again, or would be.
    """
    runs = LOOKING.isdisjoint(argument.split("=")[0] for argument in arguments)
    found: dict[str, Failure] = {}
    for path in sorted(Path(results).rglob("*")):
        if path.suffix not in _SUFFIXES or not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        failure = of(path)
        if failure is None or optional(config, failure.rule, failure.wildcards):
            continue
        found[failure.step] = failure
        if runs:
            path.unlink()
    if found and runs:
        # Snakemake makes no file again that only stands between others, unless what is made of it is lacking too.
        (Path(results) / "tables" / "failures.parquet").unlink(missing_ok=True)
    return list(found.values())
