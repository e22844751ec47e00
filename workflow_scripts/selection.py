"""Order the pool by one strategy and cut it by its budget."""

from chemsieve.runtime.job import job, optional_path

if __name__ == "__main__":
    with job(snakemake) as spec:
        from dataclasses import replace

        from chemsieve.selection import left_in, select
        from chemsieve.selection._given import context
        from chemsieve.tables import read_table, write_table

        w = snakemake.wildcards
        pool = read_table(snakemake.input.pool)
        given = context(snakemake.input, spec, pool)
        before = optional_path(snakemake.input.get("after"))
        given = replace(given, available=None if before is None else left_in(read_table(before), pool))
        table = select(
            *(pool, given, w.strategy, spec["module"], spec["budget"], int(w.seed), spec["options"]),
            sweep=spec.get("sweep", ()),
        )
        table = table.assign(strategy=w.strategy, splitter=w.splitter, split_seed=int(w.split_seed), seed=int(w.seed))
        write_table(table, snakemake.output.selection, "selections")
