"""The tuners of the installed peft: their names, and what may be said of each.

They are read from peft's source, which is parsed and not imported: importing it loads torch, and a configuration is
checked whenever the workflow starts. So whatever release is installed, its own tuners and options are what is known.
"""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_TOKENS = "it puts virtual tokens before the text of a model that generates, and an encoder has none"
# Tuners that do not fit, and why.
REFUSED = {
    "adalora": "it moves ranks between layers after each step, by the training loop of its own that it comes with; "
    "take lora with rank_pattern",
    "adaption_prompt": "it stands in the attention of Llama, Mistral and GPT-2 alone",
    "cartridge": _TOKENS,
    "cpt": _TOKENS,
    "multitask_prompt_tuning": _TOKENS,
    "p_tuning": _TOKENS,
    "poly": "it mixes adapters by the task that each example is of, and there is one task",
    "prefix_tuning": _TOKENS,
    "prompt_tuning": _TOKENS,
    "shadow": "it trains a second, generating model beside the first, with a loss of its own",
    "xlora": "it mixes LoRA adapters that were trained beforehand",
}
# Tuners of other layers than dense ones; the roles of dense layers do not concern them.
NORMS, EMBEDDINGS = "ln_tuning", "trainable_tokens"

# Options that are decided here, or that do not go with it.
_LEFT_OUT = {
    # which layers are adapted, and the head
    *("target_modules", "exclude_modules", "modules_to_save", "target_parameters", "trainable_token_indices"),
    # of generating, parallel or quantised models
    *("megatron_config", "megatron_core", "layer_replication", "alora_invocation_tokens", "fan_in_fan_out"),
    *("loftq_config", "use_qalora", "qalora_group_size", "runtime_offload_base_weight", "ensure_weight_tying"),
    # an initialisation or a loss that asks for data, or a training loop of its own
    *("eva_config", "corda_config", "lora_ga_config", "velora_config", "arrow_config"),
    *("use_asa", "asa_target_subspaces", "asa_importance_beta", "asa_uncertainty_beta", "asa_schedule_exponent"),
    *("init_warmup", "final_warmup", "mask_interval"),
    # noise in predictions, or drawn by a generator that an interrupted training would not find again
    *("sample_at_inference", "generator_seed"),
    # of files that are not written here
    *("progressbar", "save_only_topk_weights"),
}
# Values of an option that ask for what is not there: data to begin from, or a number in place of words.
_NO_VALUES = {"eva", "corda", "loftq", "lora_ga", "pissa_niter_[number of iters]"}
_KINDS = {"int": "integer", "float": "number", "bool": "boolean", "str": "string", "dict": "object", "list": "array"}


def known() -> list[str]:
    """Names of the tuners of the installed peft, those that do not fit included, sorted."""
    return sorted(_registered())


def fitting() -> list[str]:
    """Names of those that fit, sorted."""
    return [name for name in known() if name not in REFUSED]


@cache
def options(name: str) -> Json:
    """JSON Schema of the options of a tuner, by name: the fields of its configuration class that a user decides.

    Fields whose type no configuration file can give, such as a class of peft's, are left out.
    """
    file, config = _registered()[name]
    found = {field: _schema(annotation) for field, annotation in _fields(file, config).items()}
    return {field: rules for field, rules in found.items() if rules and field not in _LEFT_OUT}


def _root() -> Path:
    found = importlib.util.find_spec("peft")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _registered() -> dict[str, tuple[Path, str]]:
    """Of each tuner the file of its configuration class, and the class's name."""
    found = {}
    for file in sorted((_root() / "tuners").glob("*/__init__.py")):
        for call in ast.walk(_parsed(file)):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "register_peft_method":
                said = {keyword.arg: keyword.value for keyword in call.keywords}
                name, config = said["name"], said["config_cls"]
                if isinstance(name, ast.Constant) and isinstance(config, ast.Name):
                    found[str(name.value)] = (file.with_name("config.py"), config.id)
    return found


def _fields(file: Path, name: str) -> dict[str, ast.expr]:
    """Annotations of a configuration class, by field; without those of the classes that all have in common."""
    body = next(node for node in _parsed(file).body if isinstance(node, ast.ClassDef) and node.name == name)
    found: dict[str, ast.expr] = {}
    for base in body.bases:
        above = ast.unparse(base)
        if above not in ("PeftConfig", "PromptLearningConfig"):
            found |= _fields(_defining(file, above), above)
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node.annotation
    return found


def _defining(file: Path, name: str) -> Path:
    """The file that a class is defined in, which ``file`` uses."""
    for node in _parsed(file).body:
        if isinstance(node, ast.ImportFrom) and node.module and name in [alias.name for alias in node.names]:
            place = _root().joinpath(*node.module.split(".")[1:])
            return place / "config.py" if place.is_dir() else place.with_suffix(".py")
    return file


def _schema(annotation: ast.expr) -> Json:
    """JSON Schema of a type as it is written; empty for one that a configuration file cannot give."""
    parts = [_single(part) for part in _alternatives(annotation)]
    parts = [part for part in parts if part]
    values = [value for part in parts for value in part.get("enum", [])]
    kinds = [part["type"] for part in parts if "type" in part]
    if values:  # as one list of choices, so that a mistyped one is answered with the nearest
        flags = [True, False] if "boolean" in kinds else []
        others = [part for part in parts if "enum" not in part and part["type"] not in ("boolean", "null")]
        chosen = {"enum": [*flags, *values, *([None] if "null" in kinds else [])]}
        return {"anyOf": [chosen, *others]} if others else chosen
    if not kinds or kinds == ["null"]:
        return {}
    if all(set(part) == {"type"} for part in parts):
        return {"type": kinds[0] if len(kinds) == 1 else kinds}
    return parts[0] if len(parts) == 1 else {"anyOf": parts}


def _alternatives(annotation: ast.expr) -> list[ast.expr]:
    """The types of which a value may have one."""
    if isinstance(annotation, ast.BinOp):
        return [*_alternatives(annotation.left), *_alternatives(annotation.right)]
    if isinstance(annotation, ast.Subscript):
        outer, inner = _name(annotation.value), annotation.slice
        if outer == "Optional":
            return [*_alternatives(inner), ast.Constant(None)]
        if outer == "Union":
            return [one for part in _members(inner) for one in _alternatives(part)]
    return [annotation]


def _single(annotation: ast.expr) -> Json:
    if isinstance(annotation, ast.Constant):
        return {"type": "null"} if annotation.value is None else {}
    if isinstance(annotation, ast.Subscript):
        outer, members = _name(annotation.value), _members(annotation.slice)
        if outer == "Literal":
            values = [part.value for part in members if isinstance(part, ast.Constant)]
            return {"enum": [value for value in values if value not in _NO_VALUES]}
        if outer == "list":
            inner = _schema(members[0])
            return {"type": "array", "items": inner} if inner else {}
        return {"type": "object"} if outer == "dict" else {}
    kind = _KINDS.get(_name(annotation))
    return {"type": kind} if kind else {}


def _members(part: ast.expr) -> list[ast.expr]:
    return part.elts if isinstance(part, ast.Tuple) else [part]


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
