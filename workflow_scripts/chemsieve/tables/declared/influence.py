"""Influence scores, how well they were solved for, and whether retraining agrees with them."""

import pyarrow as pa

from chemsieve.tables.declaration import (
    FLAG,
    INTEGER,
    LABEL_UNIT,
    MOLECULE,
    REAL,
    SEED,
    SPLIT,
    TEXT,
    Column,
    Table,
    always,
)

TABLES = {
    "influence": Table(
        "pool molecule, checkpoint and estimator",
        {
            "molecule_id": MOLECULE,
            **SPLIT,
            "seed": SEED,
            "origin": Column(TEXT, "baseline or adapted"),
            "checkpoint": Column(INTEGER, "epoch of the checkpoint; -1 is the aggregate over checkpoints"),
            "estimator": Column(TEXT, "how the inverse Hessian was applied, or training was followed"),
            "influence": Column(
                REAL,
                "I(z) = -grad L(validation)^T H^-1 grad L(z), or the derivative of L(validation) after training with "
                "respect to the weight of z (metagradient); positive raises the validation loss",
            ),
            "expected_gain": Column(REAL, "-I(z): positive lowers the validation loss"),
            "standard_error": Column(
                REAL,
                "of the score, over random permutations (shapley) or orders of training (metagradient with several "
                "points); missing for other estimators",
                nullable=True,
            ),
        },
        made=always,
    ),
    "influence_diagnostics": Table(
        "checkpoint and estimator",
        {
            **SPLIT,
            "seed": SEED,
            "origin": Column(TEXT, "baseline or adapted"),
            "checkpoint": Column(INTEGER, "epoch of the checkpoint"),
            "estimator": Column(TEXT, "how the inverse Hessian was applied"),
            "failure": Column(TEXT, "why there are no scores; missing where there are", nullable=True),
            "solver": Column(
                TEXT,
                "closed form, preconditioned conjugate gradients, the estimator's own iteration, or replayed training",
                nullable=True,
            ),
            "curvature": Column(
                TEXT, "the estimator's matrix C: hessian or gauss_newton, of the training loss", nullable=True
            ),
            "curvature_molecules": Column(INTEGER, "training molecules that define the curvature", nullable=True),
            "relative_residual": Column(
                REAL,
                "|(C + effective damping) x - v| / |v|, measured on the estimator's own matrix; 0.01 is solved; "
                "missing where it was not measured",
                nullable=True,
            ),
            "estimated_residual": Column(
                REAL,
                "the same as estimated from the Gram matrix's error, rather too large; missing where none was used",
                nullable=True,
            ),
            "iterations": Column(
                INTEGER,
                "iterations used (depth times repeats for LiSSA; steps of training for metagradient)",
                nullable=True,
            ),
            "attempts": Column(
                TEXT, "scales that LiSSA tried and what came of each, where it chose the scale itself", nullable=True
            ),
            "converged": Column(
                FLAG,
                "relative residual, or its estimate where none was measured, below the configured tolerance; for "
                "shapley the ranking settled too",
            ),
            "damping": Column(REAL, "damping as configured", nullable=True),
            "effective_damping": Column(
                REAL, "damping of the system solved (LiSSA: damping times scale)", nullable=True
            ),
            "scale": Column(REAL, "LiSSA scale; missing for other estimators", nullable=True),
            "largest_eigenvalue": Column(REAL, "largest Gauss-Newton eigenvalue, by power iteration", nullable=True),
            "spearman_vs_half": Column(
                REAL,
                "Spearman correlation of the scores (100 of them) with those at half the iterations",
                nullable=True,
            ),
            "expected_agreement": Column(
                REAL,
                "Spearman correlation that scores from random permutations (shapley) are expected to have with those "
                "of endless ones; missing for other estimators",
                nullable=True,
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
        made=always,
    ),
    "influence_on_test": Table(
        "pool molecule and single test molecule, where `influence.test_molecules` asks for it; for the report alone",
        {
            "molecule_id": Column(TEXT, "pool molecule"),
            "test_id": Column(TEXT, "test molecule whose loss is asked about"),
            **SPLIT,
            "seed": SEED,
            "origin": Column(TEXT, "baseline or adapted"),
            "checkpoint": Column(INTEGER, "epoch of the checkpoint"),
            "influence": Column(
                REAL, "I(z) on this test molecule's own loss (standardised labels); positive raises it"
            ),
            "error": Column(REAL, "prediction minus label of the test molecule at the checkpoint", LABEL_UNIT),
            "damping": Column(REAL, "damping used"),
        },
        made=lambda plan: plan.config["influence"]["test_molecules"] > 0,
        optional=True,
        collected=lambda plan: plan.on_test,
    ),
    "influence_per_query": Table(
        "pool molecule and validation molecule",
        {
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
    ),
    "retraining": Table(
        "random subset of the pool and seed that the model was trained with again",
        {
            **SPLIT,
            "seed": SEED,
            "subset": Column(INTEGER, "number of the random subset of the pool"),
            "retrain_seed": Column(INTEGER, "training seed of this retraining"),
            "validation_mse": Column(REAL, "mean squared error on validation after it", f"squared {LABEL_UNIT}"),
            "members": Column(pa.list_(TEXT), "pool molecules that were added"),
        },
        made=lambda plan: plan.validates,
        optional=True,
    ),
    "influence_validation": Table(
        "estimator or strategy held against retraining",
        {
            **SPLIT,
            "seed": SEED,
            "origin": Column(TEXT, "baseline or adapted"),
            "checkpoint": Column(INTEGER, "epoch of the checkpoint; -1 is the aggregate over checkpoints"),
            "kind": Column(TEXT, "estimator of influence, or selection strategy"),
            "estimator": Column(TEXT, "whose scores are held against retraining"),
            "datamodelling_score": Column(
                REAL, "Spearman correlation of predicted and measured gains over the subsets", nullable=True
            ),
            "low": Column(REAL, "lower end of its 95 % interval (Bonett and Wright 2000)", nullable=True),
            "high": Column(REAL, "upper end of its 95 % interval", nullable=True),
            "ceiling": Column(REAL, "what a perfect score would reach, given the noise of the seeds", nullable=True),
            "ceiling_low": Column(REAL, "lower end of its 95 % interval", nullable=True),
            "ceiling_high": Column(REAL, "upper end of its 95 % interval", nullable=True),
            "subsets": Column(INTEGER, "random subsets of the pool"),
            "retrain_seeds": Column(INTEGER, "trainings of each"),
        },
        made=lambda plan: plan.validates,
        optional=True,
    ),
}
