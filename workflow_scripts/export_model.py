"""Make a model folder from the chosen run: by validation, or by name; or from two, of the mean of both."""

from chemsieve.runtime.job import job, torch_device

if __name__ == "__main__":
    with job(snakemake, collects=("candidates",)) as spec:
        import logging
        from pathlib import Path

        from chemsieve.deployment.card import told
        from chemsieve.deployment.choice import DESCRIPTORS, MEAN, choose, choose_mean
        from chemsieve.deployment.export import export, export_described, export_mean
        from chemsieve.deployment.restoring import cell_of, refitted, restored
        from chemsieve.runtime.files import sha256
        from chemsieve.tables import read_table

        metrics, wanted = read_table(snakemake.input.metrics), spec["predict"]["model"]
        aimed = spec.pop("aimed")
        language, fitted = choose_mean(metrics, aimed) if wanted == MEAN else (choose(metrics, wanted, aimed), None)
        if language["origin"] == DESCRIPTORS:
            language, fitted = None, language
        cells, train, limits = (spec.pop(name) for name in ("cells", "train", "limits"))
        predictions = read_table(snakemake.input.predictions)
        files = {"target": snakemake.input.target, "pool": snakemake.input.pool}
        given = (
            read_table(snakemake.input.molecules),
            spec,
            {role: {"file": Path(path).name, "sha256": sha256(path)} for role, path in files.items()},
            torch_device(spec),
        )
        target, runs = Path(snakemake.output.model[0]).parent, []
        if language:
            cell = cell_of(language, cells)
            spec |= {key: cell[key] for key in ("method", "options", "dropout", "head", "averaged")}
            runs.append(restored(language, cells, spec["family"], [train, *limits], predictions))
        if fitted:
            # Fitted anew as it was, and held against the run's predictions: no run keeps its model.
            runs.append(refitted(fitted, cells, train, predictions))
        make = export_mean if wanted == MEAN else export if language else export_described
        facts = make(target, *runs, *given)
        log = logging.getLogger("chemsieve")
        rmse = facts["metrics"]["validation"]["rmse"]
        if wanted == MEAN:
            own = [member["metrics"]["validation"]["rmse"] for member in facts["members"]]
            log.info("the model is the mean of the runs %s and %s", *(member["run_id"] for member in facts["members"]))
            log.info(
                "validation RMSE: %.3f, of the language model alone %.3f, of the descriptor model %.3f", rmse, *own
            )
            if rmse >= min(own):
                log.warning(
                    "one of the two alone is as good as their mean by validation RMSE, or better; see predict.model"
                )
        else:
            log.info("the model is run %s", facts["run_id"])
            log.info(told(facts["choice"]) if facts["choice"] else "it was named in predict.model")
            if facts["choice"] and (other := facts["choice"]["passed_over"]):
                log.warning(
                    "%s has a lower validation RMSE (%.3f), but too little lower: its pool molecules were selected to "
                    "lower that very error; predict.model: %s takes it all the same",
                    *(other["configuration"], other["rmse"], other["configuration"]),
                )
            if other := facts["surpassed"]:
                log.warning(
                    "the descriptor model %s has a lower mean validation RMSE (%.3f) than it (%.3f); see predict.model",
                    *(other["configuration"], other["rmse"], other["own"]),
                )
