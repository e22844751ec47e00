"""Morgan fingerprints of the molecules of target or pool, once for all descriptor models."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.data.morgan import morgan
        from chemsieve.tables import read_table, write_table

        molecules = read_table(snakemake.input.molecules, columns=["molecule_id", "source", "canonical_smiles"])
        chosen = molecules[molecules["source"] == spec["source"]]
        table = chosen[["molecule_id"]].assign(values=list(morgan(list(chosen["canonical_smiles"]))))
        write_table(table, snakemake.output.morgan, "features")
