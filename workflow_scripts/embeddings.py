"""What the study's own encoder, before any adaptation, says of molecules of target or pool: once for all models."""

from chemsieve.runtime.job import job, torch_device

if __name__ == "__main__":
    with job(snakemake) as spec:
        from pathlib import Path

        from chemsieve.models.frozen import of_folder
        from chemsieve.tables import read_table, write_table

        encoder = of_folder(Path(snakemake.input.encoder[0]).parent, spec["family"], torch_device(spec))
        molecules = read_table(snakemake.input.molecules, columns=["molecule_id", "source", "encoder_smiles"])
        chosen = molecules[molecules["source"] == spec["source"]]
        values = encoder.features(list(chosen["encoder_smiles"]))
        table = chosen[["molecule_id"]].assign(values=list(values))
        write_table(table, snakemake.output.embeddings, "features")
