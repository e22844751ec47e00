"""Check that target and pool are enough for what is asked of them; count accepted and refused rows."""

from chemsieve.runtime.job import job

if __name__ == "__main__":
    with job(snakemake):
        from chemsieve.data.enough import check, counts
        from chemsieve.runtime.files import write_json
        from chemsieve.tables import read_table

        molecules, rejected = read_table(snakemake.input.molecules), read_table(snakemake.input.rejected)
        check(snakemake.config, molecules, rejected)
        write_json(snakemake.output.sizes, counts(molecules, rejected))
