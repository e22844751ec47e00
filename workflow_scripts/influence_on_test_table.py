"""Collect the influence of the pool on single test molecules."""

from chemsieve.job import job

if __name__ == "__main__":
    with job(snakemake):
        from chemsieve.tables import collect

        collect(snakemake.input.tables, snakemake.output.table, "influence_on_test")
