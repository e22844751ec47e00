"""Influence of every pool molecule on the validation loss, at one checkpoint by one estimator."""

from chemsieve.job import job, torch_device

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        import pandas as pd

        from chemsieve import backbone, regressor, tokenization
        from chemsieve.influence._problem import Molecules, Problem
        from chemsieve.influence._score import influence
        from chemsieve.tables import read_table, write_table

        w = snakemake.wildcards
        seed, encoder = int(w.seed), Path(snakemake.input.encoder[0]).parent
        device = torch_device(spec)
        model = regressor.restore(encoder, spec["family"], "full", {}, snakemake.input.checkpoint).to(device)
        tokenizer = backbone.load_tokenizer(encoder)

        def molecules(path):
            frame = read_table(path)
            labels = (frame["label"].to_numpy() - float(model.label_mean)) / float(model.label_scale)
            return frame, Molecules(tokenization.encode(tokenizer, list(frame["encoder_smiles"])), labels)

        _, train = molecules(snakemake.input.train)
        _, validation = molecules(snakemake.input.validation)
        frame, pool = molecules(snakemake.input.pool)
        problem = Problem(model, train, tokenization.special_id(tokenizer, "pad"), seed, spec["batch_size"])
        if spec["hessian_molecules"] is not None:
            problem.train = problem.sample(spec["hessian_molecules"])
        scores, diagnostics = influence(problem, validation, pool, w.estimator, spec["options"], spec["tolerance"])
        axes = {
            "splitter": w.splitter,
            "split_seed": int(w.split_seed),
            "seed": seed,
            "origin": w.origin,
            "checkpoint": int(w.checkpoint),
            "estimator": w.estimator,
        }
        table = frame[["molecule_id"]].assign(**axes, influence=scores, expected_gain=-scores)
        write_table(table, snakemake.output.scores, "influence")
        write_table(pd.DataFrame([axes | diagnostics]), snakemake.output.diagnostics, "influence_diagnostics")
