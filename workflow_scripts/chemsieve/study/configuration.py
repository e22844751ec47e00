"""The configuration as a workflow meets it: read as what its keys want, and checked before anything runs.

Light to import: it runs whenever the workflow starts. Its keys are stated in :mod:`chemsieve.study.sections`.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from chemsieve import registry
from chemsieve.models.bundled import BUNDLED
from chemsieve.runtime.tracking import check as check_trackers
from chemsieve.study import agreement, published
from chemsieve.study.agreement import check_encoder_files as check_encoder
from chemsieve.study.effective import (
    BASELINE_KEYS,
    METHOD_KEYS,
    STRATEGY_KEYS,
    USE_KEYS,
    all_strategies,
    baseline_selections,
    budget_points,
    canonical,
    module_of,
    options_of,
    pool_is_labelled,
    read,
    sweep,
    swept,
    training_of,
    tuned_methods,
)
from chemsieve.study.mistakes import check, check_name
from chemsieve.study.schema import entries, schema
from chemsieve.study.unlabelled import stepped_aside

__all__ = [
    "BASELINE_KEYS",
    "BUNDLED",
    "METHOD_KEYS",
    "STRATEGY_KEYS",
    "USE_KEYS",
    "all_strategies",
    "baseline_selections",
    "budget_points",
    "canonical",
    "check_encoder",
    "module_of",
    "normalise",
    "options_of",
    "pool_is_labelled",
    "prepared",
    "read",
    "schema",
    "stepped_aside",
    "sweep",
    "swept",
    "training_of",
    "tuned_methods",
    "validate",
    "with_whole_budgets",
]

Json = dict[str, Any]
_NULLS = ("null", "~", "")  # as Snakemake hands null over from the command line


def prepared(config: Json, layers: Iterable[Json]) -> tuple[Json, list[str]]:
    """The configuration as it counts, unchecked: whole budgets, values read, without what cannot be followed.

    Args:
        config: the layers laid over each other key by key; it is changed in place.
        layers: in the order in which they win; the first is config.yaml.

    Returns:
        The configuration, and what :func:`chemsieve.study.unlabelled.stepped_aside` left out, in words.
    """
    layers = list(layers)
    return stepped_aside(with_own(normalise(with_whole_budgets(config, layers)), layers))


# What holds for a target of the user's own where nothing else is said. The embedded study, which is there to be run in
# minutes, has less of it.
OWN: dict[str, Json] = {
    "split": {"splitters": ["scaffold"], "seeds": [0], "fractions": [0.8, 0.1, 0.1]},
    "selection": {"rank": ["uncertainty", "diversity", "residual", "self_influence"]},
    "grid": {"run": ["bitfit", "lora", "ia3"]},
    "baselines": {"run": ["svr", "svr_morgan", "svr_frozen", "svr_all", "gradient_boosting"]},
    "statistics": {"compare": ["selections", "adaptation", "descriptors"]},
}


def with_own(config: Json, layers: Sequence[Json]) -> Json:
    """The configuration, in which the embedded study's design holds for that alone.

    It draws few training molecules, many times, from a target of any size, and tries few methods on each. A user's own
    target is divided once, by scaffold, and has more methods and models, unless a layer above config.yaml says
    otherwise; and whichever target another splitter divides, it has other fractions and seeds.

    Args:
        config: with values of the right types.
        layers: as :func:`prepared` has them.
    """
    own, split = config["target"]["source"] != "embedded", config["split"]
    for section, values in OWN.items():
        above = [one for layer in layers[1:] if isinstance(one := layer.get(section), dict)]
        for key, value in values.items():
            divided = section == "split" and key != "splitters"
            holds = "draws" not in split["splitters"] if divided else own
            if holds and not any(key in one for one in above):
                config[section][key] = list(value)
    return config


def with_whole_budgets(config: Json, layers: Iterable[Json]) -> Json:
    """The configuration with each budget as the last layer that has one gives it.

    Snakemake lays mappings over each other key by key, so that ``{fraction: 0.5}`` over ``{count: 100}`` would be both.
    A key that is null is left out.

    Args:
        config: as Snakemake made it of the layers; it is changed in place.
        layers: what was read from each file and from the command line, in the order in which they win.
    """
    found = {name: budget for layer in layers for name, budget in _budgets(layer)}
    for name, budget in _budgets(config):
        given = found.get(name, budget)
        config["selection"]["strategies"][name]["budget"] = {
            key: value for key, value in given.items() if value not in (None, *_NULLS)
        }
    return config


def _budgets(config: Any) -> Iterator[tuple[str, Json]]:
    """Name and budget of each strategy, where there is one of the right shape."""
    for key in ("selection", "strategies"):
        config = config.get(key) if isinstance(config, dict) else None
    for name, entry in config.items() if isinstance(config, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("budget"), dict):
            yield name, entry["budget"]


def normalise(config: Json) -> Json:
    """The configuration with texts read as what their key wants.

    Snakemake hands every value inside ``--config 'key={...}'`` over as text, and YAML reads ``1e-4`` as text.

    Raises:
        ChemsieveError: one sentence naming a key that the schema refuses.
    """
    config = _coerced(config, schema())
    check(config, schema())
    for entry in list(entries(config)):
        if entry.name in registry.choices(entry.choices.package):
            rules = entry.choices.rules(entry.name, entry.options, entry.path)
            entry.options.update(_coerced(entry.options, rules))
    if config["encoder"]["repository"] and config["encoder"]["path"] == BUNDLED:
        config["encoder"]["path"] = None  # a default gives way to what is named
    return config


def _coerced(value: Any, rules: Json) -> Any:
    """``value`` with texts turned into the numbers, truth values and nulls that the schema wants."""
    from jsonschema import Draft202012Validator

    if isinstance(value, dict):
        known, others = rules.get("properties", {}), rules.get("additionalProperties") or {}
        return {key: _coerced(item, known.get(key, others)) for key, item in value.items()}
    if isinstance(value, list):
        items: Json = next((r["items"] for r in [rules, *rules.get("anyOf", [])] if "items" in r), {})
        return [_coerced(item, items) for item in value]
    if not isinstance(value, str) or not rules:
        return value
    fits = Draft202012Validator(rules).is_valid
    if value in _NULLS and fits(None):
        return None
    candidates = [json.loads] if value in ("true", "false") else [int, float]
    for parse in () if fits(value) else candidates:
        try:
            if fits(parsed := parse(value)):
                return parsed
        except ValueError:
            continue
    return value


def validate(config: Json) -> None:
    """Check a configuration before anything runs.

    Raises:
        ChemsieveError: one sentence naming the key.
    """
    check(config, schema())
    agreement.check_finite(config)
    for entry in entries(config):
        check_name(entry.path, entry.name, registry.choices(entry.choices.package))
        check(entry.options, entry.choices.rules(entry.name, entry.options, entry.path), entry.path)
    agreement.check_paths(config)
    agreement.check_references(config)
    agreement.check_uses(config)
    agreement.check_described_uses(config)
    agreement.check_pool_labels(config)
    published.check(config["published"])
    check_trackers(config["tracking"]["run"])
    agreement.check_tables(config)
    agreement.check_split(config)
    agreement.check_limits(config)
    agreement.check_prediction(config)
    agreement.check_pretraining(config)
    agreement.check_adaptation(config)
    agreement.check_encoder(config)
    agreement.check_checkpoints(config)
    agreement.check_selection_start(config)
    agreement.check_looks(config)
