"""Sections on predictions, statistics and on how a study runs."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from chemsieve.runtime.tracking import TRACKERS
from chemsieve.study.sections.data import ENCODING, FORMAT, SMILES, Format
from chemsieve.study.sections.values import (
    Character,
    Count,
    Distinct,
    NonNegative,
    Positive,
    ProperShare,
    Section,
    Seed,
    Several,
    Text,
    key,
)

Tracker = Annotated[str, WithJsonSchema({"enum": sorted(TRACKERS)})]


class Predict(Section):
    """The chosen model as a folder (the target export_model) and on new molecules (the target predict)."""

    model: Text = key(
        "best",
        "best (the configuration with the lowest validation RMSE in the mean of the splits), best_language_model (the "
        "best of those), mean (of that one and the best descriptor model), a configuration (adapted/full/none), or a "
        "run_id of the metrics table",
    )
    input: str | None = key(None, "a file of molecules, read as target.path is")
    format: Format = key("auto", FORMAT)
    smiles: Text = key("smiles", SMILES)
    delimiter: Character = key(",", "of the file where it is csv, and of the predictions")
    encoding: Text = key("utf-8", ENCODING + "; predictions are written in it too")
    decimal: Literal[".", ","] = key(".", 'mark of the decimals in the predictions; "," for 1,5')
    coverage: ProperShare = key(
        0.9, "of the conformal interval, calibrated on half of the test molecules and checked on the other half"
    )
    uncertainty: Literal["auto", "dropout", "features", "none"] = key(
        "auto", "dropout, features (draws of the random features), none, or auto: the first that the model has"
    )
    passes: Annotated[int, Field(ge=2)] = key(10, "networks thinned by dropout, or draws")
    seed: Seed = key(0, "of what dropout removes")
    chunk: Count = key(4096, "rows in memory at a time")


class Statistics(Section):
    """How differences of test RMSE are judged (docs/statistics.md)."""

    margin: Positive = key(
        0.05,
        "a difference that matters in practice, in the unit of the label; state it before you see the errors",
    )
    compare: Several[Text] = key(
        ["selections", "descriptors"],
        "the study's questions, which share alpha equally: selections, adaptation, methods, descriptors, uses, "
        "descriptor_selections, or single comparisons as the table names them; all others are exploratory. The fewer, "
        "the more each can tell; a target of your own is asked about adaptation too",
        examples=[["influence vs random", "adaptation"]],
    )
    alpha: Annotated[float, Field(gt=0, lt=0.5)] = key(
        0.05, "error probability of all questions together, so of any false statement on the report's first screen"
    )
    looks: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=2)] | None = key(
        None,
        "numbers of replicates (splits, or training seeds where there is one) at which a study that grows is looked "
        "at: `chemsieve settle` goes from each to the next until the questions are answered. Each look has a share of "
        "alpha, so that all together have alpha; null: one look",
        examples=[[3, 6, 12]],
    )
    power: Annotated[float, Field(gt=0.5, lt=1)] = key(
        0.8, "of the smallest detectable difference, and of the replicates that would be needed"
    )


class Tracking(Section):
    """Curves of training runs, as files below results/<study>/tracking; no number depends on it, nothing reruns."""

    run: Distinct[Tracker] = key([], "tensorboard, wandb (Weights & Biases), mlflow: each where it is installed")


class Compute(Section):
    """How jobs run on a machine."""

    device: Literal["auto", "cpu", "cuda"] = key("auto", "auto, cpu or cuda")
    threads: Count = key(1, "torch threads per job; results depend on it, so it does not follow --cores")
    warm_start: bool = key(True, "import torch and transformers once per run on this machine, not once per job")
    save_every: NonNegative | None = key(
        30, "seconds of training that a kill can cost (docs/resuming.md); 0: a step; null: the whole training"
    )
