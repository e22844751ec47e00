"""The files that tell users of the configuration, made from its models by ``make reference``.

They are ``config.yaml`` with a comment at each key, a JSON Schema by which editors complete and check what is written,
and the reference page. ``python -m chemsieve.study.reference`` writes them. With ``--check`` it writes nothing, and
names those that are not what the models say.
"""

import argparse
import copy
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from chemsieve import registry
from chemsieve.runtime.files import write_text
from chemsieve.study.schema import Choices, Json, all_choices, schema
from chemsieve.study.sections import Configuration
from chemsieve.study.sections.values import Section, Written, json_schema

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATION, EDITORS, PAGE = "config.yaml", "resources/config.schema.json", "docs/configuration.md"
_WIDTH = 120
_LINES = 3  # that a comment may take behind its key; one less with an example
_EXAMPLE = "; for example "
_MADE = "Made by `make reference` from workflow_scripts/chemsieve/study/sections: change it there."


def files() -> dict[str, str]:
    """Text of each file, by its path below the project's folder."""
    return {
        CONFIGURATION: config_yaml(),
        EDITORS: json.dumps(for_editors(), indent=1, ensure_ascii=False) + "\n",
        PAGE: page(),
    }


# -- config.yaml -------------------------------------------------------------------------------------------------------


def config_yaml() -> str:
    """Every key with its default, and its description where that is told for the first time."""
    head = [f"# yaml-language-server: $schema={EDITORS}"]
    for paragraph in [*_document(Configuration).split("\n\n"), _MADE]:
        head += _wrapped(paragraph, "# ", "# ")
    return "\n".join([*head, *_keys(Configuration, "", set())]) + "\n"


def _keys(model: type[BaseModel], indent: str, told: set[tuple[str, str]]) -> Iterator[str]:
    """Lines of a section; ``told`` are keys with descriptions that stand above."""
    for name, field in model.model_fields.items():
        if not indent:
            yield ""
        section = _section(field)
        meaning = _comment(section, field)
        if (name, meaning) in told:
            meaning = ""
        told.add((name, meaning))
        if section is not None:
            yield from _commented(f"{indent}{name}:", meaning, indent)
            yield from _keys(section, f"{indent}  ", told)
        elif isinstance(field.default_factory, Written):
            yield from _commented(f"{indent}{name}:", meaning, indent)
            yield textwrap.indent(field.default_factory.text, f"{indent}  ")
        else:
            yield from _commented(f"{indent}{name}: {_flow(field.default)}", meaning, indent)


def _commented(key: str, comment: str, indent: str) -> list[str]:
    """A key with its comment behind it, or above it where the comment is long."""
    if not comment:
        return [key]
    lines = _wrapped(comment, f"{key} # ", f"{indent}# ")
    text, *examples = comment.split(_EXAMPLE)
    if len(lines) <= _LINES - len(examples) and max(map(len, lines)) <= _WIDTH:
        return lines
    text = text[0].upper() + text[1:] + (f"{_EXAMPLE.rstrip()}:" if examples else "")
    above = _wrapped(text, f"{indent}# ", f"{indent}# ")
    return [*above, *(f"{indent}# {example}" for example in examples), key]


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _comment(section: type[Section] | None, field: FieldInfo) -> str:
    """What a key or a section means, as a comment says it."""
    if section is not None:
        text = " ".join(_document(section).split())
        return (text[0].lower() + text[1:]).removesuffix(".")
    return _EXAMPLE.join([field.description or "", *map(_flow, field.examples or [])])


