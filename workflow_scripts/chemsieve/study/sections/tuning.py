"""Section on tuning: the learning rate of fine-tuning methods, chosen before they train."""

from typing import Annotated, Literal

from pydantic import Field

from chemsieve.study.sections.values import Distinct, Name, Section, key


class Tuning(Section):
    """The learning rate of each fine-tuning method, by as many trials for one as for another, on validation molecules.

    Successive halving: all rates train for a few epochs, the better half for twice as many (docs/methods.md).
    """

    run: Distinct[Name] | None = key(
        [],
        "methods that are tuned: full, and names of grid.run; null: all of these; []: none, so that each trains at the "
        "rate that stands with it",
    )
    trials: Annotated[int, Field(ge=2, le=64)] = key(
        8, "learning rates that each method tries, its own among them, evenly spaced on a logarithmic scale"
    )
    factor: Annotated[float, Field(gt=1, le=100)] = key(2.0, "of one learning rate over the next lower")
    splits: Literal["each", "first"] = key(
        "each", "on which splits: each for itself, or the first, whose choice then holds for all"
    )
