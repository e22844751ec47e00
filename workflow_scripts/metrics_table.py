"""Join predictions with labels, those of test molecules too, and compute every metric."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("predictions", "runs")) as spec:
        import pandas as pd

        from chemsieve.data.measured import ABOVE, BELOW
        from chemsieve.runtime.failures import present
        from chemsieve.statistics.evaluation import evaluate_limits, evaluate_runs
        from chemsieve.study.runs import of_metrics, read_facts
        from chemsieve.tables import read_table, write_table

        label_files = [*snakemake.input.validation, *snakemake.input.test_labels]
        # A molecule has one label, however many splits it is in.
        labels = pd.concat([read_table(path) for path in label_files]).drop_duplicates("molecule_id")
        labels = labels.set_index("molecule_id")
        relations, labels = labels.get("relation"), labels["label"]
        predictions = pd.concat([read_table(path) for path in present(snakemake.input.predictions)], ignore_index=True)
        facts = [of_metrics(read_facts(path)) for path in present(snakemake.input.runs)]
        if relations is not None:
            write_table(evaluate_limits(predictions, labels, relations), snakemake.output.limits, "limits")
            limited = relations.isin([BELOW, ABOVE])
            predictions = predictions[~predictions["molecule_id"].isin(limited.index[limited])]
        metrics, predictions = evaluate_runs(predictions, labels, facts)
        write_table(metrics.assign(study=spec["study"]), snakemake.output.metrics, "metrics")
        write_table(predictions, snakemake.output.predictions, "predictions")
