"""Collect every strategy's ordered pool."""

from chemsieve.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("selections",)) as spec:
        from chemsieve.failures import present
        from chemsieve.tables import collect

        collect(present(snakemake.input.selections), snakemake.output.table, "selections")
