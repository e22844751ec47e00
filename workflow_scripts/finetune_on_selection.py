"""Fine-tune from the adapted encoder on the training molecules and a selection of the pool, by one method and use."""

from chemsieve.runtime.job import job, optional_path, torch_device, training_state

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        from chemsieve.study.runs import Identity
        from chemsieve.tables import read_table
        from chemsieve.training.run import Folds, train_and_write
        from chemsieve.uses import MIXED
        from chemsieve.uses._configured import configured

        w = snakemake.wildcards
        selection, pool = read_table(snakemake.input.selection), read_table(snakemake.input.pool)
        chosen = set(selection.loc[selection["selected"], "molecule_id"])
        folds = Folds(
            read_table(snakemake.input.train),
            read_table(snakemake.input.validation),
            read_table(snakemake.input.test),
            # In the pool's order, whatever the ranking, so that equal selections train alike.
            added=pool[pool["molecule_id"].isin(chosen)],
        )
        use, mixture = spec.get("use"), None
        if use is not None:
            choice = optional_path(snakemake.input.get("choice"))
            table = None if choice is None else read_table(choice)
            mixture = configured(use, folds.of_pool, spec["training"]["epochs"], use["candidates"], table)
        name = MIXED if use is None else use["name"]
        train_and_write(
            Identity(w.splitter, int(w.split_seed), int(w.seed), "adapted", w.method, w.strategy, name),
            Path(snakemake.input.encoder[0]).parent,
            folds,
            spec,
            torch_device(spec),
            snakemake.output,
            regressor_checkpoint=optional_path(snakemake.input.get("regressor")),
            saves=training_state(snakemake, snakemake.output.model),
            mixture=mixture,
        )
