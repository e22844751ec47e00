"""Which molecules a Gram matrix has room for. Imports nothing heavy: it is asked before a run starts, too."""

from chemsieve import registry
from chemsieve.errors import ChemsieveError


def room(train: int, query: int, pool: int, largest: int) -> tuple[int, bool]:
    """How many training molecules a matrix of at most ``largest`` molecules covers, and whether the pool is in it.

    All where they fit. Otherwise the pool is in where it takes at most half of what the query leaves, beside a sample
    of the training set; a larger pool is out, and scored by directional derivatives.

    Raises:
        ChemsieveError: the query leaves no room.
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
    """Raise, before anything is trained, where an estimator needs a pool in the matrix that has no room there.

    The sizes of the folds are those of ``split.fractions``, which a column of folds need not keep to.
    """
    largest = config["influence"]["gram"]["largest"]
    train, query = (round(share * targets) for share in config["split"]["fractions"][:2])
    single = config["influence"]["test_molecules"]
    if single and not room(train, single, pool, largest)[1]:
        raise ChemsieveError(
            f"influence.test_molecules: it needs all {pool} pool molecules in the Gram matrix, which "
            f"influence.gram.largest ({largest}) has no room for: raise it to "
            f"{min(train + single + pool, single + 2 * pool)}, or set influence.test_molecules to 0"
        )
    for name in config["influence"]["run"]:
        module = registry.load("influence", name)
        if getattr(module, "NEEDS_POOL", False) and not room(train, query, pool, largest)[1]:
            enough = min(train + query + pool, query + 2 * pool)
            raise ChemsieveError(
                f"influence.run: {name} works on all {pool} pool molecules together, which influence.gram.largest "
                f"({largest}) has no room for: raise it to {enough} (it then takes about {24 * enough**2 / 1e9:.0f} GB "
                "of memory), or run exact in its place, which scores a pool of any size, and select by it"
            )
