"""Adapt the encoder to the training molecules by masked-language modelling."""

from chemsieve.runtime.job import job, torch_device, training_state

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        from chemsieve.runtime import tracking
        from chemsieve.study.runs import Identity, curve_table
        from chemsieve.tables import read_table, write_table
        from chemsieve.training.epochs import Settings
        from chemsieve.training.loop import Conditions
        from chemsieve.training.mlm import Masking, adapt

        w = snakemake.wildcards
        identity = Identity(w.splitter, int(w.split_seed), int(w.seed), "adapted", "mlm", "none")
        settings = dict(spec["mlm"])
        masking = Masking(settings.pop("masking"), settings.pop("held_out"))
        saves = training_state(snakemake, snakemake.output.model)
        outcome = adapt(
            Path(snakemake.input.encoder[0]).parent,
            spec["family"],
            list(read_table(snakemake.input.train, columns=["encoder_smiles"])["encoder_smiles"]),
            Path(snakemake.output.model).parent,
            Settings(**settings),
            masking,
            Conditions(identity.seed, torch_device(spec), saves, tracking.of(identity.run_id)),
        )
        write_table(curve_table(identity, "mlm", outcome.curve), snakemake.output.curve, "learning_curves")
        saves.remove()  # last: until here a kill loses nothing
