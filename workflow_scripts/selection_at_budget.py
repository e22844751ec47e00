"""Cut a strategy's order of the pool by another budget than its own."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.selection import recut
        from chemsieve.tables import read_table, write_table

        name = snakemake.wildcards.strategy
        table = recut(read_table(snakemake.input.ordered), name, spec["budget"]).assign(strategy=name)
        write_table(table, snakemake.output.selection, "selections")
