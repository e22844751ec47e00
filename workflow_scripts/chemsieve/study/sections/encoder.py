"""Sections on the encoder: where it comes from, and how one is pretrained from a corpus."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from chemsieve import registry
from chemsieve.models.bundled import BUNDLED
from chemsieve.study.sections.data import Molecules
from chemsieve.study.sections.training import (
    BATCH_SIZE,
    GRADIENT_CLIP,
    LEARNING_RATE,
    MASKING,
    PRECISION,
    WARMUP,
    WEIGHT_DECAY,
    Precision,
)
from chemsieve.study.sections.values import (
    NAME,
    Count,
    Distinct,
    Entry,
    NonNegative,
    Positive,
    ProperShare,
    Revision,
    Section,
    Seed,
    Sha256,
    Share,
    Text,
    Written,
    key,
    optional,
    required,
)

Family = Annotated[str, WithJsonSchema({"enum": registry.choices("models.encoders")})]
Hashes = Annotated[
    dict[str, Sha256],
    Field(json_schema_extra={"propertyNames": {"enum": ["config.json", "model.safetensors", "tokenizer.json"]}}),
]


ARCHITECTURE = Written("""
hidden_size: 384
num_hidden_layers: 2
num_attention_heads: 6
intermediate_size: 384
num_random_features: 32 # attention: kernel beside it is what they estimate, in closed form: nothing is drawn
hidden_dropout_prob: 0.1
embedding_dropout_prob: 0.1
""")


class Encoder(Section):
    """The encoder that the regressors are made of."""

    family: Family = key("molformer", "molformer, or automodel for RoBERTa- and BERT-like encoders")
    path: str | None = key(
        BUNDLED,
        "a folder with config.json, model.safetensors, tokenizer.json; wins over the repository. bundled: the encoder "
        "that comes with the project (resources/encoder/README.md says what it is), where no repository is named; null "
        "without a repository: random weights",
    )
    repository: str | None = key(None, "a hub repository, at a pinned revision")
    revision: Revision | None = key(None, "the commit of the repository, 40 hex digits")
    sha256: Hashes = key({}, "expected hashes of its files, by their names")
    tokenizer: str | None = key(None, "a tokenizer.json to use instead of the encoder's own")
    stereo: bool = key(False, "whether the encoder reads stereochemistry (MoLFormer was pretrained without)")
    standardise: Literal["none", "parent", "tautomer"] = key(
        "none",
        "what is read in place of a molecule, in target, pool and predictions: none: it, as written; parent: its "
        "largest fragment, neutralised (salts stripped); tautomer: the canonical tautomer of that; by RDKit",
    )
    unknown_tokens: Literal["refuse", "flag"] = key(
        "refuse",
        "molecules of which the encoder does not know a part, or its tokenizer passes over it, so that it would read "
        "another molecule (a metal's charge, the < of a dative bond); flag: they are used, and counted",
    )
    max_tokens: Annotated[int, Field(ge=3)] | None = key(
        None, "a limit below the encoder's own (202 for MoLFormer); longer molecules are refused, not cut"
    )
    seed: Seed = key(0, "of random weights")
    architecture: dict[str, Any] = key(
        ARCHITECTURE,
        "of an encoder from random weights, and of one that is pretrained",
    )


class VectorTable(Entry):
    """A table of vectors to learn, a teacher's for example."""

    path: Text = required("a Parquet file, or a folder of such")
    smiles: Text = key("smiles", "name of the SMILES column")
    vector: Text = key("vector", "name of the column of number lists")


class Vectors(VectorTable):
    """A table of vectors that pretraining learns."""

    weight: NonNegative = key(1.0, "of their loss beside that of the masked tokens")
    required: bool = key(False, "leave molecules that it lacks out of training; false: they learn the rest")
    credit: Text = optional("what the model card says of their source")


class Pretrain(Section):
    """An encoder from a corpus (the target pretrain); its architecture is encoder.architecture."""

    corpus: str | None = key(None, "SMILES, one a line, plain or gzipped")
    limit: Annotated[int, Field(ge=2)] | None = key(None, "read so many lines only")
    held_out: ProperShare = key(
        0.01, "fraction of molecules, by InChIKey first block, that are measured on and never trained on"
    )
    properties: Distinct[Text] = key(
        [], "RDKit descriptors to predict beside the masked tokens", examples=[["TPSA", "MolWt"]]
    )
    properties_weight: NonNegative = key(1.0, "of their loss beside that of the masked tokens")
    targets: Annotated[dict[str, Vectors], Field(json_schema_extra={"propertyNames": NAME})] = key(
        {},
        "tables of vectors to predict beside them, a teacher's for example, each a Parquet file or a folder of such "
        "with a column of SMILES and one of number lists; molecules may be missing (required: true leaves these out)",
        examples=[
            {
                "minimol": {
                    "path": "vectors",
                    "smiles": "smiles",
                    "vector": "vector",
                    "weight": 1.0,
                    "credit": "what the card says of its source",
                }
            }
        ],
    )
    exclude: list[Molecules] = key(
        [],
        "files whose molecules are left out, salts and stereoisomers too; further keys of an entry are format, "
        "delimiter and encoding, as for target.path",
        examples=[[{"path": "test.csv", "smiles": "smiles"}]],
    )
    unmasked: Share = key(
        0.0, "share of a batch's molecules that stay whole: properties and targets alone are learned from them"
    )
    masking: ProperShare = key(0.15, MASKING)
    steps: Count = key(20000, "of training, a batch each")
    batch_size: Count = key(64, BATCH_SIZE)
    learning_rate: Positive = key(0.001, LEARNING_RATE)
    matrix_learning_rate: Positive | None = key(
        None,
        "that of the matrices of the encoder's layers, which Muon then steps; null: AdamW steps them as all the rest",
        examples=[0.02],
    )
    weight_decay: NonNegative = key(0.01, WEIGHT_DECAY)
    warmup: Share = key(0.02, WARMUP)
    final_rate: Share = key(0.1, "learning rate of the last step over the highest, to which it falls along a cosine")
    gradient_clip: Positive = key(1.0, GRADIENT_CLIP)
    precision: Precision = key("auto", PRECISION)
    evaluate_every: Count = key(500, "steps")
    evaluated: Count = key(4000, "held-out molecules, at most")
    save_every: Count = key(250, "steps; what a killed run can lose")
    seed: Seed = key(0, "of the weights, the masks and the order")
    half: bool = key(False, "store weights in half precision (they load as float32)")
    data: Text = key("a corpus of the user", "what the model card says of it")
    licence: Text = key("not stated", "of the weights, as the model card says it")
