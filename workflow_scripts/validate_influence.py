"""Compare what the scores of estimators and strategies predict with what retraining on random subsets did."""

from chemsieve.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        import pandas as pd

        from chemsieve.datamodelling import table
        from chemsieve.tables import collect, read_table, write_table

        collect(snakemake.input.losses, snakemake.output.retraining, "retraining")
        axes = ["splitter", "split_seed", "seed"]
        retraining = read_table(snakemake.output.retraining)
        influence = pd.concat(map(read_table, snakemake.input.scores), ignore_index=True)
        selections = pd.concat(map(read_table, snakemake.input.selections), ignore_index=True)
        selections = selections.assign(origin=spec["origin"])
        rows = []
        for replicate, losses in retraining.groupby(axes, sort=False):
            scores, orders = (part[(part[axes] == list(replicate)).all(axis=1)] for part in (influence, selections))
            pool = list(scores["molecule_id"].unique())
            rows.append(table(scores, losses, pool, orders).assign(**dict(zip(axes, replicate, strict=True))))
        write_table(pd.concat(rows), snakemake.output.table, "influence_validation")
