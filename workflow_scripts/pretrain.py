"""Pretrain an encoder on a corpus, from random weights or from where a killed run stood."""

from chemsieve.runtime.job import job, optional_path, torch_device

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        import pandas as pd

        from chemsieve.runtime import tracking
        from chemsieve.runtime.files import write_text
        from chemsieve.tables import REAL, Column, read_table, write_table
        from chemsieve.training.pretrained import pretrain

        folder = Path(snakemake.output.model).parent
        curve, card = pretrain(
            read_table(snakemake.input.corpus),
            read_table(snakemake.input.refused, columns=["reason"])["reason"],
            optional_path(snakemake.input.get("tokenizer")),
            spec,
            torch_device(spec),
            snakemake.params.state,
            folder,
            tracking.of("pretrain"),
            {Path(path).stem: path for path in snakemake.input.get("targets", [])},
        )
        each = {
            f"targets_r2_{name}": Column(REAL, f"R2 of the vectors {name}, held out", nullable=True)
            for name in spec["pretrain"]["targets"]
        }
        write_table(pd.DataFrame(curve), snakemake.output.curve, "pretraining_curve", each)
        write_text(snakemake.output.card, card)
        Path(snakemake.params.state).unlink(missing_ok=True)  # last: until here a kill loses nothing
