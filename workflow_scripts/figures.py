"""Write the report's figures as SVG files."""

from chemsieve.runtime.job import goes_on, job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        from chemsieve.report.images import write_figures

        write_figures(Path(snakemake.input.report), Path(snakemake.output.index).parent, goes_on(snakemake))
