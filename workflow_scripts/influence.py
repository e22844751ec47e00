"""Influence of every pool molecule on the validation loss, at one checkpoint by one estimator."""

from chemsieve.runtime.job import job, optional_path, torch_device, training_state

if __name__ == "__main__":
    with job(snakemake) as spec:
        import pandas as pd

        from chemsieve.influence.gramfile import read
        from chemsieve.influence.scoring import from_kernel, from_model
        from chemsieve.tables import read_table, write_table

        w = snakemake.wildcards

        def problem(most=spec["hessian_molecules"]):
            from chemsieve.influence.loading import load

            return load(snakemake.input, spec, int(w.seed), torch_device(spec), most)

        saves = None
        if "training" in spec:
            from chemsieve.influence.loading import continuation
            from chemsieve.influence.scoring import from_training

            saves = training_state(snakemake, snakemake.output.scores)
            continued = continuation(snakemake.input, spec, int(w.seed), torch_device(spec), saves)
            scores, diagnostics, errors = from_training(continued, w.estimator, spec["options"])
        elif matrix := optional_path(snakemake.input.get("gram")):
            kernel = read(matrix, optional_path(snakemake.input.gram_facts))
            options = (w.estimator, spec["options"], spec["tolerance"], int(w.seed))
            scores, diagnostics, errors = from_kernel(*kernel, lambda: problem(None), *options)
        else:
            scores, diagnostics = from_model(*problem(), w.estimator, spec["options"], spec["tolerance"])
            errors = None
        axes = {
            "splitter": w.splitter,
            "split_seed": int(w.split_seed),
            "seed": int(w.seed),
            "origin": w.origin,
            "checkpoint": int(w.checkpoint),
            "estimator": w.estimator,
        }
        molecules = read_table(snakemake.input.pool, columns=["molecule_id"])
        table = molecules.assign(**axes, influence=scores, expected_gain=-scores, standard_error=errors)
        write_table(table, snakemake.output.scores, "influence")
        write_table(pd.DataFrame([axes | diagnostics]), snakemake.output.diagnostics, "influence_diagnostics")
        if saves is not None:
            saves.remove()  # last: until here a kill loses nothing
