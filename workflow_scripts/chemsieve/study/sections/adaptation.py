"""The section on adaptation: on which molecules, by which objectives."""

from typing import Literal

from pydantic import Field

from chemsieve.study.sections.encoder import VectorTable
from chemsieve.study.sections.training import MASKING, Training
from chemsieve.study.sections.values import (
    Distinct,
    NonNegative,
    ProperShare,
    Section,
    Several,
    Share,
    Text,
    Written,
    key,
)

CRIPPEN = Written("""
[MolLogP, MolMR, SlogP_VSA*, SMR_VSA*, BCUT2D_LOGP*, BCUT2D_MR*, qed]
""")


class Objectives(Section):
    """Weights of the losses whose sum adaptation lowers; what has the weight 0 is not learned."""

    mlm: NonNegative = key(1.0, "masked tokens (cross-entropy)")
    descriptors: NonNegative = key(
        0.0, "RDKit descriptors, standardised over the molecules adapted on (squared error, as of the next two)"
    )
    morgan: NonNegative = key(0.0, "logarithms of the counts of Morgan fragments, radius 2, folded to 1,024")
    teacher: NonNegative = key(0.0, "the vectors of mlm.teacher")


class Masking(Section):
    """What adaptation is told beside."""

    masking: ProperShare = key(0.15, MASKING)
    held_out: ProperShare = key(0.1, "fraction of the training molecules that decides when to stop")
    objectives: Objectives = Field(default_factory=Objectives)
    molecules: Literal["training", "training_and_pool"] = key(
        "training",
        "those adapted on: training molecules alone, or with the structures of the pool's; no label is read",
    )
    descriptors: Several[Text] | None = key(
        None,
        "names of the descriptors to learn, null for all; * stands for any characters",
        examples=[["TPSA", "fr_*"]],
    )
    descriptors_left_out: Distinct[Text] = key(
        CRIPPEN,
        "those not to learn after all. Of these the embedded study's label is made (Crippen's contributions); with a "
        "measured label take []",
    )
    teacher: VectorTable | None = key(
        None,
        "the table of vectors, as pretrain.targets has them",
        examples=[{"path": "vectors", "smiles": "smiles", "vector": "vector"}],
    )
    unmasked: Share = key(
        0.0,
        "share of a batch's molecules that stay whole: only what stands beside mlm is learned from them. All stay "
        "whole where mlm has the weight 0",
    )


class Mlm(Training, Masking):  # keys of the last base come first
    """Adaptation of the encoder: by masked-language modelling, and by what is computed of structures."""
