"""Write what each strategy chose as lists."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake, collects=("nearest",)) as spec:
        import logging
        from pathlib import Path

        from chemsieve.deployment.lists import write_lists
        from chemsieve.runtime.failures import present
        from chemsieve.tables import read_table

        nearest = present([snakemake.input.nearest])
        agreements = write_lists(
            Path(snakemake.output[0]).parent,
            spec["strategies"],
            [tuple(split) for split in spec["splits"]],
            read_table(snakemake.input.selections),
            read_table(snakemake.input.molecules),
            read_table(nearest[0]) if nearest else None,
        )
        for strategy, agreement in agreements.items():
            if agreement.replicates:
                logging.getLogger("chemsieve").info("%s: %s", strategy, agreement)
            else:
                logging.getLogger("chemsieve").warning("%s gave no selection, so that its list is empty", strategy)
