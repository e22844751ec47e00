"""Make the embedded molecules, and the table of which pool molecules are corrupted."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.data import embedded
        from chemsieve.runtime.files import write_text
        from chemsieve.tables import write_table

        given = spec["embedded"]
        target, pool, control = embedded.make(given["targets"], given["pool"], given["noise"], given["seed"])
        write_text(snakemake.output.target, target.to_csv(index=False))
        write_text(snakemake.output.pool, pool.to_csv(index=False))
        write_table(control, snakemake.output.control, "pool_control")
