"""What each use would give, beside the validation error that it gave where it was trained."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("choices",)) as spec:
        from chemsieve.influence.pool_use_tables import with_outcomes
        from chemsieve.runtime.failures import present
        from chemsieve.tables import read_table, write_table

        parts = [read_table(path) for path in present(snakemake.input.choices)]
        write_table(with_outcomes(parts, read_table(snakemake.input.metrics)), snakemake.output.table, "pool_use")
