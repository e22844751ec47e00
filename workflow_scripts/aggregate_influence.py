"""Aggregate influence over the checkpoints of one model."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        import pandas as pd

        from chemsieve.influence.aggregation import over_checkpoints
        from chemsieve.tables import read_table, write_table

        scores = pd.concat([read_table(path) for path in snakemake.input.scores])
        curve = read_table(snakemake.input.curve)
        write_table(over_checkpoints(scores, spec["aggregate"], curve), snakemake.output.scores, "influence")
