"""Mistakes in a configuration: each is one sentence that names the key, and what may have been meant."""

import difflib
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from chemsieve.errors import ChemsieveError
from chemsieve.study.sections.values import NAME, STUDY

if TYPE_CHECKING:
    from jsonschema import ValidationError

_READ_AS = (int, float, date)  # what YAML makes of a text without quotes; truth values and moments among them
_WORDS = {NAME["pattern"]: "letters, digits and _", STUDY["pattern"]: "letters, digits, _ and, but for the first, -"}


def check(instance: object, rules: dict[str, Any], prefix: str = "") -> None:
    """Check a part of a configuration against a JSON Schema.

    Args:
        prefix: where in the configuration the part stands.

    Raises:
        ChemsieveError: one sentence for the first mistake, naming the key.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(rules).iter_errors(instance))
    if error is not None:
        raise ChemsieveError(_sentence(error, prefix))


def check_name(section: str, name: str, known: Sequence[str]) -> None:
    """Check that a name is one of those that are known.

    Raises:
        ChemsieveError: it is not; the sentence has the nearest one.
    """
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ChemsieveError(f"configuration: {section}: unknown name {name!r}; {hint}")


def _sentence(error: "ValidationError", prefix: str) -> str:
    """One sentence for a jsonschema error, naming the key and the nearest known one."""
    key = ".".join(str(part) for part in [*([prefix] if prefix else []), *error.absolute_path])
    instance: Any = error.instance
    rule: Any = error.validator_value
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []
        unknown = sorted(map(str, set(instance) - set(known)))[0]  # YAML reads `no:` and `1:` as other than text
        section, dot, inner = unknown.partition(".")
        near = difflib.get_close_matches(unknown, known, n=1)
        if dot and section in known:
            nested = inner.replace(".", ": {") + ": ..." + "}" * inner.count(".")
            hint = f"a key within another is written '{section}={{{nested}}}' on the command line"
        else:
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known)) or 'none'}"
        return f"configuration: unknown key {'.'.join([key, unknown]).strip('.')!r}; {hint}"
    if error.validator == "required":
        missing = sorted(set(rule) - set(instance))[0]
        return f"configuration: key {'.'.join([key, missing]).strip('.')!r} is missing"
    if error.validator == "enum" and isinstance(instance, str):
        near = difflib.get_close_matches(instance, [str(v) for v in rule], n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(map(str, rule))}"
        return f"configuration: {key}: unknown value {instance!r}; {hint}"
    if error.validator == "pattern" and (allowed := _WORDS.get(rule)):
        return f"configuration: {key}: {instance!r} is no name for files; it may have {allowed}"
    if error.validator == "maxLength" and rule > 1:
        return f"configuration: {key}: a name of {len(instance)} characters; it may have {rule} at most"
    if error.validator == "type" and "string" in rule and isinstance(instance, _READ_AS):
        # What was written (007, 2024_01, 1e3) is not known any more. On the command line nested values are texts.
        typed = "" if "." in key else "; on the command line, take a name with a letter in it"
        return (
            f"configuration: {key}: this is read as {instance}, and a text is wanted; put it in quotes in the "
            f"configuration's file{typed}"
        )
    return f"configuration: {key or 'the whole'}: {error.message}"
