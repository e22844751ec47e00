"""The test error by the number of selected molecules, and which number the validation molecules recommend."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.statistics.budget_curves import budget_curves
        from chemsieve.tables import read_table, write_table

        metrics, splits, predictions = (
            read_table(snakemake.input[name]) for name in ("metrics", "splits", "predictions")
        )
        table = budget_curves(metrics, splits, spec["statistics"], spec["points"], predictions)
        write_table(table, snakemake.output.table, "budget_curves")
