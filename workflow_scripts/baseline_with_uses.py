"""Fit a descriptor model on training molecules and a selection of the pool, in each way in which it may be used."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.baselines._run import added, fit_uses_and_write
        from chemsieve.data.features import Features
        from chemsieve.study.runs import Identity
        from chemsieve.tables import read_table

        w = snakemake.wildcards
        fit_uses_and_write(
            Identity(w.splitter, int(w.split_seed), int(w.seed), "descriptors", w.baseline, w.strategy),
            spec,
            Features(snakemake.input.features),
            [read_table(snakemake.input[fold]) for fold in ("train", "validation", "test")],
            snakemake.output,
            added(snakemake.input.selection, snakemake.input.pool, Features(snakemake.input.pool_features)),
        )
