"""Collect influence scores, per checkpoint and aggregated, and their diagnostics."""

from chemsieve.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        import pandas as pd

        from chemsieve.aggregation import agreement_with_last
        from chemsieve.tables import collect, read_table, write_table

        collect([*snakemake.input.scores, *snakemake.input.aggregates], snakemake.output.scores, "influence")
        scores, diagnostics = (
            pd.concat([read_table(path) for path in paths], ignore_index=True)
            for paths in (snakemake.input.scores, snakemake.input.diagnostics)
        )
        diagnostics = diagnostics.drop(columns="spearman_vs_last").merge(agreement_with_last(scores), validate="1:1")
        write_table(diagnostics, snakemake.output.diagnostics, "influence_diagnostics")
