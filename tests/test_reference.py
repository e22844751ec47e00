"""The configuration is stated once: its models, and the files that are made from them, say the same."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator
from pydantic import BaseModel

from chemsieve import registry
from chemsieve.runtime import provenance
from chemsieve.study import reference
from chemsieve.study.schema import all_choices
from chemsieve.study.sections import Configuration
from chemsieve.study.sections.adaptation import Mlm
from chemsieve.study.sections.training import Finetune, Training
from chemsieve.study.sections.values import json_schema

ROOT = Path(__file__).parent.parent
WRITTEN = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
OVERLAYS = sorted((ROOT / "studies").glob("*.yaml"))
EDITORS = json.loads((ROOT / "resources" / "config.schema.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")


def models(model: type[BaseModel] = Configuration) -> Iterator[type[BaseModel]]:
    """A model and all that are below it."""
    yield model
    waiting = [field.annotation for field in model.model_fields.values()]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from models(kind)
        waiting.extend(get_args(kind))


def test_the_files_are_what_the_models_say(capsys):
    assert reference.main(["--check"]) == 0, capsys.readouterr().out


def test_a_file_that_is_not_is_named_and_is_written_when_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reference, "ROOT", tmp_path)
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    stale = tmp_path / "docs" / "configuration.md"
    stale.write_text("old", encoding="utf-8")
    capsys.readouterr()
    assert reference.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "docs/configuration.md: not what chemsieve.study.sections says; run make reference"
    ]
    assert stale.read_text(encoding="utf-8") == "old"
    assert reference.main([]) == 0
    assert capsys.readouterr().out.splitlines() == ["docs/configuration.md: written"]
    assert stale.read_text(encoding="utf-8") == PAGE


# -- config.yaml -------------------------------------------------------------------------------------------------------


def test_the_file_holds_the_defaults_in_their_types_and_order():
    assert json.dumps(WRITTEN) == json.dumps(Configuration().model_dump())


def test_the_defaults_are_values_that_their_keys_may_have():
    Configuration.model_validate(WRITTEN, strict=True)


def test_every_key_is_described():
    assert [
        f"{model.__name__}.{name}"
        for model in models()
        for name, field in model.model_fields.items()
        if not (field.description or field.annotation.__doc__)  # of a section, its docstring
    ] == []


def test_every_key_with_a_description_is_explained_where_it_first_stands():
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    for key, field in Training.model_fields.items():
        assert re.search(rf"^  {key}: \S+ # {re.escape(field.description[:30])}", text, re.MULTILINE), key
    finetune = text.split("\nfinetune:")[1].split("\n\n")[0]
    assert {"batch_size", "patience"} <= set(re.findall(r"^  (\w+): \S+$", finetune, re.MULTILINE))
    assert max(map(len, text.splitlines())) <= 120


def test_the_lines_of_a_long_comment_are_comments():
    below = reference._commented("  key: 1", "word " * 30 + "end", "  ")
    above = reference._commented("  key: 1", "word " * 80 + "end; for example {a: 1}", "  ")
    assert below[0].startswith("  key: 1 # word")
    assert all(line.startswith("  # word") for line in below[1:])
    assert above[0].startswith("  # Word")
    assert above[-3].endswith("end; for example:")
    assert above[-2:] == ["  # {a: 1}", "  key: 1"]
    assert yaml.safe_load("\n".join(below)) == yaml.safe_load("\n".join(above)) == {"key": 1}


@pytest.mark.parametrize(
    ("value", "written"),
    [(1e-5, "1.0e-05"), (None, "null"), (",", '","'), (".", '"."'), ("", '""'), ("1", '"1"'), ("on", '"on"'),
     ("log units", "log units"), ("a: b", '"a: b"'), ([0.8, "none", "no"], "[0.8, none, 'no']"),
     ({"b": 1, "a": []}, "{b: 1, a: []}")],
)  # fmt: skip
def test_a_value_is_written_as_yaml_reads_it(value, written):
    assert reference._flow(value) == written
    assert yaml.safe_load(written) == value


def test_examples_are_values_that_their_keys_may_have():
    found = 0
    for model in models():
        rules = json_schema(model)["properties"]
        for name, field in model.model_fields.items():
            for example in field.examples or []:
                Draft202012Validator(rules[name]).validate(example)
                found += 1
    assert found > 3


# -- the schema for editors --------------------------------------------------------------------------------------------


def test_editors_get_a_schema_of_the_draft_that_they_know():
    assert EDITORS["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(EDITORS)
    assert "\\\\Z" not in json.dumps(EDITORS)  # in JavaScript the letter Z


@pytest.mark.parametrize("path", [ROOT / "config.yaml", *OVERLAYS], ids=lambda path: path.stem)
def test_editors_accept_every_study_and_are_pointed_to_the_schema(path):
    text = path.read_text(encoding="utf-8")
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)[1]
    assert (path.parent / named).resolve() == ROOT / "resources" / "config.schema.json"
    Draft7Validator(EDITORS).validate(yaml.safe_load(text) or {})


@pytest.mark.parametrize(
    "overlay",
    [
        {"finetune": {"epoch": 3}},
        {"finetune": {"dropout": {"heads": 0.1}}},
        {"study": "my study"},
        {"target": {"format": "xlsx"}},
        {"influence": {"estimators": {"cg": {"dampng": 1}}}},
        {"influence": {"estimators": {"lisa": {}}}},
        {"selection": {"strategies": {"mine": {"strategy": "diversty"}}}},
        {"selection": {"strategies": {"random": {"budget": {"counts": 3}}}}},
        {"grid": {"methods": {"lora": {"rank": 0}}}},
        {"baselines": {"methods": {"svr": {"C": 0}}}},
        {"split": {"options": {"butina": {"cut": 1}}}},
        {"published": {"figures": [{"what": "x", "printed": 1, "measure": "msee"}]}},
    ],
    ids=json.dumps,
)
def test_editors_see_a_mistake(overlay):
    assert not Draft7Validator(EDITORS).is_valid(overlay)


def test_editors_accept_entries_under_names_of_their_own():
    strategies = {"influence_64": {"strategy": "influence", "budget": {"count": 64}}}
    methods = {"lora_r4": {"method": "lora", "rank": 4, "training": {"epochs": 2}}}
    Draft7Validator(EDITORS).validate({"selection": {"strategies": strategies}, "grid": {"methods": methods}})


# -- the reference page ------------------------------------------------------------------------------------------------


def test_the_page_has_every_key_and_every_option_of_every_choice():
    for model in models():
        for name in model.model_fields:
            assert f"| `{name}` |" in PAGE or f"\n## {name}\n" in PAGE, f"{model.__name__}.{name}"
    for choices in all_choices():
        table = PAGE.split(f"of `{choices.section}.{choices.key}`, by choice:\n\n")[1].split("\n\n")[0]
        found: dict[str, list[str]] = {}
        for choice, option in re.findall(r"^\| (?:`(\w+)`)? \| (?:`(\w+)`)? \|", table, re.MULTILINE):
            if choice:
                found[choice] = []
            elif found:
                found[list(found)[-1]].append(option)
        options = {name: registry.load(choices.package, name).OPTIONS for name in registry.choices(choices.package)}
        assert found == {name: list(given) for name, given in options.items()}


def test_the_page_says_types_in_words():
    said = {
        "integer at least 1": {"type": "integer", "minimum": 1},
        "number above 0 and below 1, or `null`": {
            "type": ["number", "null"], "exclusiveMinimum": 0, "exclusiveMaximum": 1,
        },
        "`a`, `null`": {"enum": ["a", None]},
        "list of 3: number": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3},
        "list of one or more: text": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "text like `^a$`": {"type": "string", "pattern": r"^a\Z"},
        "one character": {"type": "string", "minLength": 1, "maxLength": 1},
        "by name: mapping of `a`": {
            "type": "object", "additionalProperties": {"type": "object", "properties": {"a": {}}},
        },
        "number, or `scale`": {"anyOf": [{"type": "number"}, {"const": "scale"}]},
    }  # fmt: skip
    assert {reference._kind(rules): rules for rules in said.values()} == said


def test_every_table_of_the_page_is_one():
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(columns) == 1, table
    assert "results/<" not in PAGE  # it would be taken for a tag


# -- models ------------------------------------------------------------------------------------------------------------


def test_a_key_that_a_section_inherits_may_have_a_default_of_its_own():
    assert list(Mlm.model_fields)[:2] == ["masking", "held_out"]
    assert (Mlm().patience, Finetune().patience) == (2, 3)
    assert Mlm.model_fields["patience"].description == Finetune.model_fields["patience"].description


def test_no_step_depends_on_the_models():
    """A step reruns when a module that it imports changes, and a description that is put better must rerun nothing."""
    sections = ROOT / "workflow_scripts" / "chemsieve" / "study" / "sections"
    for script in sorted((ROOT / "workflow_scripts").glob("*.py")):
        seen, waiting = set(), [script.resolve()]
        while waiting:
            path = waiting.pop()
            if path not in seen:
                seen.add(path)
                waiting.extend(provenance._imports(path))
        assert not [path for path in seen if sections.resolve() in path.parents], script.name


def test_the_schema_is_of_what_is_written_and_of_nothing_that_lies_beside_it():
    """Checked with pydantic itself, the other reader of the models."""
    wrong = copy.deepcopy(WRITTEN)
    wrong["finetune"]["dropout"]["head"] = None
    wrong["compute"]["gpu"] = 1
    errors = {error.json_path for error in Draft202012Validator(json_schema(Configuration)).iter_errors(wrong)}
    assert errors == {"$.finetune.dropout.head", "$.compute"}
    with pytest.raises(ValueError, match="2 validation errors"):
        Configuration.model_validate(wrong)
