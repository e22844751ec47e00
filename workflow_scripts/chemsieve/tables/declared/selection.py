"""The pool as each strategy orders it."""

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
    Plan,
    Table,
    always,
)

# What the closed form says of a use of a selection.
_MODEL = {"model": Column(TEXT, "full for full fine-tuning, or the descriptor model")}
_CHOICE = {
    **_MODEL,
    "strategy": Column(TEXT, "selection strategy"),
    **SPLIT,
    "seed": SEED,
    "use": Column(TEXT, "how the selected molecules are used; none is leaving them out"),
    "loo_rmse": Column(
        REAL,
        "leave-one-out RMSE on training and validation molecules in closed form, at the values below; of a descriptor "
        "model without such a form the RMSE of five folds; missing for a use that the closed form does not know",
        LABEL_UNIT,
        nullable=True,
    ),
    "loo_rmse_validation": Column(REAL, "the same on the validation molecules alone", LABEL_UNIT, nullable=True),
    "weight": Column(REAL, "weight of a pool molecule, of which a target molecule has 1", nullable=True),
    "rho": Column(REAL, "correlation between the target's function and the pool's", nullable=True),
    "offset": Column(
        REAL,
        "constant by which the pool's labels are above the target's mean; missing where the use has none",
        LABEL_UNIT,
        nullable=True,
    ),
    "chosen": Column(FLAG, "whether its leave-one-out RMSE is the lowest of the selection's uses"),
    "damping": Column(REAL, "damping that the noise of the target's labels follows from", nullable=True),
    "n_target": Column(INTEGER, "target molecules in the closed form", nullable=True),
    "n_selected": Column(INTEGER, "pool molecules in it", nullable=True),
}


def _used(plan: Plan) -> bool:
    return bool(plan.used or plan.described_used)


TABLES = {
    "use_choices": Table("use of one selection", _CHOICE),
    "pool_use_residuals": Table(
        "selected pool molecule",
        {
            "strategy": Column(TEXT, "selection strategy"),
            **SPLIT,
            "seed": SEED,
            "molecule_id": MOLECULE,
            "residual": Column(
                REAL,
                "label less what all other molecules say of it, in closed form under Student's t noise with 4 degrees "
                "of freedom",
                "standard deviations",
            ),
        },
    ),
    "pool_use": Table(
        "replicate, strategy and use",
        {
            **_CHOICE,
            "validation_rmse": Column(
                REAL, "validation RMSE that it gave; missing where it was not trained", LABEL_UNIT, nullable=True
            ),
        },
        made=_used,
        optional=True,
    ),
    "pool_use_curves": Table(
        "replicate, strategy, use, and value of what the closed form chose",
        {
            **_MODEL,
            "strategy": Column(TEXT, "selection strategy"),
            **SPLIT,
            "seed": SEED,
            "use": Column(TEXT, "how the selected molecules are used"),
            "parameter": Column(TEXT, "weight or rho"),
            "value": Column(REAL, "value that was tried"),
            "loo_rmse": Column(REAL, "leave-one-out RMSE with the other parameter at its best there", LABEL_UNIT),
        },
        made=_used,
        optional=True,
        collected=lambda plan: plan.pool_uses("-curve"),
    ),
    "selections": Table(
        "strategy and pool molecule",
        {
            "strategy": Column(TEXT, "selection strategy"),
            **SPLIT,
            "seed": SEED,
            "molecule_id": MOLECULE,
            "score": Column(REAL, "the strategy's score; higher is chosen first", nullable=True),
            "rank": Column(INTEGER, "1 is chosen first"),
            "selected": Column(FLAG, "whether the molecule was chosen"),
            "set_aside": Column(
                FLAG, "whether it could not be chosen, since what went before the strategy left it out"
            ),
        },
        made=always,
        collected=lambda plan: plan.selections,
    ),
}
