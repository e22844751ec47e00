"""The report: one self-contained HTML page made from the result tables and nothing else."""
