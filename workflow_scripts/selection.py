"""Order the pool by one strategy and cut it by its budget."""

from chemsieve.job import job, optional_path, torch_device

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        from chemsieve.selection import Context, select
        from chemsieve.tables import read_table, write_table

        w = snakemake.wildcards
        pool = read_table(snakemake.input.pool)
        training = predict_passes = expected_gain = predictions = embeddings = kernels = rates = None
        if path := optional_path(snakemake.input.get("training")):
            training = read_table(path)
        if path := optional_path(snakemake.input.get("influence")):
            gains = read_table(path).set_index("molecule_id")["expected_gain"]
            expected_gain = gains.loc[pool["molecule_id"]].to_numpy()
        if snakemake.input.get("model"):
            from chemsieve import backbone, regressor, tokenization
            from chemsieve.selection import _model
            from chemsieve.training import dropout, regression

            checkpoint, *encoder_files = snakemake.input.model
            encoder, device = Path(encoder_files[0]).parent, torch_device(spec)
            model = regressor.restore(encoder, spec["family"], "full", {}, checkpoint, dropout=spec["dropout"])
            tokenizer = backbone.load_tokenizer(encoder)
            ids = tokenization.encode(tokenizer, list(pool["encoder_smiles"]))
            pad_id = tokenization.special_id(tokenizer, "pad")

            def predictions():
                return regression.predict(model.to(device), ids, pad_id, device)

            def embeddings():
                known = tokenization.encode(tokenizer, list(training["encoder_smiles"]))
                return tuple(_model.embeddings(model, rows, pad_id, device) for rows in (known, ids))

            def predict_passes(count, seed):
                return dropout.passes(model, ids, pad_id, count, seed, device)

        if snakemake.input.get("gram"):
            from chemsieve.aggregation import learning_rates
            from chemsieve.influence import _gramfile

            curve, *files = snakemake.input.gram
            pairs = list(zip(files[::2], files[1::2], strict=True))

            def kernels():
                return [_gramfile.read(*pair)[0] for pair in pairs]

            def rates():
                epochs = [int(Path(matrix).parent.name) for matrix, _ in pairs]
                return list(learning_rates(read_table(curve))[epochs])

        context = Context(training, predict_passes, expected_gain, predictions, embeddings, kernels, rates)
        table = select(pool, context, w.strategy, spec["module"], spec["budget"], int(w.seed), spec["options"])
        table = table.assign(strategy=w.strategy, splitter=w.splitter, split_seed=int(w.split_seed), seed=int(w.seed))
        write_table(table, snakemake.output.selection, "selections")
