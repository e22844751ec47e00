"""Which pool molecule helps which validation molecule, by the exact estimator."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.influence.gramfile import read
        from chemsieve.influence.kernel import per_query_table
        from chemsieve.tables import read_table, write_table

        kernel, labels, _ = read(snakemake.input.matrix, snakemake.input.facts)
        pool, query = (
            list(read_table(path, columns=["molecule_id"])["molecule_id"])
            for path in (snakemake.input.pool, snakemake.input.validation)
        )
        table = per_query_table(kernel, labels, pool, query, spec["damping"], int(snakemake.wildcards.seed))
        write_table(table, snakemake.output.table, "influence_per_query")