def _flow(value: Any) -> str:
    """A value as YAML on one line; a text that needs quotes has double ones."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    text = text.removesuffix("\n").removesuffix("\n...")
    quoted = isinstance(value, str) and (text[0] in "'\"" or not re.search(r"\w", value))
    return json.dumps(value, ensure_ascii=False) if quoted else text


def _document(thing: object) -> str:
    """A docstring, for readers of Markdown: names of modules as code."""
    return re.sub(r"(?::\w+:)?`+~?([^`]+)`+", r"`\1`", inspect.getdoc(thing) or "")


def _section(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


# -- the schema for editors --------------------------------------------------------------------------------------------


def for_editors() -> Json:
    """JSON Schema of an overlay, in which any key may be left out, with the options of every choice by its name.

    An entry under a name of its own may have the options of whichever choice it names, which no editor checks.
    """
    made = copy.deepcopy(schema())
    _loosen(made)
    for choices in all_choices():
        below = made["properties"][choices.section]["properties"][choices.key]
        below.pop("propertyNames", None)
        below["properties"] = {name: _for_editor(choices, name) for name in registry.choices(choices.package)}
        below["additionalProperties"] = choices.named_by is not None and {
            "type": "object",
            "properties": choices.keys(),
        }
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "A study of chemsieve"}
    return head | _with_patterns(made)


def _for_editor(choices: Choices, name: str) -> Json:
    rules = choices.rules(name)
    if choices.named_by is not None:
        del rules["additionalProperties"]
    return {"description": _first_line(choices, name)} | rules


def _loosen(section: Json) -> None:
    """Let any key of a section and of the sections in it be left out."""
    section.pop("required", None)
    for part in section.get("properties", {}).values():
        _loosen(part)


def _javascript(pattern: str) -> str:
    """A pattern as editors read it, for which there is no end of the text but the line's."""
    return pattern.replace(r"\Z", "$")


def _with_patterns(part: Any) -> Any:
    """A schema with its patterns as editors read them."""
    if isinstance(part, dict):
        return {
            key: _javascript(value) if key == "pattern" and isinstance(value, str) else _with_patterns(value)
            for key, value in part.items()
        }
    return [_with_patterns(item) for item in part] if isinstance(part, list) else part


def _first_line(choices: Choices, name: str) -> str:
    return _document(registry.load(choices.package, name)).partition("\n")[0]


# -- the reference page ------------------------------------------------------------------------------------------------

_INTRODUCTION = f"""
# Configuration

Every key with its type, its default and what it means. The defaults are those of the embedded study;
[config.yaml](../config.yaml) is the same as a file to read from top to bottom. A study of yours is an overlay that
changes some keys: a file (`--configfile studies/mine.yaml`; several are laid over each other), or the command line
(`--config 'target={{path: my_target.csv}}'`), which wins. An unknown key or an impossible value stops with one sentence
before anything runs. Editors with a YAML language server complete and check files that begin with
`# yaml-language-server: $schema=` and the path of [this JSON Schema](../resources/config.schema.json).

{_MADE}
"""


def page() -> str:
    """The reference page, in Markdown."""
    plain = [name for name, field in Configuration.model_fields.items() if _section(field) is None]
    parts = [_INTRODUCTION, "## Top level", _table(Configuration, plain), *_entry_tables(Configuration, "")]
    for name, field in Configuration.model_fields.items():
        if section := _section(field):
            parts += _described(section, name, "##")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _described(section: type[Section], path: str, heading: str) -> Iterator[str]:
    """A section of the page: what it is, its keys, its parts, the options of its choices."""
    yield f"{heading} {path}"
    yield _prose(_document(section))
    yield _table(section, list(section.model_fields))
    for name, field in section.model_fields.items():
        if isinstance(field.default_factory, Written):
            yield f"Default of `{path}.{name}`:"
            yield f"```\n{field.default_factory.text}\n```"
    yield from _entry_tables(section, f"{path}.")
    for choices in all_choices():
        if choices.section == path:
            yield f"Options of the entries of `{path}.{choices.key}`, by choice:"
            yield _options(choices)
    for name, field in section.model_fields.items():
        if nested := _section(field):
            yield from _described(nested, f"{path}.{name}", "###")


