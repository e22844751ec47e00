"""What tuning tried, and what it chose."""

from chemsieve.tables.declaration import (
    FLAG,
    INTEGER,
    LABEL_UNIT,
    REAL,
    SEED,
    SPLIT,
    TEXT,
    Column,
    Table,
)

TABLES = {
    "tuning": Table(
        "trial of a learning rate: method, split and rung of successive halving",
        {
            **SPLIT,
            "seed": SEED,
            "origin": Column(TEXT, "encoder that is trained: baseline or adapted"),
            "method": Column(TEXT, "full, or a method of the grid"),
            "rung": Column(INTEGER, "from 1; each has half the trials of the one before, and twice the epochs"),
            "trial": Column(INTEGER, "learning rate by its rank, from 1, the lowest"),
            "learning_rate": Column(REAL, "the highest, after the warm-up"),
            "configured": Column(FLAG, "whether it is the one that stands with the method in the configuration"),
            "epochs_allowed": Column(INTEGER, "epochs of the rung"),
            "epochs": Column(INTEGER, "epochs trained, fewer where patience ended it; 0 where it failed"),
            "validation_rmse": Column(
                REAL, "of the trial's predictions of validation molecules; missing where it failed", LABEL_UNIT, True
            ),
            "seconds": Column(REAL, "wall time of its training", "s"),
            "failure": Column(TEXT, "why it failed; missing where it did not", nullable=True),
            "chosen": Column(FLAG, "whether runs train with this learning rate: one trial of the last rung"),
        },
        made=lambda plan: bool(plan.tuned),
        optional=True,
        collected=lambda plan: plan.tunings,
    ),
}
