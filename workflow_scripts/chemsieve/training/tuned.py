"""The learning rate that tuning chose, for the run that trains with it."""

from typing import Any

from chemsieve.tables import read_table


def with_tuned_rate(training: dict[str, Any], path: str | None) -> dict[str, Any]:
    """Hyperparameters of a run, with the learning rate that a table ``tuning`` chose; None: as they are."""
    if path is None:
        return training
    table = read_table(path, ["learning_rate", "chosen"])
    return training | {"learning_rate": float(table.loc[table["chosen"], "learning_rate"].iloc[0])}
