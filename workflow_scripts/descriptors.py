"""RDKit descriptors of the target molecules, once for all baselines."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.data.descriptors import descriptors
        from chemsieve.tables import read_table, write_table

        molecules = read_table(snakemake.input.molecules)
        target = molecules.loc[molecules["source"] == "target", ["molecule_id", "canonical_smiles"]]
        values = descriptors(list(target["canonical_smiles"]))
        table = target[["molecule_id"]].assign(values=list(values))
        write_table(table, snakemake.output.descriptors, "descriptors")
