"""The users' own names of their molecules: the column that is configured, or one that has a name of its kind."""

import re
from collections.abc import Sequence

AUTO = "auto"  # as the configuration says it: a column found by its name
# Lower case, whatever divides words as one underscore; those before win over those behind.
NAMES = (
    *("identifier", "id", "compound_id", "compoundid", "cmpd_id", "cmp_id", "molecule_id", "mol_id", "molid"),
    *("substance_id", "sample_id", "structure_id", "registry_number", "catalog_id", "catalog_number"),
    *("molecule_chembl_id", "chembl_id", "chemblid", "drugbank_id", "zinc_id", "zincid", "pubchem_cid", "cid"),
    *("cas", "cas_number", "cas_no", "cas_rn", "name", "compound_name", "molecule_name", "mol_name", "compound"),
    *("molecule", "substance", "drug_name", "drug"),
)


def find(header: Sequence[str], taken: Sequence[str | None]) -> str | None:
    """The column of a header whose name says that it identifies molecules; None where there is none.

    Args:
        header: names of all columns.
        taken: columns that are read for something else.
    """
    plain: dict[str, str] = {}
    for name in header:
        if name not in taken and header.count(name) == 1:
            plain.setdefault(re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_"), name)
    return next((plain[name] for name in NAMES if name in plain), None)
