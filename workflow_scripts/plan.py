"""Say what splits and seeds would buy: from the study's own errors where it was run, else from assumptions."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        import pandas as pd

        from chemsieve.runtime.files import write_text
        from chemsieve.statistics import planning
        from chemsieve.tables import read_table, write_table

        results = [read_table(path) for path in snakemake.input]
        made = [planning.of_splitter(splitter, spec, *results) for splitter in spec["splitters"]]
        plan = pd.concat(made, ignore_index=True)
        write_table(plan, snakemake.output.table, "plan")
        write_text(Path(snakemake.output.csv), plan.to_csv(index=False, float_format="%.4g", lineterminator="\n"))
        write_text(Path(snakemake.output.text), "\n".join(planning.told(plan)) + "\n")
