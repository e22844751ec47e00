"""Morgan fingerprints of the target molecules, once for all descriptor models."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.data.morgan import morgan
        from chemsieve.tables import read_table, write_table

        molecules = read_table(snakemake.input.molecules, columns=["molecule_id", "source", "canonical_smiles"])
        target = molecules[molecules["source"] == "target"]
        table = target[["molecule_id"]].assign(values=list(morgan(list(target["canonical_smiles"]))))
        write_table(table, snakemake.output.morgan, "features")
