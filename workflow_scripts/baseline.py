"""Fit a descriptor model on the training molecules, and predict validation and test molecules."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        import logging
        import time

        from chemsieve import baselines
        from chemsieve.data.features import Features
        from chemsieve.runtime.processes import peak_memory_mb
        from chemsieve.study.runs import Identity, predictions_table, write_facts
        from chemsieve.tables import read_table, write_table

        w = snakemake.wildcards
        identity = Identity(w.splitter, int(w.split_seed), int(w.seed), "descriptors", w.baseline, "none")
        train, validation, test = (read_table(snakemake.input[f]) for f in ("train", "validation", "test"))
        known = Features(snakemake.input.features)
        features = [known.of(fold["molecule_id"]) for fold in (train, validation, test)]
        began = time.perf_counter()
        model = baselines.load(spec["model"]).fit(
            features[0],
            train["label"].to_numpy(),
            features[1],
            validation["label"].to_numpy(),
            identity.seed,
            known.columns,
            **spec["options"],
        )
        seconds = time.perf_counter() - began
        logging.getLogger("chemsieve").info("options chosen on validation: %s", model.options)
        predictions = (model.predict(features[1]), model.predict(features[2]))
        table = predictions_table(identity, validation, test, predictions)
        write_table(table, snakemake.output.predictions, "run_predictions")
        write_facts(
            snakemake.output.run,
            identity,
            n_train=len(train),
            n_selected=0,
            trainable_parameters=None,
            total_parameters=None,
            best_epoch=None,
            epochs=None,
            train_seconds=seconds,
            peak_memory_mb=peak_memory_mb(),
            device="cpu",
            precision="float64",
            threads=None,
        )
