"""Make a model folder from the chosen run: by validation, or by name."""

from chemsieve.runtime.job import job, torch_device

if __name__ == "__main__":
    with job(snakemake, collects=("candidates",)) as spec:
        import logging
        from pathlib import Path

        from chemsieve import baselines
        from chemsieve.data.features import Features
        from chemsieve.deployment.choice import DESCRIPTORS, choose
        from chemsieve.deployment.export import DescribedRun, TrainedRun, export, export_described
        from chemsieve.models import regressor
        from chemsieve.runtime.files import sha256
        from chemsieve.tables import read_table

        chosen = choose(read_table(snakemake.input.metrics), spec["predict"]["model"])
        cell = spec.pop("cells")["{origin}/{method}/{selection}".format(**chosen)]
        train = read_table(spec.pop("train").format(**chosen))
        predictions = read_table(snakemake.input.predictions)
        predictions = predictions[predictions["run_id"] == chosen["run_id"]]
        files = {"target": snakemake.input.target, "pool": snakemake.input.pool}
        molecules = read_table(snakemake.input.molecules)
        given = (
            {role: {"file": Path(path).name, "sha256": sha256(path)} for role, path in files.items()},
            torch_device(spec),
        )
        target, training = Path(snakemake.output.model[0]).parent, list(train["molecule_id"])
        if chosen["origin"] == DESCRIPTORS:
            # Fitted anew as it was, and held against the run's predictions: no run keeps its model.
            validation, known = read_table(cell["validation"].format(**chosen)), Features(cell["tables"])
            fitted = baselines.load(cell["model"]).fit(
                known.of(train["molecule_id"]),
                train["label"].to_numpy(),
                known.of(validation["molecule_id"]),
                validation["label"].to_numpy(),
                int(chosen["seed"]),
                known.columns,
                **cell["options"],
            )
            columns = dict(zip(cell["features"], known.columns, strict=True))
            described = DescribedRun(chosen, cell["model"], fitted, columns, cell["encoder"], training, predictions)
            facts = export_described(target, described, molecules, spec, *given)
        else:
            places = {
                name: cell[name] and cell[name].format(**chosen) for name in ("model", "encoder", "base", "selection")
            }
            if places["selection"]:
                selection = read_table(places["selection"])
                training += list(selection.loc[selection["selected"], "molecule_id"])
            model = regressor.restore(
                places["encoder"],
                spec["family"],
                cell["method"],
                cell["options"],
                places["model"],
                places["base"],
                cell["dropout"],
                cell["head"],
            )
            trained = TrainedRun(chosen, model, places["encoder"], training, predictions)
            spec |= {key: cell[key] for key in ("method", "options", "dropout", "head", "averaged")}
            facts = export(target, trained, molecules, spec, *given)
        log = logging.getLogger("chemsieve")
        log.info("the model is run %s", facts["run_id"])
        if other := facts["surpassed"]:
            log.warning(
                "the descriptor model %s has a lower validation RMSE (%.3f) than it (%.3f); see predict.model",
                other["run_id"],
                other["rmse"],
                facts["metrics"]["validation"]["rmse"],
            )
