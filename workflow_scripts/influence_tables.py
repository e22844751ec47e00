"""Collect influence scores, per checkpoint and aggregated, and their diagnostics."""

from chemsieve.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.tables import collect

        collect([*snakemake.input.scores, *snakemake.input.aggregates], snakemake.output.scores, "influence")
        collect(snakemake.input.diagnostics, snakemake.output.diagnostics, "influence_diagnostics")
