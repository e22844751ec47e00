"""Collect the learning curves of adaptation and fine-tuning."""

from chemsieve.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.tables import collect

        collect([*snakemake.input.mlm, *snakemake.input.regression], snakemake.output.table, "learning_curves")
