"""The capacity of a Gram matrix: which molecules it covers.

It is asked before a run starts, too, and so imports nothing heavy.
"""

from chemsieve.errors import ChemsieveError
from chemsieve.influence import estimators


def covered(train: int, query: int, pool: int, largest: int) -> tuple[int, bool]:
    """How many training molecules a matrix of at most ``largest`` molecules covers, and whether the pool is in it.

    All where they fit. Otherwise the pool is in where it takes at most half of what the query leaves, beside a sample
    of the training set; a larger pool is out, and scored by directional derivatives.

    Raises:
        ChemsieveError: the query leaves no capacity for training molecules.
    """
    left = largest - query
    if left < 2:
        raise ChemsieveError(
            f"influence.gram.largest: {largest} leaves no room for training molecules beside the {query} of validation"
        )
    if train + pool <= left:
        return train, True
    if 2 * pool <= left:
        return left - pool, True
    return min(train, left), False


def check_pool(config: dict, targets: int, pool: int) -> None:
    """Raise, before anything is trained, where an estimator needs a pool in the matrix that exceeds its capacity.

    The sizes of the folds are those of ``split.fractions``, which a column of folds need not keep to.
    """
    largest = config["influence"]["gram"]["largest"]
    train, query = (round(share * targets) for share in config["split"]["fractions"][:2])
    single = config["influence"]["test_molecules"]
    if single and not covered(train, single, pool, largest)[1]:
        raise ChemsieveError(
            f"influence.test_molecules: it needs all {pool} pool molecules in the Gram matrix, which "
            f"influence.gram.largest ({largest}) has no room for: raise it to "
            f"{min(train + single + pool, single + 2 * pool)}, or set influence.test_molecules to 0"
        )
    inside = covered(train, query, pool, largest)[1]
    for name in config["influence"]["run"]:
        if estimators.load(name).NEEDS_POOL and not inside and not estimators.stand_in(name, inside):
            enough = min(train + query + pool, query + 2 * pool)
            raise ChemsieveError(
                f"influence.run: {name} works on all {pool} pool molecules together, which influence.gram.largest "
                f"({largest}) has no room for: raise it to {enough} (it then takes about {24 * enough**2 / 1e9:.0f} GB "
                "of memory), or run exact in its place, which scores a pool of any size, and select by it"
            )


def stand_ins(config: dict, targets: int, pool: int) -> list[str]:
    """A sentence for each estimator whose pool has no room in the matrix, so that another scores in its place."""
    largest = config["influence"]["gram"]["largest"]
    train, query = (round(share * targets) for share in config["split"]["fractions"][:2])
    inside = covered(train, query, pool, largest)[1]
    enough = min(train + query + pool, query + 2 * pool)
    return [
        f"influence.run: {name} has no room for all {pool} pool molecules together (influence.gram.largest: "
        f"{largest}), so that {other} scores each alone in its place; {enough} would do, and takes about "
        f"{24 * enough**2 / 1e9:.0f} GB of memory"
        for name in config["influence"]["run"]
        if (other := estimators.stand_in(name, inside))
    ]
