"""The section on figures of a published protocol, which the report prints beside the study's own."""

from typing import Annotated

from pydantic import WithJsonSchema

from chemsieve.study.published import MEASURES
from chemsieve.study.sections.values import Count, Entry, Text, optional, required

Measure = Annotated[str, WithJsonSchema({"enum": list(MEASURES)})]


class Run(Entry):
    """A run of this study."""

    origin: Text = required("baseline or adapted")
    method: Text = required("full, or a method of the grid")
    selection: Text = required("a strategy")


class Figure(Entry):
    """One number as it was published."""

    what: Text = required("of which model, in the words of the source")
    printed: float | None = required("the number; null: a chart, without numbers")
    measure: Measure = required("what the number is of")
    epoch: Count = optional("of which epoch, where the measure is of one")
    run: Run | None = optional("the run of this study that it compares with; null: none")
    leak: bool = optional("whether the published number is of molecules that something was chosen or trained by")
    remark: Text = optional("to print beside it")


class Published(Entry):
    """Figures of a published protocol."""

    source: Text = required("where they were published")
    leaks: list[Text] = required("what the published protocol let leak, a sentence each")
    differences: list[Text] = required("what this study does in another way, a sentence each")
    figures: list[Figure] = required("the numbers")
