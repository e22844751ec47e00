"""Read target and pool; accept molecules or refuse them with a reason."""

from chemsieve.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        import logging
        from pathlib import Path

        from chemsieve import backbone, budgets, tokenization
        from chemsieve.data.download import check_content
        from chemsieve.data.molecules import EXTRA, check_pool, prepare
        from chemsieve.data.reading import read_table
        from chemsieve.influence import _room
        from chemsieve.tables import TABLES, write_table

        tables = {name: read_table(snakemake.input[name], name, spec[name]) for name in ("target", "pool")}
        if spec["content_sha256"]:
            check_content(tables["target"], spec["content_sha256"], str(snakemake.input.target))
        encoder = Path(snakemake.input.encoder[0]).parent
        tokenizer = backbone.load_tokenizer(encoder)
        molecules, rejected = prepare(
            tables["target"],
            tables["pool"],
            lambda smiles: [len(ids) for ids in tokenization.encode(tokenizer, smiles)],
            backbone.token_limit(encoder, spec["family"], spec["max_tokens"]),
            spec["stereo"],
            spec["pool_labels"],
        )
        check_pool(molecules, rejected)
        pool = molecules[molecules["source"] == "pool"]
        config = snakemake.config  # and not the tracked parameters: the molecules do not depend on it
        budgets.check(budgets.of(config), len(pool))
        _room.check_pool(config, len(molecules) - len(pool), len(pool))
        log = logging.getLogger("chemsieve")
        for (source, reason), rows in rejected.groupby(["source", "reason"]):
            log.info("%s: %d rows refused: %s", source, len(rows), reason)
        log.info("accepted: %s", molecules["source"].value_counts().to_dict())
        write_table(rejected, snakemake.output.rejected, "rejected")
        write_table(molecules, snakemake.output.molecules, "molecules", EXTRA)
        table = "labelled" if spec["pool_labels"] else "unlabelled"
        write_table(pool[list(TABLES[table])], snakemake.output.pool, table)
