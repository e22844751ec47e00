"""The command ``chemsieve``: a thin layer over Snakemake's own command and over the package, for daily use.

It knows no settings of its own: what a study is stands in its file. Snakemake runs as a process, and is not imported.
"""

from chemsieve.command.cli import main

__all__ = ["main"]
