"""Features of molecules from the tables that hold them, kinds side by side."""

from collections.abc import Sequence

import numpy as np

from chemsieve.tables import read_table


class Features:
    """Features in the files of several tables, a kind of features each (tables ``descriptors`` and ``features``).

    Attributes:
        columns: number of columns of each, in their order.
    """

    def __init__(self, paths: Sequence[str]):
        self._tables = [read_table(path).set_index("molecule_id")["values"] for path in paths]
        self.columns = [len(table.iloc[0]) for table in self._tables]

    def of(self, molecule_ids: Sequence[str]) -> np.ndarray:
        """(n, d) float64 of (n,) molecules, in their order."""
        parts = [np.array(table.loc[list(molecule_ids)].to_list(), dtype=float) for table in self._tables]
        return np.hstack([p.reshape(len(molecule_ids), n) for p, n in zip(parts, self.columns, strict=True)])
