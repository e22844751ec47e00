"""Fine-tune the baseline or the adapted regressor, keeping the checkpoints that influence reads."""

from chemsieve.runtime.job import job, optional_path, torch_device, training_state

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        from chemsieve.study.runs import Identity
        from chemsieve.tables import read_table
        from chemsieve.training.limits import with_limits
        from chemsieve.training.run import Folds, train_and_write
        from chemsieve.training.tuned import with_tuned_rate

        w = snakemake.wildcards
        train = with_limits(read_table(snakemake.input.train), optional_path(snakemake.input.get("limits")))
        training = dict(spec["finetune"])
        shape = {key: training.pop(key) for key in ("dropout", "head")}
        training = with_tuned_rate(training, optional_path(snakemake.input.get("tuning")))
        train_and_write(
            Identity(w.splitter, int(w.split_seed), int(w.seed), w.origin, "full", "none"),
            Path(snakemake.input.encoder[0]).parent,
            Folds(
                train,
                read_table(snakemake.input.validation),
                read_table(snakemake.input.test),
                added=train.iloc[:0],
            ),
            {**spec, "method": "full", "options": {}, "training": training, **shape},
            torch_device(spec),
            snakemake.output,
            saves=training_state(snakemake, snakemake.output.model),
        )
