"""Make the study's encoder folder: from random weights, a local folder, or a pinned hub revision."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        import logging
        from pathlib import Path

        from chemsieve.models import backbone

        folder = Path(snakemake.output[0]).parent
        logging.getLogger("chemsieve").info(backbone.prepare(folder, spec["encoder"]))
