"""The configuration: checked against a schema that refuses unknown keys, with one sentence per mistake.

Light to import: it runs whenever the workflow starts. Options of extension points are checked against the ``OPTIONS``
that each module declares.
"""

import difflib
import json
import math
import os
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from chemsieve import registry
from chemsieve.data.reading import FORMATS, MOLECULES, check_encoding, check_molecules, check_table
from chemsieve.errors import ChemsieveError
from chemsieve.influence.parameter_subsets import SUBSETS
from chemsieve.models.bundled import BUNDLED
from chemsieve.runtime.tracking import TRACKERS
from chemsieve.runtime.tracking import check as check_trackers
from chemsieve.study import published

Json = dict[str, Any]
_READ_AS = (int, float, date)  # what YAML makes of a text without quotes; truth values and moments among them

_TEXT = {"type": "string", "minLength": 1}
_OPTIONAL_TEXT = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 1}
_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
_PROBABILITY = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
_SEED = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_SEEDS = {"type": "array", "items": _SEED, "minItems": 1, "uniqueItems": True}
# $ would let a newline at the end pass; file systems end at 255.
_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9_]+\Z", "maxLength": 100}
_STUDY = _NAME | {"pattern": r"^[A-Za-z0-9_][A-Za-z0-9_-]*\Z"}
_WORDS = {_NAME["pattern"]: "letters, digits and _", _STUDY["pattern"]: "letters, digits, _ and, but for the first, -"}


def _object(properties: Json, required: bool = True) -> Json:
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": sorted(properties)} if required else {})


def _names(choices: list[str] | None = None, least: int = 0) -> Json:
    item = _NAME if choices is None else {"enum": choices}
    return {"type": "array", "items": item, "uniqueItems": True, "minItems": least}


