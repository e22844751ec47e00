"""The Parquet tables: their columns, and how they are written and read.

Every table that a step writes is declared here, once. The declaration is written into the file as schema metadata
(description and unit of each column), so that a table explains itself.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from chemsieve.errors import ChemsieveError
from chemsieve.runtime.files import write_atomically

TEXT, INTEGER, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()


@dataclass(frozen=True)
class Column:
    """A column: Arrow type, description, unit, and whether a value may be missing."""

    type: pa.DataType
    description: str
    unit: str = ""
    nullable: bool = False


_MOLECULE = Column(TEXT, "source and 0-based row in its file, for example target-17")
_SPLIT = {
    "splitter": Column(TEXT, "how the target set was divided"),
    "split_seed": Column(INTEGER, "seed of the division"),
}
_SEED = Column(INTEGER, "training seed", nullable=True)
_RUN = Column(TEXT, "splitter/split_seed/seed/origin/method/selection")
_LABEL_UNIT = "unit of the label"
_UNREAD = Column(
    TEXT, "what the encoder does not know or its tokenizer passes over, divided by blanks; empty where it reads all"
)
_MAPPED = Column(FLAG, "whether the SMILES as given has atom maps, which all else is without")

TABLES: dict[str, dict[str, Column]] = {
    "molecules": {
        "molecule_id": _MOLECULE,
        "source": Column(TEXT, "target or pool"),
        "row": Column(INTEGER, "0-based row in its file"),
        "smiles": Column(TEXT, "SMILES as given"),
        "canonical_smiles": Column(TEXT, "RDKit canonical isomeric SMILES"),
        "encoder_smiles": Column(TEXT, "SMILES as the encoder reads it (stereochemistry by configuration)"),
        "inchikey": Column(TEXT, "standard InChIKey; empty where InChI has none"),
        "scaffold": Column(TEXT, "Bemis-Murcko scaffold without chirality; empty for acyclic molecules"),
        "label": Column(
            REAL, "label as given; missing where the pool's labels are not used", _LABEL_UNIT, nullable=True
        ),
        "tokens": Column(INTEGER, "encoder tokens, special tokens included", "tokens"),
        "unknown_tokens": Column(
            INTEGER, "parts of the encoder SMILES that the encoder does not know or its tokenizer passes over", "parts"
        ),
        "unread": _UNREAD,
        "mapped": _MAPPED,
    },
    "rejected": {
        "source": Column(TEXT, "target or pool"),
        "row": Column(INTEGER, "0-based row in its file"),
        "smiles": Column(TEXT, "SMILES as given"),
        "reason": Column(TEXT, "unparsable, dummy_atom, no_label, too_long, unknown_token, repeat, in_target"),
        "detail": Column(TEXT, "what exactly was found"),
        "unread": _UNREAD,
        "mapped": _MAPPED,
    },
    # The audit of the data.
    "audit": {
        "topic": Column(TEXT, "labels, identity, reading, splits, shift or treatment"),
        "severity": Column(TEXT, "leak, warning or note"),
        "splitter": Column(TEXT, "split that it is about; empty where it is about the files"),
        "split_seed": Column(INTEGER, "seed of that division", nullable=True),
        "finding": Column(TEXT, "what was found, in words"),
        "count": Column(INTEGER, "molecules that it concerns", nullable=True),
        "of": Column(INTEGER, "among so many", nullable=True),
    },
    "audit_identity": {
        **_SPLIT,
        "place": Column(TEXT, "pool (as accepted), validation or test"),
        "other": Column(TEXT, "where its molecules were looked for"),
        "level": Column(TEXT, "what two molecules have in common"),
        "molecules": Column(INTEGER, "molecules of the place that have an equal in the other"),
        "of": Column(INTEGER, "molecules of the place"),
    },
    "nearest_training": {
        "molecule_id": _MOLECULE,
        **_SPLIT,
        "fold": Column(TEXT, "validation, test or pool"),
        "nearest_id": Column(TEXT, "the most similar training molecule"),
        "similarity": Column(REAL, "Tanimoto similarity to it, ECFP4 of 2,048 bits, 0 to 1"),
    },
    "audit_labels": {
        "kind": Column(TEXT, "nearest neighbours, linear model or computed property"),
        "features": Column(TEXT, "fingerprint, or property"),
        "bits": Column(INTEGER, "bits of the fingerprint", nullable=True),
        "metric": Column(TEXT, "what orders neighbours, or the linear model"),
        "k": Column(INTEGER, "neighbours whose mean label is taken", nullable=True),
        "weighting": Column(TEXT, "uniform, or by one over the distance"),
        "map": Column(TEXT, "equal, or line: after a straight line"),
        "slope": Column(REAL, "slope of that line"),
        "intercept": Column(REAL, "its intercept", _LABEL_UNIT),
        "rows": Column(INTEGER, "pool labels that the rule determines: no tie, and not the molecule itself"),
        "matched": Column(INTEGER, "of those, labels that it gives to the last decimal"),
        "expected": Column(REAL, "how many it would give by chance, at its skill"),
        "p_value": Column(REAL, "probability of as many by chance, times the number of rules tried"),
        "found": Column(FLAG, "whether this is no accident"),
    },
    "label_sources": {
        "row": Column(INTEGER, "0-based row in the pool's file"),
        "label": Column(REAL, "label as given", _LABEL_UNIT),
        "reproduced": Column(REAL, "label that the rule gives, the earlier row counting among ties", _LABEL_UNIT),
        "match": Column(TEXT, "exact, within ties, or not reproduced"),
        "nearer": Column(pa.list_(INTEGER), "target rows that count in any case"),
        "nearer_labels": Column(pa.list_(REAL), "their labels", _LABEL_UNIT),
        "tied": Column(pa.list_(INTEGER), "target rows equally near, among which the rest was chosen"),
        "tied_labels": Column(pa.list_(REAL), "their labels", _LABEL_UNIT),
        "used": Column(pa.list_(INTEGER), "one choice of target rows that gives the label; the nearest if none does"),
    },
    "audit_shift": {
        "what": Column(TEXT, "property, or the encoder's embedding"),
        "target_mean": Column(REAL, "mean of the target", nullable=True),
        "target_sd": Column(REAL, "standard deviation of the target", nullable=True),
        "pool_mean": Column(REAL, "mean of the pool", nullable=True),
        "pool_sd": Column(REAL, "standard deviation of the pool", nullable=True),
        "standardised_difference": Column(REAL, "difference of the means over the deviation", nullable=True),
        "statistic": Column(REAL, "Kolmogorov-Smirnov; of the embedding the squared maximum mean discrepancy"),
        "p_value": Column(REAL, "p of no difference; of the embedding by permutation"),
        "target": Column(INTEGER, "target molecules compared"),
        "pool": Column(INTEGER, "pool molecules compared"),
    },
    "pool_treatment": {
        **_SPLIT,
        "labels": Column(TEXT, "as_given, relabel_from_training or unlabelled, as configured"),
        "leaks": Column(TEXT, "keep or drop, as configured"),
        "accepted": Column(INTEGER, "pool molecules accepted"),
        "computed": Column(INTEGER, "of those, molecules whose label the rule that was found gives"),
        "validation": Column(INTEGER, "labels that depend on a validation label, whatever the choice among ties"),
        "test": Column(INTEGER, "labels that depend on a test label, whatever the choice among ties"),
        "validation_used": Column(INTEGER, "labels that do by the choice that was found"),
        "test_used": Column(INTEGER, "labels that do by the choice that was found"),
        "rows": Column(INTEGER, "labelled rows of the pool's file, where a rule was found"),
        "validation_rows": Column(INTEGER, "of those, labels that depend on a validation label"),
        "test_rows": Column(INTEGER, "of those, labels that depend on a test label"),
        "dropped": Column(INTEGER, "molecules left out"),
        "relabelled": Column(INTEGER, "labels computed anew from training molecules"),
        "mean_change": Column(REAL, "mean change of a label by that", _LABEL_UNIT),
        "largest_change": Column(REAL, "largest change", _LABEL_UNIT),
        "kept": Column(INTEGER, "pool molecules that are used"),
    },
    "treatment": {
        **_SPLIT,
        "dropped": Column(INTEGER, "molecules left out"),
        "relabelled": Column(INTEGER, "labels computed anew from training molecules"),
        "mean_change": Column(REAL, "mean change of a label by that", _LABEL_UNIT),
        "largest_change": Column(REAL, "largest change", _LABEL_UNIT),
    },
    "splits": {"molecule_id": _MOLECULE, **_SPLIT, "fold": Column(TEXT, "train, validation or test")},
    "learning_curves": {
        "run_id": _RUN,
        "stage": Column(TEXT, "mlm or regression"),
        "epoch": Column(INTEGER, "epoch, from 1; 0 is before training"),
        "train_loss": Column(REAL, "mean training loss over the epoch (standardised labels)", nullable=True),
        "validation_loss": Column(REAL, "loss on held-out molecules (standardised labels)"),
        "validation_rmse": Column(REAL, "validation RMSE", _LABEL_UNIT, nullable=True),
        "learning_rate": Column(REAL, "learning rate at the end of the epoch", nullable=True),
        "gradient_norm": Column(REAL, "mean gradient norm before clipping", nullable=True),
        "seconds": Column(REAL, "wall time of the epoch, validation included", "s", nullable=True),
        "evaluation_seconds": Column(REAL, "wall time of its pass over the held-out molecules", "s", nullable=True),
        "masked_accuracy": Column(REAL, "fraction of masked tokens found, for the stage mlm", nullable=True),
    },
    "metrics": {
        "run_id": _RUN,
        "study": Column(TEXT, "name of the study"),
        **_SPLIT,
        "seed": _SEED,
        "origin": Column(TEXT, "baseline, adapted or descriptors"),
        "method": Column(TEXT, "full, bitfit, lora, ia3, svr, gradient_boosting, ..."),
        "selection": Column(TEXT, "strategy whose pool molecules were added; none and all are controls"),
        "n_train": Column(INTEGER, "training molecules, selected ones included"),
        "n_selected": Column(INTEGER, "pool molecules among them"),
        "trainable_parameters": Column(INTEGER, "parameters that training changed", nullable=True),
        "total_parameters": Column(INTEGER, "parameters of the model", nullable=True),
        "fold": Column(TEXT, "validation or test"),
        "mse": Column(REAL, "mean squared error", f"squared {_LABEL_UNIT}"),
        "rmse": Column(REAL, "root mean squared error", _LABEL_UNIT),
        "mae": Column(REAL, "mean absolute error", _LABEL_UNIT),
        "r2": Column(REAL, "coefficient of determination; missing where labels are constant", nullable=True),
        "spearman": Column(REAL, "Spearman correlation; missing where either side is constant", nullable=True),
        "best_epoch": Column(INTEGER, "epoch with the lowest validation loss, which was restored", nullable=True),
        "epochs": Column(INTEGER, "epochs run", nullable=True),
        "train_seconds": Column(REAL, "wall time of training", "s"),
        "peak_memory_mb": Column(REAL, "peak resident memory of the process", "MB"),
        "device": Column(TEXT, "cpu or the GPU's name"),
        "precision": Column(TEXT, "of the matrix products in training: float32, bfloat16 or float64"),
        "threads": Column(INTEGER, "torch's threads; missing for descriptor models", "threads", nullable=True),
        "instruction_set": Column(TEXT, "of the processor, and limits that the environment set on its use"),
    },
    "failures": {
        "rule": Column(TEXT, "step that gave no result"),
        "part": Column(TEXT, "its place on the study's axes: splitter, split seed, seed, ..."),
        "reason": Column(TEXT, "why, as the step that failed said it"),
        "cause": Column(TEXT, "step whose result was needed; empty where the step itself failed"),
        "log": Column(TEXT, "log of the step that failed"),
        "file": Column(TEXT, "where its mark stands; empty where it left none"),
    },
    "predictions": {
        "run_id": _RUN,
        "molecule_id": _MOLECULE,
        "fold": Column(TEXT, "validation or test"),
        "label": Column(REAL, "label", _LABEL_UNIT),
        "prediction": Column(REAL, "prediction", _LABEL_UNIT),
    },
    "influence": {
        "molecule_id": _MOLECULE,
        **_SPLIT,
        "seed": _SEED,
        "origin": Column(TEXT, "baseline or adapted"),
        "checkpoint": Column(INTEGER, "epoch of the checkpoint; -1 is the aggregate over checkpoints"),
        "estimator": Column(TEXT, "how the inverse Hessian was applied"),
        "influence": Column(REAL, "I(z) = -grad L(validation)^T H^-1 grad L(z); positive raises the validation loss"),
        "expected_gain": Column(REAL, "-I(z): positive lowers the validation loss"),
    },
    "influence_diagnostics": {
        **_SPLIT,
        "seed": _SEED,
        "origin": Column(TEXT, "baseline or adapted"),
        "checkpoint": Column(INTEGER, "epoch of the checkpoint"),
        "estimator": Column(TEXT, "how the inverse Hessian was applied"),
        "failure": Column(TEXT, "why there are no scores; missing where there are", nullable=True),
        "solver": Column(
            TEXT,
            "closed form, preconditioned conjugate gradients, or the estimator's own iteration",
            nullable=True,
        ),
        "curvature": Column(
            TEXT, "the estimator's matrix C: hessian or gauss_newton, of the training loss", nullable=True
        ),
        "curvature_molecules": Column(INTEGER, "training molecules that define the curvature", nullable=True),
        "relative_residual": Column(
            REAL,
            "|(C + effective damping) x - v| / |v|, measured on the estimator's own matrix; 0.01 is solved; missing "
            "where it was not measured",
            nullable=True,
        ),
        "estimated_residual": Column(
            REAL,
            "the same as estimated from the Gram matrix's error, rather too large; missing where none was used",
            nullable=True,
        ),
        "iterations": Column(INTEGER, "iterations used (depth times repeats for LiSSA)", nullable=True),
        "attempts": Column(
            TEXT, "scales that LiSSA tried and what came of each, where it chose the scale itself", nullable=True
        ),
        "converged": Column(
            FLAG,
            "relative residual, or its estimate where none was measured, below the configured tolerance",
        ),
        "damping": Column(REAL, "damping as configured", nullable=True),
        "effective_damping": Column(REAL, "damping of the system solved (LiSSA: damping times scale)", nullable=True),
        "scale": Column(REAL, "LiSSA scale; missing for other estimators", nullable=True),
        "largest_eigenvalue": Column(REAL, "largest Gauss-Newton eigenvalue, by power iteration", nullable=True),
        "spearman_vs_half": Column(
            REAL, "Spearman correlation of the scores (100 of them) with those at half the iterations", nullable=True
        ),
        "spearman_vs_last": Column(
            REAL, "Spearman correlation of the scores with those at the model's last checkpoint", nullable=True
        ),
        "gram_error": Column(
            REAL, "relative error of the Gram matrix, from a subset; missing where none was used", nullable=True
        ),
        "seconds": Column(REAL, "wall time, that of the Gram matrix included", "s", nullable=True),
        "peak_memory_mb": Column(REAL, "peak resident memory of the process", "MB", nullable=True),
    },
    "influence_per_query": {
        "molecule_id": Column(TEXT, "pool molecule"),
        "query_id": Column(TEXT, "validation molecule whose loss is asked about"),
        "influence": Column(REAL, "I(z) on this molecule's own loss (standardised labels); positive raises it"),
        "residual": Column(
            REAL, "prediction minus label of the pool molecule after the linearised refit, standardised"
        ),
        "leverage": Column(REAL, "its leverage if it joined the training set, 0 to 1"),
        "self_influence": Column(REAL, "its influence on its own loss: large where its label fits nothing else"),
        "damping": Column(REAL, "damping used"),
    },
    "influence_on_test": {
        "molecule_id": Column(TEXT, "pool molecule"),
        "test_id": Column(TEXT, "test molecule whose loss is asked about"),
        **_SPLIT,
        "seed": _SEED,
        "origin": Column(TEXT, "baseline or adapted"),
        "checkpoint": Column(INTEGER, "epoch of the checkpoint"),
        "influence": Column(REAL, "I(z) on this test molecule's own loss (standardised labels); positive raises it"),
        "error": Column(REAL, "prediction minus label of the test molecule at the checkpoint", _LABEL_UNIT),
        "damping": Column(REAL, "damping used"),
    },
    "retraining": {
        **_SPLIT,
        "seed": _SEED,
        "subset": Column(INTEGER, "number of the random subset of the pool"),
        "retrain_seed": Column(INTEGER, "training seed of this retraining"),
        "validation_mse": Column(REAL, "mean squared error on validation after it", f"squared {_LABEL_UNIT}"),
        "members": Column(pa.list_(TEXT), "pool molecules that were added"),
    },
    "influence_validation": {
        **_SPLIT,
        "seed": _SEED,
        "origin": Column(TEXT, "baseline or adapted"),
        "checkpoint": Column(INTEGER, "epoch of the checkpoint; -1 is the aggregate over checkpoints"),
        "kind": Column(TEXT, "estimator of influence, or selection strategy"),
        "estimator": Column(TEXT, "whose scores are held against retraining"),
        "datamodelling_score": Column(
            REAL, "Spearman correlation of predicted and measured gains over the subsets", nullable=True
        ),
        "low": Column(REAL, "lower end of its 95 % bootstrap interval", nullable=True),
        "high": Column(REAL, "upper end of its 95 % bootstrap interval", nullable=True),
        "ceiling": Column(REAL, "what a perfect score would reach, given the noise of the seeds", nullable=True),
        "subsets": Column(INTEGER, "random subsets of the pool"),
        "retrain_seeds": Column(INTEGER, "trainings of each"),
    },
    "selections": {
        "strategy": Column(TEXT, "selection strategy"),
        **_SPLIT,
        "seed": _SEED,
        "molecule_id": _MOLECULE,
        "score": Column(REAL, "the strategy's score; higher is chosen first", nullable=True),
        "rank": Column(INTEGER, "1 is chosen first"),
        "selected": Column(FLAG, "whether the molecule was chosen"),
    },
    "comparisons": {
        "splitter": _SPLIT["splitter"],
        "family": Column(TEXT, "selections, adaptation, methods on a selection, or descriptors: tested together"),
        "what": Column(TEXT, "configuration, as it is called in its family"),
        "versus": Column(TEXT, "what it is compared with"),
        "method": Column(TEXT, "training method of the former"),
        "n_replicates": Column(INTEGER, "replicates (split and seed) that all configurations of the family have"),
        "n_splits": Column(INTEGER, "distinct splits among them"),
        "n_units": Column(INTEGER, "independent units: the splits, seeds averaged, or with one split the seeds"),
        "difference": Column(REAL, "mean difference of the test RMSE; negative is better", _LABEL_UNIT, nullable=True),
        "sd": Column(REAL, "standard deviation of the paired differences over the units", _LABEL_UNIT, nullable=True),
        "low": Column(REAL, "lower end of the simultaneous interval of the difference", _LABEL_UNIT, nullable=True),
        "high": Column(REAL, "upper end of the simultaneous interval of the difference", _LABEL_UNIT, nullable=True),
        "omnibus": Column(
            REAL,
            "p that the family is equal: repeated-measures ANOVA, or Friedman (of two alone, Wilcoxon)",
            nullable=True,
        ),
        "p_tukey": Column(REAL, "p of no difference, Tukey HSD on repeated measures", nullable=True),
        "p_paired": Column(REAL, "p of no difference, the pair's own t test, adjusted by Bonferroni", nullable=True),
        "p_conover": Column(
            REAL, "p of no difference, Conover after Friedman, adjusted by Holm; of two alone, Wilcoxon", nullable=True
        ),
        "p_equivalence": Column(
            REAL, "p of a difference beyond the margin, two one-sided tests, adjusted by Holm", nullable=True
        ),
        "cohen_dz": Column(REAL, "difference over the standard deviation of the differences", nullable=True),
        "cohen_dav": Column(REAL, "difference over the mean standard deviation of the two", nullable=True),
        "seed_sd": Column(
            REAL, "noise floor: standard deviation between seeds, pooled over the family", _LABEL_UNIT, nullable=True
        ),
        "detectable": Column(
            REAL, "smallest difference that this design detects at the stated power", _LABEL_UNIT, nullable=True
        ),
        "replicates_needed": Column(
            INTEGER, "units that would tell the difference, or equivalence; missing beyond 1,000", nullable=True
        ),
        "test_used": Column(TEXT, "test that decides: Tukey, paired t, Conover, Wilcoxon, or none"),
        "verdict": Column(TEXT, "what can be said, in words"),
    },
    # The truth about the embedded pool. Nothing that trains or selects may read it.
    "pool_control": {
        "molecule_id": _MOLECULE,
        "group": Column(TEXT, "like_target, other_chemistry or corrupted_label"),
        "true_label": Column(REAL, "label before noise and corruption", _LABEL_UNIT),
    },
    "corpus": {
        "smiles": Column(TEXT, "canonical SMILES without stereo and isotopes"),
        "tokens": Column(pa.list_(pa.int32()), "token ids, special tokens included"),
        "held_out": Column(FLAG, "whether pretraining leaves it out, to be measured on it"),
        "properties": Column(pa.list_(pa.float32()), "computed properties; NaN where RDKit gives none"),
        "unknown_tokens": Column(
            INTEGER, "parts of the SMILES that the vocabulary lacks or the tokenizer passes over", "parts"
        ),
    },
    "corpus_refused": {
        "line": Column(INTEGER, "1-based line of the file"),
        "smiles": Column(TEXT, "as given"),
        "reason": Column(TEXT, "unparsable, dummy_atom, too_long, unknown_token, repeat"),
        "detail": Column(TEXT, "what exactly was found"),
    },
    "pretraining_curve": {
        "step": Column(INTEGER, "optimiser steps done"),
        "train_loss": Column(REAL, "masked-token cross-entropy since the row before", "nats", nullable=True),
        "learning_rate": Column(REAL, "learning rate of the next step"),
        "validation_loss": Column(REAL, "masked-token cross-entropy on held-out molecules", "nats"),
        "masked_accuracy": Column(REAL, "share of held-out masked tokens guessed right"),
        "properties_r2": Column(REAL, "R2 of the computed properties, held out", nullable=True),
        "targets_r2": Column(REAL, "R2 of the given vectors, mean over their tables, held out", nullable=True),
    },
    # Between steps.
    "labelled": {
        "molecule_id": _MOLECULE,
        "encoder_smiles": Column(TEXT, "SMILES as the encoder reads it"),
        "label": Column(REAL, "label", _LABEL_UNIT),
    },
    # Test molecules travel without their labels, which only the tables step joins.
    "unlabelled": {
        "molecule_id": _MOLECULE,
        "encoder_smiles": Column(TEXT, "SMILES as the encoder reads it"),
    },
    "labels": {"molecule_id": _MOLECULE, "label": Column(REAL, "label", _LABEL_UNIT)},
    "run_predictions": {
        "run_id": _RUN,
        "molecule_id": _MOLECULE,
        "fold": Column(TEXT, "validation or test"),
        "prediction": Column(REAL, "prediction", _LABEL_UNIT),
    },
    # Of a model folder.
    "model_training": {
        "molecule_id": _MOLECULE,
        "canonical_smiles": Column(TEXT, "RDKit canonical isomeric SMILES"),
        "inchikey_block": Column(TEXT, "first block of the InChIKey; empty where InChI has none"),
        "fingerprint": Column(pa.binary(), "ECFP4, 2,048 bits packed into 256 bytes, the first bit the highest"),
    },
    "descriptors": {
        "molecule_id": _MOLECULE,
        "values": Column(pa.list_(REAL), "RDKit descriptors in the order of RDKit's own list"),
    },
}


def write_table(
    frame: pd.DataFrame,
    path: str | Path,
    table: str,
    extra: dict[str, Column] | None = None,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write ``frame`` as the declared ``table``, atomically.

    Columns are ordered and typed as declared; ``extra`` declares further ones, ``metadata`` is kept with the schema.

    Raises:
        ChemsieveError: a column is missing or undeclared, a required value is missing, or a number is not finite.
    """
    columns = {**TABLES[table], **(extra or {})}
    missing = [name for name in columns if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in columns]
    if missing or unknown:
        raise ChemsieveError(f"table {table}: missing columns {missing}, undeclared columns {unknown}")
    arrays, fields = [], []
    for name, column in columns.items():
        values = frame[name]
        if column.type == REAL:
            values = values.astype("float64")
            if values.map(math.isinf).any():
                row = int(values.map(math.isinf).to_numpy().argmax())
                raise ChemsieveError(f"table {table}: column {name}, row {row} is infinite")
        if not column.nullable and values.isna().any():
            row = int(values.isna().to_numpy().argmax())
            raise ChemsieveError(f"table {table}: column {name}, row {row} has no value")
        arrays.append(pa.Array.from_pandas(values, type=column.type, safe=True))
        fields.append(pa.field(name, column.type, metadata={"description": column.description, "unit": column.unit}))
    content = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={"table": table, **(metadata or {})}))
    write_atomically(path, lambda temporary: pq.write_table(content, temporary, compression="zstd"))


def write_empty(path: str | Path, table: str, metadata: dict[str, str]) -> None:
    """Write the declared ``table`` without rows, ``metadata`` kept with its schema."""
    write_table(pd.DataFrame({name: [] for name in TABLES[table]}), path, table, metadata=metadata)


def read_table(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a table written by :func:`write_table` (optionally some of its columns).

    Raises:
        ChemsieveError: the file is missing, or is not Parquet.
    """
    try:
        return pq.read_table(path, columns=columns).to_pandas()
    except FileNotFoundError:
        raise ChemsieveError(f"{path}: there is no such table") from None
    except (pa.ArrowInvalid, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ChemsieveError(f"{path}: not a readable Parquet file ({reason}); no other format is loaded") from None


def gather(paths: list[str], table: str) -> pd.DataFrame:
    """The rows of several files of one table, in the order given; without files, its columns."""
    frames = [read_table(path) for path in paths]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({name: [] for name in TABLES[table]})


def collect(paths: list[str], output: str | Path, table: str) -> None:
    """Write the rows of several files of one table as one file, in the order given."""
    write_table(gather(paths, table), output, table)
