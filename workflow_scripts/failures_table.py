"""List the steps that gave no result, and why."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("runs", "selections", "scores", "retraining", "tables", "tuning")):
        import logging

        from chemsieve.runtime import tracking
        from chemsieve.runtime.failures import table
        from chemsieve.tables import write_table

        failed = table(snakemake.input, tracking.failed())
        for row in failed[failed["cause"] == ""].itertuples(index=False):
            logging.getLogger("chemsieve").warning("missing: %s %s: %s", row.rule, row.part, row.reason)
        write_table(failed, snakemake.output.table, "failures")