_TRAINING = {
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "learning_rate": _POSITIVE,
    "weight_decay": {"type": "number", "minimum": 0},
    "warmup": {"type": "number", "minimum": 0, "maximum": 1},
    "schedule": {"enum": ["linear", "cosine", "constant", "constant_with_warmup"]},
    "patience": {"type": ["integer", "null"], "minimum": 1},
    "minimum_delta": {"type": "number", "minimum": 0},
    "gradient_clip": _POSITIVE,
    "group_by_length": {"type": "boolean"},
    "precision": {"enum": ["float32", "bfloat16", "auto"]},
    "layer_decay": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "average": {"type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1},
}
_REGRESSION = _TRAINING | {
    "randomise": {"type": "boolean"},
    "writings": _COUNT,
    "draws": _COUNT,
    "curriculum": {"enum": ["length", None]},
}
_BUDGET = {
    "type": "object",
    "properties": {
        "count": _COUNT,
        "fraction": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "threshold": {"type": "number"},
        "magnitude": {"type": "number", "minimum": 0},
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
_TABLE = {
    "source": {"enum": ["embedded", "file"]},
    "path": _OPTIONAL_TEXT,
    "smiles": _TEXT,
    "label": _TEXT,
    "format": {"enum": ["auto", *FORMATS]},
    "delimiter": {"type": "string", "minLength": 1, "maxLength": 1},
    "encoding": _TEXT,
    "decimal": {"enum": [".", ","]},
}
_MOLECULES = {
    "type": "object",
    "properties": {"path": _TEXT, **{key: _TABLE[key] for key in MOLECULES}},
    "required": ["path"],
    "additionalProperties": False,
}
_VECTORS = {
    "type": "object",
    "properties": {
        "path": _TEXT,
        "smiles": _TEXT,
        "vector": _TEXT,
        "weight": {"type": "number", "minimum": 0},
        "credit": _TEXT,
    },
    "required": ["path"],
    "additionalProperties": False,
}


def schema() -> Json:
    """JSON Schema of the whole configuration, options of extension points left open (they have their own)."""
    entries = {"type": "object", "additionalProperties": {"type": "object"}, "propertyNames": _NAME}
    download = _object({"url": {"type": "string", "pattern": "^https://"}, "smiles": _TEXT, "label": _TEXT})
    return _object(
        {
            "study": _STUDY,
            "target": _object(
                _TABLE
                | {
                    "fold": _OPTIONAL_TEXT,
                    "name": _TEXT,
                    "unit": {"type": "string"},
                    "binarise": {"enum": ["mean", None]},
                    "downloads": {"type": "array", "items": download},
                    "content_sha256": {"type": ["string", "null"], "pattern": r"^[0-9a-f]{64}\Z"},
                }
            ),
            "pool": _object(
                _TABLE
                | {
                    "label": _OPTIONAL_TEXT,
                    "labels": {"enum": ["as_given", "relabel_from_training", "unlabelled"]},
                    "leaks": {"enum": ["keep", "drop"]},
                }
            ),
            "audit": _object({"molecules": {"type": "integer", "minimum": 10}, "permutations": _COUNT}),
            "embedded": _object(
                {"targets": _COUNT, "pool": _COUNT, "noise": {"type": "number", "minimum": 0}, "seed": _SEED}
            ),
            "split": _object(
                {
                    "splitters": _names(registry.choices("splitting"), least=1),
                    "seeds": _SEEDS,
                    "fractions": {
                        "type": "array",
                        "items": {"type": "number", "minimum": 0, "maximum": 1},
                        "minItems": 3,
                        "maxItems": 3,
                    },
                    "options": {"type": "object", "propertyNames": {"enum": registry.choices("splitting")}},
                }
            ),
            "seeds": _SEEDS,
            "encoder": _object(
                {
                    "family": {"enum": registry.choices("models.encoders")},
                    "path": _OPTIONAL_TEXT,
                    "repository": _OPTIONAL_TEXT,
                    "revision": {"type": ["string", "null"], "pattern": r"^[0-9a-f]{40}\Z"},
                    "sha256": {
                        "type": "object",
                        "propertyNames": {"enum": ["config.json", "model.safetensors", "tokenizer.json"]},
                        "additionalProperties": {"type": "string", "pattern": r"^[0-9a-f]{64}\Z"},
                    },
                    "tokenizer": _OPTIONAL_TEXT,
                    "stereo": {"type": "boolean"},
                    "unknown_tokens": {"enum": ["refuse", "flag"]},
                    "max_tokens": {"type": ["integer", "null"], "minimum": 3},
                    "seed": _SEED,
                    "architecture": {"type": "object"},
                }
            ),
            "pretrain": _object(
                {
                    "corpus": _OPTIONAL_TEXT,
                    "limit": {"type": ["integer", "null"], "minimum": 2},
                    "held_out": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                    "properties": {"type": "array", "items": _TEXT, "uniqueItems": True},
                    "properties_weight": {"type": "number", "minimum": 0},
                    "targets": {"type": "object", "propertyNames": _NAME, "additionalProperties": _VECTORS},
                    "exclude": {"type": "array", "items": _MOLECULES},
                    "unmasked": {"type": "number", "minimum": 0, "maximum": 1},
                    "masking": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                    "steps": _COUNT,
                    "batch_size": _COUNT,
                    "learning_rate": _POSITIVE,
                    "weight_decay": {"type": "number", "minimum": 0},
                    "warmup": {"type": "number", "minimum": 0, "maximum": 1},
                    "gradient_clip": _POSITIVE,
                    "precision": _TRAINING["precision"],
                    "evaluate_every": _COUNT,
                    "evaluated": _COUNT,
                    "save_every": _COUNT,
                    "seed": _SEED,
                    "half": {"type": "boolean"},
                    "data": _TEXT,
                    "licence": _TEXT,
                }
            ),
            "mlm": _object(
                {
                    "masking": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                    "held_out": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                }
                | _TRAINING
            ),
            "finetune": _object(
                _REGRESSION
                | {
                    "checkpoints": {"type": "array", "items": _COUNT, "uniqueItems": True, "minItems": 1},
                    "dropout": _object(
                        {
                            "hidden": _PROBABILITY | {"type": ["number", "null"]},
                            "embedding": _PROBABILITY | {"type": ["number", "null"]},
                            "head": _PROBABILITY,
                        }
                    ),
                }
            ),
            "influence": _object(
                {
                    "run": _names(registry.choices("influence.estimators")),
                    "origins": _names(["baseline", "adapted"]),
                    "aggregate": {"enum": ["mean", "last", "learning_rate"]},
                    "parameters": {"enum": list(SUBSETS)},
                    "hessian_molecules": {"type": ["integer", "null"], "minimum": 1},
                    "batch_size": _COUNT,
                    "tolerance": _POSITIVE,
                    "test_molecules": {"type": "integer", "minimum": 0},
                    "gram": _object(
                        {
                            "tolerance": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
                            "rank": {"type": ["integer", "null"], "minimum": 1},
                            "basis": {"enum": ["principal", "random"]},
                            "largest": _COUNT,
                            "memory_mb": _COUNT,
                        }
                    ),
                    "estimators": entries,
                }
            ),
            "validation": _object(
                {
                    "run": {"type": "boolean"},
                    "replicates": _COUNT,
                    "subsets": {"type": "integer", "minimum": 3},
                    "fraction": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                    "seeds": _SEEDS,
                    "start": {"enum": ["encoder", "regressor"]},
                    "noise": {"type": "boolean"},
                    "training": _object(_REGRESSION, required=False),
                }
            ),
            "selection": _object(
                {
                    "run": _names(),
                    "rank": _names(),
                    "estimator": {"enum": registry.choices("influence.estimators")},
                    "origin": {"enum": ["baseline", "adapted"]},
                    "strategies": entries,
                }
            ),
            "grid": _object(
                {
                    "run": _names(),
                    "selections": _names(),
                    "start": {"enum": ["encoder", "regressor"]},
                    "methods": entries,
                }
            ),
            "baselines": _object({"run": _names(), "methods": entries}),
            "published": published.SCHEMA,
            "predict": _object(
                {
                    "model": _TEXT,
                    "input": _OPTIONAL_TEXT,
                    "smiles": _TEXT,
                    **{key: _TABLE[key] for key in ("format", "delimiter", "encoding")},
                    "coverage": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
                    "uncertainty": {"enum": ["auto", "dropout", "features", "none"]},
                    "passes": {"type": "integer", "minimum": 2},
                    "seed": _SEED,
                    "chunk": _COUNT,
                }
            ),
            "statistics": _object(
                {
                    "margin": _POSITIVE,
                    "alpha": _POSITIVE | {"exclusiveMaximum": 0.5},
                    "power": {"type": "number", "exclusiveMinimum": 0.5, "exclusiveMaximum": 1},
                }
            ),
            "on_failure": {"enum": ["continue", "stop"]},
            "tracking": _object({"run": _names(sorted(TRACKERS))}),
            "compute": _object(
                {
                    "device": {"enum": ["auto", "cpu", "cuda"]},
                    "threads": _COUNT,
                    "warm_start": {"type": "boolean"},
                    "save_every": {"type": ["number", "null"], "minimum": 0},
                }
            ),
        }
    )


def _sentence(error, prefix: str) -> str:
    """One sentence for a jsonschema error, naming the key and the nearest known one."""
    key = ".".join(str(part) for part in [*([prefix] if prefix else []), *error.absolute_path])
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = sorted(map(str, set(error.instance) - set(known)))[0]  # YAML reads `no:` and `1:` as other than text
        near = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known)) or 'none'}"
        return f"configuration: unknown key {'.'.join([key, unknown]).strip('.')!r}; {hint}"
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))[0]
        return f"configuration: key {'.'.join([key, missing]).strip('.')!r} is missing"
    if error.validator == "enum" and isinstance(error.instance, str):
        near = difflib.get_close_matches(error.instance, [str(v) for v in error.validator_value], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(map(str, error.validator_value))}"
        return f"configuration: {key}: unknown value {error.instance!r}; {hint}"
    if error.validator == "pattern" and (allowed := _WORDS.get(error.validator_value)):
        return f"configuration: {key}: {error.instance!r} is no name for files; it may have {allowed}"
    if error.validator == "maxLength" and error.validator_value > 1:
        return (
            f"configuration: {key}: a name of {len(error.instance)} characters; it may have {error.validator_value} "
            "at most"
        )
    if error.validator == "type" and "string" in error.validator_value and isinstance(error.instance, _READ_AS):
        # What was written (007, 2024_01, 1e3) is not known any more. On the command line nested values are texts.
        typed = "" if "." in key else "; on the command line, take a name with a letter in it"
        return (
            f"configuration: {key}: this is read as {error.instance}, and a text is wanted; put it in quotes in the "
            f"configuration's file{typed}"
        )
    return f"configuration: {key or 'the whole'}: {error.message}"


