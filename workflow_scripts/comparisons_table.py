"""Compare the test errors of every two configurations, to report only: every choice was made on validation."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.statistics.comparisons import compare
        from chemsieve.tables import read_table, write_table

        metrics, splits = read_table(snakemake.input.metrics), read_table(snakemake.input.splits)
        write_table(compare(metrics, splits, spec["statistics"]), snakemake.output.table, "comparisons")
