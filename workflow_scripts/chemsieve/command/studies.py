"""A study as the command knows it: its files laid over ``config.yaml``, as Snakemake does it, and its plan."""

from collections.abc import Iterable, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from chemsieve.errors import ChemsieveError
from chemsieve.study import configuration
from chemsieve.study.plan import Plan

Json = dict[str, Any]
PROJECT = Path(__file__).resolve().parents[3]
SNAKEFILE = PROJECT / "Snakefile"


def load(paths: Sequence[str]) -> Plan:
    """The plan of a study, whose configuration is checked as before a run.

    Raises:
        ChemsieveError: a file cannot be read or is no YAML, or a key is wrong.
    """
    config = prepared(read(Path(path)) for path in paths)
    configuration.validate(config)
    configuration.check_encoder(config)
    return Plan(config)


def prepared(own: Iterable[Json]) -> Json:
    """The configuration with each layer of a study's own on top of those before, as a run reads it, unchecked.

    Raises:
        ChemsieveError: a file cannot be read, or is no YAML.
    """
    layers = [*_default(), *own]
    return configuration.prepared(reduce(_laid_over, layers, {}), layers)[0]


def _default() -> list[Json]:
    """What a study is laid over: ``config.yaml``, and the working directory's own."""
    if not SNAKEFILE.is_file():
        raise ChemsieveError(
            f"{SNAKEFILE}: the workflow is not beside the package; call chemsieve from a checkout of the project"
        )
    base, own = PROJECT / "config.yaml", Path("config.yaml")
    first = [own] if own.exists() and not own.samefile(base) else []
    return [read(path) for path in [base, *first]]


def _laid_over(below: Json, above: Json) -> Json:
    both = below | above
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            both[key] = _laid_over(below[key], above[key])
    return both


def read(path: Path) -> Json:
    """What a study file says.

    Raises:
        ChemsieveError: it cannot be read, or is no YAML of keys and values.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ChemsieveError(f"study file {path}: it cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        what = getattr(error, "problem", None) or "it is not UTF-8 text"
        raise ChemsieveError(f"study file {path}: {where}this is no YAML ({what})") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ChemsieveError(f"study file {path}: keys and values are wanted, such as study: mine")
    return content
