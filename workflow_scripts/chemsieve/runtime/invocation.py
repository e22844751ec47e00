"""How Snakemake was called: options that it would lose without a word."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from chemsieve.errors import ChemsieveError

# Snakemake's options that take several values, by each of their names. Given again, the last replaces those before.
_NAMES = [
    ("--cache",),
    ("--cleanup-metadata", "--cm"),
    ("--config", "-C"),
    ("--configfile", "--configfiles"),
    ("--default-resources", "--default-res"),
    ("--forcerun", "-R"),
    ("--group-components",),
    ("--groups",),
    ("--omit-from", "-O"),
    ("--prioritize", "-P"),
    ("--rerun-triggers",),
    ("--resources", "--res"),
    ("--set-resource-scopes",),
    ("--set-resources",),
    ("--set-scatter",),
    ("--set-threads",),
    ("--software-deployment-method", "--deployment-method", "--deployment", "--sdm"),
    ("--until", "-U"),
]
SEVERAL = {name: names[0] for names in _NAMES for name in names}


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse an option of several values that is given twice, of which Snakemake would take the last alone.

    Args:
        arguments: the program's name and its arguments, as ``sys.argv`` has them; those of programs other than
            Snakemake pass.

    Raises:
        ChemsieveError: the sentence says how to write it once.
    """
    if Path(arguments[0]).stem not in ("snakemake", "__main__"):
        return
    given: dict[str, list[list[str]]] = {}
    values: list[str] = []
    for argument in arguments[1:]:
        if argument == "--":
            break
        if argument.startswith("-") and len(argument) > 1:
            name, value = _divided(argument)
            values = value
            if name in SEVERAL:
                given.setdefault(SEVERAL[name], []).append(values)
        else:
            values.append(argument)
    for name, times in given.items():
        if len(times) > 1:
            together = shlex.join([name, *(value for part in times for value in part)])
            raise ChemsieveError(
                f"{name} is given {len(times)} times, and Snakemake takes the last alone: give it once, with all "
                f"values, as in {together}"
            )


def _divided(argument: str) -> tuple[str, list[str]]:
    """An option's name, and the value that is written into the same argument."""
    if argument.startswith("--"):
        name, equals, value = argument.partition("=")
        return name, [value] if equals else []
    return argument[:2], [argument[2:]] if argument[2:] else []
