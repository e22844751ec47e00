"""Sections on influence: its estimators, and whether their scores predict retraining."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from chemsieve import registry
from chemsieve.influence.parameter_subsets import SUBSETS
from chemsieve.study.sections.training import Overrides
from chemsieve.study.sections.values import (
    Count,
    Distinct,
    Entries,
    Positive,
    Probability,
    ProperShare,
    Section,
    Seed,
    Several,
    Written,
    key,
)

Estimator = Annotated[str, WithJsonSchema({"enum": registry.choices("influence.estimators")})]
Origin = Literal["baseline", "adapted"]
Start = Literal["encoder", "regressor"]
START = "encoder: the adapted encoder with a fresh head; regressor: the fine-tuned adapted regressor"


ESTIMATORS = Written("""
exact: {damping: null, refinements: 0, check: null, iterations: 30, tolerance: 0.01} # check: measure the residual;
# null: where its estimate is too large
shapley: {damping: 1.0, permutations: 400}
greedy: {damping: 1.0}
lissa: {depth: 16, repeats: 1, damping: 0.01, scale: null, batch_size: 8} # scale null: measured at each checkpoint
cg: {damping: 1.0, iterations: 8, tolerance: 0.05}
metagradient: {replay: selection, weight: 0.5, points: 1, every: null} # docs/metagradient.md
""")


class Gram(Section):
    """The matrix of all products of gradients, which exact, shapley and greedy work on."""

    tolerance: Probability = key(
        0.01, "share of the squared gradients to leave out (1e-3: scores to three digits; 0: nothing)"
    )
    rank: Count | None = key(None, "at most so many directions on each side of a layer")
    basis: Literal["principal", "random"] = key("principal", "or random: seeded Gaussian directions")
    largest: Count = key(
        6000, "molecules in the matrix; what does not fit is dealt with otherwise (docs/influence.md, under Large sets)"
    )
    memory_mb: Count = key(700, "for activations and slices of gradients")


class Influence(Section):
    """What each pool molecule does to the validation loss, at each kept checkpoint."""

    run: Distinct[Estimator] = key(["exact", "shapley"], "estimators to run at each kept checkpoint")
    origins: Distinct[Origin] = key(["adapted"], "models at which they run")
    aggregate: Literal["mean", "last", "learning_rate"] = key(
        "mean", "over checkpoints: mean, last, or learning_rate (weighted by it, as TracIn)"
    )
    parameters: Annotated[str, WithJsonSchema({"enum": list(SUBSETS)})] = key(
        "all", "whose gradients count: all, attention or head"
    )
    hessian_molecules: Count | None = key(
        64, "training molecules that define the curvature for lissa and cg; null: all"
    )
    batch_size: Count = key(16, "of molecules in one pass; bounds memory, changes no result")
    tolerance: Positive = key(0.05, "relative residual at which a solution counts as converged")
    test_molecules: Annotated[int, Field(ge=0)] = key(
        0, "of so many test molecules the report says which pool molecules would lower or raise their error"
    )
    gram: Gram = Field(default_factory=Gram)
    estimators: Entries = key(
        ESTIMATORS,
        "options of each; damping null: chosen by cross-validation on the training molecules",
    )


class Validation(Section):
    """Whether a score predicts retraining (the target validate_influence)."""

    run: bool = key(True, "whether `all` includes it")
    replicates: Count = key(1, "the first so many (splitter, split seed, seed)")
    subsets: Annotated[int, Field(ge=6)] = key(
        6, "random subsets of the pool; with few the interval is wide, and says so"
    )
    fraction: ProperShare = key(0.5, "of the pool in each")
    seeds: Several[Seed] = key([0], "trainings per subset; two or more show how far any score could get")
    start: Start = key("regressor", START)
    noise: bool = key(False, "dropout and fresh random features in these trainings; they hide what a subset does")
    training: Overrides = key({"epochs": 3, "learning_rate": 0.0001}, "keys that override those of finetune")
