"""Adapt the encoder to the training molecules, and to the pool's structures where that is asked for."""

from chemsieve.runtime.job import job, optional_path, torch_device, training_state

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        from chemsieve.runtime import tracking
        from chemsieve.study.runs import Identity, curve_table
        from chemsieve.tables import read_table, write_table
        from chemsieve.training.epochs import Settings
        from chemsieve.training.loop import Conditions
        from chemsieve.training.mlm import Masking, Structures, adapt
        from chemsieve.training.objectives import Objectives

        w = snakemake.wildcards
        identity = Identity(w.splitter, int(w.split_seed), int(w.seed), "adapted", "mlm", "none")
        settings = dict(spec["mlm"])
        objectives = Objectives(**settings.pop("objectives"))
        masking = Masking(*(settings.pop(key) for key in ("masking", "held_out", "unmasked")))
        del settings["molecules"]  # which are inputs

        def structures(path):
            return list(read_table(path, columns=["encoder_smiles"])["encoder_smiles"]) if path else []

        pool = structures(optional_path(snakemake.input.get("pool")))
        saves = training_state(snakemake, snakemake.output.model)
        outcome = adapt(
            Path(snakemake.input.encoder[0]).parent,
            spec["family"],
            Structures(structures(snakemake.input.train), pool),
            Path(snakemake.output.model).parent,
            Settings(**settings),
            masking,
            objectives,
            Conditions(identity.seed, torch_device(spec), saves, tracking.of(identity.run_id)),
        )
        curve = curve_table(identity, "mlm", outcome.curve).assign(pool_molecules=len(pool))
        write_table(curve, snakemake.output.curve, "learning_curves")
        saves.remove()  # last: until here a kill loses nothing
