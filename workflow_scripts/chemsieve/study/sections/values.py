"""What sections of the configuration are made of: the kinds of values, and how a key is declared.

A section is a pydantic model. Type, default and description of a key stand there and nowhere else: ``config.yaml``, the
JSON Schema for editors and the reference page are made from them (:mod:`chemsieve.study.reference`), and what a user
writes is checked against their JSON Schema (:mod:`chemsieve.study.schema`). No step that computes imports these models,
because a step reruns when a module that it imports changes, and a changed description must rerun nothing.
"""

import textwrap
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema

Json = dict[str, Any]
Item = TypeVar("Item")


def _require_all(schema: Json) -> None:
    schema["required"] = sorted(schema["properties"])


class Section(BaseModel):
    """A section of the configuration: all its keys are there, as ``config.yaml`` has them all, and no other."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_require_all, defer_build=True)


class Entry(BaseModel):
    """A part of which there may be several or none: what has a default may be left out."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class Written:
    """A default as it stands in ``config.yaml``, with comments among its entries."""

    def __init__(self, text: str):
        self.text = textwrap.dedent(text).strip()

    def __call__(self) -> Json:
        import yaml

        return yaml.safe_load(self.text)


def key(default: Any, description: str, examples: list[Any] | None = None) -> Any:
    """Declare a key of a section: its default (:class:`Written` for one with comments in it) and what it means.

    The description follows the key in ``config.yaml`` as a comment, so that it begins in lower case.
    """
    if isinstance(default, Written):
        return Field(default_factory=default, description=description, examples=examples)
    return Field(default, description=description, examples=examples)


def required(description: str) -> Any:
    """Declare a key of an entry that must be there."""
    return Field(description=description)


def optional(description: str) -> Any:
    """Declare a key of an entry that may be left out and has no default, which is no value that it may have."""
    return Field(default=None, description=description, json_schema_extra=_forget_default)


def _forget_default(schema: Json) -> None:
    schema.pop("default")


Text = Annotated[str, Field(min_length=1)]
Character = Annotated[str, Field(min_length=1, max_length=1)]
Count = Annotated[int, Field(ge=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
ProperShare = Annotated[float, Field(gt=0, lt=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Distinct = Annotated[list[Item], Field(json_schema_extra={"uniqueItems": True})]
Several = Annotated[list[Item], Field(min_length=1, json_schema_extra={"uniqueItems": True})]

# $ would let a newline at the end pass; file systems end at 255.
NAME: Json = {"type": "string", "pattern": r"^[A-Za-z0-9_]+\Z", "maxLength": 100}
STUDY: Json = NAME | {"pattern": r"^[A-Za-z0-9_][A-Za-z0-9_-]*\Z"}
Name = Annotated[str, WithJsonSchema(NAME)]
StudyName = Annotated[str, WithJsonSchema(STUDY)]
Sha256 = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^[0-9a-f]{64}\Z"})]
Revision = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^[0-9a-f]{40}\Z"})]
# By name; their options are those of the module that each is of, and are checked against it.
Entries = Annotated[
    dict[str, Json],
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "object"}, "propertyNames": NAME}),
]


class _Generator(GenerateJsonSchema):
    """Keywords as they are written, since of two mistakes in one value the first is said; defaults, which are plain."""

    def sort(self, value: Json, parent_key: str | None = None) -> Json:
        return value

    def encode_default(self, dft: Any) -> Any:
        return dft


def json_schema(model: type[BaseModel]) -> Json:
    """JSON Schema of a section, in which each key is described in its place and in full.

    pydantic's own refers to parts by name, and makes two alternatives of a value that may be null, of which a mistake
    would only be said to fit neither.
    """
    made = model.model_json_schema(schema_generator=_Generator)
    return _plain(made, made.pop("$defs", {}))


def keys_of(model: type[BaseModel]) -> Json:
    """JSON Schema of a section of which any keys may be given, to be laid over another's."""
    return {name: part for name, part in json_schema(model).items() if name not in ("required", "description")}


def _plain(part: Any, definitions: Json) -> Any:
    if isinstance(part, list):
        return [_plain(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        part = definitions[part["$ref"].rpartition("/")[2]] | part
    part = {name: _plain(item, definitions) for name, item in part.items() if name != "$ref"}
    if isinstance(part.get("title"), str):
        del part["title"]
    if part.get("additionalProperties") is True:
        del part["additionalProperties"]
    if "enum" in part:
        part.pop("type", None)  # so that a value of another type is answered with the choices, too
    if "required" in part and "additionalProperties" in part:
        part["required"] = part.pop("required")  # behind: a key that is missing may be the unknown one, mistyped
    match part.get("anyOf"):
        case [{"type": str(kind)} as given, {"type": "null"}]:
            del part["anyOf"]
            part = given | {"type": [kind, "null"]} | part
    return part
