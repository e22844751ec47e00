"""Choose the learning rate of a fine-tuning method on the validation molecules of a split."""

from chemsieve.runtime.job import job, optional_path, torch_device, training_state

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        from chemsieve.study.runs import Identity
        from chemsieve.tables import read_table, write_table
        from chemsieve.training.tuning import forget, tune

        w = snakemake.wildcards
        saves = training_state(snakemake, snakemake.output.table)
        table = tune(
            Identity(w.splitter, int(w.split_seed), int(w.seed), w.origin, w.method, "none"),
            Path(snakemake.input.encoder[0]).parent,
            read_table(snakemake.input.train),
            read_table(snakemake.input.validation),
            spec,
            torch_device(spec),
            saves,
            optional_path(snakemake.input.get("regressor")),
        )
        write_table(table, snakemake.output.table, "tuning")
        forget(saves)
