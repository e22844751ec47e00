"""The molecules of one selection as a list of what to measure next."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        import logging

        from chemsieve.deployment.measuring import described, write
        from chemsieve.selection._given import context
        from chemsieve.tables import read_table

        pool, molecules = read_table(snakemake.input.pool), read_table(snakemake.input.molecules)
        selection = read_table(snakemake.input.selection)
        given = context(snakemake.input, spec, pool)
        listed = described(pool, molecules, selection, given, spec["damping"], spec["seed"])
        write(listed, snakemake.output.table)
        logging.getLogger("chemsieve").info(
            "%s: %d molecules; the predictive standard deviation of the target's molecules falls from %.3g to %.3g",
            snakemake.output.table,
            len(listed),
            *((listed["target_sd_before"].iloc[0], listed["target_sd_after"].iloc[-1]) if len(listed) else (0, 0)),
        )