def _check(instance: object, rules: Json, prefix: str = "") -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(rules).iter_errors(instance))
    if error is not None:
        raise ChemsieveError(_sentence(error, prefix))


def _choice(section: str, name: str, known: list[str]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ChemsieveError(f"configuration: {section}: unknown name {name!r}; {hint}")


def module_of(entry: Json, name: str, key: str) -> str:
    """Module that an entry such as ``{strategy: influence, budget: ...}`` names; its own name by default."""
    return entry.get(key, name)


def options_of(entry: Json, reserved: tuple[str, ...]) -> Json:
    """The options of an entry that belong to its module."""
    return {key: value for key, value in entry.items() if key not in reserved}


STRATEGY_KEYS = ("strategy", "budget")
METHOD_KEYS = ("method", "training")


def _entries(config: Json) -> Iterator[tuple[str, str, Json, str, Json]]:
    """Each configured choice as (path, package, its own options, module, schema of keys that are not options)."""
    for name, entry in config["influence"]["estimators"].items():
        yield f"influence.estimators.{name}", "influence.estimators", entry, name, {}
    for name, entry in config["selection"]["strategies"].items():
        extra = {"strategy": {"enum": registry.choices("selection")}, "budget": _BUDGET}
        yield f"selection.strategies.{name}", "selection", entry, module_of(entry, name, "strategy"), extra
    for name, entry in config["grid"]["methods"].items():
        extra = {"method": {"enum": registry.choices("methods")}, "training": _object(_REGRESSION, required=False)}
        yield f"grid.methods.{name}", "methods", entry, module_of(entry, name, "method"), extra
    for name, entry in config["baselines"]["methods"].items():
        yield f"baselines.methods.{name}", "baselines", entry, name, {}
    for name, entry in config["split"]["options"].items():
        yield f"split.options.{name}", "splitting", entry, name, {}


def _coerced(value: Any, rules: Json) -> Any:
    """``value`` with texts turned into the numbers, truth values and nulls that the schema wants."""
    from jsonschema import Draft202012Validator

    if isinstance(value, dict):
        known, others = rules.get("properties", {}), rules.get("additionalProperties") or {}
        return {key: _coerced(item, known.get(key, others)) for key, item in value.items()}
    if isinstance(value, list):
        items = next((r["items"] for r in [rules, *rules.get("anyOf", [])] if "items" in r), {})
        return [_coerced(item, items) for item in value]
    if not isinstance(value, str) or not rules:
        return value
    fits = Draft202012Validator(rules).is_valid
    if value in ("null", "~", "") and fits(None):
        return None
    candidates = [json.loads] if value in ("true", "false") else [int, float]
    for parse in () if fits(value) else candidates:
        try:
            if fits(parsed := parse(value)):
                return parsed
        except ValueError:
            continue
    return value


def normalise(config: Json) -> Json:
    """The configuration with texts read as what their key wants.

    Snakemake hands every value inside ``--config 'key={...}'`` over as text, and YAML reads ``1e-4`` as text.

    Raises:
        ChemsieveError: one sentence naming a key that the schema refuses.
    """
    config = _coerced(config, schema())
    _check(config, schema())
    for _, package, entry, module, extra in list(_entries(config)):
        if module in registry.choices(package):
            rules = _object(registry.load(package, module).OPTIONS | extra, required=False)
            entry.update(_coerced(entry, rules))
    if config["encoder"]["repository"] and config["encoder"]["path"] == BUNDLED:
        config["encoder"]["path"] = None  # a default gives way to what is named
    return config


def validate(config: Json) -> None:
    """Check a configuration before anything runs.

    Raises:
        ChemsieveError: one sentence naming the key.
    """
    _check(config, schema())
    _finite(config, "")
    for path, package, entry, module, extra in _entries(config):
        _choice(path, module, registry.choices(package))
        _check(entry, _object(registry.load(package, module).OPTIONS | extra, required=False), path)
    _paths(config)
    _references(config)
    _pool_labels(config)
    published.check(config["published"])
    check_trackers(config["tracking"]["run"])
    for section in ("target", "pool"):
        if config[section]["source"] == "file":
            _table_given(config, section)
        elif config[section]["path"]:
            raise ChemsieveError(
                f"configuration: {section}.path: a file is given, but {section}.source is embedded; set it to file"
            )
    if abs(sum(config["split"]["fractions"]) - 1) > 1e-9:
        total = sum(config["split"]["fractions"])
        raise ChemsieveError(f"configuration: split.fractions: they sum to {total:g}, not to 1")
    if "column" in config["split"]["splitters"] and not config["target"]["fold"]:
        raise ChemsieveError("configuration: target.fold: the splitter 'column' needs the name of the fold's column")
    if config["target"]["binarise"] and len(config["split"]["splitters"]) * len(config["split"]["seeds"]) > 1:
        raise ChemsieveError(
            "configuration: target.binarise: labels are cut at the training mean of one split; give one splitter and "
            "one split seed"
        )
    if config["predict"]["input"]:
        _readable("predict", config["predict"])
        check_molecules(config["predict"]["input"], "predict", config["predict"])
    _pretraining(config["pretrain"])
    encoder = config["encoder"]
    if encoder["path"] == BUNDLED and encoder["family"] != "molformer":
        raise ChemsieveError(
            "configuration: encoder.path: the encoder that comes with the project is of the family molformer; name a "
            f"folder of the family {encoder['family']}, or null for random weights"
        )
    if encoder["repository"] and not encoder["path"] and not encoder["revision"]:
        raise ChemsieveError("configuration: encoder.revision: a repository needs a pinned revision (40 hex digits)")
    last = max(config["finetune"]["checkpoints"])
    if last > config["finetune"]["epochs"]:
        raise ChemsieveError(
            f"configuration: finetune.checkpoints: epoch {last} lies beyond the last, {config['finetune']['epochs']}"
        )


def check_encoder(config: Json) -> None:
    """The encoder's local folder, where the workflow itself is not to make it, has its files.

    Raises:
        ChemsieveError: a file is missing.
    """
    encoder = config["encoder"]
    wanted = [Path(encoder["tokenizer"])] if encoder["tokenizer"] else []
    if encoder["path"] and encoder["path"] != BUNDLED:
        names = ["config.json", "model.safetensors", *(["tokenizer.json"] if not wanted else [])]
        wanted += [Path(encoder["path"]) / name for name in names]
    for path in wanted:
        if "results" not in Path(os.path.normpath(path)).parts[:1] and not path.is_file():
            key = "tokenizer" if str(path) == encoder["tokenizer"] else "path"
            raise ChemsieveError(
                f"configuration: encoder.{key}: there is no file {path}; an encoder's folder has config.json, "
                "model.safetensors and tokenizer.json"
            )


def _finite(value: object, path: str) -> None:
    """Refuse YAML's .nan and .inf, which JSON Schema lets pass as numbers."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ChemsieveError(f"configuration: {path}: {value} is not a finite number")
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        _finite(part, f"{path}.{key}".strip("."))


def _references(config: Json) -> None:
    """Names in lists must be entries; strategies must have what they need."""
    strategies = config["selection"]["strategies"]
    for section in ("influence", "selection", "grid", "baselines"):
        key = {"influence": "estimators", "selection": "strategies", "grid": "methods", "baselines": "methods"}[section]
        for name in config[section]["run"]:
            _choice(f"{section}.run", name, list(config[section][key]))
    for section, key in (("grid", "selections"), ("selection", "rank")):
        for name in config[section][key]:
            _choice(f"{section}.{key}", name, list(strategies))
    if "full" in config["grid"]["run"]:
        raise ChemsieveError("configuration: grid.run: 'full' is fine-tuned on every selection anyway; leave it out")
    for name in all_strategies(config):
        entry = strategies[name]
        module = registry.load("selection", module_of(entry, name, "strategy"))
        if module.BUDGET and "budget" not in entry:
            raise ChemsieveError(f"configuration: selection.strategies.{name}: it needs a budget")
        if not module.BUDGET and "budget" in entry:
            raise ChemsieveError(f"configuration: selection.strategies.{name}: a control has no budget")
        if "influence" in module.NEEDS:
            chosen = config["selection"]
            if chosen["estimator"] not in config["influence"]["run"]:
                raise ChemsieveError(
                    f"configuration: selection.estimator: {chosen['estimator']!r} is not in influence.run"
                )
            if chosen["origin"] not in config["influence"]["origins"]:
                raise ChemsieveError(
                    f"configuration: selection.origin: {chosen['origin']!r} is not in influence.origins"
                )


def pool_is_labelled(config: Json) -> bool:
    """Whether the pool's labels are used."""
    return config["pool"]["labels"] != "unlabelled"


def _pool_labels(config: Json) -> None:
    """Where the pool's labels are not used, nothing may ask for them."""
    if pool_is_labelled(config):
        if not config["pool"]["label"]:
            raise ChemsieveError(
                "configuration: pool.label: name the column of the pool's labels, or set pool.labels to unlabelled"
            )
        return
    why = "pool.labels is unlabelled"
    if config["influence"]["run"]:
        raise ChemsieveError(f"configuration: influence.run: {why}, and influence is that of a label; set it to []")
    if config["influence"]["test_molecules"]:
        raise ChemsieveError(
            f"configuration: influence.test_molecules: {why}, and influence is that of a label; set it to 0"
        )
    if config["validation"]["run"]:
        raise ChemsieveError(f"configuration: validation.run: {why}, so that nothing can be retrained; set it to false")
    if config["pool"]["leaks"] == "drop":
        raise ChemsieveError(f"configuration: pool.leaks: {why}, so that no label can leak; set it to keep")
    if config["target"]["binarise"]:
        raise ChemsieveError(f"configuration: target.binarise: {why}, so that they cannot be cut; set it to null")
    for name in config["grid"]["selections"]:
        if name != "none":
            raise ChemsieveError(f"configuration: grid.selections: {why}, so that {name!r} cannot be trained on")
    for name in config["selection"]["run"] + config["selection"]["rank"]:
        module = module_of(config["selection"]["strategies"][name], name, "strategy")
        if module == "all" or not {"labels", "influence", "gram"}.isdisjoint(registry.load("selection", module).NEEDS):
            raise ChemsieveError(f"configuration: selection.run: {why}, and {name!r} needs labels")


def _table_given(config: Json, section: str) -> None:
    """The user's file exists and has its columns; read from its header alone."""
    table = config[section]
    _readable(section, table)
    if table["path"]:
        check_table(table["path"], section, table)
    elif not table.get("downloads"):
        raise ChemsieveError(
            f"configuration: {section}.path: give your file, for example "
            f"--config '{section}={{path: my_{section}.csv}}'"
        )


def _readable(section: str, table: Json) -> None:
    """A path, a delimiter, a decimal mark and an encoding that a file can be read with."""
    if table["delimiter"] in '"\r\n\0' or not table["delimiter"].isascii():
        raise ChemsieveError(f"configuration: {section}.delimiter: {table['delimiter']!r} cannot divide fields")
    if table.get("decimal") == table["delimiter"] and table["format"] in ("auto", "csv"):
        raise ChemsieveError(
            f"configuration: {section}.decimal: {table['decimal']!r} is the delimiter too; set {section}.delimiter, "
            "for example to ';'"
        )
    check_encoding(section, table["encoding"])


def _pretraining(chosen: Json) -> None:
    """Files that pretraining reads beside its corpus are there."""
    for number, file in enumerate(chosen["exclude"]):
        section = f"pretrain.exclude[{number}]"
        _readable(section, MOLECULES | file)
        check_molecules(file["path"], section, MOLECULES | file)
    for name, table in chosen["targets"].items():
        if not Path(table["path"]).exists():
            raise ChemsieveError(
                f"configuration: pretrain.targets.{name}.path: there is no file or folder {table['path']}"
            )
    if chosen["unmasked"] and not (chosen["properties"] or chosen["targets"]):
        raise ChemsieveError(
            "configuration: pretrain.unmasked: molecules that nothing is masked in teach nothing without "
            "pretrain.properties or pretrain.targets; set it to 0"
        )


def _paths(config: Json) -> None:
    """Snakemake must take each path for what it is."""
    paths = {
        f"{section}.{key}": config[section][key] or ""
        for section, key in (
            ("target", "path"), ("pool", "path"), ("predict", "input"), ("encoder", "path"), ("encoder", "tokenizer"),
            ("pretrain", "corpus"),
        )
    }  # fmt: skip
    chosen = config["pretrain"]
    paths |= {f"pretrain.exclude[{number}].path": file["path"] for number, file in enumerate(chosen["exclude"])}
    paths |= {f"pretrain.targets.{name}.path": table["path"] for name, table in chosen["targets"].items()}
    for key, path in paths.items():
        if set("{}") & set(path):
            raise ChemsieveError(
                f"configuration: {key}: {path!r} has braces, which Snakemake reads as wildcards; rename the file"
            )
        if not path.isprintable():
            raise ChemsieveError(
                f"configuration: {key}: {path!r} has characters that cannot be printed; rename the file"
            )


def all_strategies(config: Json) -> list[str]:
    """Strategies that the study needs: those fine-tuned fully, those of the grid, those that only rank the pool."""
    chosen = config["selection"]
    return list(dict.fromkeys([*chosen["run"], *config["grid"]["selections"], *chosen["rank"]]))


def training_of(config: Json, method: str) -> Json:
    """Hyperparameters of a grid method: those of ``finetune`` with its own on top."""
    shared = {key: config["finetune"][key] for key in _REGRESSION}
    return shared | config["grid"]["methods"][method].get("training", {})


def canonical(value: object) -> str:
    """One JSON string for a slice of the configuration: the same for equal slices.

    A brace before a word, which is in a text of the user's, is escaped: Snakemake would read a wildcard.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return re.sub(r"\{(?=\s*\w)", r"\\u007b", text)


def read(path: str | Path) -> Json:
    """A study's effective configuration, as a rule wrote it."""
    import yaml

    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
