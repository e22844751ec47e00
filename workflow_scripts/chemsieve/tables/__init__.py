"""The Parquet tables: every table that a step writes is declared here, once, and written and read here.

A declaration (:class:`chemsieve.tables.declaration.Table`, in the module of its subject in ``declared``) says what a
row is, what the columns are, and when a study has the table. From it follow the file's schema, with a description and
a unit for each column, so that a table explains itself; whether ``all`` makes it and whether the report can do without
it; the rule that collects it, where it only joins files; and its line in docs/tables.md.
"""

from chemsieve.tables.declaration import FLAG, INTEGER, REAL, TEXT, Column
from chemsieve.tables.declared import DECLARED, TABLES
from chemsieve.tables.files import collect, gather, read_table, write_empty, write_table

__all__ = [
    "DECLARED",
    "FLAG",
    "INTEGER",
    "REAL",
    "TABLES",
    "TEXT",
    "Column",
    "collect",
    "gather",
    "read_table",
    "write_empty",
    "write_table",
]
