"""Collect influence scores, per checkpoint and aggregated, and their diagnostics."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("scores", "aggregates", "diagnostics")) as spec:
        from chemsieve.influence.aggregation import with_agreement, with_failures
        from chemsieve.runtime.failures import present
        from chemsieve.tables import collect, gather, write_table

        scores, aggregates = present(snakemake.input.scores), present(snakemake.input.aggregates)
        collect([*scores, *aggregates], snakemake.output.scores, "influence")
        diagnostics = gather(present(snakemake.input.diagnostics), "influence_diagnostics")
        diagnostics = with_agreement(diagnostics, gather(scores, "influence"))
        diagnostics = with_failures(diagnostics, snakemake.input.diagnostics)
        write_table(diagnostics, snakemake.output.diagnostics, "influence_diagnostics")
