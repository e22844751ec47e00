"""The pool as each strategy orders it."""

from chemsieve.tables.declaration import FLAG, INTEGER, MOLECULE, REAL, SEED, SPLIT, TEXT, Column, Table, always

TABLES = {
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
