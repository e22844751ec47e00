"""Collect the influence of the pool on single test molecules."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("tables",)):
        from chemsieve.runtime.failures import present
        from chemsieve.tables import collect

        collect(present(snakemake.input.tables), snakemake.output.table, "influence_on_test")
