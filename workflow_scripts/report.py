"""Render the report from the tables."""

from chemsieve.runtime.job import goes_on, job

if __name__ == "__main__":
    with job(snakemake, collects=("tables",)) as spec:
        from pathlib import Path

        from chemsieve.report import provenance
        from chemsieve.report.page import render
        from chemsieve.study import effective

        tables = Path(snakemake.input.tables[0]).parent
        made = provenance.of_files(tables, Path(snakemake.input.config))
        config = effective.read(snakemake.input.config)
        render(tables, config, Path(snakemake.output.report), goes_on(snakemake), made)
