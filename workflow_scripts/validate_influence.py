"""Compare what the scores of estimators and strategies predict with what retraining on random subsets did."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("losses", "scores", "selections")) as spec:
        import pandas as pd

        from chemsieve.influence.datamodelling import complete, table
        from chemsieve.runtime.failures import present
        from chemsieve.tables import gather, write_table

        retraining = complete(gather(present(snakemake.input.losses), "retraining"))
        write_table(retraining, snakemake.output.retraining, "retraining")
        axes = ["splitter", "split_seed", "seed"]
        influence = gather(present(snakemake.input.scores), "influence")
        selections = gather(present(snakemake.input.selections), "selections")
        selections = selections.assign(origin=spec["origin"])
        rows = []
        for replicate, losses in retraining.groupby(axes, sort=False):
            scores, orders = (part[(part[axes] == list(replicate)).all(axis=1)] for part in (influence, selections))
            pool = list((scores if len(scores) else orders)["molecule_id"].unique())
            rows.append(table(scores, losses, pool, orders).assign(**dict(zip(axes, replicate, strict=True))))
        write_table(pd.concat(rows), snakemake.output.table, "influence_validation")
