"""What each use of a selection would give, in closed form on the last Gram matrix."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.influence import gramfile
        from chemsieve.influence.pool_use_tables import chosen_use
        from chemsieve.tables import read_table, write_table

        w = snakemake.wildcards
        selection = read_table(snakemake.input.selection)
        kernel, labels, _ = gramfile.read(*snakemake.input.gram)
        tables = chosen_use(
            kernel,
            labels,
            *(read_table(snakemake.input[name]) for name in ("train", "validation", "pool")),
            set(selection.loc[selection["selected"], "molecule_id"]),
            spec["uses"],
            spec["damping"],
            int(w.seed),
        )
        at = {"strategy": w.strategy, "splitter": w.splitter, "split_seed": int(w.split_seed), "seed": int(w.seed)}
        for name, table in zip(("use_choices", "pool_use_curves", "pool_use_residuals"), tables, strict=True):
            write_table(table.assign(**at), snakemake.output[name], name)
