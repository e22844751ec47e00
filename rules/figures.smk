# Needs: the report, and Chromium or Chrome to draw its figures with.
# Makes: on demand (`snakemake --cores 1 figures`), each figure as an SVG file for a paper, beside the declared index.


rule figures:
    input:
        report=f"{RESULTS}/report.html",
    output:
        index=f"{RESULTS}/figures/index.json",
    log:
        f"{RESULTS}/logs/figures.log",
    conda:
        ENVIRONMENT
    resources:
        **needs("figures"),
    params:
        spec=spec(),
        code=code("figures"),
    script:
        "../workflow_scripts/figures.py"
