"""Fine-tune from the adapted encoder on the training molecules and a selection of the pool, by one method."""

from chemsieve.runtime.job import job, optional_path, torch_device, training_state

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        from chemsieve.data.chosen import chosen
        from chemsieve.study.runs import Identity
        from chemsieve.tables import read_table
        from chemsieve.training.limits import with_limits
        from chemsieve.training.run import Folds, Trained, train_and_write
        from chemsieve.training.tuned import with_tuned_rate

        w, full = snakemake.wildcards, snakemake.input.get("trained")
        train_and_write(
            Identity(w.splitter, int(w.split_seed), int(w.seed), spec["origin"], w.method, w.strategy),
            Path(snakemake.input.encoder[0]).parent,
            Folds(
                with_limits(read_table(snakemake.input.train), optional_path(snakemake.input.get("limits"))),
                read_table(snakemake.input.validation),
                read_table(snakemake.input.test),
                added=chosen(read_table(snakemake.input.selection), read_table(snakemake.input.pool)),
            ),
            spec | {"training": with_tuned_rate(spec["training"], optional_path(snakemake.input.get("tuning")))},
            torch_device(spec),
            snakemake.output,
            regressor_checkpoint=optional_path(snakemake.input.get("regressor")),
            saves=training_state(snakemake, snakemake.output.model),
            trained=Trained(*full) if full else None,
        )
