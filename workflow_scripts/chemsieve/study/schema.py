"""What a configuration is checked against: the JSON Schema of its sections, and the options that each choice declares.

The options of a choice stand in its own module, as ``OPTIONS``, and are checked for the entries that name it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from chemsieve import registry
from chemsieve.study.sections import Configuration
from chemsieve.study.sections.selection import Budget, Featured
from chemsieve.study.sections.training import Regression
from chemsieve.study.sections.values import json_schema, keys_of

Json = dict[str, Any]
AFTER = {
    "type": "string",
    "description": "an entry with a budget, of a score for wrong labels: what it leaves out is set aside first, and "
    "cannot be chosen",
}


@cache
def schema() -> Json:
    """JSON Schema of the whole configuration, options of choices left open: :class:`Choices` has those."""
    return json_schema(Configuration)


@dataclass(frozen=True)
class Choices:
    """A key of the configuration below which stand options, by name of a choice of an extension point.

    Attributes:
        section, key: where in the configuration.
        package: the extension point.
        named_by: the key of an entry that names its choice, where the entry's own name is another; none: it never is.
        own: JSON Schema of the other keys of an entry that are no options of its choice.
    """

    section: str
    key: str
    package: str
    named_by: str | None = None
    own: Json = field(default_factory=dict)

    def keys(self) -> Json:
        """JSON Schemas of the keys that an entry of any choice may have."""
        naming = {self.named_by: {"enum": registry.choices(self.package)}} if self.named_by else {}
        return naming | self.own

    def rules(self, choice: str, given: Json | None = None, path: str = "") -> Json:
        """JSON Schema of an entry of such a choice, in which any keys may be left out.

        Args:
            given: the entry, whose options may decide what others there are.
            path: where in the configuration it stands.

        Raises:
            ChemsieveError: the choice refuses what is given.
        """
        module = registry.load(self.package, choice)
        narrowed = getattr(module, "narrowed", None) if given is not None else None
        options = narrowed(given, path) if narrowed else module.OPTIONS
        return {"type": "object", "properties": options | self.keys(), "additionalProperties": False}


@cache
def all_choices() -> tuple[Choices, ...]:
    """Every key of the configuration with options of choices."""
    training = {"training": keys_of(Regression) | {"description": "keys that stand in place of those of finetune"}}
    return (
        Choices("influence", "estimators", "influence.estimators"),
        Choices(
            "selection", "strategies", "selection", "strategy", {"budget": json_schema(Budget), "after": dict(AFTER)}
        ),
        Choices("use", "uses", "uses", "use"),
        Choices("grid", "methods", "methods", "method", training),
        Choices("baselines", "methods", "baselines", "model", keys_of(Featured)["properties"]),
        Choices("split", "options", "splitting"),
    )


@dataclass(frozen=True)
class Entry:
    """One configured entry with options.

    Attributes:
        path: where in the configuration it stands.
        options: all its keys, those that are no options of the choice included.
        name: of the choice, known or not.
        choices: what it is one of.
    """

    path: str
    options: Json
    name: str
    choices: Choices


def entries(config: Json) -> Iterator[Entry]:
    """Each entry of a configuration that has the options of a choice."""
    for choices in all_choices():
        for name, options in config[choices.section][choices.key].items():
            named = options.get(choices.named_by, name) if choices.named_by else name
            yield Entry(f"{choices.section}.{choices.key}.{name}", options, named, choices)
