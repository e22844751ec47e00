"""Collect every strategy's ordered pool."""

from chemsieve.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.tables import collect

        collect(snakemake.input.selections, snakemake.output.table, "selections")
