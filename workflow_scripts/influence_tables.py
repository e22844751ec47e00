"""Collect influence scores, per checkpoint and aggregated, and their diagnostics."""

from chemsieve.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.aggregation import with_agreement
        from chemsieve.tables import collect, gather, write_table

        collect([*snakemake.input.scores, *snakemake.input.aggregates], snakemake.output.scores, "influence")
        diagnostics = gather(snakemake.input.diagnostics, "influence_diagnostics")
        diagnostics = with_agreement(diagnostics, gather(snakemake.input.scores, "influence"))
        write_table(diagnostics, snakemake.output.diagnostics, "influence_diagnostics")
