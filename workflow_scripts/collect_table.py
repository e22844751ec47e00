"""Join the files of a table, without those of steps that failed, as one file."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("parts",)) as spec:
        from chemsieve.runtime.failures import present
        from chemsieve.tables import collect

        collect(present(snakemake.input.parts), snakemake.output.table, spec["table"])
