"""Retrain on the training molecules and a random subset of the pool, to see whether scores predict the outcome."""

from chemsieve.runtime.job import job, optional_path, torch_device, training_state

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        import pandas as pd

        from chemsieve.influence.datamodelling import subset
        from chemsieve.tables import read_table, write_table
        from chemsieve.training.loop import Conditions
        from chemsieve.training.run import validation_loss

        w = snakemake.wildcards
        pool = read_table(snakemake.input.pool)
        added = pool.iloc[subset(len(pool), spec["fraction"], int(w.subset), int(w.seed))]
        saves = training_state(snakemake, snakemake.output.loss)
        loss = validation_loss(
            Path(snakemake.input.encoder[0]).parent,
            pd.concat([read_table(snakemake.input.train), added], ignore_index=True),
            read_table(snakemake.input.validation),
            spec,
            Conditions(int(w.retrain_seed), torch_device(spec), saves),
            optional_path(snakemake.input.get("regressor")),
        )
        row = {
            "splitter": w.splitter,
            "split_seed": int(w.split_seed),
            "seed": int(w.seed),
            "subset": int(w.subset),
            "retrain_seed": int(w.retrain_seed),
            "validation_mse": loss,
            "members": list(added["molecule_id"]),
        }
        write_table(pd.DataFrame([row]), snakemake.output.loss, "retraining")
        saves.remove()  # last: until here a kill loses nothing
