"""What each use would give in closed form, beside the validation error that it gave where it was trained."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("choices",)) as spec:
        import pandas as pd

        from chemsieve.influence.pool_use_tables import NONE
        from chemsieve.runtime.failures import present
        from chemsieve.tables import TABLES, read_table, write_table

        parts = [read_table(path) for path in present(snakemake.input.choices)]
        table = pd.concat(parts) if parts else pd.DataFrame(columns=list(TABLES["use_choices"]))
        metrics = read_table(snakemake.input.metrics)
        trained = metrics[
            (metrics["fold"] == "validation") & (metrics["origin"] == "adapted") & (metrics["method"] == "full")
        ]
        at = ["splitter", "split_seed", "seed"]
        given = trained.rename(columns={"selection": "strategy", "rmse": "validation_rmse"})
        given = given[[*at, "strategy", "use", "validation_rmse"]]
        alone = given[given["strategy"] == NONE].assign(use=NONE).drop(columns="strategy")
        alone = alone.merge(table[[*at, "strategy"]].drop_duplicates(), on=at)
        # Uses that the closed form does not know have a row too.
        given = given[given["strategy"] != NONE]
        table = table.merge(pd.concat([given, alone]), on=[*at, "strategy", "use"], how="outer")
        table["chosen"] = table["chosen"].eq(True)
        write_table(table, snakemake.output.table, "pool_use")
