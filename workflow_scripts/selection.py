"""Order the pool by one strategy and cut it by its budget."""

from chemsieve.runtime.job import job, optional_path, torch_device

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        from chemsieve.selection import Context, select
        from chemsieve.tables import read_table, write_table

        w = snakemake.wildcards
        pool = read_table(snakemake.input.pool)
        given = {
            name: read_table(path)
            for name in ("training", "validation")
            if (path := optional_path(snakemake.input.get(name)))
        }
        if path := optional_path(snakemake.input.get("influence")):
            gains = read_table(path).set_index("molecule_id")["expected_gain"]
            given["expected_gain"] = gains.loc[pool["molecule_id"]].to_numpy()
        if snakemake.input.get("model"):
            from chemsieve.models import backbone, embeddings, prediction, regressor, tokenization

            checkpoint, *encoder_files = snakemake.input.model
            encoder, device = Path(encoder_files[0]).parent, torch_device(spec)
            model = regressor.restore(
                encoder, spec["family"], "full", {}, checkpoint, dropout=spec["dropout"], head=spec["head"]
            )
            tokenizer = backbone.load_tokenizer(encoder)
            pad_id = tokenization.special_id(tokenizer, "pad")

            def ids(molecules):
                return tokenization.encode(tokenizer, list(molecules["encoder_smiles"]))

            def embed(molecules):
                return embeddings.pooled(model.encoder, ids(molecules), pad_id, device)

            given |= {
                "predictions": lambda: prediction.predict(model.to(device), ids(pool), pad_id, device),
                "predict_passes": lambda count, seed: prediction.predict_passes(
                    model, ids(pool), pad_id, count, seed, device
                ),
                "embeddings": lambda: (embed(given["training"]), embed(pool)),
                "validation_embeddings": lambda: embed(given["validation"]),
            }
        if snakemake.input.get("gram"):
            from chemsieve.influence import gramfile
            from chemsieve.influence.aggregation import learning_rates

            curve, *files = snakemake.input.gram
            pairs = list(zip(files[::2], files[1::2], strict=True))
            epochs = [int(Path(matrix).parent.name) for matrix, _ in pairs]
            given |= {
                "kernels": lambda: [gramfile.read(*pair)[0] for pair in pairs],
                "rates": lambda: list(learning_rates(read_table(curve))[epochs]),
            }
        table = select(pool, Context(**given), w.strategy, spec["module"], spec["budget"], int(w.seed), spec["options"])
        table = table.assign(strategy=w.strategy, splitter=w.splitter, split_seed=int(w.split_seed), seed=int(w.seed))
        write_table(table, snakemake.output.selection, "selections")
