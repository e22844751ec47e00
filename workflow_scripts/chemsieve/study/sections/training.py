"""Sections on training: what all trainings by epochs are told, and fine-tuning."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from chemsieve.study.sections.values import (
    Count,
    NonNegative,
    Positive,
    PositiveShare,
    Probability,
    Section,
    Several,
    Share,
    key,
    keys_of,
)

Precision = Literal["float32", "bfloat16", "auto"]

MASKING = "fraction of the tokens that are masked, and predicted"
BATCH_SIZE = "molecules of a step"
LEARNING_RATE = "the highest, after the warm-up"
WEIGHT_DECAY = "of AdamW"
WARMUP = "fraction of the steps over which the learning rate rises"
GRADIENT_CLIP = "largest norm of a step's gradient"
PATIENCE = "training stops after so many epochs without a fall of the validation loss; null: never before the last"
PRECISION = "of matrix products in training: float32, bfloat16, or auto: bfloat16 where the machine has it"


class Training(Section):
    """What a training by epochs is told."""

    epochs: Count = key(3, "passes over the training molecules, at most")
    batch_size: Count = key(16, BATCH_SIZE)
    batch_tokens: Count | None = key(
        None,
        "tokens of a step, padding included, in place of batch_size molecules: steps of about equal work, for a GPU; "
        "null: steps of batch_size molecules",
        examples=[8192],
    )
    learning_rate: Positive = key(0.0003, LEARNING_RATE)
    weight_decay: NonNegative = key(0.01, WEIGHT_DECAY)
    warmup: Share = key(0.1, WARMUP)
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"] = key(
        "linear", "of the learning rate: linear or cosine to 0, constant (without a warm-up), constant_with_warmup"
    )
    patience: Count | None = key(2, PATIENCE)
    minimum_delta: NonNegative = key(0.0, "a fall of the validation loss that is no larger counts as none")
    gradient_clip: Positive = key(1.0, GRADIENT_CLIP)
    group_by_length: bool = key(True, "batches of molecules of about one length, which are padded less")
    precision: Precision = key("auto", PRECISION)
    layer_decay: PositiveShare = key(1.0, "the learning rate of a layer over that of the layer above")
    average: Annotated[float, Field(gt=0, lt=1)] | None = key(
        None,
        "decay of a moving average of the weights, which is then what is validated and kept",
        examples=[0.99],
    )


class Regression(Training):
    """What the training of a regressor is told, which a method of the grid may change."""

    randomise: bool = key(False, "train on a fresh random SMILES of each molecule each time")
    writings: Count = key(1, "SMILES of a molecule whose predictions are averaged, on validation and test")
    draws: Count = key(
        1, "draws of the random features of linear attention over which predictions are averaged, likewise"
    )
    curriculum: Literal["length", None] = key(
        None, "length: short SMILES first, up to a length that grows by epoch to that of the longest"
    )
    head_epochs: Annotated[int, Field(ge=0)] = key(
        0, "epochs of a fresh head alone, on the encoder's output, before those of the whole"
    )
    head_learning_rate: Positive = key(0.001, "the highest in these")
    unfreeze: Count | None = key(
        None,
        "epochs after which the next layer down is trained too, from the head alone in the first (gradual unfreezing); "
        "null: all layers are trained from the first",
    )


# Keys of a regressor's training that stand in place of those of finetune.
Overrides = Annotated[dict[str, Any], WithJsonSchema(keys_of(Regression))]


class Dropout(Section):
    """Probabilities of dropout in fine-tuning; null: as the encoder's configuration says."""

    hidden: Probability | None = key(0.0, "in the encoder's layers")
    embedding: Probability | None = key(0.0, "of the encoder's embedding")
    head: Probability = key(0.2, "before the regression head")


class Head(Section):
    """What stands before the linear head: nothing, or layers or a kernel that see descriptors too."""

    descriptors: bool = key(False, "whether RDKit's descriptors are among the inputs, standardised")
    morgan: Annotated[int, Field(ge=0, le=2**20)] = key(
        0, "columns of the Morgan fingerprint (radius 2, log counts) among them; 0: none"
    )
    kernel: bool = key(
        False,
        "in place of the layers a Gaussian kernel to the training molecules, over all inputs and the encoder's output: "
        "kernel ridge regression, solved anew after each epoch, while the encoder is trained on held-out errors; "
        "at most 10,000 training molecules",
    )
    hidden: Count = key(256, "width of the two layers, where there are any")
    dropout: Probability = key(0.2, "between them")


class Finetune(Regression):
    """Full fine-tuning: baseline, adapted, and on each selection."""

    epochs: Count = key(5, "passes over the training molecules, at most")
    learning_rate: Positive = key(0.0003, LEARNING_RATE)
    patience: Count | None = key(3, PATIENCE)
    head_epochs: Annotated[int, Field(ge=0)] = key(
        30, "epochs of a fresh head alone, on the encoder's output, before those of the whole"
    )
    checkpoints: Several[Count] = key([5], "epochs whose weights are kept for influence (baseline and adapted)")
    dropout: Dropout = Field(default_factory=Dropout)
    head: Head = Field(default_factory=Head)