def _entry_tables(model: type[BaseModel], path: str) -> Iterator[str]:
    """Tables of what a key has several of, or what it has where it is not null."""
    for name, field in model.model_fields.items():
        for entry in _models_in(field.annotation) if _section(field) is None else ():
            yield f"In `{path}{name}`:"
            yield _table(entry, list(entry.model_fields))
            yield from _entry_tables(entry, f"{path}{name}.")


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _table(model: type[BaseModel], names: Sequence[str]) -> str:
    rules = json_schema(model)
    rows = []
    for name in names:
        field, given = model.model_fields[name], rules["properties"][name]
        section = _section(field)
        if "default" in given:
            default = f"`{_flow(given['default'])}`"
        elif isinstance(field.default_factory, Written):
            default = "below"
        else:
            default = "required" if field.is_required() else ""
        kind = "section" if section is not None else _kind(given)
        rows.append([f"`{name}`", kind, default, _prose(_comment(section, field))])
    return _markdown(["key", "type", "default", "meaning"], rows)


def _options(choices: Choices) -> str:
    rows = []
    for name, rules in (choices.keys()).items():
        rows.append(["any", f"`{name}`", _kind(rules), "", _prose(rules.get("description", ""))])
    for choice in registry.choices(choices.package):
        rows.append([f"`{choice}`", "", "", "", _prose(_first_line(choices, choice))])
        for name, rules in registry.load(choices.package, choice).OPTIONS.items():
            default = f"`{_flow(rules['default'])}`" if "default" in rules else ""
            rows.append(["", f"`{name}`", _kind(rules), default, _prose(rules.get("description", ""))])
    return _markdown(["choice", "option", "type", "default", "meaning"], rows)


def _kind(rules: Json) -> str:
    """A JSON Schema in words."""
    if "enum" in rules or "const" in rules:
        return ", ".join(f"`{_flow(value)}`" for value in rules.get("enum", [rules.get("const")]))
    if "anyOf" in rules:
        return ", or ".join(map(_kind, rules["anyOf"]))
    kinds = rules["type"] if isinstance(rules["type"], list) else [rules["type"]]
    return ", or ".join(_WORDS[kind](rules) for kind in kinds)


def _number(word: str, rules: Json) -> str:
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return f"{word} {' and '.join(f'{said} {rules[key]}' for key, said in bounds.items() if key in rules)}".strip()


def _text(rules: Json) -> str:
    if "pattern" in rules:
        return f"text like `{_javascript(rules['pattern'])}`"
    return "one character" if rules.get("maxLength") == 1 else "text"


def _list(rules: Json) -> str:
    least, most = rules.get("minItems"), rules.get("maxItems")
    count = f" of {least}" if least and least == most else " of one or more" if least else ""
    return f"list{count}: {_kind(rules['items'])}"


def _mapping(rules: Json) -> str:
    if isinstance(inner := rules.get("additionalProperties"), dict):
        return f"by name: {_kind(inner)}"
    keys = ", ".join(f"`{name}`" for name in rules.get("properties", {}))
    return f"mapping of {keys}" if keys else "mapping"


_WORDS = {
    "integer": lambda rules: _number("integer", rules),
    "number": lambda rules: _number("number", rules),
    "string": _text,
    "boolean": lambda rules: "`true`, `false`",
    "null": lambda rules: "`null`",
    "array": _list,
    "object": _mapping,
}


def _prose(text: str) -> str:
    """Text in which nothing but code is marked up."""
    parts = re.split(r"(`[^`]*`)", text)
    plain = str.maketrans({"<": "&lt;", "*": r"\*"})
    return "".join(part if part.startswith("`") else part.translate(plain) for part in parts)


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# -- the command -------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or check them; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m chemsieve.study.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is out of date")
    chosen = parser.parse_args(arguments)
    stale = []
    for name, text in files().items():
        path = ROOT / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not chosen.check:
                write_text(path, text)
    for name in stale:
        print(
            f"{name}: not what chemsieve.study.sections says; run make reference"
            if chosen.check
            else f"{name}: written"
        )
    return int(chosen.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
