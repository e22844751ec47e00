"""Stop before anything is trained where a selection budget exceeds the accepted pool."""

from chemsieve.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.files import write_json
        from chemsieve.selection import check_budget
        from chemsieve.tables import read_table

        size = len(read_table(snakemake.input.pool, columns=["molecule_id"]))
        for strategy, budget in spec["budgets"].items():
            check_budget(strategy, budget, size)
        write_json(snakemake.output.checked, {"pool": size, "budgets": spec["budgets"]})
