"""Make a model folder from the chosen run: by validation, or by name."""

from chemsieve.runtime.job import job, torch_device

if __name__ == "__main__":
    with job(snakemake, collects=("candidates",)) as spec:
        import logging
        from pathlib import Path

        from chemsieve.deployment.choice import choose
        from chemsieve.deployment.export import TrainedRun, export
        from chemsieve.models import regressor
        from chemsieve.runtime.files import sha256
        from chemsieve.tables import read_table

        chosen = choose(read_table(snakemake.input.metrics), spec["predict"]["model"])
        cell = spec.pop("cells")["{origin}/{method}/{selection}".format(**chosen)]
        places = {
            name: cell[name] and cell[name].format(**chosen) for name in ("model", "encoder", "base", "selection")
        }
        training = list(read_table(spec.pop("train").format(**chosen))["molecule_id"])
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
        predictions = read_table(snakemake.input.predictions)
        files = {"target": snakemake.input.target, "pool": snakemake.input.pool}
        predictions = predictions[predictions["run_id"] == chosen["run_id"]]
        facts = export(
            Path(snakemake.output.model[0]).parent,
            TrainedRun(chosen, model, places["encoder"], training, predictions),
            read_table(snakemake.input.molecules),
            spec | {key: cell[key] for key in ("method", "options", "dropout", "head", "averaged")},
            {role: {"file": Path(path).name, "sha256": sha256(path)} for role, path in files.items()},
            torch_device(spec),
        )
        log = logging.getLogger("chemsieve")
        log.info("the model is run %s", facts["run_id"])
        if other := facts["surpassed"]:
            log.warning(
                "descriptor models are not exported, though %s has a lower validation RMSE (%.3f) than it (%.3f)",
                other["run_id"],
                other["rmse"],
                facts["metrics"]["validation"]["rmse"],
            )
