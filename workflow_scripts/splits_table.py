"""Collect the folds of every splitter and seed."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.tables import collect

        collect(snakemake.input.splits, snakemake.output.table, "splits")
