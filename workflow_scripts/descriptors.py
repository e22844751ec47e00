"""RDKit descriptors of the molecules of target or pool, once for all baselines."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.data.descriptors import descriptors
        from chemsieve.tables import read_table, write_table

        molecules = read_table(snakemake.input.molecules)
        chosen = molecules.loc[molecules["source"] == spec["source"], ["molecule_id", "canonical_smiles"]]
        values = descriptors(list(chosen["canonical_smiles"]))
        table = chosen[["molecule_id"]].assign(values=list(values))
        write_table(table, snakemake.output.descriptors, "descriptors")
