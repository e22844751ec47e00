"""Make a model folder from the chosen run: by validation, or by name."""

from chemsieve.job import job, torch_device

if __name__ == "__main__":
    with job(snakemake) as spec:
        import logging
        from pathlib import Path

        from chemsieve import regressor
        from chemsieve.deployment.choice import choose
        from chemsieve.deployment.export import export
        from chemsieve.files import sha256
        from chemsieve.tables import read_table

        chosen = choose(read_table(snakemake.input.metrics), spec["predict"]["model"])
        cell = spec.pop("cells")["{origin}/{method}/{selection}".format(**chosen)]
        places = {name: cell[name] and cell[name].format(**chosen) for name in ("run", "encoder", "base", "selection")}
        split = Path(spec.pop("split").format(**chosen))
        training = list(read_table(split / "train.parquet")["molecule_id"])
        if places["selection"]:
            selection = read_table(places["selection"])
            training += list(selection.loc[selection["selected"], "molecule_id"])
        model = regressor.restore(
            places["encoder"],
            spec["family"],
            cell["method"],
            cell["options"],
            f"{places['run']}/model.safetensors",
            places["base"],
            cell["dropout"],
        )
        facts = export(
            Path(snakemake.output.model[0]).parent,
            model,
            places["encoder"],
            chosen,
            read_table(snakemake.input.molecules),
            training,
            read_table(split / "validation.parquet"),
            read_table(f"{places['run']}/predictions.parquet"),
            spec | {key: cell[key] for key in ("method", "options", "dropout", "averaged")},
            {Path(path).name: sha256(path) for path in (snakemake.input.target, snakemake.input.pool)},
            torch_device(spec),
        )
        logging.getLogger("chemsieve").info("the model is run %s", facts["run_id"])
