"""Sections on the data: the target, the pool, the audit, the embedded molecules, the splits."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from chemsieve import registry
from chemsieve.data.reading import FORMATS, MOLECULES
from chemsieve.study.sections.values import (
    Character,
    Count,
    Entry,
    NonNegative,
    Section,
    Seed,
    Several,
    Sha256,
    Share,
    Text,
    key,
    required,
)

Source = Literal["embedded", "file"]
Format = Annotated[str, WithJsonSchema({"enum": ["auto", *FORMATS]})]
Splitter = Annotated[str, WithJsonSchema({"enum": registry.choices("splitting")})]

SOURCE = "embedded: made by this project; file: a file of yours, or a pinned download"
FORMAT = "csv (any delimited text), smi, sdf or parquet; auto: by the end of the path's name, csv by default"
SMILES = 'name of the SMILES column; of a csv or .smi file without a header its number, "1"; sdf needs none'
DELIMITER = 'of csv; "\\t" for tabs, ";" as spreadsheets write it where the comma is the decimal mark'
ENCODING = "of the text; cp1252 or utf-16 for spreadsheets that write those"
IDENTIFIER = (
    "column of the molecules' own names, kept in the tables and lists; auto: one found by its name (id, compound_id, "
    "chembl_id, cas, name, ...; sdf: else the title); null: none"
)
DECIMAL = 'mark of the label\'s decimals; "," for 1,5'
WHERE = (
    "use only rows that meet these conditions, by column: two numbers are a closed range (null: open at that end), "
    "another list is what the cell may be, one value what it must be"
)
RELATION = "column with the labels' relations (=, <, >, ~), as ChEMBL has it; they may also begin the label (<0.1)"
CENSORED = "labels that are limits (<, >): exclude them, or take them as if measured (at_limit)"
CENSORED_TARGET = (
    CENSORED + "; censored: in fine-tuning they are limits, with no loss on their right side, and descriptor models "
    "and influence leave them out"
)
MEASURED_IN = (
    "unit of the labels in the file (M, mM, uM, nM, pM; g/L, mg/L, ug/mL, ng/mL, by the molecular weight), or the "
    "column that says it: labels become mol/L"
)
TRANSFORM = "log10 or minus_log10: what the label is made into, of mol/L where measured_in is given (nM: pIC50)"
REPEATS = "the label of a molecule with several rows: that of the first, or the mean or median of all"
APART = (
    "molecules whose rows differ by more than this are left out; null: none is, and the audit lists those that differ "
    "by more than the labels' standard deviation"
)
UNUSUAL = (
    "what is hardly a molecule of the kind: without carbon, with a metal, a mixture of two, or with a label such as "
    "9999; flag: used, and counted in the audit; refuse: left out"
)


Condition = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": ["number", "string", "boolean", "array", "null"],
            "items": {"type": ["number", "string", "boolean", "null"]},
            "minItems": 1,
        }
    ),
]


class Download(Section):
    """One address of a table, with the columns as they are named there."""

    url: Annotated[str, WithJsonSchema({"type": "string", "pattern": "^https://"})] = required("where it is; https")
    smiles: Text = required("name of the SMILES column there")
    label: Text = required("name of the label column there")


class Molecules(Entry):
    """A file of molecules without labels."""

    path: Text = required("the file, gzipped or not")
    smiles: Text = key(MOLECULES["smiles"], SMILES)
    delimiter: Character = key(MOLECULES["delimiter"], DELIMITER)
    format: Format = key(MOLECULES["format"], FORMAT)
    encoding: Text = key(MOLECULES["encoding"], ENCODING)


class Target(Section):
    """The labelled molecules that the model is for."""

    source: Source = key("embedded", SOURCE)
    path: str | None = key(None, "the file (source: file), gzipped or not; a path given here wins over the downloads")
    format: Format = key("auto", FORMAT)
    smiles: Text = key("smiles", SMILES)
    label: Text = key("crippen_logp_with_noise", "name of the label column (sdf: of the data item)")
    identifier: Text | None = key("auto", IDENTIFIER)
    fold: str | None = key(None, "column with train, validation, test (for the splitter `column`)")
    delimiter: Character = key(",", DELIMITER)
    encoding: Text = key("utf-8", ENCODING)
    decimal: Literal[".", ","] = key(".", DECIMAL)
    where: dict[str, Condition] = key({}, WHERE, examples=[{"pH": [7.2, 7.6], "assay": "shake flask"}])
    relation: str | None = key(None, RELATION)
    censored: Literal["exclude", "at_limit", "censored"] = key("exclude", CENSORED_TARGET)
    measured_in: str | None = key(None, MEASURED_IN)
    transform: Literal["none", "log10", "minus_log10"] = key("none", TRANSFORM)
    repeats: Literal["first", "mean", "median"] = key("first", REPEATS)
    drop_if_apart: NonNegative | None = key(None, APART)
    unusual: Literal["flag", "refuse"] = key("flag", UNUSUAL)
    name: Text = key("Crippen logP (computed) with added noise", "what the label is, as the report says it")
    unit: str = key("log units", 'of the label; "" where it has none')
    binarise: Literal["mean", None] = key(
        None,
        "mean: cut the labels, 1 above the mean of the training labels and 0 else (one split; the pool's too)",
    )
    unlabelled: Molecules | None = key(
        None,
        "a file of further molecules that the model is for, without labels: v_optimal chooses for these too "
        "(docs/measure_next.md); test molecules have a part in that only where they are listed here",
        examples=[{"path": "library.csv", "smiles": "smiles"}],
    )
    downloads: list[Download] = key([], "where to get it otherwise: list of {url, smiles, label}")
    content_sha256: Sha256 | None = key(
        None, 'of the lines "smiles,label" with two decimals, in row order; checked where given'
    )


class Pool(Section):
    """The candidates: labelled molecules from elsewhere; read as the target is."""

    source: Source = key("embedded", SOURCE)
    path: str | None = key(None, "the file (source: file), gzipped or not")
    format: Format = key("auto", FORMAT)
    smiles: Text = key("smiles", SMILES)
    label: str | None = key("crippen_logp_with_noise", "name of the label column; not read with labels: unlabelled")
    identifier: Text | None = key("auto", IDENTIFIER)
    delimiter: Character = key(",", DELIMITER)
    encoding: Text = key("utf-8", ENCODING)
    decimal: Literal[".", ","] = key(".", DECIMAL)
    where: dict[str, Condition] = key({}, WHERE, examples=[{"pH": [7.2, 7.6], "assay": "shake flask"}])
    relation: str | None = key(None, RELATION)
    censored: Literal["exclude", "at_limit"] = key("exclude", CENSORED)
    measured_in: str | None = key(None, MEASURED_IN)
    transform: Literal["none", "log10", "minus_log10"] = key("none", TRANSFORM)
    repeats: Literal["first", "mean", "median"] = key("first", REPEATS)
    drop_if_apart: NonNegative | None = key(None, APART)
    unusual: Literal["flag", "refuse"] = key("flag", UNUSUAL)
    labels: Literal["as_given", "relabel_from_training", "unlabelled"] = key(
        "as_given",
        "relabel_from_training: from training molecules alone, by the rule that the audit finds (else the five nearest "
        "by ECFP4); unlabelled: not used, so that molecules are proposed and none is trained on; what needs labels is "
        "left out, and the run says so",
    )
    leaks: Literal["keep", "drop"] = key(
        "keep",
        "drop: leave out molecules whose labels were computed from validation or test labels, as the audit finds",
    )


class Audit(Section):
    """The audit of the data, before training; the tables audit*, nearest_training and pool_treatment."""

    molecules: Annotated[int, Field(ge=10)] = key(
        2000, "at most so many of a side, drawn at random, where all pairs or many rules are tried"
    )
    permutations: Count = key(999, "of the test whether pool and target differ in the encoder's embedding")


class Embedded(Section):
    """The project's own data: building blocks and reactions, a computed label."""

    targets: Count = key(2650, "molecules of the target")
    pool: Count = key(
        360,
        "molecules of the pool: a third like the targets, a third of other chemistry, a third with corrupted labels",
    )
    noise: NonNegative = key(0.3, "standard deviation of the noise added to Crippen logP")
    seed: Seed = key(0, "of the molecules that are chosen, and of the noise")


