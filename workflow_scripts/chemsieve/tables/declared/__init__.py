"""Every table, by subject."""

from chemsieve.tables.declaration import Column, Table
from chemsieve.tables.declared import audit, data, deployment, influence, pretraining, runs, selection, tuning

DECLARED: dict[str, Table] = {
    name: table
    for subject in (data, audit, runs, influence, selection, pretraining, deployment, tuning)
    for name, table in subject.TABLES.items()
}
TABLES: dict[str, dict[str, Column]] = {name: table.columns for name, table in DECLARED.items()}
