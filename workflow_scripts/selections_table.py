"""Collect every strategy's ordered pool."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("selections",)) as spec:
        from chemsieve.runtime.failures import present
        from chemsieve.tables import collect

        collect(present(snakemake.input.selections), snakemake.output.table, "selections")