class Split(Section):
    """How the target is divided into training, validation and test molecules."""

    splitters: Several[Splitter] = key(
        ["draws"],
        "draws: disjoint training sets, one per seed, and one test fold (how many: options); random, scaffold, weight, "
        "maxmin, butina, fingerprint, column: as DeepChem 2.8.0 has them; cross_validation: seeds [0, ..., 24] are "
        "five times five folds (seed s: fold s % folds of repeat s // folds). A target of your own is divided by "
        "scaffold where nothing else is said; and splitters other than draws have the seeds [0] and the fractions "
        "[0.8, 0.1, 0.1] then",
    )
    seeds: Several[Seed] = key([0, 1, 2, 3, 4, 5, 6, 7], "each divides the target once more, by each splitter")
    fractions: Annotated[list[Share], Field(min_length=3, max_length=3)] = key(
        [0.12, 0.04, 0.84], "training, validation, test; of the molecules that one split sees"
    )
    group: Literal["parent", None] = key(
        None,
        "parent: molecules that differ in salt form, charge or stereochemistry alone go to one fold; the splitter then "
        "divides parents",
    )
    options: Annotated[
        dict[str, Any],
        WithJsonSchema({"type": "object", "propertyNames": {"enum": registry.choices("splitting")}}),
    ] = key({}, "per splitter", examples=[{"butina": {"cutoff": 0.6}}])
