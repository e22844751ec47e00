"""Compare the test errors of every two configurations, to report only: every choice was made on validation."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.statistics.comparisons import Planned, compare
        from chemsieve.tables import read_table, write_table

        metrics, splits, predictions = (
            read_table(snakemake.input[name]) for name in ("metrics", "splits", "predictions")
        )
        table = compare(metrics, splits, spec["statistics"], predictions, Planned(**spec["planned"]))
        write_table(table, snakemake.output.table, "comparisons")
