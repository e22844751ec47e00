"""The pool of one split, with labels computed anew or without what depends on held-out labels, as configured."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        import json
        from pathlib import Path

        from chemsieve.audit.tracing import Found
        from chemsieve.audit.treatment import treat_split
        from chemsieve.data.binarising import above_mean
        from chemsieve.study import budgets
        from chemsieve.tables import read_table, write_table

        w = snakemake.wildcards
        molecules, split = read_table(snakemake.input.molecules), read_table(snakemake.input.split)
        facts = json.loads(Path(snakemake.input.facts).read_text(encoding="utf-8"))
        pool, counts = treat_split(
            molecules,
            split,
            Found.of(facts["found"]),
            read_table(snakemake.input.sources),
            spec["labels"],
            spec["leaks"],
        )
        if spec["binarise"]:
            training = molecules["molecule_id"].isin(split.loc[split["fold"] == "train", "molecule_id"])
            pool = pool.assign(label=above_mean(pool["label"], molecules.loc[training, "label"]))
        budgets.check(budgets.of(snakemake.config), len(pool))
        write_table(pool, snakemake.output.pool, "labelled")
        counts = counts.assign(splitter=w.splitter, split_seed=int(w.split_seed))
        write_table(counts, snakemake.output.treatment, "treatment")
