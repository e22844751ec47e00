"""Bring the vectors that are learned beside the tokens into the order of a prepared corpus."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake) as spec:
        from chemsieve.data.vectors import write_aligned
        from chemsieve.tables import read_table

        smiles = read_table(snakemake.input.corpus, columns=["smiles"])["smiles"]
        write_aligned(snakemake.wildcards.table, spec["table"], list(smiles), snakemake.output.targets)
