"""Check that target and pool are enough for what is asked of them; hand the pool on."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.data.enough import check, counts
        from chemsieve.runtime.files import write_json
        from chemsieve.tables import TABLES, read_table, write_table

        molecules, rejected = read_table(snakemake.input.molecules), read_table(snakemake.input.rejected)
        check(snakemake.config, molecules, rejected)
        table = "labelled" if spec["pool_labels"] else "unlabelled"
        pool = molecules.loc[molecules["source"] == "pool", list(TABLES[table])]
        write_table(pool, snakemake.output.pool, table)
        write_json(snakemake.output.sizes, counts(molecules, rejected))
