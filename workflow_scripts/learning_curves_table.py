"""Collect the learning curves of adaptation and fine-tuning."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("regression",)) as spec:
        from chemsieve.runtime.failures import present
        from chemsieve.tables import collect

        curves = [*snakemake.input.mlm, *present(snakemake.input.regression)]
        collect(curves, snakemake.output.table, "learning_curves")
